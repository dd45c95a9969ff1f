import type { Awaitable } from '../../awaitable.ts'
import { askWithin } from '../plugin/ask.ts'
import type { Credential, Mark, RevocationStore, Verdict } from '../../revocation-store.ts'
import { TokenRejectedError } from '../../token-verifier.ts'

/** What to do while nobody can tell whether a credential is revoked. */
export type WhenUnavailable = 'refuse' | 'allow'

/** An error that Fastify, and most error handlers of hosts, answer with its `statusCode`. */
export type HttpError = Error & { readonly statusCode: number }

/** Asks the store about one credential. Rejects, within the timeout, when it could not tell. */
export function checkWithin (revocations: Pick<RevocationStore, 'check'>, milliseconds: number, caller: string): (facts: Credential) => Awaitable<Verdict> {
  const ask = askWithin(milliseconds, caller)
  return facts => ask('revocations.check', () => {
    const { tokenId, sessionId, subject } = facts
    if (tokenId === undefined && sessionId === undefined && subject === undefined) {
      throw new Error('the credential has neither a token id nor a session id nor a subject to be checked by')
    }
    return revocations.check(facts)
  })
}

/** Marks credentials as revoked. Rejects, within the timeout and with a status of 503, when the store did not take the marks. */
export function revokeWithin (revocations: Pick<RevocationStore, 'revoke'>, milliseconds: number, caller: string): (...marks: readonly Mark[]) => Promise<void> {
  const ask = askWithin(milliseconds, caller)
  return async (...marks) => {
    try {
      await ask('revocations.revoke', () => revocations.revoke(...marks))
    } catch (cause) {
      throw Object.assign(new Error('the credential cannot be revoked at present', { cause }), { statusCode: 503 })
    }
  }
}

/** 401: the credential is revoked. */
export function revokedError (): HttpError {
  return Object.assign(new TokenRejectedError('revoked'), { statusCode: 401 })
}

/** 503: whether it is revoked could not be told. The cause is for the log. */
export function unknownError (cause: unknown): HttpError {
  return Object.assign(new Error('it cannot be told at present whether the credential is revoked', { cause }), { statusCode: 503 })
}
