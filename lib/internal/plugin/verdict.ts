import type { Awaitable } from '../../awaitable.ts'
import { isTokenRejected, type TokenRejectedError } from '../../token-verifier.ts'
import { recovered } from '../async/awaitable.ts'

/**
 * Calls a verifier. Returns what the verifier returns, or its `TokenRejectedError` as a value: a refused token is a verdict.
 * Every other error is thrown: the verifier could not tell.
 */
export function verdictOf<T> (verify: () => Awaitable<T>): Awaitable<T | TokenRejectedError> {
  return recovered(verify, verdictOrOutage)
}

function verdictOrOutage (error: unknown): TokenRejectedError {
  if (isTokenRejected(error)) return error
  throw error
}
