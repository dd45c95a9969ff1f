import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import { clearCookieOfHost } from '../internal/http/cookie.ts'
import { detachSession, hostSessionId } from '../internal/plugin/detach-session.ts'
import { assertOption } from '../internal/plugin/options.ts'
import { logoutMarks } from '../internal/revocation/logout-marks.ts'
import { protectionOf, sessionMarkId, type SessionProtection } from '../internal/revocation/protected-session-store.ts'
import { logoutError, misconfigured } from '../internal/session-logout/error.ts'
import { loginTimeCheck } from '../internal/session-logout/login-time.ts'
import { markedById, subjectMark, toleranceOf } from '../internal/session-logout/marks.ts'
import type { Credential } from '../revocation-store.ts'
import type { SessionsById, SessionSource } from '../session-source.ts'

/** A session of `@fastify/session`, as its logout reports it. */
export interface FastifySessionSession {
  /** The digest of the session id: the session id itself opens the session. */
  readonly id: string
  readonly subject: string
  readonly tenant?: string | undefined
}

/** The options of {@link fastifySessionSource}. */
export interface FastifySessionSourceOptions {
  /** The `cookieName` that `@fastify/session` has. @default 'sessionId' */
  readonly cookieName?: string | undefined
  /**
   * How far the clocks of the host's nodes may differ, in milliseconds. A login within this time after a logout of other or of
   * all sessions is refused too.
   * @default 0
   */
  readonly clockTolerance?: number | undefined
}

/**
 * {@link fastifySessionSource}. By its public id, `tokenDigest(request.session.sessionId)`, a session is ended without its
 * cookie: it is revoked, and its data stay in the store until they expire.
 */
export interface FastifySessionSource extends SessionSource<FastifySessionSession>, SessionsById {}

const caller = 'fastifySessionSource'

/**
 * The sessions of `@fastify/session`, with any store, any `rolling` and any `saveUninitialized`.
 *
 * A logout marks the session as revoked, removes it from the store, keeps the plugin from saving it back, and clears the
 * cookie with the attributes that the plugin gave it. A request in flight that saves the session does not revive it.
 *
 * @param store What `protectSessionStore` returned, and what `@fastify/session` was given as its `store`. The subject, the
 *   login time, the lifetime and the marks come from it.
 * @throws {TypeError} for a store that `protectSessionStore` did not return, and for a wrong option
 * @example
 * ```ts
 * import fastifyCookie from '@fastify/cookie'
 * import fastifySession from '@fastify/session'
 * import Fastify from 'fastify'
 * import { sessionLogout } from 'fastify-logout'
 * import { protectSessionStore } from 'fastify-logout/bridges/express-session'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { fastifySessionSource } from 'fastify-logout/session-sources/fastify-session'
 *
 * declare module 'fastify' {
 *   interface Session { user?: string, loggedInAt?: number }
 * }
 *
 * const store = protectSessionStore(new fastifySession.MemoryStore(), memoryRevocationStore(), {
 *   credential: ({ user, loggedInAt }) => user === undefined ? undefined : { subject: user, issuedAt: loggedInAt }
 * })
 * const app = Fastify()
 * await app.register(fastifyCookie)
 * await app.register(fastifySession, { secret: 'a secret of at least 32 characters', store })
 * await app.register(sessionLogout, { sessions: fastifySessionSource(store) })
 * ```
 */
export function fastifySessionSource (store: object, options: FastifySessionSourceOptions = {}): FastifySessionSource {
  const protection = protectionOf(store)
  assertOption(protection !== undefined, caller, 'store', 'must be what protectSessionStore returned, and what @fastify/session was given')
  const { cookieName = 'sessionId' } = options
  assertOption(typeof cookieName === 'string' && cookieName !== '', caller, 'cookieName', 'must be the cookieName of @fastify/session')
  const { revocations, lifetime } = protection
  const times = { lifetime, clockTolerance: toleranceOf(options.clockTolerance, caller) }
  const open = sessionOpener(store, protection, cookieName)
  const checkLoginTime = loginTimeCheck(caller, 'Return "loggedInAt" from the option "credential" of protectSessionStore.')

  return {
    readsCookie: true,

    find: async request => {
      const { credential, user } = open(request)
      if (user === undefined) return undefined
      checkLoginTime(credential, request)
      return await whileDetached(request, () => revocations.check(credential)) === 'live' ? user : undefined
    },

    logOut: async request => {
      const { sessionId, isReal, credential, user } = open(request)
      detachSession(request, sessionId)
      if (!isReal) return undefined
      const ended = await revocations.revokeOnce(credential, ...logoutMarks({ sessionId: credential.sessionId }, times))
      await remove(protection, sessionId, request)
      return ended ? user : undefined
    },

    logOutSubject: async (query, request) => {
      const revoke = () => revocations.revoke(subjectMark(query, times))
      await (request === undefined ? revoke() : whileDetached(request, revoke))
    },

    ...markedById(revocations, times),

    forget: (request, reply) => { clearCookieOfHost(reply, cookieName, open(request).cookie) }
  }
}

/** The session of a request, as it was before it was detached. */
interface OpenSession {
  readonly sessionId: string
  /** Whether there is anything to end. For a client without a session, the plugin has made a new one. */
  readonly isReal: boolean
  readonly credential: Credential
  readonly user: FastifySessionSession | undefined
  /** The attributes of its cookie. */
  readonly cookie: object
}

/** What `@fastify/session` and `@fastify/cookie` make of a request. */
interface PluginRequest {
  session?: PluginSession | null
  readonly sessionStore?: unknown
  readonly cookies: Readonly<Record<string, string>>
}

interface PluginSession {
  readonly sessionId: string
  readonly encryptedSessionId: string
  readonly cookie: Readonly<Record<'path' | 'domain' | 'secure' | 'httpOnly' | 'sameSite' | 'partitioned', unknown>>
}

/** Opens the session of a request once, and remembers it: once it is detached, the request has another one. */
function sessionOpener (store: object, protection: SessionProtection, cookieName: string): (request: FastifyRequest) => OpenSession {
  const opened = new WeakMap<FastifyRequest, OpenSession>()

  return request => {
    const known = opened.get(request)
    const sessionId = hostSessionId(request)
    if (known !== undefined && (sessionId === undefined || sessionId === known.sessionId)) return known
    const { session, sessionStore, cookies } = request as unknown as PluginRequest
    if (sessionStore === undefined) throw misconfigured(caller, 'register @fastify/session before the logout')
    if (sessionStore !== store) throw misconfigured(caller, 'give @fastify/session the same store: what protectSessionStore returned')
    if (session === null) return destroyed
    if (session === undefined || sessionId === undefined) {
      throw misconfigured(caller, 'request.session has no id: the route of the logout must be within the path of the session cookie')
    }
    const carriers = Object.entries(cookies).filter(([, value]) => carries(value, session)).map(([name]) => name)
    if (carriers.length > 0 && !carriers.includes(cookieName)) {
      throw misconfigured(caller, `option "cookieName" must be ${JSON.stringify(carriers[0])}, as in the options of @fastify/session`)
    }
    const now = openSession(protection, session, carriers.length > 0)
    opened.set(request, now)
    return now
  }
}

/** What is left of a session that the host has destroyed while it handled this request. */
const destroyed: OpenSession = { sessionId: '', isReal: false, credential: {}, user: undefined, cookie: { path: '/' } }

function openSession (protection: SessionProtection, session: PluginSession, isOfClient: boolean): OpenSession {
  const credential = credentialOf(protection, session)
  const { subject, tenant } = credential
  const id = sessionMarkId(session.sessionId)
  const user = subject === undefined ? undefined : { id, subject, ...(tenant !== undefined && { tenant }) }
  const { path, domain, secure, httpOnly, sameSite, partitioned } = session.cookie
  return {
    sessionId: session.sessionId,
    isReal: isOfClient || user !== undefined,
    credential,
    user,
    cookie: { path, domain, secure, httpOnly, sameSite, partitioned }
  }
}

/** Whether the value of a cookie is that of a session: its id with any prefix and signature, or what a signer made of it. */
function carries (value: string, { sessionId, encryptedSessionId }: PluginSession): boolean {
  return value.endsWith(encryptedSessionId) || value.includes(`${sessionId}.`)
}

function credentialOf (protection: SessionProtection, session: PluginSession): Credential {
  try {
    return protection.credentialOf(session.sessionId, session)
  } catch (error) {
    throw logoutError('LOGOUT_MISCONFIGURED', error)
  }
}

/**
 * Runs a call to the revocation store while the plugin cannot save the session. Its store asks the same marks: if they
 * hang, the response would wait for them once more.
 */
async function whileDetached<T> (request: FastifyRequest, call: () => Awaitable<T>): Promise<T> {
  const holder = request as unknown as { session: unknown }
  const { session } = holder
  detachSession(request, hostSessionId(request) ?? '')
  const detached = holder.session
  try {
    return await call()
  } finally {
    if (detached !== session && holder.session === detached) holder.session = session
  }
}

/** The session is revoked already: what remains in the host's store is refused. */
async function remove ({ remove }: SessionProtection, sessionId: string, request: FastifyRequest): Promise<void> {
  try {
    await remove(sessionId)
  } catch (error) {
    request.log.warn({ err: error, event: 'logout.cleanup-failed' }, 'a revoked session could not be removed from its store')
  }
}
