import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { confuseKey } from '../../lib/internal/conformance/forged-token.ts'
import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import type { Claims } from '../../lib/token-verifier.ts'
import { signJwt } from '../sign-jwt.ts'

/** A token, and what is odd about it. */
export interface NamedToken {
  readonly name: string
  readonly token: string
}

export const secret = randomBytes(64)

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** A key pair for each algorithm that has one, those of RSA all with the same. */
export const pairs: Readonly<Partial<Record<SignatureAlgorithm, { readonly publicKey: KeyObject, readonly privateKey: KeyObject }>>> = {
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: generateKeyPairSync('ed25519')
}

export const algorithmsOfSecrets = ['HS256', 'HS384', 'HS512'] as const
export const algorithmsOfPairs = Object.keys(pairs) as SignatureAlgorithm[]

/** A good token of each algorithm, with its name as `kid`. */
export function tokenOfEach (claims: Claims): NamedToken[] {
  return [...algorithmsOfSecrets, ...algorithmsOfPairs].map(name => ({ name, token: signed(name, name, claims) }))
}

/** Tokens that nobody must accept, whatever key and algorithm were pinned. */
export function forgeriesOf (claims: Claims): NamedToken[] {
  return algorithmsOfPairs.flatMap(name => [
    ...['none', 'None', 'NONE', ''].flatMap(alg => ['', 'AAAA'].map(end => unsigned(alg, name, claims) + end)),
    ...oddNames(name).map(alg => signed(name, name, claims, { alg })),
    ...confuseKey({ kid: name }, claims, publicPem(name)),
    ...name.startsWith('ES') ? [derSigned(name, claims)] : []
  ].map((token, index) => ({ name: `${name}, forgery ${index}`, token })))
}

/** Tokens whose header names one algorithm and whose signature is of another one, with the key of either. */
export function mismatchesOf (claims: Claims): NamedToken[] {
  const others = (alg: SignatureAlgorithm) => algorithmsOfPairs.filter(other => other !== alg)
  return algorithmsOfPairs.flatMap(alg => others(alg).flatMap(other => [alg, other].map(kid => ({
    name: `${alg} by the header, ${other} by the signature, key ${kid}`, token: signed(other, kid, claims, { alg })
  }))))
}

/** Names that the standard does not have, or has for other purposes. */
function oddNames (name: string): string[] {
  return [name.toLowerCase(), `${name} `, `${name}\0`, 'ES256K', 'HS1', 'RS1', 'Ed25519', 'dir', 'RSA-OAEP']
}

function publicPem (algorithm: SignatureAlgorithm): string {
  return String(pairs[algorithm]?.publicKey.export({ type: 'spki', format: 'pem' }))
}

function signed (algorithm: SignatureAlgorithm, kid: string, claims: Claims, header: object = {}): string {
  return signJwt(pairs[algorithm]?.privateKey ?? secret, algorithm, claims, { kid, ...header })
}

function unsigned (alg: string, kid: string, claims: Claims): string {
  return [{ alg, kid }, claims].map(part => `${Buffer.from(JSON.stringify(part)).toString('base64url')}.`).join('')
}

/** With a signature of an elliptic curve in DER, as OpenSSL writes it. */
function derSigned (algorithm: SignatureAlgorithm, claims: Claims): string {
  const input = signed(algorithm, algorithm, claims).split('.', 2).join('.')
  const key = pairs[algorithm]?.privateKey as KeyObject
  const signature = sign(`sha${algorithm.slice(2)}`, Buffer.from(input), { key, dsaEncoding: 'der' })
  return `${input}.${signature.toString('base64url')}`
}
