import type { Awaitable } from '../../awaitable.ts'
import { askWithin } from '../plugin/ask.ts'
import type { Credential, RevocationStore, Verdict } from '../../revocation-store.ts'
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

/** 401: the credential is revoked. */
export function revokedError (): HttpError {
  return Object.assign(new TokenRejectedError('revoked'), { statusCode: 401 })
}

/** 503: whether it is revoked could not be told. The cause is for the log. */
export function unknownError (cause: unknown): HttpError {
  return Object.assign(new Error('it cannot be told at present whether the credential is revoked', { cause }), { statusCode: 503 })
}
