import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from './awaitable.ts'

/** A session of the host. Hosts add their own members: the type is inferred from the source. */
export interface HostSession {
  /** The public id. It is safe to log: never the value of the cookie, never the token. */
  readonly id: string | number
  /** The user. */
  readonly subject: string | number
  /** The tenant within which the subject is unique. */
  readonly tenant?: string | undefined
}

/** Which sessions {@link SessionSource.logOutSubject} ends: all of the subject's that exist now, except one. */
export interface SubjectSessions<S extends HostSession = HostSession> {
  readonly subject: S['subject']
  readonly tenant?: string | undefined
  /** The id of the session to leave alone. */
  readonly except?: S['id'] | undefined
}

/**
 * The host's sessions, as `sessionLogout` and `logoutActions` see them. A host with a table of its own passes three plain
 * functions; the folder `session-sources` has sources for the common session plugins, for JWTs and for a `SessionStore`.
 *
 * Expected outcomes are values. A rejection means "could not tell": the caller gets a 503, keeps the credential, and
 * retries. So every method can be repeated. Each call has a timeout.
 *
 * @example
 * ```ts
 * import type { FastifyRequest } from 'fastify'
 * import type { SessionSource } from 'fastify-logout'
 *
 * interface Visit { readonly id: number, readonly subject: number, readonly device: string }
 * interface Visits {
 *   find (cookie: string | undefined): Promise<Visit | undefined>
 *   end (cookie: string | undefined): Promise<Visit | undefined>
 *   endAll (user: number, except: number | undefined): Promise<number>
 * }
 * const cookieOf = ({ headers }: FastifyRequest) => /(?:^|; )sid=([^;]+)/.exec(headers.cookie ?? '')?.[1]
 *
 * export const sessionsIn = (visits: Visits): SessionSource<Visit> => ({
 *   find: request => visits.find(cookieOf(request)),
 *   logOut: request => visits.end(cookieOf(request)), // UPDATE ... SET ended = now() WHERE ended IS NULL ... RETURNING ...
 *   logOutSubject: ({ subject, except }) => visits.endAll(subject, except),
 *   readsCookie: true
 * })
 * ```
 */
export interface SessionSource<S extends HostSession = HostSession> {
  /**
   * Ends the session of this request, even if it has expired. Resolves the session if it was live and this call ended it,
   * otherwise nothing (`undefined` or `null`): of many concurrent calls, exactly one resolves the session.
   */
  logOut (request: FastifyRequest): Awaitable<S | undefined | null>

  /** The live session of this request. Nothing (`undefined` or `null`) if there is none, or it expired or was logged out. */
  find? (request: FastifyRequest): Awaitable<S | undefined | null>

  /**
   * Ends every session of the subject that exists now, except one. May resolve their number. The request is the one that
   * asked for it, if there is one.
   */
  logOutSubject? (query: SubjectSessions<S>, request?: FastifyRequest): Awaitable<number | undefined | void>

  /** Called once `logOut` has resolved: removes the credential from this request and from the client. Synchronous. */
  forget? (request: FastifyRequest, reply: FastifyReply): void

  /** Whether the credential travels in a cookie. Then the cross-site check cannot be turned off. @default false */
  readonly readsCookie?: boolean | undefined
}

/**
 * Ends sessions by their public id, for logouts that come without the credential of the session: `backChannelLogout` and
 * `frontChannelLogout`. Every `SessionStore` does, and so do the sources for @fastify/session, @fastify/secure-session and JWTs.
 *
 * @example
 * ```ts
 * import type { SessionsById } from 'fastify-logout'
 *
 * interface Visits {
 *   endById (id: string, user: string): Promise<{ id: string, subject: string } | undefined>
 * }
 *
 * export const sessionsIn = (visits: Visits): SessionsById => ({
 *   logOutById: ({ id, subject }) => visits.endById(id, subject) // UPDATE ... SET ended = now() WHERE ended IS NULL ... RETURNING ...
 * })
 * ```
 */
export interface SessionsById<S extends HostSession = HostSession> {
  /**
   * Logs the session out, if it is the subject's. Resolves the session as it was before, or nothing (`undefined` or `null`). A
   * session with a `status` other than `active`, or whose `expiresAt` has passed, was not live any more. A rejection means
   * "could not tell": the call is repeated.
   */
  logOutById (query: { readonly id: string, readonly subject: string }): Awaitable<S | undefined | null>
}
