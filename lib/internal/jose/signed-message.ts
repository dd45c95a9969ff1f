import type { KeyObject } from 'node:crypto'
import type { Awaitable } from '../../awaitable.ts'
import { isTokenRejected, type Claims } from '../../token-verifier.ts'
import { assertOption } from '../plugin/options.ts'
import { givenKey, pinnedAlgorithms, publishedKeys, type IssuerKeys, type OptionPlace } from './issuer-keys.ts'
import { readUnchecked, type UncheckedJwt } from './jwt.ts'
import type { SignatureAlgorithm } from './signature-algorithm.ts'

/** Who signs messages to us, and by which keys. */
export interface MessageIssuer {
  /** Exactly the `iss` of its messages, down to the slash at the end. */
  readonly issuer: string
  /** The signature algorithms that are accepted from this issuer. @default ['RS256'] */
  readonly algorithms?: readonly SignatureAlgorithm[] | undefined
  /** Where the key set is. Without it, and without `key`, the issuer's discovery document says so. */
  readonly jwksUri?: string | undefined
  /** Where the discovery document is. @default `${issuer}/.well-known/openid-configuration` */
  readonly discoveryUri?: string | undefined
  /** A public key or certificate in PEM instead of a key set, or the secret of an `HS...` algorithm. */
  readonly key?: string | Buffer | KeyObject | undefined
}

/** What is known after a signature was checked: the claims, or what is wrong. `key`: the issuer has no such key. */
export type SignatureVerdict = Claims | 'algorithm' | 'key' | 'signature'

/** Checks the signature of a message. Rejects when the keys cannot be had. */
export type JudgeSignature = (token: string, message: UncheckedJwt) => Awaitable<SignatureVerdict>

/** How the keys of an issuer are asked for. */
export interface KeyRequests {
  /** How long each request to the issuer may take, in milliseconds. */
  readonly timeout: number
  /** How many requests unknown keys may cause before there is a pause of 30 seconds between them. @default 10 */
  readonly allowedInARow?: number
}

export function signatureJudge (given: MessageIssuer, option: OptionPlace, requests: KeyRequests): JudgeSignature {
  const keys = keysOf(given, option, requests)
  return async (token, message) => {
    if (!keys.accepts(message.header['alg'])) return 'algorithm'
    try {
      return await keys.verify(token, message) ?? (message.header['kid'] === undefined ? 'signature' : 'key')
    } catch (error) {
      if (isTokenRejected(error)) return 'signature'
      throw error
    }
  }
}

const clockTolerance = 60_000

function keysOf (given: MessageIssuer, option: OptionPlace, { timeout, allowedInARow = 10 }: KeyRequests): IssuerKeys {
  const { issuer, key, jwksUri, discoveryUri } = given
  const { caller, at } = option
  assertOption(typeof issuer === 'string' && issuer !== '', caller, `${at}.issuer`, 'must be a non-empty string')
  const algorithms = pinnedAlgorithms(given.algorithms ?? ['RS256'], option, { secrets: key !== undefined })
  if (key !== undefined) {
    assertOption(jwksUri === undefined && discoveryUri === undefined, caller, `${at}.key`,
      'must not be given together with jwksUri or discoveryUri')
    return givenKey(key, algorithms, option)
  }
  return publishedKeys(given, algorithms, {
    ...option,
    limits: { fetch: (url, init) => globalThis.fetch(url, init), timeout, maxLength: 256 * 1024 },
    times: { cooldown: 30_000, allowedInARow, refreshAfter: 600_000, clockTolerance }
  })
}

/**
 * Reads a signed message without checking anything: good for choosing a key, never for trusting a claim. `undefined` for
 * everything that is not a JWS in three parts whose header and payload are JSON objects, and for one with a critical
 * extension, because none is understood.
 */
export function readMessage (token: string, maxLength: number): UncheckedJwt | undefined {
  if (token.length > maxLength || !compact.test(token)) return undefined
  try {
    const message = readUnchecked(token)
    return isObject(message.header) && isObject(message.payload) && !Object.hasOwn(message.header, 'crit') ? message : undefined
  } catch {
    return undefined
  }
}

/** A signature may be empty: the algorithm is judged later. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/

function isObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Whether the `typ` of a header is this media type, in any case, with or without `application/`.
 * @see https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9
 */
export function isOfType ({ typ }: UncheckedJwt['header'], type: string): boolean {
  return typeof typ === 'string' && typ.toLowerCase().replace(/^application\//, '') === type
}

/** Whether an `aud` names one of these, letter for letter: as a string, or in a list of strings. */
export function isForAudience (audience: unknown, ours: readonly string[]): boolean {
  const named: readonly unknown[] = Array.isArray(audience) ? audience : [audience]
  return named.every(name => typeof name === 'string') && named.some(name => ours.includes(String(name)))
}
