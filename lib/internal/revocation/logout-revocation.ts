import { credentialOf, logoutMarks } from './logout-marks.ts'
import { assertOption, duration } from '../plugin/options.ts'
import type { Ask } from '../plugin/ask.ts'
import type { Principal } from '../../principal.ts'
import type { Awaitable } from '../../awaitable.ts'
import type { Credential, Mark } from '../../revocation-store.ts'
import type { Claims } from '../../token-verifier.ts'

/** How a flow over tokens makes its logout stick: by marks that a `revocationGuard` honours. */
export interface LogoutRevocation {
  /** Where the marks live: a revocation store, or a replica of one. */
  readonly revocations: { revoke (...marks: readonly Mark[]): Awaitable<unknown> }
  /** `current`: the token that was sent, and its session. `all`: everything of the user that was issued until now. @default 'current' */
  readonly scope?: 'current' | 'all' | undefined
  /** The longest lifetime of any token of this kind, in milliseconds: marks outlive what they kill. */
  readonly lifetime: number
  /** How far the clocks of issuer, verifier and store may differ, in milliseconds. @default 0 */
  readonly clockTolerance?: number | undefined
}

/** Marks a credential as revoked. `finish` is called once when the marks are stored, also when that was after the timeout. */
export type RevokeCredential = (credential: () => Credential, finish?: () => Awaitable<unknown>) => Promise<void>

/** Marks a credential as the option says; `undefined` without the option. */
export function logoutRevocation (option: LogoutRevocation | undefined, caller: string, ask: Ask): RevokeCredential | undefined {
  if (option === undefined) return undefined
  assertOption(typeof option === 'object' && option !== null, caller, 'revoke', 'must be an object, { revocations, lifetime }, when it is given')
  const { revocations, scope = 'current', clockTolerance = 0 } = option
  assertOption(typeof revocations?.revoke === 'function', caller, 'revoke.revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertOption(['current', 'all'].includes(scope), caller, 'revoke.scope', 'must be "current" or "all"')
  assertOption(option.lifetime !== undefined, caller, 'revoke.lifetime', 'is missing: pass the longest lifetime of a token, in milliseconds')
  const lifetime = duration(option.lifetime, 0, caller, 'revoke.lifetime')
  assertOption(clockTolerance >= 0, caller, 'revoke.clockTolerance', 'must be a number of milliseconds, 0 or more')
  return async (credential, finish) => {
    await ask('revocations.revoke', () => revocations.revoke(...logoutMarks(credential(), { scope, lifetime, clockTolerance })), finish)
  }
}

/** The facts of a token as a flow knows them: its user is who the host's `principal` says. */
export function credentialOfPrincipal (claims: Claims, token: string, { subject, tenant, sessionId, issuedAt }: Principal): Credential {
  return { tokenId: credentialOf(claims, token).tokenId, subject, tenant, sessionId, issuedAt }
}
