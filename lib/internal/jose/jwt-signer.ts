import { constants, createPrivateKey, createPublicKey, sign, KeyObject, type SignKeyObjectInput } from 'node:crypto'
import { promisify } from 'node:util'
import { assertOption } from '../plugin/options.ts'
import { isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.ts'

/** A private key that signs JWTs. */
export interface SigningKey {
  /** In PEM (PKCS #8), or as a `KeyObject`. An RSA key has at least 2048 bits. */
  readonly privateKey: string | Buffer | KeyObject
  /** An algorithm of key pairs. */
  readonly algorithm: SignatureAlgorithm
  /** The `kid` under which the public key is published. */
  readonly keyId: string
}

/** Signs a JWT with these claims; `alg` and `kid` are added to the header. */
export type SignJwt = (claims: object, header: Readonly<Record<string, string>>) => Promise<string>

/**
 * Makes a signer of JWTs. It signs in Node's thread pool, so that a burst does not block the process.
 *
 * @param at the name of the option
 * @throws {TypeError} for a key that does not go with its algorithm
 */
export function jwtSigner ({ privateKey, algorithm, keyId }: SigningKey, caller: string, at: string): SignJwt {
  assertOption(isSignatureAlgorithm(algorithm), caller, `${at}.algorithm`, 'must be an algorithm of key pairs, such as "RS256"')
  assertOption(typeof keyId === 'string' && keyId !== '', caller, `${at}.keyId`, 'must be a non-empty string')
  const key = privateKeyOf(privateKey)
  assertOption(key !== undefined && isKeyFor(algorithm, createPublicKey(key)), caller, `${at}.privateKey`,
    `must be a private key for ${algorithm} (is its environment variable set?)`)
  const digest = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  const input: SignKeyObjectInput = { key, dsaEncoding: 'ieee-p1363', ...algorithm.startsWith('PS') && pssPadding }

  return async (claims, header) => {
    const text = `${encoded({ ...header, alg: algorithm, kid: keyId })}.${encoded(claims)}`
    const signature = await signInThreadPool(digest, Buffer.from(text), input)
    return `${text}.${signature.toString('base64url')}`
  }
}

const signInThreadPool = promisify(sign)

/** @see https://www.rfc-editor.org/rfc/rfc7518#section-3.5 */
const pssPadding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }

function privateKeyOf (key: unknown): KeyObject | undefined {
  try {
    const object = key instanceof KeyObject ? key : createPrivateKey(key as string)
    return object.type === 'private' ? object : undefined
  } catch {
    return undefined
  }
}

function encoded (part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
