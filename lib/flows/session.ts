import { Type } from '@sinclair/typebox'
import type {
  FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema, HookHandlerDoneFunction, preHandlerHookHandler
} from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import type { CrossSiteOptions } from '../internal/http/cross-site.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { wantsPage } from '../internal/http/wants-page.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunction, assertFunctions, assertGroup, assertGrouped, assertOption } from '../internal/plugin/options.ts'
import { pluginOrFactory } from '../internal/plugin/plugin-or-factory.ts'
import type { LogoutScope } from '../internal/revocation/logout-marks.ts'
import { bodyLimit, fieldsOf, mediaTypes } from '../internal/session-logout/body.ts'
import { isLogoutError, logoutError } from '../internal/session-logout/error.ts'
import {
  logLogoutFailure, logoutRoute, prepareLogoutScope, standardPath, type LogoutRouteOptions
} from '../internal/session-logout/route.ts'
import type { HostSession } from '../session-source.ts'

export type { LogoutScope }

// Options

/** How {@link sessionLogout} protects against requests that other sites make a browser send. */
export interface LogoutCsrfOptions extends CrossSiteOptions {
  /**
   * A hook that decides alone for requests with a live session, such as `app.csrfProtection`. It runs after the body was
   * parsed. Without a live session there is no secret to check, so the other checks decide.
   */
  readonly hook?: preHandlerHookHandler | undefined
}

/** Which sessions a request to {@link sessionLogout} may log out. */
export interface LogoutScopeOptions<S extends HostSession = HostSession> {
  /** What may be asked for. `others` and `all` need `find` and `logOutSubject`. @default what the source supports */
  readonly allowed?: readonly LogoutScope[] | undefined
  /** Asked before `others` and `all`. Only `true` allows it, anything else is a 403. @default everyone may */
  mayLogOut?: ((scope: 'others' | 'all', session: S, request: FastifyRequest) => Awaitable<boolean>) | undefined
}

/** The options of {@link sessionLogout}. `sessions` is required. */
export interface SessionLogoutOptions<S extends HostSession = HostSession> extends LogoutRouteOptions<S> {
  /** Which sessions a request may log out: this one, the others, or all. */
  readonly scopes?: LogoutScopeOptions<S> | undefined
  /**
   * The protection against cross-site requests: by `Sec-Fetch-Site` and `Origin`, by a hook of the host, or `'off'` for
   * hosts whose credential never travels in a cookie.
   * @default 'same-origin'
   */
  readonly csrf?: 'same-origin' | 'off' | preHandlerHookHandler | LogoutCsrfOptions | undefined
}

/** The type of {@link sessionLogout}. */
export interface SessionLogoutPlugin {
  /** Returns the plugin for these options. The type of the session is inferred, for `onLogout` and `scopes.mayLogOut`. */
  <S extends HostSession>(options: SessionLogoutOptions<S>): FastifyPluginAsync
  /** The plugin itself, for `app.register(sessionLogout, options)`. */
  <S extends HostSession = HostSession>(fastify: FastifyInstance, options: SessionLogoutOptions<S>): Promise<void>
}

// Schema

const failure = (description: string) => ({ ...Type.Unknown(), description })

function routeSchema ({ prefix }: FastifyInstance, { path, scopes, security }: Settings): FastifySchema {
  const documented = {
    ...(security !== undefined && { security }),
    operationId: operationId('logout', prefix + (path === standardPath ? '' : path)),
    summary: 'Log out of this session, of the user\'s other sessions, or of all',
    tags: ['logout'],
    consumes: [...mediaTypes],
    body: Type.Object({
      scope: Type.Optional(Type.Unsafe<LogoutScope>({
        type: 'string', enum: [...scopes], default: 'current', description: 'The sessions to log out'
      })),
      return_to: Type.Optional(Type.String({ description: 'Where a browser goes afterwards: a path of this server, or an allowed URL' }))
    }),
    response: {
      204: Type.Null({ description: 'The sessions are logged out' }),
      303: Type.Null({ description: 'The sessions are logged out. A browser goes on to the return URL' }),
      401: failure('There is no live session. Only for the scopes others and all'),
      '4xx': failure('The request was refused'),
      '5xx': failure('The outcome is unknown. Retry')
    }
  }
  return documented
}

// Flow

/**
 * `POST /logout` for the sessions or tokens that the host already has. It ends this session, the user's other sessions or
 * all of them, as the field `scope` of a JSON or form body says, and removes the cookies.
 *
 * A 204, or a 303 for browsers, says that the source ended them. Logging out `current` succeeds unless something is down:
 * without a session, or repeated, the response is the same. `others` and `all` need a live session. When the source could
 * not tell, the response is a 503 and the cookies stay, so that a retry can finish.
 *
 * Errors go to the host's error handler, with `statusCode` and a `code` that begins with `LOGOUT_`.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
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
 * const app = Fastify()
 * const store = protectSessionStore(new fastifySession.MemoryStore(), memoryRevocationStore(), {
 *   lifetime: 24 * 3_600_000
 * })
 * await app.register(fastifyCookie)
 * await app.register(fastifySession, { secret: 'a secret of at least 32 characters', store })
 * await app.register(sessionLogout, { sessions: fastifySessionSource(store) })
 * ```
 */
export const sessionLogout = pluginOrFactory<SessionLogoutOptions>('session', routes) as unknown as SessionLogoutPlugin

async function routes (fastify: FastifyInstance, options: SessionLogoutOptions): Promise<void> {
  const settings = resolveOptions(options)
  const { path, crossSite, hook } = settings
  const logOut = logout(settings)

  prepareLogoutScope(fastify, plugin)
  fastify.setSerializerCompiler(() => asFastifyDoes)
  fastify.addHook('onError', onError)

  fastify.post(path, {
    bodyLimit,
    schema: freshSchema(routeSchema(fastify, settings)),
    onRequest: (request, _reply, done) => {
      if (isPrefetch(request.headers)) throw logoutError('LOGOUT_PREFETCH')
      if (hook === undefined) crossSite(request)
      done()
    },
    preHandler: hook === undefined ? [] : [hookForSessions(hook, settings)]
  }, async (request, reply) => {
    const { scope, target } = readInput(request, settings)
    await logOut(scope, request, reply)
    return sendDone(request, reply, target)
  })
}

/** What a request asks for. */
interface LogoutInput {
  readonly scope: LogoutScope
  /** Where a browser goes afterwards. */
  readonly target: string
}

type Settings = ReturnType<typeof resolveOptions>

function readInput ({ body }: FastifyRequest, { scopes, targetOf }: Settings): LogoutInput {
  const { scope = 'current', return_to: returnTo } = fieldsOf(body)
  const known = scopes.find(name => name === scope)
  if (known === undefined) throw logoutError('LOGOUT_SCOPE')
  return { scope: known, target: targetOf(returnTo) }
}

/**
 * The host's hook for requests with a live session, the cross-site check for all others: after a logout, a hook finds no
 * secret any more and would refuse the retry.
 */
function hookForSessions (hook: AnyHook, settings: Settings) {
  return async function (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    readInput(request, settings)
    if (await settings.find(request) === undefined) return settings.crossSite(request)
    if (hook.length < 3) return hook.call(this, request, reply)
    return new Promise<void>((resolve, reject) => {
      hook.call(this, request, reply, error => { error ? reject(error) : resolve() })
    })
  }
}

/** Ends what was asked for. What burns the caller's own credential comes last. */
function logout ({ steps, find, mayLogOut }: Settings) {
  return async (scope: LogoutScope, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (scope === 'current') {
      await steps.logOut(request, reply)
      return
    }
    const session = await find(request)
    if (session === undefined) {
      if (scope === 'all') await steps.logOut(request, reply)
      throw logoutError('LOGOUT_NOT_LOGGED_IN')
    }
    if (!await mayLogOut(scope, session, request)) throw logoutError('LOGOUT_FORBIDDEN')
    if (scope === 'all') await steps.logOutAll(session, request, reply)
    else await steps.logOutOthers(session, request)
  }
}

/** A 303 for pages, a 204 for programs. htmx does not read the headers of a redirect. */
function sendDone ({ headers }: FastifyRequest, reply: FastifyReply, target: string): FastifyReply {
  reply.removeHeader('content-type')
  if (headers['hx-request'] === 'true') return reply.code(204).header('hx-redirect', target).send()
  if (wantsPage(headers.accept)) return reply.code(303).header('location', target).send()
  return reply.code(204).send()
}

const plugin = 'sessionLogout'
const everyScope: readonly LogoutScope[] = ['current', 'others', 'all']

function resolveOptions (options: SessionLogoutOptions) {
  const { steps, path, security, targetOf, crossSiteCheck } = logoutRoute(options, plugin)
  const { mayLogOut } = options.scopes ?? {}
  assertGrouped(options, plugin, { scopes: ['mayLogOut'], csrf: ['hook', 'trustedOrigins', 'trustSameSite'] })
  assertFunctions(options, plugin, ['scopes.mayLogOut'])
  const csrf = resolveCsrf(options)
  const judge = csrf && crossSiteCheck(csrf)
  const found = new WeakMap<FastifyRequest, HostSession>()

  return {
    steps,
    path,
    scopes: resolveScopes(options),
    security,
    targetOf,
    /** The live session of a request: a live one is looked up once. */
    find: async (request: FastifyRequest): Promise<HostSession | undefined> => {
      const session = found.get(request) ?? await steps.find(request)
      if (session !== undefined) found.set(request, session)
      return session
    },
    hook: csrf?.hook as AnyHook | undefined,
    crossSite: (request: FastifyRequest) => {
      if (judge?.(request) === 'refused') throw logoutError('LOGOUT_CROSS_SITE')
    },
    mayLogOut: async (scope: 'others' | 'all', session: HostSession, request: FastifyRequest) => {
      return mayLogOut === undefined || await steps.call('scopes.mayLogOut', () => mayLogOut(scope, session, request)) === true
    }
  }
}

function resolveScopes ({ sessions, scopes: group = {} }: SessionLogoutOptions): readonly LogoutScope[] {
  assertGroup(group, plugin, 'scopes', '{ allowed, mayLogOut }')
  const { allowed: scopes } = group
  const supported = sessions.find === undefined || sessions.logOutSubject === undefined ? everyScope.slice(0, 1) : everyScope
  if (scopes === undefined) return supported
  assertOption(Array.isArray(scopes) && scopes.includes('current') && scopes.every(scope => everyScope.includes(scope)), plugin,
    'scopes.allowed', 'must be a list of "current", "others" and "all" that has "current"')
  assertOption(scopes.every(scope => supported.includes(scope)), plugin, 'scopes.allowed',
    'must be ["current"] with these sessions: "others" and "all" need the methods "find" and "logOutSubject"')
  return [...scopes]
}

/** The protection as an object; `undefined` for none. */
function resolveCsrf ({ sessions, csrf = 'same-origin' }: SessionLogoutOptions): LogoutCsrfOptions | undefined {
  const given: unknown = csrf
  if (given === 'off') {
    assertOption(sessions.readsCookie !== true, plugin, 'csrf', 'must not be "off": the credential of these sessions travels in a cookie')
    return undefined
  }
  if (given === 'same-origin') return {}
  assertOption(typeof given === 'function' || (typeof given === 'object' && given !== null), plugin, 'csrf',
    'must be "same-origin", "off", a hook such as app.csrfProtection, or { trustedOrigins, trustSameSite, hook }')
  const resolved: LogoutCsrfOptions = typeof given === 'function' ? { hook: given as preHandlerHookHandler } : given
  assertFunction(resolved.hook, plugin, 'csrf.hook')
  assertOption(resolved.hook === undefined || sessions.find !== undefined, plugin, 'csrf',
    'is a hook, which needs "sessions" with the method "find": the hook is not called without a live session')
  return resolved
}

// Errors

/** Logs what is not the caller's fault, and sets the headers of an error. The host's error handler does the rest. */
async function onError (request: FastifyRequest, reply: FastifyReply, error: Error): Promise<void> {
  if (isLogoutError(error) && error.headers !== undefined) reply.headers(error.headers)
  logLogoutFailure(request, error)
}

/** Writes an error that no handler of the host has shaped as Fastify writes it on routes without a schema for errors. */
function asFastifyDoes (payload: unknown): string {
  if (!(payload instanceof Error)) return JSON.stringify(payload)
  const { statusCode, code, error, message } = payload as Error & { readonly [Member in 'statusCode' | 'code' | 'error']?: unknown }
  return JSON.stringify({ statusCode, code, error, message })
}

/** A hook of any style: it calls `done`, or returns a promise. */
type AnyHook = (this: FastifyInstance, ...given: [FastifyRequest, FastifyReply, HookHandlerDoneFunction?]) => unknown
