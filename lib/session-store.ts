import type { Awaitable } from './awaitable.ts'

/**
 * A session as a store knows it. It never holds the token that opens it.
 * All times are epoch milliseconds.
 */
export interface Session {
  /** Public id: safe to show, to log and to put into a URL. */
  readonly id: string
  /** Whose session it is. Unique within a store: a host with tenants gives each tenant a store (another prefix), or puts the tenant into the subject. */
  readonly subject: string
  /** `logged_out` is final. A session that merely ran out stays `active`: `expiresAt` tells. */
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

/** A session about to be stored: it starts out `active`. */
export type NewSession = Omit<Session, 'status'>

/** Which sessions of a subject {@link SessionStore.logOutSubject} ends. */
export interface SubjectLogout {
  readonly subject: string
  /** Public id of the one session to keep. One that is no longer active is not brought back. */
  readonly except?: string | undefined
  /** Ask for the number of sessions ended. Counting may cost what the sessions are many; without it the call costs the same for ten sessions and ten thousand. */
  readonly count?: boolean | undefined
}

/** One page of a subject's live sessions. */
export interface SessionPage {
  readonly subject: string
  /** Public id of a session to leave out. */
  readonly except?: string | undefined
  /** Start behind this session: the last one of the page before. */
  readonly after?: Pick<Session, 'id' | 'createdAt'> | undefined
  /** At most so many sessions. */
  readonly limit: number
}

/**
 * Where sessions live, looked up by their token.
 *
 * Every method answers with a value for what is expected (`undefined`: no such session) and rejects only for
 * "could not tell". Tokens are kept as SHA-256 digests. A logged-out session never becomes active again,
 * whatever the order, the repetition or the concurrency of calls.
 */
export interface SessionStore {
  /** Stores a new session. Rejects when the token or the id is taken. */
  create (token: string, session: NewSession): Awaitable<void>

  /** The session of this token, logged-out and expired ones included, until its `keepUntil`. */
  find (token: string): Awaitable<Session | undefined>

  /**
   * Atomically marks the session of this token as logged out, and resolves it **as it was before**: of many
   * concurrent calls exactly one sees it `active`. An expired session is marked too.
   */
  logOut (token: string): Awaitable<Session | undefined>

  /** The same by public id; with a `subject`, only if the session is that subject's. */
  logOutById (query: { readonly id: string, readonly subject?: string | undefined }): Awaitable<Session | undefined>

  /**
   * Logs out every session of the subject that exists now, but one: a session created afterwards is live.
   * One round trip, whatever the number of sessions.
   *
   * Resolves the number of sessions that were active, unexpired and are now logged out, if `count` asked for it; otherwise `undefined`.
   */
  logOutSubject (query: SubjectLogout): Awaitable<number | undefined>

  /** The subject's active, unexpired sessions, newest first (by `createdAt`, then by the UTF-8 bytes of `id`, both descending). */
  list (page: SessionPage): Awaitable<Session[]>
}

/** Whether the session opens anything at this instant. */
export function isLive (session: Session, now: number): boolean {
  return session.status === 'active' && session.expiresAt > now
}
