import { createPublicKey, KeyObject } from 'node:crypto'
import { claimMembers, expectedClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { defaultMaxTokenLength, refuseMalformed, signatureCheck } from '../internal/jose/jwt.ts'
import { assertGrouped, assertOption, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import { fewestSecretBytes, isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm } from '../internal/jose/signature-algorithm.ts'
import type { Claims } from '../token-verifier.ts'

/** The options of {@link fastJwtVerifier}. `key`, `algorithms`, `issuer` and `audience` are required. */
export interface FastJwtVerifierOptions {
  /** A public key (PEM, SPKI or PKCS#1), a certificate (PEM), or a secret at least as long as its hash. */
  readonly key: string | Buffer | KeyObject
  /** The algorithms that are accepted, all of them for the kind of the key. */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** The issuers whose tokens are accepted: `iss` is exactly one of these. */
  readonly issuer: string | readonly string[]
  /** Our names: `aud` contains at least one of these. */
  readonly audience: string | readonly string[]
  /**
   * Longer tokens are refused unread. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
  /** What else is demanded of the claims. */
  readonly claims?: ClaimOptions | undefined
}

const caller = 'fastJwtVerifier'

function resolveOptions (options: FastJwtVerifierOptions) {
  assertGrouped(options, caller, { claims: claimMembers })
  const algorithms = resolveAlgorithms(options.algorithms)
  return {
    checkSignature: signatureCheck(resolveKey(options.key, algorithms), algorithms),
    checkClaims: expectedClaims(caller, {
      issuers: nonEmptyStrings(options.issuer, caller, 'issuer'),
      audiences: nonEmptyStrings(options.audience, caller, 'audience'),
      required: ['exp', 'iss', 'aud']
    }, options.claims),
    maxTokenLength: wholeNumber(options.maxTokenLength, caller, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })
  }
}

function resolveAlgorithms (algorithms: unknown): readonly SignatureAlgorithm[] {
  assertOption(Array.isArray(algorithms) && algorithms.length > 0 && algorithms.every(isSignatureAlgorithm), caller, 'algorithms',
    "must be a list of signature algorithms, such as ['RS256'] (never 'none')")
  return [...algorithms]
}

function resolveKey (key: unknown, algorithms: readonly SignatureAlgorithm[]): string | Buffer {
  const secretBytes = algorithms.map(algorithm => fewestSecretBytes(algorithm) ?? 0)
  const longest = Math.max(...secretBytes)
  if (longest === 0) return resolvePublicKey(key, algorithms)
  assertOption(!secretBytes.includes(0), caller, 'algorithms',
    'must not mix those for secrets (HS...) with those for key pairs: make one verifier for each')
  return resolveSecret(key, longest)
}

function resolveSecret (key: unknown, fewestBytes: number): Buffer {
  const bytes = secretBytesOf(key)
  assertOption(bytes !== undefined, caller, 'key',
    'must be a secret: a string, a Buffer or a secret KeyObject (is its environment variable set?)')
  assertOption(!isOfKeyPair(bytes.toString('latin1')), caller, 'key',
    'must be a secret, and not a key of a pair, which others may know: pin the algorithms of that pair')
  assertOption(bytes.length >= fewestBytes, caller, 'key',
    `must be a secret of at least ${fewestBytes} bytes for these algorithms (RFC 7518, section 3.2)`)
  return bytes
}

function secretBytesOf (key: unknown): Buffer | undefined {
  if (key instanceof KeyObject) return key.type === 'secret' ? key.export() : undefined
  return typeof key === 'string' || Buffer.isBuffer(key) ? Buffer.from(key) : undefined
}

function isOfKeyPair (text: string): boolean {
  return text.includes('-----BEGIN ') || /"kty"\s*:\s*"(?:RSA|EC|OKP)"/.test(text)
}

function resolvePublicKey (key: unknown, algorithms: readonly SignatureAlgorithm[]): string {
  const parsed = publicKeyOf(key)
  assertOption(parsed !== undefined, caller, 'key',
    'must be a public key or a certificate in PEM, whole and with its line breaks (is its environment variable set?)')
  const misfit = algorithms.find(algorithm => !isKeyFor(algorithm, parsed))
  assertOption(misfit === undefined, caller, 'algorithms',
    `must not contain ${misfit}, which is not for a key of this kind, curve or size: pin those of the key, or give the other key`)
  return parsed.export({ type: 'spki', format: 'pem' }).toString()
}

function publicKeyOf (key: unknown): KeyObject | undefined {
  if (key instanceof KeyObject) return key.type === 'public' ? key : undefined
  if (typeof key !== 'string' && !Buffer.isBuffer(key)) return undefined
  assertOption(!key.toString('latin1').includes('PRIVATE KEY-----'), caller, 'key',
    'must be the public key, and not the private one: a verifier must not be able to sign')
  try {
    return createPublicKey(key)
  } catch {
    return undefined
  }
}

/**
 * Verifies JWTs with a key that the host holds. The claims are returned without a promise, as an object of the caller's
 * own. Nothing is fetched or cached.
 *
 * `exp`, `iss` and `aud` are always required and checked.
 *
 * @throws {TypeError} for an option that would verify nothing: an unset issuer, a secret shorter than its hash, an
 *   algorithm that is not for the key
 * @see https://www.rfc-editor.org/rfc/rfc8725#section-3
 * @example
 * ```ts
 * import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
 * import { readFileSync } from 'node:fs'
 *
 * const verifyToken = fastJwtVerifier({
 *   key: readFileSync('public-key.pem'),
 *   algorithms: ['RS256'],
 *   issuer: 'https://login.example',
 *   audience: 'https://api.example'
 * })
 * ```
 */
export function fastJwtVerifier (options: FastJwtVerifierOptions): (token: string) => Claims {
  const { checkSignature, checkClaims, maxTokenLength } = resolveOptions(options)

  return (token) => {
    refuseMalformed(token, maxTokenLength)
    const claims = checkSignature(token)
    checkClaims(claims)
    return claims
  }
}
