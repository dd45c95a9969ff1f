import { createPublicKey, KeyObject } from 'node:crypto'
import type { Awaitable } from '../../awaitable.ts'
import { isTokenRejected, rejected, type Claims } from '../../token-verifier.ts'
import type { RequestLimits } from '../http/json-request.ts'
import { isSecureUrl } from '../http/secure-url.ts'
import { assertOption } from '../plugin/options.ts'
import { signatureCheck, type CheckSignature, type UncheckedJwt } from './jwt.ts'
import { keyLoader, type KeyLocation } from './key-loader.ts'
import { remoteJwkSet, type RemoteJwkSetTimes } from './remote-jwk-set.ts'
import { fewestSecretBytes, isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.ts'

/** Where the keys of an issuer are. */
export interface KeyPlace {
  readonly issuer: string
  readonly jwksUri?: string | undefined
  readonly discoveryUri?: string | undefined
}

/** How keys are fetched. */
export interface KeyFetching {
  readonly limits: RequestLimits
  readonly times: RemoteJwkSetTimes
}

/** Which plugin or function resolves an option, and the name of the option so far: `issuers[0]` for example. */
export interface OptionPlace {
  readonly caller: string
  readonly at: string
}

/** The keys of one issuer, and the algorithms that are accepted from it. */
export interface IssuerKeys {
  /**
   * Returns the claims of a token that one of the keys has signed, or `undefined` when the issuer has no such key. Throws
   * or rejects with a `TokenRejectedError` for a token that is refused, and with another error if the keys cannot be had.
   */
  verify (token: string, jwt: UncheckedJwt): Awaitable<Claims | undefined>
  /** Whether the algorithm that the header names is one of those pinned. */
  accepts (algorithm: unknown): algorithm is SignatureAlgorithm
}

/** The keys that an issuer publishes, fetched when they are needed. The algorithms must be of key pairs. */
export function publishedKeys (
  place: KeyPlace, algorithms: readonly SignatureAlgorithm[], { caller, at, limits, times }: OptionPlace & KeyFetching
): IssuerKeys {
  const load = keyLoader(keyLocation(place, { caller, at }), limits, times.refreshAfter)
  const keys = remoteJwkSet(place.issuer, load, times)
  const accepts = accepting(algorithms)
  return {
    accepts,
    verify (token, { header: { alg, kid }, payload }) {
      if (!accepts(alg)) throw rejected('untrusted', 'the algorithm is not one of those pinned')
      if (kid !== undefined && typeof kid !== 'string') throw rejected('malformed', 'the key id is not a string')
      return keys.find(set => claimsBy(set.find(kid, alg), token, kid), issuedAtOf(payload))
    }
  }
}

/**
 * A key that the host has: a public key or a certificate in PEM, or the secret of an `HS...` algorithm.
 *
 * @throws {TypeError} for a key that is not for each of the algorithms
 */
export function givenKey (key: string | Buffer | KeyObject, algorithms: readonly SignatureAlgorithm[], option: OptionPlace): IssuerKeys {
  const check = signatureCheck(keyMaterial(key, algorithms, option), algorithms)
  return { accepts: accepting(algorithms), verify: token => check(token) }
}

function accepting (algorithms: readonly SignatureAlgorithm[]): IssuerKeys['accepts'] {
  const pinned = new Set<unknown>(algorithms)
  return (algorithm): algorithm is SignatureAlgorithm => pinned.has(algorithm)
}

function keyMaterial (
  key: string | Buffer | KeyObject, algorithms: readonly SignatureAlgorithm[], { caller, at }: OptionPlace
): string | Buffer {
  const secretBytes = algorithms.map(fewestSecretBytes)
  if (secretBytes.every(bytes => bytes !== undefined)) {
    const secret = typeof key === 'string' ? Buffer.from(key) : key
    const isLongEnough = Buffer.isBuffer(secret) && secret.length >= Math.max(...secretBytes)
    assertOption(isLongEnough, caller, `${at}.key`, `must be a secret of at least ${Math.max(...secretBytes)} bytes for these algorithms`)
    return secret
  }
  const publicKey = publicKeyOf(key)
  const isForAll = publicKey !== undefined && algorithms.every(algorithm => isKeyFor(algorithm, publicKey))
  assertOption(isForAll, caller, `${at}.key`,
    'must be a public key or certificate in PEM that is for each of the algorithms (RSA: 2048 bits)')
  return publicKey.export({ type: 'spki', format: 'pem' }).toString()
}

function publicKeyOf (key: string | Buffer | KeyObject): KeyObject | undefined {
  if (key instanceof KeyObject && key.type === 'public') return key
  try {
    return createPublicKey(key)
  } catch {
    return undefined
  }
}

/**
 * Checks the list of algorithms that are pinned.
 *
 * @throws {TypeError} unless each is known, and of a key pair where keys are published
 */
export function pinnedAlgorithms (
  algorithms: unknown, { caller, at }: OptionPlace, { secrets }: { readonly secrets: boolean }
): readonly SignatureAlgorithm[] {
  const isPinned = Array.isArray(algorithms) && algorithms.length > 0 &&
    algorithms.every(algorithm => isSignatureAlgorithm(algorithm) && (secrets || fewestSecretBytes(algorithm) === undefined))
  assertOption(isPinned, caller, `${at}.algorithms`, `must be a list of algorithms${secrets ? '' : ' of key pairs'}, such as ['RS256']`)
  return [...algorithms]
}

function keyLocation ({ issuer, jwksUri, discoveryUri }: KeyPlace, { caller, at }: OptionPlace): KeyLocation {
  const hint = 'must be an https URL without a password (http only for this machine)'
  const document = discoveryUri ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  if (jwksUri === undefined) {
    const option = discoveryUri === undefined ? 'issuer' : 'discoveryUri'
    assertOption(isSecureUrl(document), caller, `${at}.${option}`, `${hint}. Otherwise give its jwksUri`)
  } else {
    assertOption(isSecureUrl(jwksUri), caller, `${at}.jwksUri`, hint)
    assertOption(discoveryUri === undefined, caller, `${at}.discoveryUri`, 'must not be given together with jwksUri')
  }
  return { issuer, jwksUri, document }
}

/**
 * The claims of a token whose key is there. A wrong signature is a refusal; but where the token names no key, the key of
 * the issuer may have changed, so it counts as not there.
 */
function claimsBy (checkSignature: CheckSignature | undefined, token: string, kid: string | undefined): Claims | undefined {
  try {
    return checkSignature?.(token)
  } catch (error) {
    if (kid === undefined && isTokenRejected(error) && error.reason === 'untrusted') return undefined
    throw error
  }
}

/** As the token says itself: good for telling a new key from one that was withdrawn, and for nothing else. */
function issuedAtOf ({ iat }: Claims): number | undefined {
  return typeof iat === 'number' ? iat * 1000 : undefined
}
