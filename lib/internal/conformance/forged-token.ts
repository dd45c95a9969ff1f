import { createHmac, createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import type { Claims } from '../../token-verifier.ts'

/** A JOSE header. */
export type Header = Readonly<Record<string, unknown>>

/** Whether the token has the three parts of a signed JWT, not of an opaque one. */
export function isJwt (token: string): boolean {
  return token.startsWith('ey') && token.split('.').length === 3
}

/** The header of a token. For an opaque token, the header of a typical JWT. */
export function headerOf (token: string): Header {
  if (!isJwt(token)) return { alg: 'RS256', typ: 'JWT', kid: 'opaque' }
  return JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString())
}

/** A JWT that is signed with another key of the kind that the header names. It is not signed if the algorithm is unknown. */
export function forge (header: Header, claims: Claims, { embedKey = false } = {}): string {
  const pair = strangersPairs()[String(header['alg']).slice(0, 2)]
  const jwk = embedKey && pair !== undefined ? { jwk: pair.publicKey.export({ format: 'jwk' }) } : {}
  const input = `${encoded({ ...header, ...jwk })}.${encoded(claims)}`
  return `${input}.${signature(String(header['alg']), input, pair?.privateKey)}`
}

/** Tokens with HMACs whose secret is a public key, in each form that a careless verifier may use. */
export function confuseKey (header: Header, claims: Claims, publicKey: string | undefined): string[] {
  if (publicKey === undefined) return [forge({ ...header, alg: 'HS256' }, claims)]
  const key = createPublicKey(publicKey)
  const spellings = [
    publicKey, publicKey.trim(), `${publicKey.trim()}\n`, JSON.stringify(key.export({ format: 'jwk' })),
    key.export({ format: 'pem', type: 'spki' }), key.export({ format: 'der', type: 'spki' })
  ]
  return ['HS256', 'HS384', 'HS512'].flatMap(alg => spellings.map((secret) => {
    const input = `${encoded({ ...header, alg })}.${encoded(claims)}`
    return `${input}.${hmac(alg, input, secret)}`
  }))
}

/** The token with another header or other claims, and its old signature. An opaque one is altered instead. */
export function reassemble (token: string, parts: { readonly header?: Header, readonly claims?: Claims }): string {
  if (!isJwt(token)) return withAlteredMiddle(token)
  const [header, claims, signed] = token.split('.')
  return [parts.header ? encoded(parts.header) : header, parts.claims ? encoded(parts.claims) : claims, signed].join('.')
}

/** The token with one letter in the middle changed. */
export function withAlteredMiddle (token: string): string {
  return withAltered(token, Math.floor(token.length / 2))
}

/** The token with one letter near the end changed, where every bit is significant. */
export function withAlteredEnd (token: string): string {
  return withAltered(token, Math.max(token.length - 4, 0))
}

/** The token with white space before it, after it, and within each of its parts. */
export function withWhiteSpace (token: string): string[] {
  const spaces = [' ', '\t', '\n', '\r\n', '\u00a0', '\u2028', '\ufeff']
  return spaces.flatMap(space => [`${space}${token}`, `${token}${space}`, ...eachPart(token, part => insertedInMiddle(part, space))])
}

/** The token with padding after each of its parts: the right amount, less, and more. */
export function withPadding (token: string): string[] {
  return ['=', '==', '===', '===='].flatMap(padding => eachPart(token, part => `${part}${padding}`))
}

/** The token with other spare bits: the last letter of a part changes, but it decodes to the same bytes. */
export function withOtherSpareBits (token: string): string[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return [1, 2, 4, 8].flatMap(bit => eachPart(token, (part) => {
    const other = `${part.slice(0, -1)}${alphabet.charAt(alphabet.indexOf(part.slice(-1)) ^ bit)}`
    return Buffer.from(other, 'base64url').equals(Buffer.from(part, 'base64url')) ? other : part
  }))
}

/** The token with `+` and `/` instead of `-` and `_`, in each of its parts, if there are any. */
export function inOtherAlphabet (token: string): string[] {
  return eachPart(token, part => part.replaceAll('-', '+').replaceAll('_', '/'))
}

/** The token with characters in each of its parts that are not base64url, which some decoders skip. */
export function withSkippedCharacters (token: string): string[] {
  return ['!', '*', '%', ',', '\u0000', '\u200b', 'ü'].flatMap(odd => eachPart(token, part => insertedInMiddle(part, odd)))
}

/** The token with one of its parts changed, for each of them. An opaque token is one part. */
function eachPart (token: string, change: (part: string) => string): string[] {
  const parts = isJwt(token) ? token.split('.') : [token]
  return parts.map((part, index) => parts.with(index, change(part)).join('.'))
}

function insertedInMiddle (part: string, text: string): string {
  const middle = Math.floor(part.length / 2)
  return `${part.slice(0, middle)}${text}${part.slice(middle)}`
}

function withAltered (token: string, index: number): string {
  const other = 'AB'.charAt(Number(token[index] === 'A'))
  return `${token.slice(0, index)}${other}${token.slice(index + 1)}`
}

function encoded (part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

function signature (alg: string, input: string, key: KeyObject | undefined): string {
  if (alg.startsWith('HS')) return hmac(alg, input, randomBytes(64))
  if (key === undefined) return ''
  const digest = alg.startsWith('Ed') ? null : `sha${alg.slice(2)}`
  return sign(digest, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}

function hmac (alg: string, input: string, secret: string | Buffer): string {
  return createHmac(`sha${alg.slice(2)}`, secret).update(input).digest('base64url')
}

type Pairs = Readonly<Partial<Record<string, { readonly publicKey: KeyObject, readonly privateKey: KeyObject }>>>

let pairs: Pairs | undefined

/** Made on first use, because making an RSA key pair takes long. */
function strangersPairs (): Pairs {
  if (pairs === undefined) {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    pairs = { RS: rsa, PS: rsa, ES: generateKeyPairSync('ec', { namedCurve: 'P-256' }), Ed: generateKeyPairSync('ed25519') }
  }
  return pairs
}
