import type { FastifyRequest } from 'fastify'
import { isId } from '../internal/marks/id.ts'
import { assertFunctions, assertOption, lifetimeOf } from '../internal/plugin/options.ts'
import { logoutMarks } from '../internal/revocation/logout-marks.ts'
import { misconfigured } from '../internal/session-logout/error.ts'
import { loginTimeCheck } from '../internal/session-logout/login-time.ts'
import { assertRevocations, markedById, subjectMark, toleranceOf, type SourceRevocations } from '../internal/session-logout/marks.ts'
import type { Credential } from '../revocation-store.ts'
import type { HostSession, SessionsById, SessionSource } from '../session-source.ts'

/** A session of `@fastify/secure-session`, as the host's `sessionOf` reads it. */
export interface SecureSession extends HostSession {
  /** When the user logged in, in epoch milliseconds. Without it, every logout of its subject ends the session. */
  readonly issuedAt?: number | undefined
}

/** The options of {@link secureSessionSource}. `revocations`, `lifetime` and `sessionOf` are required. */
export interface SecureSessionSourceOptions<S extends SecureSession> {
  /** Where the marks are: a revocation store, or a replica of one. */
  readonly revocations: SourceRevocations
  /** How long a cookie is good after it was last set, in milliseconds: the `expiry` of the plugin. */
  readonly lifetime: number
  /**
   * Reads a session from its data, or nothing for a session without a user. The host puts an id of its own into the data
   * at login, a new one for each login, such as `randomUUID()`.
   */
  readonly sessionOf: (data: Readonly<Record<string, unknown>>) => S | undefined | null
  /** The `sessionName` that `@fastify/secure-session` has. @default 'session' */
  readonly sessionName?: string | undefined
  /**
   * How far the clocks of the host's nodes may differ, in milliseconds. A login within this time after a logout of other or of
   * all sessions is refused too.
   * @default 0
   */
  readonly clockTolerance?: number | undefined
}

/** A source, and the credential of its sessions for `revocationGuard`. By its public id a session is ended without its cookie. */
export interface SecureSessionSource<S extends SecureSession> extends SessionSource<S>, SessionsById {
  /** The credential of a request; `undefined` without a user. For the option `credential` of `revocationGuard`. */
  credential (request: FastifyRequest): Credential | undefined
}

const caller = 'secureSessionSource'
const slowestRequest = 3_600_000

/**
 * The sessions of `@fastify/secure-session`, which are kept in their cookie. Whoever has a copy of the cookie has the
 * session: a logout writes a mark, and `revocationGuard` refuses every copy, older ones and ones that a request in flight
 * sets again.
 *
 * Put `config: { revocation: false }` on the login route: the guard would refuse a user whose browser kept a revoked cookie.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @example
 * ```ts
 * import fastifySecureSession from '@fastify/secure-session'
 * import Fastify from 'fastify'
 * import { revocationGuard, sessionLogout } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { secureSessionSource } from 'fastify-logout/session-sources/secure-session'
 *
 * const revocations = memoryRevocationStore()
 * const sessions = secureSessionSource({
 *   revocations,
 *   lifetime: 24 * 3_600_000,
 *   sessionOf: ({ id, user, loggedInAt }) => typeof id === 'string' && typeof user === 'string'
 *     ? { id, subject: user, issuedAt: Number(loggedInAt) }
 *     : undefined
 * })
 * const app = Fastify()
 * await app.register(fastifySecureSession, { secret: 'a secret of at least 32 characters', salt: 'sixteen letters!' })
 * await app.register(revocationGuard, { revocations, credential: sessions.credential })
 * await app.register(sessionLogout, { sessions })
 * ```
 */
export function secureSessionSource<S extends SecureSession> (options: SecureSessionSourceOptions<S>): SecureSessionSource<S> {
  const { revocations, times, openSession, deleteSession } = resolveOptions(options)
  const checkLoginTime = loginTimeCheck(caller, 'Return "issuedAt" from the option "sessionOf".')

  return {
    readsCookie: true,

    credential: request => credentialOf(openSession(request)),

    find: async request => {
      const session = openSession(request)
      const credential = credentialOf(session)
      if (credential === undefined) return undefined
      checkLoginTime(credential, request)
      return await revocations.check(credential) === 'live' ? session : undefined
    },

    logOut: async request => {
      const session = openSession(request)
      const credential = credentialOf(session)
      if (credential === undefined) return undefined
      const ended = await revocations.revokeOnce(credential, ...logoutMarks({ sessionId: credential.sessionId }, times))
      return ended ? session : undefined
    },

    logOutSubject: async query => { await revocations.revoke(subjectMark(query, times)) },

    ...markedById(revocations, times),

    // The plugin then sends the clearing cookie.
    forget: request => { deleteSession(request) }
  }
}

/** What `@fastify/secure-session` makes of a request. */
interface PluginSession {
  data (): Readonly<Record<string, unknown>>
  delete (): void
}

function resolveOptions<S extends SecureSession> (options: SecureSessionSourceOptions<S>) {
  const { revocations, sessionOf, sessionName = 'session' } = options ?? {}
  assertRevocations(revocations, caller)
  assertOption(options.lifetime !== undefined, caller, 'lifetime', 'is missing: pass the expiry of the plugin, in milliseconds')
  assertOption(sessionOf !== undefined, caller, 'sessionOf', 'is missing: pass data => ({ id: data.id, subject: data.user })')
  assertFunctions(options, caller, ['sessionOf'])
  const isName = typeof sessionName === 'string' && sessionName !== ''
  assertOption(isName, caller, 'sessionName', 'must be the sessionName of @fastify/secure-session')

  const pluginSession = (request: FastifyRequest): PluginSession => {
    const session = (request as unknown as Readonly<Record<string, Partial<PluginSession> | null | undefined>>)[sessionName]
    if (typeof session?.data === 'function' && typeof session.delete === 'function') return session as PluginSession
    throw misconfigured(caller, `register @fastify/secure-session with the sessionName ${JSON.stringify(sessionName)} before the logout`)
  }
  return {
    revocations,
    times: {
      lifetime: lifetimeOf(options.lifetime, 0, caller, 'lifetime') + slowestRequest,
      clockTolerance: toleranceOf(options.clockTolerance, caller)
    },
    openSession: (request: FastifyRequest): S | undefined => {
      const session = sessionOf(pluginSession(request).data()) ?? undefined
      if (session === undefined || (isId(session.id) && isId(session.subject))) return session
      throw misconfigured(caller, 'option "sessionOf" must return { id, subject }, or undefined for a session without a user')
    },
    deleteSession: (request: FastifyRequest) => { pluginSession(request).delete() }
  }
}

function credentialOf (session: SecureSession | undefined): Credential | undefined {
  if (session === undefined) return undefined
  const { id, subject, tenant, issuedAt } = session
  return { sessionId: `${id}`, subject: `${subject}`, tenant, issuedAt }
}
