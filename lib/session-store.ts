import type { Awaitable } from './awaitable.ts'

/**
 * A session as a store knows it. It never holds the token that opens it.
 * All times are epoch milliseconds.
 */
export interface Session {
  /** Public id: safe to show, to log and to put into a URL. */
  readonly id: string
  /**
   * Whose session it is. Unique within a store: a host with tenants gives each tenant a store (another prefix or table), or
   * puts the tenant into the subject.
   */
  readonly subject: string
  /** `logged_out` is final. An expired session stays `active`: compare `expiresAt`. */
  readonly status: 'active' | 'logged_out'
  readonly createdAt: number
  /** The session is valid before this instant. A flow judges by it. */
  readonly expiresAt: number
  /** The store remembers the session at least until this instant, and forgets it afterwards. Never before `expiresAt`. */
  readonly keepUntil: number
  /** Where the session was opened, as the host recorded it. */
  readonly device?: SessionDevice | undefined
  /** What the host keeps with the session: JSON values only. */
  readonly data?: Readonly<Record<string, unknown>> | undefined
}

/** Where a session was opened. */
export interface SessionDevice {
  readonly ipAddress?: string | undefined
  readonly userAgent?: string | undefined
  readonly location?: string | undefined
}

/** A session that is about to be stored: it begins `active`. */
export type NewSession = Omit<Session, 'status'>

/** Which sessions of a subject {@link SessionStore.logOutSubject} ends. */
export interface SubjectLogout {
  readonly subject: string
  /** Public id of the one session that is left alone. A session that is no longer active is not brought back. */
  readonly except?: string | undefined
  /**
   * Ask for the number of sessions that were ended. Counting may take time proportional to the number of sessions; without
   * it the call costs the same for ten sessions and ten thousand.
   */
  readonly count?: boolean | undefined
}

/** One page of a subject's live sessions. */
export interface SessionPage {
  readonly subject: string
  /** Public id of a session to leave out. */
  readonly except?: string | undefined
  /** Start after this session: the last one of the page before. */
  readonly after?: Pick<Session, 'id' | 'createdAt'> | undefined
  /** The most sessions. */
  readonly limit: number
}

/**
 * Where sessions live, looked up by their token.
 *
 * Every method resolves to a value for what is expected (`undefined`: no such session) and rejects only for "could not
 * tell" or for misuse. Tokens are stored as SHA-256 digests. A logged-out session never becomes active again, whatever the
 * order, the repetition or the concurrency of calls.
 *
 * An id or a subject that a host in plain JavaScript gives as a number is refused with a `TypeError`, or taken for its text.
 *
 * @see `sessionStoreRules` of `fastify-logout/conformance/session-store`: these promises as tests.
 * @example
 * ```ts
 * import { tokenDigest, type Session, type SessionStore } from 'fastify-logout'
 *
 * // The smallest part of a store that kratosLogout needs.
 * const rows = new Map<string, Session>()
 * export const sessions: Pick<SessionStore, 'logOut'> = {
 *   logOut (token) {
 *     const before = rows.get(tokenDigest(token))
 *     if (before !== undefined) rows.set(tokenDigest(token), { ...before, status: 'logged_out' })
 *     return before
 *   }
 * }
 * ```
 */
export interface SessionStore {
  /** Stores a new session. Rejects when the token or the id is taken. */
  create (token: string, session: NewSession): Awaitable<void>

  /** The session of this token until its `keepUntil`, also when it is logged out or expired. */
  find (token: string): Awaitable<Session | undefined>

  /**
   * Atomically marks the session of this token as logged out, and resolves to the session **as it was before**: of many
   * concurrent calls exactly one sees it `active`. An expired session is marked too.
   */
  logOut (token: string): Awaitable<Session | undefined>

  /** The same by public id. With a `subject`, only if the session is that subject's. */
  logOutById (query: { readonly id: string, readonly subject?: string | undefined }): Awaitable<Session | undefined>

  /**
   * Logs out every session of the subject that exists now, except one. A session that is created afterwards is live.
   * One round trip, whatever the number of sessions.
   *
   * Resolves to the number of sessions that were active, unexpired and are now logged out, if `count` asked for it;
   * otherwise to `undefined`.
   */
  logOutSubject (query: SubjectLogout): Awaitable<number | undefined>

  /** The subject's active, unexpired sessions, newest first (by `createdAt`, then by the UTF-8 bytes of `id`, both descending). */
  list (page: SessionPage): Awaitable<Session[]>
}

/** Whether the session opens anything at this instant. */
export function isLive (session: Session, now: number): boolean {
  return session.status === 'active' && session.expiresAt > now
}
