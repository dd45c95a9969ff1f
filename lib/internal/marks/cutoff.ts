import { idOfMark, markId } from './id.ts'
import type { Credential, SubjectMark } from '../../revocation-store.ts'

/**
 * The marks of one subject taken together, however many there are: the latest cutoff, the session that it leaves alone, and
 * the latest cutoff that does not leave that session alone. Together they revoke what each mark revokes.
 */
export interface Cutoff {
  readonly at: number
  readonly except: string | undefined
  /** The cutoff for the excepted session; the same as `at` if there is none. */
  readonly exceptAt: number
  readonly until: number
}

/** Before every instant. An integer, so that stores can keep it. */
const never = Number.MIN_SAFE_INTEGER

/** The cutoff of one mark: it revokes nothing of the excepted session. */
export function cutoffOf (mark: Pick<SubjectMark, 'cutoff' | 'except' | 'until' | 'digested'>): Cutoff {
  const { cutoff, except, until } = mark
  if (except === undefined) return { at: cutoff, except, exceptAt: cutoff, until }
  return { at: cutoff, except: idOfMark(except, mark), exceptAt: never, until }
}

/** The least that covers both: commutative, associative, and idempotent. */
export function joinCutoffs (a: Cutoff, b: Cutoff): Cutoff {
  const [later, earlier] = a.at >= b.at ? [a, b] : [b, a]
  const exceptAt = Math.max(later.exceptAt, cutoffFor(earlier, later.except))
  const until = Math.max(a.until, b.until)
  if (exceptAt < later.at) return { at: later.at, except: later.except, exceptAt, until }
  return { at: later.at, except: undefined, exceptAt: later.at, until }
}

/** Whether a credential of this subject is revoked by its cutoff. */
export function isCutOff (cutoff: Cutoff, { issuedAt = -Infinity, loggedInAt = issuedAt, sessionId }: Credential, now: number): boolean {
  if (cutoff.until <= now) return false
  const revokedUntil = cutoff.except === undefined || sessionId === undefined ? cutoff.at : cutoffFor(cutoff, markId(sessionId))
  return revokedUntil !== never && !(loggedInAt > revokedUntil)
}

/** Whether two cutoffs revoke the same. */
export function isSameCutoff (a: Cutoff, b: Cutoff): boolean {
  return a.at === b.at && a.except === b.except && a.exceptAt === b.exceptAt
}

/** The instant at or before which whatever belongs to this session is revoked. */
function cutoffFor ({ at, except, exceptAt }: Cutoff, sessionId: string | undefined): number {
  return except !== undefined && except === sessionId ? exceptAt : at
}
