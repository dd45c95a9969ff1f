import { credentialOf, logoutMarks } from './logout-marks.ts'
import type { Awaitable } from '../../awaitable.ts'
import { assertOption, lifetimeOf } from '../plugin/options.ts'
import type { Ask } from '../plugin/ask.ts'
import type { Principal } from '../../principal.ts'
import type { Credential, Mark } from '../../revocation-store.ts'
import type { Claims } from '../../token-verifier.ts'

/**
 * How a flow over tokens makes its logout stick: by marks that a `revocationGuard` honours. `revocations` and `lifetime`
 * are required.
 *
 * @example
 * ```ts
 * import type { LogoutRevocation } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const revoke: LogoutRevocation = { revocations: memoryRevocationStore(), scope: 'all', lifetime: 15 * 60_000 }
 * ```
 */
export interface LogoutRevocation {
  /** Keeps the marks: a revocation store, or a replica of one. */
  readonly revocations: {
    /** Adds marks. */
    revoke (...marks: readonly Mark[]): Awaitable<unknown>
  }
  /** `current`: the token that was sent, and its session. `all`: everything of the user that was issued until now. @default 'current' */
  readonly scope?: 'current' | 'all' | undefined
  /** The longest lifetime of any token of this kind, in milliseconds: marks outlive what they revoke. */
  readonly lifetime: number
  /** How far the clocks of issuer, verifier and store may differ, plus the verifier's tolerance, in milliseconds. @default 0 */
  readonly clockTolerance?: number | undefined
}

/** Marks a credential as revoked. `finish` is called once when the marks are stored, also if that was after the timeout. */
export type RevokeCredential = (credential: () => Credential, finish?: () => Awaitable<unknown>) => Promise<void>

/** Returns a function that revokes a credential as the option says; `undefined` without the option. */
export function logoutRevocation (option: LogoutRevocation | undefined, caller: string, ask: Ask): RevokeCredential | undefined {
  if (option === undefined) return undefined
  const { revocations, ...marks } = resolveRevoke(option, caller)
  return async (credential, finish) => {
    await ask('revocations.revoke', () => revocations.revoke(...logoutMarks(credential(), marks)), finish)
  }
}

/** The credential of a token as a flow knows it: its user is the one that the host's `principal` names. */
export function credentialOfPrincipal (claims: Claims, token: string, { subject, tenant, sessionId, issuedAt }: Principal): Credential {
  const own = credentialOf(claims, token)
  return { ...own, subject, tenant, sessionId, issuedAt: issuedAt ?? own.issuedAt }
}

/**
 * Checks the option `revoke` of a flow.
 *
 * @throws {TypeError} for what is missing or wrong in it
 */
export function resolveRevoke (given: LogoutRevocation, caller: string, option = 'revoke') {
  assertOption(typeof given === 'object' && given !== null, caller, option,
    'must be an object, { revocations, lifetime }, when it is given')
  const { revocations, scope = 'current', clockTolerance = 0 } = given
  assertOption(typeof revocations?.revoke === 'function', caller, `${option}.revocations`,
    'is missing: pass a revocation store, for example redisRevocationStore(redis)')
  assertOption(['current', 'all'].includes(scope), caller, `${option}.scope`, 'must be "current" or "all"')
  assertOption(given.lifetime !== undefined, caller, `${option}.lifetime`,
    'is missing: pass the longest lifetime of a token, in milliseconds')
  const lifetime = lifetimeOf(given.lifetime, 0, caller, `${option}.lifetime`)
  assertOption(typeof clockTolerance === 'number' && clockTolerance >= 0, caller, `${option}.clockTolerance`,
    'must be a number of milliseconds, 0 or more')
  return { revocations, scope, lifetime, clockTolerance }
}
