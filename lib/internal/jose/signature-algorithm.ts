import type { KeyObject } from 'node:crypto'

/** A JWS signature algorithm that can be pinned. `none` is not among them. */
export type SignatureAlgorithm = keyof typeof families

/** @see https://www.rfc-editor.org/rfc/rfc7518#section-3.1 and https://www.rfc-editor.org/rfc/rfc8037#section-3.1 */
const families = {
  HS256: { secret: 32 },
  HS384: { secret: 48 },
  HS512: { secret: 64 },
  RS256: { key: 'rsa' },
  RS384: { key: 'rsa' },
  RS512: { key: 'rsa' },
  PS256: { key: 'rsa' },
  PS384: { key: 'rsa' },
  PS512: { key: 'rsa' },
  ES256: { key: 'ec', curve: 'prime256v1' },
  ES384: { key: 'ec', curve: 'secp384r1' },
  ES512: { key: 'ec', curve: 'secp521r1' },
  EdDSA: { key: 'ed' }
} as const

const fewestModulusBits = 2048

/** Whether this is the name of a known signature algorithm, spelled as in the standard. */
export function isSignatureAlgorithm (name: unknown): name is SignatureAlgorithm {
  return typeof name === 'string' && Object.hasOwn(families, name)
}

/**
 * The fewest bytes that a secret for this algorithm must have. `undefined` for the algorithms of key pairs.
 * @see https://www.rfc-editor.org/rfc/rfc7518#section-3.2
 */
export function fewestSecretBytes (algorithm: SignatureAlgorithm): number | undefined {
  const family = families[algorithm]
  return 'secret' in family ? family.secret : undefined
}

/**
 * Whether a public key has the type and the curve that the algorithm requires, and an RSA key at least 2048 bits.
 * @see https://www.rfc-editor.org/rfc/rfc7518#section-3.3
 */
export function isKeyFor (algorithm: SignatureAlgorithm, key: KeyObject): boolean {
  const family = families[algorithm]
  if ('secret' in family) {
    return false
  }
  if (family.key === 'rsa') {
    return key.asymmetricKeyType === 'rsa' && Number(key.asymmetricKeyDetails?.modulusLength) >= fewestModulusBits
  }
  if (family.key === 'ec') {
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === family.curve
  }
  return key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyType === 'ed448'
}
