import { tokenIdOf } from './token-id.ts'
import { isId } from '../marks/id.ts'
import { assertOption, lifetimeOf } from '../plugin/options.ts'
import type { Credential, Mark } from '../../revocation-store.ts'
import { principalOf } from '../../principal.ts'
import type { Claims } from '../../token-verifier.ts'

/** Which sessions of a user are logged out: the current one, the others, or all of them. */
export type LogoutScope = 'current' | 'others' | 'all'

/** What {@link logoutMarks} needs to know besides the credential. `lifetime` is required. */
export interface LogoutMarksOptions {
  /**
   * `current`: this token and its session. `others`: everything of its subject that goes back to a login until now, except
   * for one session. `all`: everything of its subject that goes back to a login until now.
   *
   * @default 'current'
   */
  readonly scope?: LogoutScope | undefined
  /**
   * The longest lifetime of any credential of this kind, in milliseconds: a mark must outlive what it revokes. Refresh
   * tokens count if they carry the same ids.
   */
  readonly lifetime: number
  /**
   * How far the clocks of issuer, verifier and store may differ, in milliseconds, plus the verifier's own tolerance for
   * expired tokens. As long as this, and within the same second where `iat` is all that is known, a new login is refused too.
   *
   * @default 0
   */
  readonly clockTolerance?: number | undefined
  /** With the scope `others`: the session to leave alone. @default the credential's own session */
  readonly except?: string | undefined
  /**
   * The instant of the logout, in epoch milliseconds. For an event that arrives late, the instant of the event, so that it
   * does not end a later login.
   *
   * @default now
   */
  readonly at?: number | undefined
}

/**
 * Reads a credential from the claims of a verified JWT: `jti`, `sid`, `sub`, `tenant` or `tid` or `org_id`, `iss`, `iat`,
 * `auth_time` and `exp`. For a login time in a claim of your own: `{ ...credentialOf(claims, token), loggedInAt: claims.login }`.
 *
 * A token without a `jti` is known by a digest of what it says, if the token is given: signatures and headers can be
 * spelled in several ways.
 *
 * @throws {TypeError} for claims with neither `jti` nor `sid` when the token is not given: nothing could revoke it alone
 *
 * @example
 * ```ts
 * import { credentialOf } from 'fastify-logout'
 *
 * const credential = credentialOf({ jti: '0b9c0e2e', sub: 'alice', iss: 'https://id.example.com', iat: 1_790_000_000 })
 * ```
 */
export function credentialOf (claims: Claims, token?: string): Credential {
  const { subject, tenant, sessionId, issuedAt } = principalOf(claims)
  const { jti, iss, auth_time: authTime, exp } = claims
  const tokenId = isId(jti) ? `${jti}` : token === undefined ? undefined : tokenIdOf(token)
  if (tokenId === undefined && sessionId === undefined) {
    throw new TypeError('credentialOf: the token has neither a jti nor a sid: pass the token too, credentialOf(claims, token)')
  }
  const issuer = isId(iss) ? iss : undefined
  return { tokenId, sessionId, subject, tenant, issuer, issuedAt, loggedInAt: instantOf(authTime), expiresAt: instantOf(exp) }
}

/** Claims count seconds. */
function instantOf (seconds: unknown): number | undefined {
  return typeof seconds === 'number' ? seconds * 1000 : undefined
}

/**
 * Makes the marks that log a credential out.
 *
 * With the scopes `others` and `all`, the cutoff is the later one of the logout and the credential's own `issuedAt`, plus
 * the tolerance: an issuer's clock that is ahead does not let the credential slip through. Marks last until the
 * credential has expired, and until everything issued before the cutoff has reached its lifetime, plus the tolerance.
 *
 * @throws {TypeError} for a credential without the ids that the scope needs, and for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import { credentialOf, logoutMarks } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const revocations = memoryRevocationStore()
 * const credential = credentialOf({ jti: '0b9c0e2e', sid: 'b2c4', sub: 'alice', iat: 1_790_000_000 })
 * await revocations.revoke(...logoutMarks(credential, { scope: 'others', lifetime: 15 * 60_000 }))
 * ```
 */
export function logoutMarks (credential: Credential, options: LogoutMarksOptions): Mark[] {
  const { scope, lifetime, clockTolerance, at, except } = resolveOptions(credential, options)
  const { tokenId, sessionId, subject, tenant } = credential
  const cutoff = Math.ceil(latest(at, credential.issuedAt, credential.loggedInAt) + clockTolerance)
  const until = Math.ceil(Math.min(latest(cutoff + lifetime, credential.expiresAt) + clockTolerance, at + longest))
  const rest = { ...(isId(credential.issuer) && { issuer: credential.issuer }), until }

  if (scope !== 'current') {
    assertCredential(isId(subject), `the scope "${scope}" needs a credential with a subject`)
    assertCredential(scope === 'all' || isId(except), 'the scope "others" needs a credential with a session id, or the option "except"')
    return [{ subject, ...(isId(tenant) && { tenant }), cutoff, ...(except !== undefined && { except }), ...rest }]
  }
  assertCredential(isId(tokenId) || isId(sessionId), 'the scope "current" needs a credential with a token id or a session id')
  return [...(isId(tokenId) ? [{ tokenId, ...rest }] : []), ...(isId(sessionId) ? [{ sessionId, ...rest }] : [])]
}

/** A hundred years in milliseconds. No mark lasts longer, whatever a token says of its end. */
const longest = 100 * 365.25 * 24 * 3_600_000

function latest (first: number, ...others: Array<number | undefined>): number {
  return others.reduce<number>((latest, instant) => instant !== undefined && instant > latest ? instant : latest, first)
}

const caller = 'logoutMarks'

function resolveOptions (credential: Credential, options: LogoutMarksOptions) {
  const isObject = typeof credential === 'object' && credential !== null
  assertCredential(isObject, 'pass the credential to revoke, for example credentialOf(claims, token)')
  assertCredential(typeof options === 'object' && options !== null, 'pass options with a "lifetime"')
  const { scope = 'current', clockTolerance = 0, at = Date.now(), except } = options
  assertOption(['current', 'others', 'all'].includes(scope), caller, 'scope', 'must be "current", "others" or "all"')
  assertOption(options.lifetime !== undefined, caller, 'lifetime', 'is missing: pass the longest lifetime of a credential, in milliseconds')
  assertOption(typeof clockTolerance === 'number' && clockTolerance >= 0 && clockTolerance < longest, caller, 'clockTolerance',
    'must be a number of milliseconds, 0 or more')
  assertOption(typeof at === 'number' && Number.isSafeInteger(Math.ceil(at)), caller, 'at', 'must be an instant in epoch milliseconds')
  assertOption(except === undefined || (scope === 'others' && isId(except)), caller, 'except',
    'must be the id of a session, and belongs to the scope "others"')
  return {
    scope,
    lifetime: lifetimeOf(options.lifetime, 0, caller, 'lifetime'),
    clockTolerance,
    at,
    except: except ?? (scope === 'others' ? credential.sessionId : undefined)
  }
}

function assertCredential (holds: boolean, problem: string): asserts holds {
  if (!holds) throw new TypeError(`${caller}: ${problem}`)
}
