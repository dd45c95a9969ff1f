import { Type } from '@sinclair/typebox'
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { STATUS_CODES } from 'node:http'
import { detachSession } from '../internal/plugin/detach-session.ts'
import { noteRedirectedRefusal, publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost, validateNothing } from '../internal/plugin/host-isolation.ts'
import { wantsJson } from '../internal/kratos/accepts-json.ts'
import { kratosCallers, type KratosCaller } from '../internal/kratos/caller.ts'
import { kratosErrorSchema, kratosMessage, loggedKratosError, sendKratosEmpty, sendKratosError, sendKratosJson, type KratosError } from '../internal/kratos/error.ts'
import type { OnLogout } from '../logout-event.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { isLogoutUrlToken, logoutUrlToken } from '../internal/kratos/logout-url-token.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { absoluteUrl } from '../internal/http/absolute-url.ts'
import { queryOf } from '../internal/http/query.ts'
import { removedCookie, type CookieIdentity } from '../internal/http/cookie.ts'
import { returnToWithin, type ReturnTo } from '../internal/http/return-to.ts'
import { clearSiteDataHeader, type SiteData } from '../internal/http/site-data.ts'
import { namedSessionCookie, sessionCookieReader, type SessionCookie } from '../internal/kratos/session-cookie.ts'
import { isLive, type SessionStore } from '../session-store.ts'

// Options

/** What {@link kratosBrowserLogout} asks of the host. `sessions`, `publicUrl` and `defaultReturnUrl` are required. */
export interface KratosBrowserLogoutOptions {
  /** Where the sessions live. */
  readonly sessions: Pick<SessionStore, 'find' | 'logOut'>
  /** Where browsers find these routes, without their paths: scheme, host, and the path in front of them. */
  readonly publicUrl: string
  /** Where a browser goes after its logout, if it names no other place. An absolute URL. */
  readonly defaultReturnUrl: string
  /** Where `return_to` may point: absolute URLs, each with everything below its path; `*.` in front of a host for its subdomains. `publicUrl` + `/self-service` is always allowed. */
  readonly allowedReturnUrls?: readonly string[] | undefined
  /** Where browsers are sent when something is wrong, with `error` and `error_description` in the query. @default they get the JSON error */
  readonly errorUrl?: string | undefined
  /** The cookie with the session token, exactly as it is set. */
  readonly cookie?: SessionCookie | undefined
  /** Further cookies to remove together with the session cookie, exactly as they are set. */
  readonly clearCookies?: readonly CookieIdentity[] | undefined
  /** Sent as `Clear-Site-Data` after a logout, if `publicUrl` is https. @default nothing */
  readonly clearSiteData?: readonly SiteData[] | undefined
  /** Told of each session that was live and is now logged out. */
  readonly onLogout?: OnLogout | undefined
  /** Security of the routes in the host's OpenAPI document, `[{ sessionCookie: [] }]` for instance. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

const failures = {
  303: Type.Null({ description: 'A browser goes on: after a logout to the return URL, otherwise to the error page' }),
  400: { ...kratosErrorSchema, description: 'The token is missing, or return_to is not allowed' },
  401: { ...kratosErrorSchema, description: 'There is no live session' },
  '4xx': { ...kratosErrorSchema, description: 'The request was refused' },
  '5xx': { ...kratosErrorSchema, description: 'The session may still be active: try again' }
}
const returnTo = Type.Optional(Type.String({ description: 'Where the browser goes after the logout' }))

const startSchema = (prefix: string, security: readonly SecurityRequirement[] | undefined) => ({
  ...(security !== undefined && { security }),
  operationId: operationId('createBrowserLogoutFlow', prefix),
  summary: 'Get the logout URL of a session',
  tags: ['logout'],
  querystring: Type.Object({ return_to: returnTo }),
  response: {
    200: Type.Object({ logout_url: Type.String(), logout_token: Type.String() }, { additionalProperties: false, description: 'The logout URL, and the token in it' }),
    ...failures
  }
})

const submissionSchema = (prefix: string, security: readonly SecurityRequirement[] | undefined) => ({
  ...(security !== undefined && { security }),
  operationId: operationId('updateLogoutFlow', prefix),
  summary: 'Log out the session of a logout token',
  tags: ['logout'],
  querystring: Type.Object({ token: Type.String({ description: 'The logout token' }), return_to: returnTo }),
  response: {
    204: Type.Null({ description: 'The session is logged out' }),
    403: { ...kratosErrorSchema, description: 'The token is not this session\'s, or the browser only fetched ahead' },
    ...failures
  }
})

const undocumented: FastifySchema & { readonly hide: true } = { hide: true }

// Flow

/**
 * `GET /self-service/logout/browser` and `GET /self-service/logout` as Ory Kratos answers them: the first hands out a
 * logout URL, the second logs out, removes the cookie, and sends the browser on.
 *
 * The session that was authenticated is the session that is logged out. A 204, and a 303 to the return URL, say that
 * the session store logged it out. Whatever is wrong is told before that.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/createBrowserLogoutFlow
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const kratosBrowserLogout: FastifyPluginAsync<KratosBrowserLogoutOptions> = fp(routes, {
  name: 'fastify-logout/kratos-browser', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosBrowserLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { findCaller, judgeReturnTo, refuse } = settings
  const logOut = logout(settings)

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  validateNothing(fastify)
  fastify.setErrorHandler(settings.answerFailure)

  fastify.get('/self-service/logout/browser', {
    exposeHeadRoute: false, schema: freshSchema(startSchema(fastify.prefix, options.security))
  }, async (request, reply) => {
    const caller = await findCaller(request)
    if (caller === undefined) return refuse(request, reply, errors.noSession)
    const given = queryOf(request).get('return_to')
    const target = judgeReturnTo(given)
    if (!('location' in target)) return refuse(request, reply, errors.returnTo(target))
    return sendKratosJson(reply, settings.logoutUrl(caller.token, given ? target.location : undefined))
  })

  const secretUrl = { logLevel: levelWithoutRequests(fastify.log) }
  fastify.get('/self-service/logout', {
    ...secretUrl, exposeHeadRoute: false, schema: freshSchema(submissionSchema(fastify.prefix, options.security))
  }, async (request, reply) => {
    const query = queryOf(request)
    const token = query.get('token')
    if (isPrefetch(request.headers)) return sendKratosError(request, reply, errors.prefetch)
    if (!token) return refuse(request, reply, errors.noToken)
    const caller = await findCaller(request)
    if (caller === undefined) return refuse(request, reply, errors.noSession)
    if (!isLogoutUrlToken(token, caller.token)) return refuse(request, reply, errors.mismatch)
    const target = judgeReturnTo(query.get('return_to'))
    if (!('location' in target)) return refuse(request, reply, errors.returnTo(target))

    if (!await logOut(caller, reply)) return refuse(request, reply, errors.noSession)
    settings.clear(reply, caller)
    return wantsJson(request.headers)
      ? sendKratosEmpty(reply, 204)
      : sendKratosEmpty(reply.header('location', target.location), 303)
  })

  // HEAD is the host's 404. It has a route so that its line in the log, which has the token, is quiet too.
  fastify.head('/self-service/logout', { ...secretUrl, schema: freshSchema(undocumented) }, (_request, reply) => { reply.callNotFound() })
}

type Settings = ReturnType<typeof resolveOptions>

/** Whether the session is logged out; `false` if it has been forgotten meanwhile. */
function logout ({ ask, sessions, notify }: Settings) {
  return async ({ token }: KratosCaller, reply: FastifyReply): Promise<boolean> => {
    detachSession(reply.request, token)
    const before = await ask('sessions.logOut', () => sessions.logOut(token), before => {
      if (before !== undefined && isLive(before, Date.now())) return notify({ scope: 'session', session: before }, reply)
    })
    return before !== undefined
  }
}

/** Fastify's request lines are info, and have the URL. */
function levelWithoutRequests ({ level }: FastifyBaseLogger): 'fatal' | 'error' | 'warn' {
  if (level === 'silent') return 'fatal'
  return (['error', 'fatal'] as const).find(quieter => quieter === level) ?? 'warn'
}

const plugin = 'kratosBrowserLogout'

function resolveOptions (options: KratosBrowserLogoutOptions, fastify: FastifyInstance) {
  const { sessions, allowedReturnUrls = [], errorUrl, cookie = {}, clearCookies = [], clearSiteData } = options
  assertOption(typeof sessions?.find === 'function' && typeof sessions.logOut === 'function', plugin, 'sessions', 'is missing: pass a session store, memorySessionStore() for instance, or { find, logOut }')
  assertFunctions(options, plugin, ['onLogout'])
  const base = absoluteUrl(options.publicUrl, plugin, 'publicUrl', 'where browsers find these routes, "https://login.example/auth" for instance')
  assertOption(!/[?#]/.test(options.publicUrl), plugin, 'publicUrl', 'must have no query and no fragment')
  const standard = absoluteUrl(options.defaultReturnUrl, plugin, 'defaultReturnUrl', 'where browsers go after a logout')
  const errorPage = errorUrl === undefined ? undefined : absoluteUrl(errorUrl, plugin, 'errorUrl', 'where browsers go when something is wrong')
  assertOption(Array.isArray(allowedReturnUrls), plugin, 'allowedReturnUrls', 'must be a list of absolute URLs')
  assertOption(Array.isArray(clearCookies), plugin, 'clearCookies', 'must be a list of cookies')
  const siteData = clearSiteDataHeader(clearSiteData, plugin)

  const publicUrl = base.href.replace(/\/+$/, '')
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)
  const readCookie = sessionCookieReader(fastify, cookie, plugin)
  const removals = [removedCookie(namedSessionCookie(cookie), plugin, 'cookie'), ...clearCookies.map(companion => removedCookie(companion, plugin, 'clearCookies'))]
  const wiped = base.protocol === 'https:' ? siteData : ''
  const refuse = refusing(errorPage)

  return {
    ask,
    sessions,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    findCaller: kratosCallers({ ask, sessions, readCookie }),
    judgeReturnTo: returnToWithin({ standard, allowed: [...allowedReturnUrls, `${publicUrl}/self-service`], caller: plugin, option: 'allowedReturnUrls' }),
    logoutUrl: (sessionToken: string, target: string | undefined) => {
      const token = logoutUrlToken(sessionToken)
      const query = new URLSearchParams(target === undefined ? { token } : { return_to: target, token })
      return { logout_url: `${publicUrl}/self-service/logout?${query}`, logout_token: token }
    },
    clear: (reply: FastifyReply, { inCookie }: KratosCaller) => {
      if (inCookie) for (const removal of removals) reply.header('set-cookie', removal)
      if (wiped !== '') reply.header('clear-site-data', wiped)
    },
    refuse,
    answerFailure: (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply) => {
      refuse(request, reply, loggedKratosError(thrown, request, reply))
    }
  }
}

// Errors

const errors = {
  prefetch: { status: 403, reason: 'Prefetch requests cannot log out.' },
  noToken: { status: 400, reason: 'Please include a token in the URL query.' },
  noSession: {
    status: 401, id: 'session_inactive', reason: 'No active session was found in this request.', message: 'request does not have a valid authentication session'
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

/** Tells a JSON caller what is wrong, and sends a browser to the page that does. */
function refusing (errorPage: URL | undefined) {
  return (request: FastifyRequest, reply: FastifyReply, error: KratosError): FastifyReply => {
    if (errorPage === undefined || wantsJson(request.headers)) return sendKratosError(request, reply, error)
    const target = new URL(errorPage)
    target.searchParams.set('error', error.id ?? nameOf(error.status))
    target.searchParams.set('error_description', error.description ?? error.reason ?? kratosMessage(error))
    noteRedirectedRefusal(reply, error.status)
    return sendKratosEmpty(reply.header('location', target.href), 303)
  }
}

/** The reason phrase as a name: `bad_request`. */
function nameOf (status: number): string {
  return String(STATUS_CODES[status] ?? status).toLowerCase().replace(/[^a-z\d]+/g, '_')
}
