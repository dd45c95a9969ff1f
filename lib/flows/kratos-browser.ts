import { Type } from '@sinclair/typebox'
import type {
  FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema, RouteHandlerMethod
} from 'fastify'
import fp from 'fastify-plugin'
import { absoluteUrl } from '../internal/http/absolute-url.ts'
import { clearing, clearMembers, type ClearOptions } from '../internal/http/clear.ts'
import { cookieRemover } from '../internal/http/cookie.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { queryOf } from '../internal/http/query.ts'
import { returnToWithin, type ReturnTo } from '../internal/http/return-to.ts'
import { wantsJson } from '../internal/http/wants-json.ts'
import { kratosCallers, type KratosCaller } from '../internal/kratos/caller.ts'
import {
  kratosFailures, loggedKratosError, sendKratosEmpty, sendKratosError, sendKratosJson, type KratosError
} from '../internal/kratos/error.ts'
import { errorResponder } from '../internal/kratos/error-page.ts'
import { logOutByToken } from '../internal/kratos/log-out.ts'
import { isLogoutUrlToken, logoutUrlToken } from '../internal/kratos/logout-url-token.ts'
import { assertSessionStore } from '../internal/kratos/options.ts'
import { namedSessionCookie, sessionCookieReader, type SessionCookie } from '../internal/kratos/session-cookie.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { detachSession } from '../internal/plugin/detach-session.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost } from '../internal/plugin/host-isolation.ts'
import { levelWithoutRequests } from '../internal/plugin/log-level.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import type { OnLogout } from '../logout-event.ts'
import type { SessionStore } from '../session-store.ts'

// Options

/** Where {@link kratosBrowserLogout} sends browsers. */
export interface KratosReturnUrlOptions {
  /** Where a browser is sent after a logout without `return_to`. An absolute URL. */
  readonly default: string
  /**
   * Where `return_to` may point: absolute URLs. Each allows everything below its path. `*.` in front of a host allows its
   * subdomains. `publicUrl` + `/self-service` is always allowed.
   * @default []
   */
  readonly allowed?: readonly string[] | undefined
  /**
   * Where browsers are sent after an error. The query has `error` (a name) and `error_description` (a sentence).
   * @default browsers get the JSON error
   */
  readonly error?: string | undefined
}

/** The options of {@link kratosBrowserLogout}. `sessions`, `publicUrl` and `returnUrls.default` are required. */
export interface KratosBrowserLogoutOptions {
  /** The session store. */
  readonly sessions: Pick<SessionStore, 'find' | 'logOut'>
  /** The URL at which browsers reach these routes: scheme, host, and the path in front of `/self-service`. */
  readonly publicUrl: string
  /** Where browsers are sent: after a logout, at their own request, and after an error. */
  readonly returnUrls: KratosReturnUrlOptions
  /** The cookie with the session token: the attributes must be those it is set with. */
  readonly cookie?: SessionCookie | undefined
  /** What the browser deletes besides the session cookie. */
  readonly clear?: ClearOptions | undefined
  /** Called for each session that was live and is now logged out. */
  readonly onLogout?: OnLogout | undefined
  /** How the routes are documented. */
  readonly route?: {
    /** Security of the routes in the host's OpenAPI document, such as `[{ sessionCookie: [] }]`. @default none is stated */
    readonly security?: readonly SecurityRequirement[] | undefined
  } | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

const plugin = 'kratosBrowserLogout'

function resolveOptions (options: KratosBrowserLogoutOptions, fastify: FastifyInstance) {
  const { sessions, cookie = {}, route = {} } = options
  assertSessionStore(sessions, ['find', 'logOut'], plugin)
  assertFunctions(options, plugin, ['onLogout'])
  assertGroup(route, plugin, 'route', '{ security }')
  assertGrouped(options, plugin, { route: ['security'], returnUrls: ['default', 'allowed', 'error'], clear: clearMembers })
  const { publicUrl, judgeReturnTo, errorPage } = resolveUrls(options)
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, fastify.log)
  return {
    ask,
    sessions,
    security: route.security,
    publicUrl,
    judgeReturnTo,
    findCaller: kratosCallers({ ask, sessions, readCookie: sessionCookieReader(fastify, cookie, plugin) }),
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    forget: forgetting(options, publicUrl),
    refuse: errorResponder(errorPage)
  }
}

type Settings = ReturnType<typeof resolveOptions>

function resolveUrls ({ publicUrl, returnUrls }: KratosBrowserLogoutOptions) {
  const base = absoluteUrl(publicUrl, {
    caller: plugin, option: 'publicUrl', meaning: 'where browsers reach these routes, for example "https://login.example/auth"'
  })
  assertOption(!/[?#]/.test(publicUrl), plugin, 'publicUrl', 'must have no query and no fragment')
  assertOption(returnUrls !== undefined, plugin, 'returnUrls', "is missing: pass { default: 'https://app.example/goodbye' }")
  assertGroup(returnUrls, plugin, 'returnUrls', "{ default: 'https://app.example/goodbye' }")
  const { default: afterLogout, allowed = [], error } = returnUrls
  const standard = absoluteUrl(afterLogout, {
    caller: plugin, option: 'returnUrls.default', meaning: 'where browsers are sent after a logout'
  })
  assertOption(Array.isArray(allowed), plugin, 'returnUrls.allowed', 'must be a list of absolute URLs')
  const found = base.href.replace(/\/+$/, '')
  return {
    publicUrl: found,
    judgeReturnTo: returnToWithin({
      standard, allowed: [...allowed, `${found}/self-service`], caller: plugin, option: 'returnUrls.allowed'
    }),
    errorPage: error === undefined
      ? undefined
      : absoluteUrl(error, {
        caller: plugin, option: 'returnUrls.error', meaning: 'where browsers are sent after an error'
      })
  }
}

/** Removes the cookies of a session that has ended, if a cookie carried it, and sends `Clear-Site-Data` if the host wants it. */
function forgetting ({ cookie = {}, clear: cleared }: KratosBrowserLogoutOptions, publicUrl: string) {
  const removeSession = cookieRemover(namedSessionCookie(cookie), plugin, 'cookie')
  const clear = clearing(cleared, plugin)
  const isHttps = publicUrl.startsWith('https:')
  return (reply: FastifyReply, { inCookie }: KratosCaller): void => {
    if (inCookie) {
      removeSession(reply)
      clear.cookies(reply)
    }
    if (isHttps) clear.siteData(reply)
  }
}

// Schema

const failures = {
  303: Type.Null({ description: 'Browsers are redirected: to the return URL after a logout, otherwise to the error page' }),
  ...kratosFailures({ 400: 'The token is missing, or return_to is not allowed', 401: 'There is no live session' })
}
const returnTo = Type.Optional(Type.String({ description: 'Where the browser goes after the logout' }))

const operations = {
  start: {
    operationId: 'createBrowserLogoutFlow',
    summary: 'Get the logout URL of a session',
    querystring: Type.Object({ return_to: returnTo }),
    response: {
      200: Type.Object({ logout_url: Type.String(), logout_token: Type.String() }, {
        additionalProperties: false, description: 'The logout URL, and the token in it'
      }),
      ...failures
    }
  },
  submit: {
    operationId: 'updateLogoutFlow',
    summary: 'Log out the session that a logout token belongs to',
    querystring: Type.Object({ token: Type.String({ description: 'The logout token' }), return_to: returnTo }),
    response: {
      204: Type.Null({ description: 'The session is logged out' }),
      ...failures,
      ...kratosFailures({ 403: 'The token belongs to another session, or the request is a prefetch' })
    }
  }
}

function documented ({ prefix }: FastifyInstance, { security }: Settings, operation: typeof operations.start | typeof operations.submit) {
  return freshSchema({
    ...operation,
    operationId: operationId(operation.operationId, prefix),
    tags: ['logout'],
    ...(security !== undefined && { security })
  })
}

const undocumented: FastifySchema & { readonly hide: true } = { hide: true }

// Flow

/**
 * `GET /self-service/logout/browser` and `GET /self-service/logout` as Ory Kratos serves them: a browser gets its logout URL
 * and follows it. The URL carries a token that only works together with its session.
 *
 * A 204, or a 303 to the return URL, means that the session store logged the session out. A `return_to` that is not allowed
 * is refused before anything changes.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/createBrowserLogoutFlow
 * @throws {TypeError} while registering, for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { kratosBrowserLogout } from 'fastify-logout'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * await app.register(kratosBrowserLogout, {
 *   sessions: memorySessionStore(),
 *   cookie: { name: '__Host-session' },
 *   publicUrl: 'https://login.example',
 *   returnUrls: {
 *     default: 'https://app.example/goodbye',
 *     allowed: ['https://app.example/'],
 *     error: 'https://app.example/error'
 *   }
 * })
 * ```
 */
export const kratosBrowserLogout: FastifyPluginAsync<KratosBrowserLogoutOptions> = fp(routes, {
  name: 'fastify-logout/kratos-browser', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosBrowserLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  fastify.setErrorHandler(answerFailure(settings))

  const [startUrl, submitUrl] = ['/self-service/logout/browser', '/self-service/logout']
  const logLevel = levelWithoutRequests(fastify.log)
  fastify.get(startUrl, { exposeHeadRoute: false, schema: documented(fastify, settings, operations.start) }, start(settings))
  fastify.get(submitUrl, { exposeHeadRoute: false, logLevel, schema: documented(fastify, settings, operations.submit) }, submit(settings))
  // HEAD gets the host's 404. It has a route because its log line would contain the token, too.
  fastify.head(submitUrl, { logLevel, schema: freshSchema(undocumented) }, (_request, reply) => { reply.callNotFound() })
}

function start ({ findCaller, judgeReturnTo, publicUrl, refuse }: Settings): RouteHandlerMethod {
  return async (request, reply) => {
    const caller = await findCaller(request)
    if (caller === undefined) return refuse(request, reply, errors.noSession)
    const given = queryOf(request).get('return_to')
    const target = judgeReturnTo(given)
    if (!('location' in target)) return refuse(request, reply, errors.returnTo(target))

    const token = logoutUrlToken(caller.token)
    const query = new URLSearchParams(given ? { return_to: target.location, token } : { token })
    return sendKratosJson(reply, { logout_url: `${publicUrl}/self-service/logout?${query}`, logout_token: token })
  }
}

function submit (settings: Settings): RouteHandlerMethod {
  const { findCaller, judgeReturnTo, forget, refuse } = settings
  return async (request, reply) => {
    if (isPrefetch(request.headers)) return sendKratosError(request, reply, errors.prefetch)
    const query = queryOf(request)
    const token = query.get('token')
    if (!token) return refuse(request, reply, errors.noToken)
    const caller = await findCaller(request)
    if (caller === undefined) return refuse(request, reply, errors.noSession)
    if (!isLogoutUrlToken(token, caller.token)) return refuse(request, reply, errors.mismatch)
    const target = judgeReturnTo(query.get('return_to'))
    if (!('location' in target)) return refuse(request, reply, errors.returnTo(target))

    detachSession(request, caller.token)
    if (!await logOutByToken(settings, caller.token, reply)) return refuse(request, reply, errors.noSession)
    forget(reply, caller)
    return wantsJson(request.headers)
      ? sendKratosEmpty(reply, 204)
      : sendKratosEmpty(reply.header('location', target.location), 303)
  }
}

// Errors

const errors = {
  prefetch: { status: 403, reason: 'Prefetch requests cannot log out.' },
  noToken: { status: 400, reason: 'Please include a token in the URL query.' },
  noSession: {
    status: 401,
    id: 'session_inactive',
    reason: 'No active session was found in this request.',
    message: 'request does not have a valid authentication session'
  },
  mismatch: { status: 403, reason: 'Unable to log out because the logout token in the URL query does not match the session cookie.' },
  returnTo: (refused: Exclude<ReturnTo, { location: string }>): KratosError => 'malformed' in refused
    ? { status: 400, reason: `Unable to parse the return_to query parameter as an URL: ${refused.malformed}` }
    : {
        status: 400,
        id: 'self_service_flow_return_to_forbidden',
        reason: `Requested return_to URL ${JSON.stringify(refused.forbidden)} is not allowed.`,
        description: 'The requested return_to URL is not allowed.'
      }
}

function answerFailure ({ refuse }: Settings) {
  return (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void => {
    refuse(request, reply, loggedKratosError(thrown, request, reply))
  }
}
