import { cutoffTable } from './cutoff-table.ts'
import { fingerprintTable } from './fingerprint-table.ts'
import { idOfMark, isDigest, isId } from './id.ts'
import type { Credential, Mark, Verdict } from '../../revocation-store.ts'

/** The live marks in this process's memory: 21 to 32 bytes for each token or session, 91 to 136 for each subject. */
export interface MarkSet {
  /** Adds a mark. Returns whether it revokes something that was not revoked before. */
  join (mark: Mark, now: number): boolean
  check (credential: Credential, now: number): Verdict
  /** Whether this is the first claim of a key until the claim ends. */
  claim (key: string, until: number, now: number): boolean
  /** How many cutoffs of subjects are remembered, and the bytes of everything. */
  size (): { readonly subjects: number, readonly bytes: number }
}

const token = 0
const session = 1
const claimed = 2

/** An empty {@link MarkSet}. Each mark that is added removes a few that have ended: there is no timer. */
export function markSet (): MarkSet {
  const table = fingerprintTable()
  const cutoffs = cutoffTable()
  let hasCutoffs = false

  const sweep = (now: number) => {
    table.sweep(now)
    if (hasCutoffs) cutoffs.sweep(now)
  }

  return {
    join (mark, now) {
      if (mark.until <= now) return false
      sweep(now)
      if ('subject' in mark) {
        hasCutoffs = true
        return cutoffs.join(mark, now)
      }
      const issuer = mark.issuer === undefined ? undefined : idOfMark(mark.issuer, mark)
      const [kind, id] = 'tokenId' in mark ? [token, mark.tokenId] : [session, mark.sessionId]
      return table.add({ kind, id, isDigest: isDigest(id, mark), issuer }, mark.until, now)
    },
    check (credential, now) {
      const { tokenId, sessionId, subject } = credential
      const issuer = isId(credential.issuer) ? credential.issuer : undefined
      const revoked = (isId(tokenId) && table.has({ kind: token, id: tokenId, issuer }, now)) ||
        (isId(sessionId) && table.has({ kind: session, id: sessionId, issuer }, now)) ||
        (hasCutoffs && isId(subject) && cutoffs.isRevoked(subject, credential, now))
      return revoked ? 'revoked' : 'live'
    },
    claim (key, until, now) {
      sweep(now)
      const entry = { kind: claimed, id: key }
      const first = !table.has(entry, now)
      if (first) table.add(entry, until, now)
      return first
    },
    size: () => ({ subjects: cutoffs.count(), bytes: table.size() + cutoffs.size() })
  }
}
