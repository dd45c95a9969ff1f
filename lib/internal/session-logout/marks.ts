import type { Mark, RevocationStore } from '../../revocation-store.ts'
import type { HostSession, SessionsById, SubjectSessions } from '../../session-source.ts'
import { assertOption } from '../plugin/options.ts'

/** What a session source needs of a revocation store. */
export type SourceRevocations = Pick<RevocationStore, 'check' | 'revoke' | 'revokeOnce'>

/** Checks the option `revocations` of a session source. */
export function assertRevocations (revocations: SourceRevocations | undefined, caller: string): asserts revocations is SourceRevocations {
  const areFunctions = (['check', 'revoke', 'revokeOnce'] as const).every(name => typeof revocations?.[name] === 'function')
  assertOption(areFunctions, caller, 'revocations',
    'is missing: pass a revocation store, such as redisRevocationStore(redis)')
}

/** How long marks last, and how far clocks may differ, in milliseconds. */
export interface MarkTimes {
  readonly lifetime: number
  readonly clockTolerance?: number
}

/** Checks the option `clockTolerance` of a session source. */
export function toleranceOf (given: number | undefined = 0, caller: string): number {
  assertOption(Number.isFinite(given) && given >= 0, caller, 'clockTolerance', 'must be a number of milliseconds, 0 or more')
  return given
}

/** The mark that ends every session of a subject that exists now, except one. Numbers are their text. */
export function subjectMark ({ subject, tenant, except }: SubjectSessions, { lifetime, clockTolerance = 0 }: MarkTimes): Mark {
  const cutoff = Math.ceil(Date.now() + clockTolerance)
  return {
    subject: `${subject}`,
    ...(tenant !== undefined && { tenant }),
    ...(except !== undefined && { except: `${except}` }),
    cutoff,
    until: Math.ceil(cutoff + lifetime + clockTolerance)
  }
}

/** Ends sessions by a mark of their public id. A session counts as live if this mark is the first one. */
export function markedById (
  revocations: Pick<RevocationStore, 'revoke'>, { lifetime, clockTolerance = 0 }: MarkTimes
): SessionsById<HostSession> {
  return {
    logOutById: async ({ id, subject }) => {
      const ended = await revocations.revoke({ sessionId: id, until: Math.ceil(Date.now() + lifetime + 2 * clockTolerance) })
      return ended ? { id, subject } : undefined
    }
  }
}
