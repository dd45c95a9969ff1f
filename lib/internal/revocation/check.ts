import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { isPromise } from '../async/awaitable.ts'
import { isId } from '../marks/id.ts'
import { askWithin } from '../plugin/ask.ts'
import { assertOption, duration } from '../plugin/options.ts'
import type { Credential, RevocationStore, Verdict } from '../../revocation-store.ts'
import { TokenRejectedError } from '../../token-verifier.ts'

/** What to do while the revocation store cannot tell whether a credential is revoked. */
export type WhenUnavailable = 'refuse' | 'allow'

/** An error that Fastify, and most error handlers of hosts, send with its `statusCode`. */
export type HttpError = Error & { readonly statusCode: number }

/** Asks the store about one credential. */
export type CheckCredential = (credential: Credential) => Awaitable<Verdict>

/** The options that the guard, `notRevoked` and `trustedBy` share. `revocations` is required. */
export interface RevocationCheckOptions {
  /** Keeps the marks: a revocation store, or a replica of one. */
  readonly revocations: Pick<RevocationStore, 'check'>
  /** What to do while the store cannot answer: refuse with 503, or let the request through. @default 'refuse' */
  readonly whenUnavailable?: WhenUnavailable | undefined
  /** How long the store may take, in milliseconds. @default 1000 */
  readonly timeout?: number | undefined
}

/** Asks the store about one credential. Rejects with an `Outage` if the store fails or is late. */
export function checkWithin (revocations: Pick<RevocationStore, 'check'>, milliseconds: number, caller: string): CheckCredential {
  const ask = askWithin(milliseconds, caller)
  return credential => ask('revocations.check', () => revocations.check(credential))
}

/** Checks the options that the guard, `notRevoked` and `trustedBy` share. */
export function resolveCheckOptions (
  options: RevocationCheckOptions,
  caller: string
): { check: CheckCredential, whenUnavailable: WhenUnavailable } {
  assertOption(typeof options === 'object' && options !== null, caller, 'revocations', 'is missing: pass an object of options')
  const { revocations, whenUnavailable = 'refuse' } = options
  assertOption(typeof revocations?.check === 'function', caller, 'revocations',
    'is missing: pass a revocation store, for example redisRevocationStore(redis)')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), caller, 'whenUnavailable', 'must be "refuse" or "allow"')
  return { check: checkWithin(revocations, duration(options.timeout, 1000, caller, 'timeout'), caller), whenUnavailable }
}

/**
 * What the host's `credential` function returned, or `undefined` for no credential. A credential that no mark could
 * cover is misuse, whatever `whenUnavailable` says.
 *
 * @throws {TypeError} for a promise, and for a credential without any id
 */
export function usableCredential (returned: Credential | null | undefined, caller: string): Credential | undefined {
  if (returned === undefined || returned === null) return undefined
  if (isId(returned.tokenId) || isId(returned.sessionId) || isId(returned.subject)) return returned
  assertNotAsync(returned, caller)
  throw new TypeError(`${caller}: option "credential" must return a credential with a token id, a session id or a subject, ` +
    'or undefined for none')
}

/** Throws a `TypeError` if what the host's `credential` function returned is a promise. */
export function assertNotAsync (returned: unknown, caller: string): void {
  if (!isPromise(returned)) return
  // Its rejection would be nobody's.
  Promise.resolve(returned).catch(() => {})
  throw new TypeError(`${caller}: option "credential" must not be async: read what the authentication has left in the request`)
}

/** Logs that the store could not tell, and returns the error for a refusal: 503, with the cause for the log. */
export function logOutage ({ log }: Pick<FastifyRequest, 'log'>, cause: unknown, whenUnavailable: WhenUnavailable): HttpError {
  const error = unknownError(cause)
  const details = { err: error, event: 'revocation.outage', whenUnavailable }
  log.error(details, 'the revocation store could not tell whether a credential is revoked')
  return error
}

/** 401: the credential is revoked. */
export function revokedError (): HttpError {
  return Object.assign(new TokenRejectedError('revoked'), { statusCode: 401 })
}

/** 503: the store could not tell whether the credential is revoked. The cause is for the log. */
export function unknownError (cause: unknown): HttpError {
  return Object.assign(new Error('it is unknown whether the credential is revoked: retry', { cause }), { statusCode: 503 })
}
