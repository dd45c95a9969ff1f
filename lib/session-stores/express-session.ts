import type { Session, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** What is asked of a store that works with express-session or `@fastify/session`. */
export interface ExpressSessionStore {
  /** Finds what the host stored; nothing for an unknown session. */
  get (sessionId: string, callback: (error: unknown, stored?: unknown) => void): unknown
  /** Deletes the session. Its answer is the answer of the logout. */
  destroy (sessionId: string, callback: (error?: unknown) => void): unknown
}

/** How {@link expressSessionStore} reads what the host keeps in a session. `sessionOf` is required. */
export interface ExpressSessionStoreOptions {
  /**
   * What the host keeps about the session of a user: `subject` at least. `undefined` is a session of nobody, which
   * nobody can log out.
   *
   * By default `id` is a digest of the session's id, `createdAt` is 0, and `expiresAt` is that of the session's cookie,
   * or the end of time.
   */
  readonly sessionOf: (stored: Readonly<Record<string, unknown>>) => StoredSession | undefined
}

/** {@link ExpressSessionStoreOptions.sessionOf} */
export type StoredSession = Pick<Session, 'subject'> & Partial<Omit<Session, 'subject' | 'status' | 'keepUntil'>>

const endOfTime = 8.64e15

/**
 * Logs out the sessions that a host keeps with express-session or `@fastify/session`: they are deleted from its store.
 * The token is the session's id, as it is in `request.session.sessionId`, without the signature of the cookie.
 *
 * Such a store promises less than a {@link SessionStore}:
 * - A logged-out session is forgotten, not kept: a second logout answers like one of an unknown token. Where the
 *   calls come at the same time to one process, one sees the session active and the others see it logged out.
 * - Reading and deleting are two steps: of two processes, both may see it active.
 * - A request of the host that began before the logout may save the session once more when it ends, and so bring it back.
 *   `saveUninitialized: false`, `resave: false` and `rolling: false` narrow that, and do not end it.
 * - The host's store keeps the ids in clear, and has no way to the sessions of a subject.
 *
 * @param store A `MemoryStore`, connect-redis, connect-pg-simple or any other. It is never closed.
 * @throws {TypeError} when it has no `get` and `destroy`, or `sessionOf` is no function.
 */
export function expressSessionStore (store: ExpressSessionStore, options: ExpressSessionStoreOptions): Pick<SessionStore, 'find' | 'logOut'> {
  if (typeof store?.get !== 'function' || typeof store.destroy !== 'function') {
    throw new TypeError('expressSessionStore: pass a store with get and destroy, as express-session and @fastify/session use it')
  }
  if (typeof options?.sessionOf !== 'function') {
    throw new TypeError('expressSessionStore: sessionOf must be a function, stored => ({ subject: stored.userId }) for instance')
  }
  const underWay = new Map<string, Promise<Session | undefined>>()

  async function find (token: string): Promise<Session | undefined> {
    const stored = await get(store, token)
    const known = stored && options.sessionOf(stored)
    if (!known) return undefined
    const session = { id: tokenDigest(token), createdAt: 0, expiresAt: expiryOf(stored), status: 'active' as const, ...known }
    return { ...session, keepUntil: session.expiresAt }
  }

  async function end (token: string): Promise<Session | undefined> {
    const before = await find(token)
    if (before !== undefined) await destroy(store, token)
    return before
  }

  return {
    find,
    async logOut (token) {
      const first = underWay.get(token)
      if (first !== undefined) {
        const before = await first
        return before && { ...before, status: 'logged_out' }
      }
      const ending = end(token).finally(() => underWay.delete(token))
      underWay.set(token, ending)
      return ending
    }
  }
}

function get (store: ExpressSessionStore, token: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  return new Promise((resolve, reject) => {
    store.get(token, (error, stored) => {
      if (isFailure(error)) reject(error)
      else resolve(typeof stored === 'object' && stored !== null ? stored as Record<string, unknown> : undefined)
    })
  })
}

function destroy (store: ExpressSessionStore, token: string): Promise<void> {
  return new Promise((resolve, reject) => {
    store.destroy(token, error => isFailure(error) ? reject(error) : resolve())
  })
}

/** A store of files tells of a missing session by an error. */
function isFailure (error: unknown): boolean {
  return Boolean(error) && !(error instanceof Error && 'code' in error && error.code === 'ENOENT')
}

function expiryOf ({ cookie }: Readonly<Record<string, unknown>>): number {
  const expires = typeof cookie === 'object' && cookie !== null && 'expires' in cookie ? cookie.expires : undefined
  const instant = expires instanceof Date || typeof expires === 'string' ? new Date(expires).getTime() : NaN
  return Number.isNaN(instant) ? endOfTime : instant
}
