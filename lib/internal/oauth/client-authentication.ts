import { constants, createPrivateKey, createPublicKey, KeyObject, randomUUID, sign } from 'node:crypto'
import { assertOption, nonEmptyStrings } from '../plugin/options.ts'
import { isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm } from '../jose/signature-algorithm.ts'

/** A client that authenticates by a secret. */
export interface SecretClient {
  /** The id of the client. */
  readonly id: string
  /** The secret of the client, with the methods `basic` and `post`. */
  readonly secret: string
  /** How the client authenticates: in the `Authorization` header (`basic`), in the form (`post`), or by a signature (`private_key_jwt`). */
  readonly method: 'basic' | 'post'
}

/** A client that authenticates by a signature. */
export interface KeyClient {
  /** The id of the client. */
  readonly id: string
  /** The key, with the method `private_key_jwt`: in PEM (PKCS#8, PKCS#1 or SEC 1), unencrypted, or as a key object. */
  readonly privateKey: string | Buffer | KeyObject
  /** How the client authenticates: in the `Authorization` header (`basic`), in the form (`post`), or by a signature (`private_key_jwt`). */
  readonly method: 'private_key_jwt'
  /** The algorithm of the signature. */
  readonly algorithm: SignatureAlgorithm
  /** The key id under which the server knows the public key. */
  readonly keyId?: string | undefined
  /**
   * The audience of the assertion: some servers want their issuer or token endpoint here.
   * @default the endpoint that is called
   */
  readonly audience?: string | undefined
}

/** How we authenticate to an authorization server. */
export type Client = SecretClient | KeyClient

/** What one request carries to authenticate its client. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly form: Readonly<Record<string, string>>
}

const assertionLifetime = 60
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * Makes the credentials of a client, anew for each request.
 *
 * @throws {TypeError} for a secret that is unset or a key that is not for its algorithm
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1 for `basic` and `post`
 * @see https://www.rfc-editor.org/rfc/rfc7523#section-2.2 for `private_key_jwt`
 */
export function clientAuthentication (client: Client, endpoint: string, caller: string): () => Credentials {
  assertOption(typeof client === 'object' && client !== null, caller, 'client', "must be an object such as { id, secret, method: 'basic' }")
  assertText(client.id, caller, 'client.id')
  switch (client.method) {
    case 'basic':
    case 'post': return bySecret(client, caller)
    case 'private_key_jwt': return byAssertion(client, endpoint, caller)
    default: throw new TypeError(`${caller}: option "client.method" must be 'basic', 'post' or 'private_key_jwt'`)
  }
}

function assertText (value: unknown, caller: string, option: string): void {
  assertOption(typeof value === 'string', caller, option, 'must be a non-empty string (is its environment variable set?)')
  nonEmptyStrings(value, caller, option)
}

function bySecret ({ id, secret, method }: SecretClient, caller: string): () => Credentials {
  assertText(secret, caller, 'client.secret')
  const credentials: Credentials = method === 'post'
    ? { headers: {}, form: { client_id: id, client_secret: secret } }
    : { headers: { authorization: `Basic ${Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64')}` }, form: {} }
  return () => credentials
}

function formEncoded (text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

function byAssertion (client: KeyClient, endpoint: string, caller: string): () => Credentials {
  const { id, algorithm, keyId, audience = endpoint } = client
  const key = resolveKey(client, caller)
  if (keyId !== undefined) assertText(keyId, caller, 'client.keyId')
  assertText(audience, caller, 'client.audience')
  const header = { alg: algorithm, typ: 'JWT', ...(keyId !== undefined && { kid: keyId }) }

  return () => {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: id, sub: id, aud: audience, jti: randomUUID(), iat: now, exp: now + assertionLifetime }
    const input = `${encoded(header)}.${encoded(claims)}`
    const assertion = `${input}.${signature(input, key, algorithm)}`
    return { headers: {}, form: { client_id: id, client_assertion_type: assertionType, client_assertion: assertion } }
  }
}

function resolveKey ({ privateKey, algorithm }: KeyClient, caller: string): KeyObject {
  const key = privateKeyOf(privateKey)
  assertOption(key !== undefined, caller, 'client.privateKey',
    'must be an unencrypted private key in PEM, whole and with its line breaks (is its environment variable set?)')
  assertOption(isSignatureAlgorithm(algorithm) && isKeyFor(algorithm, createPublicKey(key)), caller, 'client.algorithm',
    'must be an algorithm for a key of this kind, curve and size')
  return key
}

function privateKeyOf (given: unknown): KeyObject | undefined {
  if (given instanceof KeyObject) return given.type === 'private' ? given : undefined
  if (typeof given !== 'string' && !Buffer.isBuffer(given)) return undefined
  try {
    return createPrivateKey(given)
  } catch {
    return undefined
  }
}

function signature (input: string, key: KeyObject, algorithm: SignatureAlgorithm): string {
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...(algorithm.startsWith('PS') && pss) }).toString('base64url')
}

function encoded (part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
