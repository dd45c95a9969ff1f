import { isPromise } from '../internal/async/awaitable.ts'
import type { Callback } from '../internal/async/callback.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** A store of express-session or `@fastify/session`, as far as {@link expressSessionStore} uses it. */
export interface ExpressSessionStore {
  /** Finds what the host stored. Calls back with nothing for an unknown session. */
  get (sessionId: string, callback: (error: unknown, stored?: unknown) => void): unknown
  /** Deletes the session. */
  destroy (sessionId: string, callback: (error?: unknown) => void): unknown
}

/** The options of {@link expressSessionStore}. `sessionOf` is required. */
export interface ExpressSessionStoreOptions {
  /**
   * Reads a session of the host: at least its `subject`. `undefined` for a session without a user, which nobody can log out.
   *
   * By default `id` is a digest of the session's id, `createdAt` is 0, and `expiresAt` is that of the session's cookie, or
   * never.
   */
  readonly sessionOf: (stored: Readonly<Record<string, unknown>>) => StoredSession | undefined
  /**
   * The ids that the host's `genid` or `idGenerator` makes. Any other id is an unknown session, and the store is not asked.
   * An id with a slash, a backslash or a NUL, or of dots alone, is always unknown: a store of files would leave its folder.
   * @default the ids of express-session and `@fastify/session`: 32 letters, digits, `-` and `_`
   */
  readonly idPattern?: RegExp | undefined
  /**
   * How long a logout that the store has not answered holds up others of the same session, in milliseconds. After that the
   * store is asked again.
   * @default 5000
   */
  readonly timeout?: number | undefined
}

/** {@link ExpressSessionStoreOptions.sessionOf} */
export type StoredSession = Pick<Session, 'subject'> & Partial<Omit<Session, 'subject' | 'status' | 'keepUntil'>>

/**
 * Logs out the sessions that a host keeps with express-session or `@fastify/session`, by deleting them from its store.
 * The token is the session's id, as in `request.session.sessionId`, without the signature of the cookie.
 *
 * Such a store promises less than a {@link SessionStore}:
 * - A logged-out session is forgotten, not kept: a second logout has the result of an unknown token. Of logouts at the same
 *   time in one process, one resolves the session as active and the others as logged out.
 * - Reading and deleting are two steps: two processes may both resolve the session as active.
 * - A request that began before the logout may save the session once more when it ends, and so bring it back.
 *   `saveUninitialized: false`, `resave: false` and `rolling: false` make that rarer. `protectSessionStore` prevents it.
 * - The host's store keeps the ids in clear, and cannot find the sessions of a subject.
 *
 * @param store A `MemoryStore`, connect-redis, connect-pg-simple or any other. It is never closed.
 * @throws {TypeError} for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import fastifyCookie from '@fastify/cookie'
 * import fastifySession from '@fastify/session'
 * import { RedisStore } from 'connect-redis'
 * import Fastify from 'fastify'
 * import { kratosBrowserLogout } from 'fastify-logout'
 * import { expressSessionStore } from 'fastify-logout/session-stores/express-session'
 * import { createClient } from 'redis'
 *
 * const app = Fastify()
 * const secret = 'the secret of the session cookie'
 * const store = new RedisStore({ client: await createClient().connect() })
 * await app.register(fastifyCookie, { secret })
 * await app.register(fastifySession, { secret, store })
 * await app.register(kratosBrowserLogout, {
 *   sessions: expressSessionStore(store, { sessionOf: ({ user }) => typeof user === 'string' ? { subject: user } : undefined }),
 *   cookie: { name: 'sessionId', signed: true },
 *   publicUrl: 'https://app.example',
 *   returnUrls: { default: 'https://app.example/' }
 * })
 * ```
 */
export function expressSessionStore (
  store: ExpressSessionStore, options: ExpressSessionStoreOptions
): Pick<SessionStore, 'find' | 'logOut'> {
  const { isId, sessionOf, timeout } = resolveOptions(store, options)

  async function find (token: string): Promise<Session | undefined> {
    if (!isId(token)) return undefined
    const stored = await get(store, token)
    const known = stored && sessionOf(stored)
    if (!known) return undefined
    const session = { id: tokenDigest(token), createdAt: 0, expiresAt: expiryOf(stored), status: 'active' as const, ...known }
    return { ...session, keepUntil: session.expiresAt }
  }

  async function end (token: string): Promise<Session | undefined> {
    const before = await find(token)
    if (before !== undefined) await destroy(store, token)
    return before
  }

  return { find, logOut: joining(end, timeout) }
}

function resolveOptions (store: ExpressSessionStore, options: ExpressSessionStoreOptions) {
  const caller = 'expressSessionStore'
  assertOption(typeof store?.get === 'function' && typeof store.destroy === 'function', caller, 'store',
    'must have get and destroy, as the stores of express-session and @fastify/session have')
  const { sessionOf, idPattern = /^[\w-]{32}$/, timeout } = options ?? {}
  assertOption(sessionOf !== undefined, caller, 'sessionOf', 'is missing: pass ({ user }) => user && { subject: user }, for example')
  assertFunctions(options, caller, ['sessionOf'])
  assertOption(idPattern instanceof RegExp && !idPattern.global && !idPattern.sticky, caller, 'idPattern',
    'must be a regular expression without the flags g and y')
  return {
    isId: (token: string) => !isPath(token) && idPattern.exec(token)?.[0] === token,
    sessionOf,
    timeout: duration(timeout, 5000, caller, 'timeout')
  }
}

/** Whether a store of files would look for this id outside of its folder. */
function isPath (id: string): boolean {
  return /[/\\]|^\.*$/.test(id) || id.includes('\0')
}

/** A logout that the store has not answered yet. */
interface PendingLogout {
  readonly since: number
  readonly answer: Promise<Session | undefined>
  /** The session, once one of the logouts has ended it. Shared with the logouts that were given up before this one. */
  readonly outcome: { ended?: Session }
}

type LogOut = (token: string) => Promise<Session | undefined>

/** How long a logout without an answer is remembered, in milliseconds: an answer that comes until then still counts as the first. */
const longestMemory = 60_000

/**
 * Makes logouts of one session at the same time share one answer: the first resolves the session as it was, the others as
 * logged out. A logout without an answer for `timeout` milliseconds is given up: the next one asks the store again.
 */
function joining (end: LogOut, timeout: number): LogOut {
  const pending = new Map<string, PendingLogout>()

  const forgetLost = (now: number): void => {
    for (const [token, { since }] of pending) {
      if (now - since < timeout + longestMemory) return
      pending.delete(token)
    }
  }

  const begin = (token: string, since: number, outcome: PendingLogout['outcome']): PendingLogout => {
    const finish = async (): Promise<Session | undefined> => {
      try {
        const before = await end(token)
        if (outcome.ended !== undefined) return loggedOut(outcome.ended)
        if (before !== undefined) outcome.ended = before
        return before
      } finally {
        if (pending.get(token) === logout) pending.delete(token)
      }
    }
    const logout: PendingLogout = { since, outcome, answer: finish() }
    pending.delete(token) // The map stays in the order of age.
    pending.set(token, logout)
    return logout
  }

  return async token => {
    const now = performance.now()
    forgetLost(now)
    const first = pending.get(token)
    if (first !== undefined && now - first.since < timeout) return loggedOut(await first.answer)
    return begin(token, now, first?.outcome ?? {}).answer
  }
}

function loggedOut (session: Session | undefined): Session | undefined {
  return session && { ...session, status: 'logged_out' }
}

async function get (store: ExpressSessionStore, id: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const stored = await answerOf(callback => store.get(id, callback))
  return typeof stored === 'object' && stored !== null ? stored as Record<string, unknown> : undefined
}

async function destroy (store: ExpressSessionStore, id: string): Promise<void> {
  await answerOf(callback => store.destroy(id, callback))
}

/** What a store calls back with. A promise that it returns as well counts only if it rejects: then no call comes. */
function answerOf (ask: (callback: Callback) => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => isMissing(error) ? resolve(undefined) : reject(error)
    const returned = ask((error, value) => error ? fail(error) : resolve(value))
    if (isPromise(returned)) returned.then(undefined, fail)
  })
}

/** A store of files reports a missing session as an error. */
function isMissing (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

const endOfTime = 8.64e15

function expiryOf ({ cookie }: Readonly<Record<string, unknown>>): number {
  const expires = typeof cookie === 'object' && cookie !== null && 'expires' in cookie ? cookie.expires : undefined
  const instant = expires instanceof Date || typeof expires === 'string' ? new Date(expires).getTime() : NaN
  return Number.isNaN(instant) ? endOfTime : instant
}
