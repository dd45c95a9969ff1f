import type { Awaitable } from './awaitable.ts'

/** The claims of a verified token: names and JSON values, as the issuer wrote them. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Verifies a token and returns its claims.
 *
 * Throws or rejects with a {@link TokenRejectedError} for a token that is refused. Any other error means that the verifier
 * could not tell, because a key server is down for example: the flow then responds with a 5xx, never with a 401.
 *
 * A verifier refuses other spellings of a token that it accepts (white space, padding, spare bits), because digests of
 * tokens are keys elsewhere. `fastify-logout/conformance/token-verifier` tests this and everything else that is expected.
 *
 * @example
 * ```ts
 * import { tokenDigest, TokenRejectedError, type Claims, type VerifyToken } from 'fastify-logout'
 *
 * // Your table of opaque tokens. It rejects when the database is down, which is an outage.
 * declare function findToken (digest: string): Promise<Claims | undefined>
 *
 * export const verifyToken: VerifyToken = async (token) => {
 *   const claims = await findToken(tokenDigest(token))
 *   if (claims === undefined) throw new TokenRejectedError('untrusted')
 *   return claims
 * }
 * ```
 */
export type VerifyToken = (token: string) => Awaitable<Claims>

const tokenRejected = 'LOGOUT_TOKEN_REJECTED'

/**
 * Why a token was refused: it is not a token (`malformed`), no trusted issuer signed it for us (`untrusted`), it has
 * expired, or it was revoked.
 */
export type TokenRejectionReason = 'malformed' | 'untrusted' | 'expired' | 'revoked'

/**
 * A verifier refused the token. The message and the cause are for the log and never reach the wire.
 *
 * Recognise it with {@link isTokenRejected}: with two copies of this package in one process, `instanceof` fails.
 *
 * @example
 * ```ts
 * import { TokenRejectedError, type VerifyToken } from 'fastify-logout'
 *
 * export const verifyToken: VerifyToken = token => {
 *   if (token !== 'the only token') throw new TokenRejectedError('untrusted')
 *   return { sub: 'alice' }
 * }
 * ```
 */
export class TokenRejectedError extends Error {
  override readonly name = 'TokenRejectedError'
  readonly code = tokenRejected
  readonly reason: TokenRejectionReason

  constructor (reason: TokenRejectionReason, options?: ErrorOptions) {
    super(`the token was rejected: ${reason}`, options)
    this.reason = reason
  }
}

/**
 * Whether a verifier refused the token, whichever copy of this package made the error.
 *
 * @example
 * ```ts
 * import { isTokenRejected, type VerifyToken } from 'fastify-logout'
 *
 * export async function statusOf (verifyToken: VerifyToken, token: string): Promise<200 | 401 | 503> {
 *   try {
 *     await verifyToken(token)
 *     return 200
 *   } catch (error) {
 *     return isTokenRejected(error) ? 401 : 503
 *   }
 * }
 * ```
 */
export function isTokenRejected (error: unknown): error is TokenRejectedError {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === tokenRejected
}

/** Makes a rejection with the reason for the caller and a sentence for the log. The sentence must not quote the token. */
export function rejected (reason: TokenRejectionReason, sentence: string): TokenRejectedError {
  return new TokenRejectedError(reason, { cause: new Error(sentence) })
}
