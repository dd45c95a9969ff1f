import { markId } from './id.ts'
import type { Credential, SubjectMark } from '../../revocation-store.ts'

/**
 * What the marks of one subject amount to, however many there were: the latest cutoff, the session that it spares, and
 * the latest cutoff that does not spare that session. No mark is lost in it that could still decide something.
 */
export interface Cutoff {
  readonly at: number
  readonly except: string | undefined
  /** The cutoff for the spared session; the same as `at` when none is spared. */
  readonly exceptAt: number
  readonly until: number
}

/** Before every instant. An integer, so that stores can keep it. */
const never = Number.MIN_SAFE_INTEGER

/** The cutoff of one mark: nothing of the spared session is dead by it. */
export function cutoffOf ({ cutoff, except, until }: Pick<SubjectMark, 'cutoff' | 'except' | 'until'>): Cutoff {
  return { at: cutoff, except: except === undefined ? undefined : markId(except), exceptAt: except === undefined ? cutoff : never, until }
}

/** The least that covers both: commutative, associative, and idempotent. */
export function joinCutoffs (a: Cutoff, b: Cutoff): Cutoff {
  const [later, earlier] = a.at >= b.at ? [a, b] : [b, a]
  const exceptAt = Math.max(later.exceptAt, cutoffFor(earlier, later.except))
  const spares = exceptAt < later.at
  return { at: later.at, except: spares ? later.except : undefined, exceptAt: spares ? exceptAt : later.at, until: Math.max(a.until, b.until) }
}

/** Whether a credential of this subject is dead by its cutoff. */
export function isCutOff (cutoff: Cutoff, { issuedAt = -Infinity, sessionId }: Credential, now: number): boolean {
  if (cutoff.until <= now) return false
  const deadUntil = cutoff.except === undefined || sessionId === undefined ? cutoff.at : cutoffFor(cutoff, markId(sessionId))
  return deadUntil !== never && !(issuedAt > deadUntil)
}

/** The marks, one or two, that amount to this cutoff. */
export function marksOfCutoff (subject: Pick<SubjectMark, 'subject' | 'tenant'>, { at, except, exceptAt, until }: Cutoff): SubjectMark[] {
  if (except === undefined) return [{ ...subject, cutoff: at, until }]
  const spared: SubjectMark = { ...subject, cutoff: at, except, until }
  return exceptAt === never ? [spared] : [spared, { ...subject, cutoff: exceptAt, until }]
}

/** The instant at or before which whatever belongs to this session is dead. */
function cutoffFor ({ at, except, exceptAt }: Cutoff, sessionId: string | undefined): number {
  return except !== undefined && except === sessionId ? exceptAt : at
}
