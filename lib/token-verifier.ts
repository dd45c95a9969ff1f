import type { Awaitable } from './awaitable.ts'

/** The claims of a verified token: names and JSON values, as the issuer wrote them. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Verifies a token and answers with its claims.
 *
 * Rejects with a {@link TokenRejectedError} when the token is refused. Any other rejection means that the verifier could
 * not tell (a key server is down): the caller is answered with a 5xx then, never with a 401.
 */
export type VerifyToken = (token: string) => Awaitable<Claims>

const tokenRejected = 'LOGOUT_TOKEN_REJECTED'

/** Why a token was refused: it is no token at all, nobody we trust signed it for us, it ran out, or it was revoked. */
export type TokenRejectionReason = 'malformed' | 'untrusted' | 'expired' | 'revoked'

/**
 * A verifier refused the token. The message and the cause are for the log and never reach the wire.
 *
 * Recognise it by its `code`: with two copies of this package in one process, `instanceof` fails.
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

/** Whether a verifier refused the token, whichever copy of this package made the error. */
export function isTokenRejected (error: unknown): error is TokenRejectedError {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === tokenRejected
}

/** A rejection with the reason for the caller and one sentence for the log. The sentence must not quote the token. */
export function rejected (reason: TokenRejectionReason, sentence: string): TokenRejectedError {
  return new TokenRejectedError(reason, { cause: new Error(sentence) })
}
