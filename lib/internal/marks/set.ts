import { cutoffOf, isCutOff, joinCutoffs, type Cutoff } from './cutoff.ts'
import { fingerprintTable } from './fingerprint-table.ts'
import { subjectKey } from './id.ts'
import type { Credential, Mark, SubjectMark, Verdict } from '../../revocation-store.ts'

/** The live marks in this process's memory: 21 to 32 bytes for each token or session. */
export interface MarkSet {
  /** Joins a mark. Answers whether it adds something to what was known. */
  join (mark: Mark, now: number): boolean
  check (facts: Credential, now: number): Verdict
  /** Whether this is the first claim of a key until the claim ends. */
  claim (key: string, until: number, now: number): boolean
  /** How much is remembered of subjects, and in bytes of everything else. */
  size (): { readonly subjects: number, readonly bytes: number }
}

const token = 0
const session = 1
const claimed = 2

/** An empty {@link MarkSet}. What runs out goes with the marks that come, a little with each: there is no timer. */
export function markSet (): MarkSet {
  const table = fingerprintTable()
  const cutoffs = new Map<string, Cutoff>()
  let oldest = cutoffs.entries()
  let tenants = false

  const sweep = (now: number) => {
    table.sweep(now)
    for (let step = 0; step < 2; step++) {
      const { done, value } = oldest.next()
      if (done === true) oldest = cutoffs.entries()
      else if (value[1].until <= now) cutoffs.delete(value[0])
    }
  }

  const joinSubject = (mark: SubjectMark, now: number): boolean => {
    const key = subjectKey(mark.subject, mark.tenant)
    const known = cutoffs.get(key)
    const own = cutoffOf(mark)
    const joined = known === undefined || known.until <= now ? own : joinCutoffs(known, own)
    if (mark.tenant !== undefined) tenants = true
    cutoffs.set(key, joined)
    return !isSame(joined, known)
  }

  const isCut = (key: string, facts: Credential, now: number): boolean => {
    const cutoff = cutoffs.get(key)
    return cutoff !== undefined && isCutOff(cutoff, facts, now)
  }

  return {
    join (mark, now) {
      if (mark.until <= now) return false
      sweep(now)
      if ('tokenId' in mark) return table.add(token, mark.tokenId, mark.until, now)
      if ('sessionId' in mark) return table.add(session, mark.sessionId, mark.until, now)
      return joinSubject(mark, now)
    },
    check (facts, now) {
      const { tokenId, sessionId, subject, tenant } = facts
      const dead = (tokenId !== undefined && table.has(token, tokenId, now)) ||
        (sessionId !== undefined && table.has(session, sessionId, now)) ||
        (subject !== undefined && cutoffs.size > 0 && (
          isCut(subjectKey(subject, undefined), facts, now) ||
          (tenants && tenant !== undefined && isCut(subjectKey(subject, tenant), facts, now))))
      return dead ? 'revoked' : 'live'
    },
    claim (key, until, now) {
      sweep(now)
      const first = !table.has(claimed, key, now)
      if (first) table.add(claimed, key, until, now)
      return first
    },
    size: () => ({ subjects: cutoffs.size, bytes: table.size() })
  }
}

function isSame (a: Cutoff, b: Cutoff | undefined): boolean {
  return b !== undefined && a.at === b.at && a.except === b.except && a.exceptAt === b.exceptAt && a.until === b.until
}
