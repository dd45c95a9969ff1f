import type { Awaitable } from '../awaitable.ts'
import { expectedClaims, type CheckClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { jwkSet, type JwkSet } from '../internal/jose/jwk-set.ts'
import { requestJson, type RequestLimits } from '../internal/http/json-request.ts'
import { defaultMaxTokenLength, readUnchecked, refuseMalformed, type CheckSignature } from '../internal/jose/jwt.ts'
import { assertFunctions, assertOption, duration, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import { remoteJwkSet, type RemoteJwkSet, type RemoteJwkSetTimes } from '../internal/jose/remote-jwk-set.ts'
import { isSecureUrl } from '../internal/http/secure-url.ts'
import { fewestSecretBytes, isSignatureAlgorithm, type SignatureAlgorithm } from '../internal/jose/signature-algorithm.ts'
import { rejected, type Claims, type VerifyToken } from '../token-verifier.ts'

/** An issuer whose tokens are accepted, and where its keys are. */
export interface JwksIssuer {
  /** Exactly the `iss` of its tokens, down to the slash at the end. */
  readonly issuer: string
  /** Who we are to this issuer: `aud` names at least one of these. */
  readonly audience: string | readonly string[]
  /** The signature algorithms that are accepted from this issuer. Secrets (`HS...`) have no place in a public key set. */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Where the key set is. Without it, the issuer's discovery document says so. */
  readonly jwksUri?: string | undefined
  /**
   * Where the discovery document is, if not at its usual place below the issuer.
   * @default `${issuer}/.well-known/openid-configuration`
   */
  readonly discoveryUri?: string | undefined
}

/** What {@link jwksVerifier} is made of. Times are milliseconds. */
export interface JwksVerifierOptions extends ClaimOptions {
  readonly issuers: readonly JwksIssuer[]
  /**
   * Tokens with unknown key ids make us ask an issuer at most once in so long.
   * @default 30000
   */
  readonly cooldown?: number | undefined
  /**
   * Keys older than this are fetched anew, as a rule while the old ones serve. A key that the issuer withdrew is
   * forgotten within twice this time.
   * @default 600000
   */
  readonly refreshAfter?: number | undefined
  /**
   * For each request to an issuer, from the first byte to the last.
   * @default 5000
   */
  readonly timeout?: number | undefined
  /**
   * The longest answer of an issuer that is read, in bytes.
   * @default 262144
   */
  readonly maxResponseLength?: number | undefined
  /**
   * Longer tokens are refused unread. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
  /** The host's own `fetch`, for a proxy or an own certificate authority. @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

interface Issuer {
  readonly name: string
  readonly algorithms: ReadonlySet<unknown>
  readonly keys: RemoteJwkSet
  readonly checkClaims: CheckClaims
}

const verifier = 'jwksVerifier'

/**
 * Verifies JWTs of issuers that publish their keys. A token chooses among the issuers named here, never where we look for keys.
 *
 * New keys are found without a restart, many callers share one request, and keys we have serve on while an issuer is
 * down. A token whose key we do not have is refused if the issuer says that there is no such key, and an outage if it
 * does not answer. With the keys at hand an answer is a plain value. `exp`, `iss` and `aud` are always demanded and checked.
 *
 * @throws TypeError when made with an option that is missing or unsafe.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation
 * @see https://www.rfc-editor.org/rfc/rfc7517
 */
export function jwksVerifier (options: JwksVerifierOptions): VerifyToken {
  const issuers = readIssuers(options)
  const maxLength = wholeNumber(options.maxTokenLength, verifier, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })

  return (token) => {
    refuseMalformed(token, maxLength)
    const { header, payload } = readUnchecked(token)
    const issuer = issuers.get(payload['iss'])
    if (issuer === undefined) throw rejected('untrusted', 'the token is of another issuer')
    const { alg, kid } = header
    if (!isSignatureAlgorithm(alg) || !issuer.algorithms.has(alg)) throw rejected('untrusted', 'the algorithm is not one of those pinned')
    if (kid !== undefined && typeof kid !== 'string') throw rejected('malformed', 'the key id is not a string')
    return withKey(issuer, issuer.keys.find(kid, alg), token)
  }
}

function withKey (issuer: Issuer, found: Awaitable<CheckSignature | undefined>, token: string): Awaitable<Claims> {
  if (found === undefined || typeof found === 'function') return verified(issuer, found, token)
  return found.then(check => verified(issuer, check, token))
}

function verified ({ checkClaims }: Issuer, checkSignature: CheckSignature | undefined, token: string): Claims {
  if (checkSignature === undefined) throw rejected('untrusted', 'the issuer has no such key')
  const claims = checkSignature(token)
  checkClaims(claims)
  return claims
}

function readIssuers (options: JwksVerifierOptions): ReadonlyMap<unknown, Issuer> {
  const { issuers } = options
  assertOption(Array.isArray(issuers) && issuers.length > 0, verifier, 'issuers', 'must be a list of at least one issuer')
  assertFunctions(options, verifier, ['fetch'])
  const limits: RequestLimits = {
    fetch: options.fetch ?? globalThis.fetch,
    timeout: duration(options.timeout, 5000, verifier, 'timeout'),
    maxLength: wholeNumber(options.maxResponseLength, verifier, 'maxResponseLength', { standard: 256 * 1024, least: 1 })
  }
  const times: RemoteJwkSetTimes = {
    cooldown: duration(options.cooldown, 30_000, verifier, 'cooldown'),
    refreshAfter: duration(options.refreshAfter, 600_000, verifier, 'refreshAfter')
  }
  const read = issuers.map((issuer, index) => readIssuer(issuer, `issuers[${index}]`, options, limits, times))
  const byName = new Map(read.map(issuer => [issuer.name, issuer]))
  assertOption(byName.size === read.length, verifier, 'issuers', 'names one issuer twice')
  return byName
}

function readIssuer (given: JwksIssuer, at: string, claimTimes: ClaimOptions, limits: RequestLimits, times: RemoteJwkSetTimes): Issuer {
  const { issuer, audience, algorithms } = given
  assertOption(typeof issuer === 'string', verifier, `${at}.issuer`, 'must be one string')
  const issuers = nonEmptyStrings(issuer, verifier, `${at}.issuer`)
  const isPinned = Array.isArray(algorithms) && algorithms.length > 0 &&
    algorithms.every(algorithm => isSignatureAlgorithm(algorithm) && fewestSecretBytes(algorithm) === undefined)
  assertOption(isPinned, verifier, `${at}.algorithms`, "must be a list of algorithms of key pairs, such as ['RS256']")
  const audiences = nonEmptyStrings(audience, verifier, `${at}.audience`)
  return {
    name: issuer,
    algorithms: new Set(algorithms),
    keys: remoteJwkSet(issuer, keyLoader(given, at, limits), times),
    checkClaims: expectedClaims(verifier, { issuers, audiences, required: ['exp', 'iss', 'aud'] }, claimTimes)
  }
}

function keyLoader (given: JwksIssuer, at: string, limits: RequestLimits): () => Promise<JwkSet> {
  const { issuer, jwksUri, discoveryUri } = given
  const hint = 'must be an https URL without a password (http only for this machine)'
  assertOption(jwksUri === undefined || discoveryUri === undefined, verifier, `${at}.discoveryUri`, 'is of no use beside jwksUri: give one of them')
  if (jwksUri !== undefined) {
    assertOption(isSecureUrl(jwksUri), verifier, `${at}.jwksUri`, hint)
    return async () => jwkSet((await requestJson(limits, jwksUri)).json)
  }
  const document = discoveryUri ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  assertOption(isSecureUrl(document), verifier, `${at}.${discoveryUri === undefined ? 'issuer' : 'discoveryUri'}`, `${hint}, or give its jwksUri`)
  return discovering(issuer, document, limits)
}

/** Where the keys are is asked once, and again when they are no longer there. */
function discovering (issuer: string, document: string, limits: RequestLimits): () => Promise<JwkSet> {
  let jwksUri: string | undefined
  return async () => {
    const uri = jwksUri ?? jwksUriOf((await requestJson(limits, document)).json, issuer)
    jwksUri = undefined
    const keys = jwkSet((await requestJson(limits, uri)).json)
    jwksUri = uri
    return keys
  }
}

function jwksUriOf (document: unknown, issuer: string): string {
  const { issuer: named, jwks_uri: uri } = Object(document)
  if (named !== issuer) throw new Error('the discovery document is of another issuer')
  if (!isSecureUrl(uri)) throw new Error('the discovery document has no secure jwks_uri')
  return uri
}
