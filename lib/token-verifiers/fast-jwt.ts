import { createPublicKey, KeyObject } from 'node:crypto'
import { expectedClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { defaultMaxTokenLength, refuseMalformed, signatureCheck } from '../internal/jose/jwt.ts'
import { assertOption, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import { fewestSecretBytes, isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm } from '../internal/jose/signature-algorithm.ts'
import type { Claims } from '../token-verifier.ts'

/** What {@link fastJwtVerifier} is made of. */
export interface FastJwtVerifierOptions extends ClaimOptions {
  /** A public key (PEM, SPKI or PKCS#1), a certificate (PEM), or a secret at least as long as its hash. */
  readonly key: string | Buffer | KeyObject
  /** The algorithms that are accepted, all of them of the kind of the key. */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Whose tokens are accepted: `iss` is exactly one of these. */
  readonly issuer: string | readonly string[]
  /** Who we are: `aud` names at least one of these. */
  readonly audience: string | readonly string[]
  /**
   * Longer tokens are refused unread. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
}

const verifier = 'fastJwtVerifier'

/**
 * Verifies JWTs with a key that the host holds, at once: every answer is a plain value, nothing is fetched or cached.
 *
 * `exp`, `iss` and `aud` are always demanded and checked. Every answer is an object of its own.
 *
 * @throws TypeError when made with an option that would verify nothing: an unset issuer, a secret shorter than its hash, an
 *   algorithm that is not the key's.
 * @see https://www.rfc-editor.org/rfc/rfc8725#section-3
 */
export function fastJwtVerifier (options: FastJwtVerifierOptions): (token: string) => Claims {
  const algorithms = pinned(options.algorithms)
  const checkSignature = signatureCheck(usableKey(options.key, algorithms), algorithms)
  const checkClaims = expectedClaims(verifier, {
    issuers: nonEmptyStrings(options.issuer, verifier, 'issuer'),
    audiences: nonEmptyStrings(options.audience, verifier, 'audience'),
    required: ['exp', 'iss', 'aud']
  }, options)
  const maxLength = wholeNumber(options.maxTokenLength, verifier, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })

  return (token) => {
    refuseMalformed(token, maxLength)
    const claims = checkSignature(token)
    checkClaims(claims)
    return claims
  }
}

function pinned (algorithms: unknown): readonly SignatureAlgorithm[] {
  assertOption(Array.isArray(algorithms) && algorithms.length > 0 && algorithms.every(isSignatureAlgorithm), verifier, 'algorithms',
    "must be a list of signature algorithms, such as ['RS256'] (never 'none')")
  return [...algorithms]
}

function usableKey (key: unknown, algorithms: readonly SignatureAlgorithm[]): string | Buffer {
  const secretBytes = algorithms.map(algorithm => fewestSecretBytes(algorithm) ?? 0)
  const longest = Math.max(...secretBytes)
  if (longest === 0) return publicKey(key, algorithms)
  assertOption(!secretBytes.includes(0), verifier, 'algorithms',
    'must not mix those of secrets (HS...) with those of key pairs: make one verifier for each')
  return secret(key, longest)
}

function secret (key: unknown, fewestBytes: number): Buffer {
  const bytes = secretBytesOf(key)
  assertOption(bytes !== undefined, verifier, 'key',
    'must be a secret: a string, a Buffer or a secret KeyObject (is its environment variable set?)')
  assertOption(!isOfKeyPair(bytes.toString('latin1')), verifier, 'key',
    'is not a secret but a key of a pair, which others may know: pin the algorithms of that pair')
  assertOption(bytes.length >= fewestBytes, verifier, 'key',
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

function publicKey (key: unknown, algorithms: readonly SignatureAlgorithm[]): string {
  const parsed = publicKeyOf(key)
  assertOption(parsed !== undefined, verifier, 'key',
    'must be a public key or a certificate in PEM, whole and with its line breaks (is its environment variable set?)')
  const misfit = algorithms.find(algorithm => !isKeyFor(algorithm, parsed))
  assertOption(misfit === undefined, verifier, 'algorithms',
    `holds ${misfit}, which is not for a key of this kind, curve or size: pin those of the key, or give the other key`)
  return parsed.export({ type: 'spki', format: 'pem' }).toString()
}

function publicKeyOf (key: unknown): KeyObject | undefined {
  if (key instanceof KeyObject) return key.type === 'public' ? key : undefined
  if (typeof key !== 'string' && !Buffer.isBuffer(key)) return undefined
  assertOption(!key.toString('latin1').includes('PRIVATE KEY-----'), verifier, 'key',
    'is a private key: give the public one, for a verifier must not be able to sign')
  try {
    return createPublicKey(key)
  } catch {
    return undefined
  }
}
