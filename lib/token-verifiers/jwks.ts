import { after } from '../internal/async/awaitable.ts'
import { claimMembers, expectedClaims, type CheckClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { httpMembers, requestLimits, type HttpOptions, type RequestLimits } from '../internal/http/json-request.ts'
import { pinnedAlgorithms, publishedKeys, type IssuerKeys } from '../internal/jose/issuer-keys.ts'
import { defaultMaxTokenLength, readUnchecked, refuseMalformed } from '../internal/jose/jwt.ts'
import { assertGrouped, assertOption, duration, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import type { RemoteJwkSetTimes } from '../internal/jose/remote-jwk-set.ts'
import type { SignatureAlgorithm } from '../internal/jose/signature-algorithm.ts'
import { rejected, type Claims, type VerifyToken } from '../token-verifier.ts'

/** An issuer whose tokens are accepted, and where its keys are. */
export interface JwksIssuer {
  /** Exactly the `iss` of its tokens, down to the slash at the end. */
  readonly issuer: string
  /** Our names at this issuer: `aud` contains at least one of these. */
  readonly audience: string | readonly string[]
  /** The signature algorithms that are accepted from this issuer, none of them for secrets (`HS...`). */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Where the key set is. Without it, the issuer's discovery document says so. */
  readonly jwksUri?: string | undefined
  /**
   * Where the discovery document is, if not at the usual place below the issuer.
   * @default `${issuer}/.well-known/openid-configuration`
   */
  readonly discoveryUri?: string | undefined
}

/** The options of {@link jwksVerifier}. `issuers` is required. Times are milliseconds. */
export interface JwksVerifierOptions {
  /** The issuers whose tokens are accepted, and where their keys are. */
  readonly issuers: readonly JwksIssuer[]
  /**
   * Minimum time between requests caused by unknown key ids, on average for each issuer: ten in a row are allowed. After
   * that a token with an unknown key id is an outage, unless its `iat` is older than the keys by more than a minute.
   * @default 30000
   */
  readonly cooldown?: number | undefined
  /**
   * Keys older than this are fetched again, in the background. A key that the issuer withdrew is forgotten within twice
   * this time.
   * @default 600000
   */
  readonly refreshAfter?: number | undefined
  /**
   * Longer tokens are refused unread. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
  /** What else is demanded of the claims. */
  readonly claims?: ClaimOptions | undefined
  /** How requests to an issuer are made. */
  readonly http?: HttpOptions | undefined
}

const caller = 'jwksVerifier'

interface Issuer {
  readonly name: string
  readonly keys: IssuerKeys
  readonly checkClaims: CheckClaims
}

/** What all issuers have in common. */
interface Shared {
  readonly limits: RequestLimits
  readonly times: RemoteJwkSetTimes
  readonly claims: ClaimOptions | undefined
}

function resolveOptions (options: JwksVerifierOptions) {
  const { issuers } = options
  assertGrouped(options, caller, { claims: claimMembers, http: httpMembers })
  assertOption(Array.isArray(issuers) && issuers.length > 0, caller, 'issuers', 'must be a list of at least one issuer')
  const limits = requestLimits(options.http, 256 * 1024, caller)
  const times: RemoteJwkSetTimes = {
    cooldown: duration(options.cooldown, 30_000, caller, 'cooldown'),
    allowedInARow: 10,
    refreshAfter: duration(options.refreshAfter, 600_000, caller, 'refreshAfter'),
    clockTolerance: options.claims?.clockTolerance ?? 0
  }
  const resolved = issuers.map((issuer, index) => resolveIssuer(issuer, `issuers[${index}]`, { limits, times, claims: options.claims }))
  const byName = new Map(resolved.map(issuer => [issuer.name, issuer]))
  assertOption(byName.size === resolved.length, caller, 'issuers', 'must name each issuer once')
  const maxTokenLength = wholeNumber(options.maxTokenLength, caller, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })
  return { issuers: byName as ReadonlyMap<unknown, Issuer>, maxTokenLength }
}

function resolveIssuer (given: JwksIssuer, at: string, { limits, times, claims }: Shared): Issuer {
  assertOption(typeof given === 'object' && given !== null, caller, at, 'must be an object such as { issuer, audience, algorithms }')
  const { issuer, audience, algorithms } = given
  assertOption(typeof issuer === 'string', caller, `${at}.issuer`, 'must be one string')
  const issuers = nonEmptyStrings(issuer, caller, `${at}.issuer`)
  const pinned = pinnedAlgorithms(algorithms, { caller, at }, { secrets: false })
  const audiences = nonEmptyStrings(audience, caller, `${at}.audience`)
  return {
    name: issuer,
    keys: publishedKeys(given, pinned, { caller, at, limits, times }),
    checkClaims: expectedClaims(caller, { issuers, audiences, required: ['exp', 'iss', 'aud'] }, claims)
  }
}

/**
 * Verifies JWTs of issuers that publish their keys. A token chooses among the issuers named here, never where keys are
 * looked for.
 *
 * New keys are found without a restart, concurrent callers share a request, and keys at hand serve while an issuer is
 * down. A token whose key is not at hand is refused when the issuer says that there is no such key, and an outage when it
 * could not be asked. With the key at hand the claims are returned without a promise. `exp`, `iss` and `aud` are always
 * required and checked. An issuer must give a new key a new id: under an old one it is found after `refreshAfter`.
 *
 * @throws {TypeError} for an option that is missing or unsafe
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation
 * @see https://www.rfc-editor.org/rfc/rfc7517
 * @example
 * ```ts
 * import { jwksVerifier } from 'fastify-logout/token-verifiers/jwks'
 *
 * const verifyToken = jwksVerifier({
 *   issuers: [{ issuer: 'https://login.example', audience: 'https://api.example', algorithms: ['RS256'] }]
 * })
 * ```
 */
export function jwksVerifier (options: JwksVerifierOptions): VerifyToken {
  const { issuers, maxTokenLength } = resolveOptions(options)

  return (token) => {
    refuseMalformed(token, maxTokenLength)
    const { header, payload } = readUnchecked(token)
    const issuer = issuers.get(payload['iss'])
    if (issuer === undefined) throw rejected('untrusted', 'the token is of another issuer')
    return after(issuer.keys.verify(token, { header, payload }), claims => accepted(issuer, claims))
  }
}

function accepted ({ checkClaims }: Issuer, claims: Claims | undefined): Claims {
  if (claims === undefined) throw rejected('untrusted', 'the issuer has no such key')
  checkClaims(claims)
  return claims
}
