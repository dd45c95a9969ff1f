import { cutoffOf, isCutOff, isSameCutoff, joinCutoffs, type Cutoff } from './cutoff.ts'
import { fingerprintTable } from './fingerprint-table.ts'
import { idOfMark, isId, markId } from './id.ts'
import type { Credential, Mark, SubjectMark, Verdict } from '../../revocation-store.ts'

/** The live marks in this process's memory: 21 to 32 bytes for each token or session. */
export interface MarkSet {
  /** Adds a mark. Returns whether it revokes something that was not revoked before. */
  join (mark: Mark, now: number): boolean
  check (credential: Credential, now: number): Verdict
  /** Whether this is the first claim of a key until the claim ends. */
  claim (key: string, until: number, now: number): boolean
  /** The number of subjects that are remembered, and the bytes of everything else. */
  size (): { readonly subjects: number, readonly bytes: number }
}

const token = 0
const session = 1
const claimed = 2

/** A cutoff and the stored forms of what keeps it apart from others of the same subject id. */
interface ScopedCutoff extends Cutoff {
  readonly issuer: string | undefined
  readonly tenant: string | undefined
}

/** An empty {@link MarkSet}. What has ended goes with the marks that come, a little with each: there is no timer. */
export function markSet (): MarkSet {
  const table = fingerprintTable()
  const subjects = new Map<string, ScopedCutoff[]>()
  let oldest = subjects.entries()

  const sweep = (now: number) => {
    table.sweep(now)
    for (let step = 0; step < 2; step++) {
      const { done, value } = oldest.next()
      if (done === true) oldest = subjects.entries()
      else if (value[1].every(({ until }) => until <= now)) subjects.delete(value[0])
    }
  }

  const joinSubject = (mark: SubjectMark, now: number): boolean => {
    const id = idOfMark(mark.subject, mark)
    const own = scopedCutoffOf(mark)
    const cutoffs = subjects.get(id)
    if (cutoffs === undefined) {
      subjects.set(id, [own])
      return true
    }
    const others = cutoffs.filter(({ until }) => until > now)
    const index = others.findIndex(({ issuer, tenant }) => issuer === own.issuer && tenant === own.tenant)
    const [known] = index === -1 ? [] : others.splice(index, 1)
    const joined = known === undefined ? own : { ...own, ...joinCutoffs(known, own) }
    subjects.set(id, [...others, joined])
    return known === undefined || !isSameCutoff(known, joined)
  }

  const isSubjectRevoked = (subject: string, credential: Credential, now: number): boolean => {
    const cutoffs = subjects.get(markId(subject))
    return cutoffs !== undefined && cutoffs.some(cutoff => isInScope(cutoff, credential) && isCutOff(cutoff, credential, now))
  }

  return {
    join (mark, now) {
      if (mark.until <= now) return false
      sweep(now)
      if ('subject' in mark) return joinSubject(mark, now)
      const issuer = mark.issuer === undefined ? undefined : idOfMark(mark.issuer, mark)
      if ('tokenId' in mark) return table.add(token, idOfMark(mark.tokenId, mark), mark.until, now, issuer)
      return table.add(session, idOfMark(mark.sessionId, mark), mark.until, now, issuer)
    },
    check (credential, now) {
      const { tokenId, sessionId, subject } = credential
      const issuer = isId(credential.issuer) ? credential.issuer : undefined
      const revoked = (isId(tokenId) && table.has(token, tokenId, now, issuer)) ||
        (isId(sessionId) && table.has(session, sessionId, now, issuer)) ||
        (isId(subject) && subjects.size > 0 && isSubjectRevoked(subject, credential, now))
      return revoked ? 'revoked' : 'live'
    },
    claim (key, until, now) {
      sweep(now)
      const first = !table.has(claimed, key, now)
      if (first) table.add(claimed, markId(key), until, now)
      return first
    },
    size: () => ({ subjects: subjects.size, bytes: table.size() })
  }
}

function scopedCutoffOf (mark: SubjectMark): ScopedCutoff {
  const { issuer, tenant } = mark
  return {
    ...cutoffOf(mark),
    issuer: issuer === undefined ? undefined : idOfMark(issuer, mark),
    tenant: tenant === undefined ? undefined : idOfMark(tenant, mark)
  }
}

/** What one side does not name keeps nothing apart. */
function isInScope (cutoff: ScopedCutoff, { issuer, tenant }: Credential): boolean {
  return (cutoff.issuer === undefined || !isId(issuer) || cutoff.issuer === markId(issuer)) &&
    (cutoff.tenant === undefined || !isId(tenant) || cutoff.tenant === markId(tenant))
}
