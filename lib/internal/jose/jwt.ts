import { createDecoder, createVerifier } from 'fast-jwt'
import { rejected, type Claims, type TokenRejectionReason } from '../../token-verifier.ts'
import type { SignatureAlgorithm } from './signature-algorithm.ts'

/** Returns the claims of a token whose signature is right, and throws for every other one. It looks at no claim. */
export type CheckSignature = (token: string) => Claims

/** What a JWT says before anybody has checked it. */
export interface UncheckedJwt {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Claims
}

/** The longest token that is read, in characters. Node accepts no longer header by default. */
export const defaultMaxTokenLength = 16 * 1024

/**
 * Makes the signature check for one key and the algorithms that go with it. Each call returns a fresh object.
 *
 * A signature has one spelling only, because digests of tokens are keys elsewhere: base64url without padding and with
 * zeros as spare bits. Critical extensions are refused, because none is understood. Members that occur twice in the header
 * or the payload count as they stand last.
 *
 * @param key a public key in PEM (SPKI), or the bytes of a secret
 * @see https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11 for critical extensions
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-4 for members that occur twice
 */
export function signatureCheck (key: string | Buffer, algorithms: readonly SignatureAlgorithm[]): CheckSignature {
  const verify = createVerifier({ key, algorithms: [...algorithms], ignoreExpiration: true, ignoreNotBefore: true, complete: true })
  return (token) => {
    refuseOtherSpellings(token)
    const { header, payload } = verified(verify, token)
    // fast-jwt takes a `crit` of null, false, 0 or '' for none.
    if (Object.hasOwn(header, 'crit')) throw rejected('untrusted', 'the token has a critical extension')
    return payload
  }
}

const decode = createDecoder({ complete: true })

/** Reads header and payload without checking anything: good for choosing a key, never for trusting a claim. */
export function readUnchecked (token: string): UncheckedJwt {
  return verified(decode, token)
}

function verified (read: (token: string) => UncheckedJwt, token: string): UncheckedJwt {
  try {
    return read(token)
  } catch (error) {
    throw rejectionOf(error)
  }
}

/** Refuses what cannot be a token, before anybody parses it. */
export function refuseMalformed (token: unknown, maxLength: number): void {
  if (typeof token !== 'string' || token === '') {
    throw rejected('malformed', 'the token is missing')
  }
  if (token.length > maxLength) {
    throw rejected('malformed', `the token is longer than ${maxLength} characters`)
  }
}

const reasons: Readonly<Record<string, TokenRejectionReason>> = {
  FAST_JWT_INVALID_TYPE: 'malformed',
  FAST_JWT_MALFORMED: 'malformed',
  FAST_JWT_INVALID_PAYLOAD: 'malformed',
  FAST_JWT_INVALID_ALGORITHM: 'untrusted',
  FAST_JWT_INVALID_SIGNATURE: 'untrusted',
  FAST_JWT_MISSING_SIGNATURE: 'untrusted',
  FAST_JWT_VERIFY_ERROR: 'untrusted',
  FAST_JWT_INVALID_CRIT_HEADER: 'untrusted'
}

/**
 * What an error of fast-jwt means: a refusal where the token is at fault, otherwise the error itself.
 * The refusal carries the code alone, because fast-jwt puts payloads and fragments of the token into its errors.
 */
export function rejectionOf (error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = Object.hasOwn(reasons, code) ? reasons[code] : undefined
  return reason === undefined ? error : rejected(reason, code)
}

/** Refuses a JWT whose signature is not spelled as an issuer spells it. What is signed has one spelling anyway. */
export function refuseOtherSpellings (token: string): void {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  if (endings[signature.length % 4]?.test(signature) !== true) throw rejected('malformed', 'the signature is not canonical base64url')
}

/** The last character of base64url may only hold zeros in the bits that belong to no byte. */
const endings: Readonly<Record<number, RegExp>> = { 0: /^[\w-]*$/, 2: /^[\w-]*[AQgw]$/, 3: /^[\w-]*[AEIMQUYcgkosw048]$/ }
