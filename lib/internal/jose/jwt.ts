import { createDecoder, createVerifier } from 'fast-jwt'
import { rejected, type Claims, type TokenRejectionReason } from '../../token-verifier.ts'
import type { SignatureAlgorithm } from './signature-algorithm.ts'

/** Answers with the claims of a token whose signature is right, and refuses every other one. It looks at no claim. */
export type CheckSignature = (token: string) => Claims

/** What a JWT says before anybody has checked it. */
export interface UncheckedJwt {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Claims
}

/** The longest token that is looked at, in characters: Node takes no longer header by default. */
export const defaultMaxTokenLength = 16 * 1024

/**
 * Makes the signature check for one key and the algorithms that go with it. Every call answers with a fresh object.
 *
 * @param key a public key in PEM (SPKI), or the bytes of a secret.
 */
export function signatureCheck (key: string | Buffer, algorithms: readonly SignatureAlgorithm[]): CheckSignature {
  const verify = createVerifier({ key, algorithms: [...algorithms], ignoreExpiration: true, ignoreNotBefore: true })
  return (token) => {
    if (!endsCanonically(token)) {
      throw rejected('malformed', 'the signature is not canonical base64url')
    }
    try {
      return verify(token)
    } catch (error) {
      throw rejectionOf(error)
    }
  }
}

const decode = createDecoder({ complete: true })

/** Reads header and payload without checking anything: good for choosing a key, never for trusting a claim. */
export function readUnchecked (token: string): UncheckedJwt {
  try {
    return decode(token)
  } catch (error) {
    throw rejectionOf(error)
  }
}

/** Refuses what cannot be a token, before anybody parses it. */
export function refuseMalformed (token: unknown, maxLength: number): void {
  if (typeof token !== 'string' || token === '') {
    throw rejected('malformed', 'there is no token')
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
 * The refusal carries the code alone, because fast-jwt hangs payloads and fragments of the token on its errors.
 */
export function rejectionOf (error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = Object.hasOwn(reasons, code) ? reasons[code] : undefined
  return reason === undefined ? error : rejected(reason, code)
}

/** Spare bits at the end of the signature are zero, so that one token has one spelling. */
function endsCanonically (token: string): boolean {
  const length = token.length - token.lastIndexOf('.') - 1
  const last = token.charAt(token.length - 1)
  switch (length % 4) {
    case 0: return true
    case 2: return 'AQgw'.includes(last)
    case 3: return 'AEIMQUYcgkosw048'.includes(last)
    default: return false
  }
}
