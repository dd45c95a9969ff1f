import { Type } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import { absoluteUrl } from '../internal/http/absolute-url.ts'
import type { CrossSiteOptions } from '../internal/http/cross-site.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { queryOf } from '../internal/http/query.ts'
import { oauthErrorOf, oauthFailures, sendOAuthError, type OAuthError } from '../internal/oauth/error.ts'
import { logoutStates, longestTarget } from '../internal/openid/logout-state.ts'
import { onward, redirect } from '../internal/openid/onward.ts'
import { resolveProviders, type EndSessionIssuer, type SessionProvider } from '../internal/openid/rp-provider.ts'
import { endSessionEndpointOf, providerLogout, providerOfSession } from '../internal/openid/session-provider.ts'
import { levelWithoutRequests } from '../internal/plugin/log-level.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration, wholeNumber } from '../internal/plugin/options.ts'
import { pluginOrFactory } from '../internal/plugin/plugin-or-factory.ts'
import { assertPath } from '../internal/plugin/route.ts'
import { bodyLimit, fieldsOf, mediaTypes } from '../internal/session-logout/body.ts'
import { isLogoutError, logoutError } from '../internal/session-logout/error.ts'
import {
  logLogoutFailure, logoutRoute, prepareLogoutScope, standardPath, type LogoutRouteOptions, type ReturnUrlOptions, type RouteOptions
} from '../internal/session-logout/route.ts'
import type { HostSession, SessionSource } from '../session-source.ts'

// Options

/** Where the routes of {@link rpInitiatedLogout} are, and what they accept and send. */
export interface RpInitiatedRouteOptions extends RouteOptions {
  /**
   * Where the provider sends browsers back to, below `publicUrl`. Register `publicUrl` + `returnPath` at the provider as a
   * `post_logout_redirect_uri`.
   * @default '/logout/return'
   */
  readonly returnPath?: string | undefined
  /** Also log out by GET, for links on the host's own pages. Other sites, bookmarks and prefetches are refused. @default false */
  readonly allowGet?: boolean | undefined
  /** A longer URL of a logout request is sent as a form that posts itself. In characters. @default 2000 */
  readonly maxUrlLength?: number | undefined
}

/** The options of {@link rpInitiatedLogout}. `sessions`, `issuers`, `provider`, `publicUrl` and `returnUrls.default` are required. */
export interface RpInitiatedLogoutOptions<S extends HostSession = HostSession> extends
  Omit<LogoutRouteOptions<S>, 'sessions' | 'publicUrl' | 'returnUrls' | 'route' | 'timeout'> {
  /** The host's sessions: a source of this package, or plain functions. The method `find` is required. */
  readonly sessions: SessionSource<S>
  /** The providers at which users log in. */
  readonly issuers: readonly EndSessionIssuer[]
  /**
   * Resolves the provider of a session, or `undefined` to log out at the host only. Called before the session ends, so it can
   * still read the ID Token from the session. The session is `undefined` when the request has no live one: return the provider
   * at which users would log in, or `undefined`.
   */
  provider (session: S | undefined, request: FastifyRequest): Awaitable<SessionProvider | undefined>
  /** Where browsers find these routes: scheme, host, and the path in front of the routes, such as the prefix. */
  readonly publicUrl: string
  /** Where a browser goes after the logout. */
  readonly returnUrls: Omit<ReturnUrlOptions, 'default'> & {
    /** Where a browser goes if it names no other place: a path or an absolute URL. */
    readonly default: string
  }
  /** Which requests of other origins are allowed to log out by POST. @default none */
  readonly csrf?: CrossSiteOptions | undefined
  /** Where the routes are, and what they accept and send. */
  readonly route?: RpInitiatedRouteOptions | undefined
  /** How long each call to the host's functions, and to a provider, may take, in milliseconds. @default 2000 */
  readonly timeout?: number | undefined
}

/** The type of {@link rpInitiatedLogout}. */
export interface RpInitiatedLogoutPlugin {
  /** Returns the plugin for these options. The type of the session is inferred, for `provider` and `onLogout`. */
  <S extends HostSession>(options: RpInitiatedLogoutOptions<S>): FastifyPluginAsync
  /** The plugin itself, for `app.register(rpInitiatedLogout, options)`. */
  <S extends HostSession = HostSession>(fastify: FastifyInstance, options: RpInitiatedLogoutOptions<S>): Promise<void>
}

const plugin = 'rpInitiatedLogout'

function resolveOptions (options: RpInitiatedLogoutOptions) {
  const { sessions, publicUrl, csrf = {} } = options
  const base = absoluteUrl(publicUrl, {
    caller: plugin, option: 'publicUrl', meaning: 'where browsers find these routes, such as "https://app.example"'
  })
  assertOption(!/[?#]/.test(publicUrl), plugin, 'publicUrl', 'must have no query and no fragment')
  assertOption(options.returnUrls?.default !== undefined, plugin, 'returnUrls.default',
    'is missing: say where browsers go after the logout')
  const timeout = duration(options.timeout, 2000, plugin, 'timeout')
  const route = logoutRoute({ ...options, timeout }, plugin)
  assertOption(sessions.find !== undefined, plugin, 'sessions', 'must have the method "find"')
  assertOption(options.provider !== undefined, plugin, 'provider', 'is missing: pass session => ({ issuer, idToken })')
  assertFunctions(options, plugin, ['provider'])
  assertGrouped(options, plugin, {
    route: ['returnPath', 'allowGet', 'maxUrlLength'], csrf: ['trustedOrigins', 'trustSameSite']
  })
  assertGroup(csrf, plugin, 'csrf', '{ trustedOrigins, trustSameSite }')
  const { returnPath, allowGet, maxUrlLength } = resolveRoutes(options.route ?? {}, route.path)
  return {
    ...route,
    judgeOrigin: route.crossSiteCheck(csrf),
    isHttps: base.protocol === 'https:',
    returnPath,
    /** Where the provider sends browsers back to. */
    returnUrl: `${base.href.replace(/\/+$/, '')}${returnPath}`,
    allowGet,
    maxUrlLength,
    providerOf: providerOfSession(options.provider, {
      caller: plugin, providers: resolveProviders(options.issuers, plugin, timeout), call: route.steps.call
    })
  }
}

function resolveRoutes ({ returnPath = '/logout/return', allowGet = false, maxUrlLength }: RpInitiatedRouteOptions, path: string) {
  assertPath(returnPath, plugin, 'route.returnPath')
  assertOption(returnPath !== path, plugin, 'route.returnPath', 'must be another path than that of the logout')
  assertOption(typeof allowGet === 'boolean', plugin, 'route.allowGet', 'must be true or false')
  return {
    returnPath, allowGet, maxUrlLength: wholeNumber(maxUrlLength, plugin, 'route.maxUrlLength', { standard: 2000, least: 0 })
  }
}

type Settings = ReturnType<typeof resolveOptions>

// Schema

const failures = oauthFailures({
  400: 'The body is malformed, or return_to is not allowed',
  403: 'The request is a prefetch, or another site made the browser send it',
  503: 'The outcome is unknown: retry'
})
const returnTo = Type.Optional(Type.String({ description: 'Where a browser goes afterwards: a path of this server, or an allowed URL' }))
const localLogout = 'The session is logged out. '

const operations = {
  logout: {
    operationId: 'rpInitiatedLogout',
    summary: 'Log out of this session, then at the OpenID Provider',
    response: {
      200: {
        description: `${localLogout}JSON callers get the URL to go on to. A logout request that is too long for a URL is a form`,
        content: {
          'application/json': {
            schema: Type.Object({
              logout_url: Type.String(),
              method: Type.Optional(Type.Literal('post')),
              fields: Type.Optional(Type.Record(Type.String(), Type.String()))
            }, { additionalProperties: false })
          },
          'text/html': { schema: Type.String() }
        }
      },
      204: Type.Null({ description: `${localLogout}htmx goes on by HX-Redirect` }),
      303: Type.Null({ description: `${localLogout}A browser goes on to the provider, or to the return URL` }),
      ...failures
    }
  },
  return: {
    operationId: 'rpInitiatedLogoutReturn',
    summary: 'Come back from the OpenID Provider',
    querystring: Type.Object({ state: Type.Optional(Type.String()) }),
    response: { 303: Type.Null({ description: 'The browser goes on to the return URL' }), ...failures }
  }
}

const inputs = {
  POST: { consumes: [...mediaTypes], body: Type.Object({ return_to: returnTo }) },
  GET: { querystring: Type.Object({ return_to: returnTo }) }
}

interface Operation extends FastifySchema {
  readonly operationId: string
}

function documented ({ prefix }: FastifyInstance, { path, security }: Settings, operation: Operation) {
  return freshSchema({
    ...operation,
    operationId: operationId(operation.operationId, prefix + (path === standardPath ? '' : path)),
    tags: ['logout'],
    ...(security !== undefined && { security })
  })
}

// Flow

/**
 * `POST /logout` for hosts whose users log in at an OpenID Provider. It ends the session at the host exactly as
 * `sessionLogout` does, then sends the browser to the provider, where the user logs out too. The provider sends the browser
 * back to `GET /logout/return`, which sends it to the return URL.
 *
 * A 303 says that the session at the host is over. When the host could not tell, the response is a 503, the cookies stay, and
 * the browser stays here. When the provider cannot be reached, or has no logout, the browser goes to the return URL at once.
 *
 * The ID Token goes into the URL of the redirect: requests to these routes are not logged at the level info, and
 * `request.log.info` in `onLogout` writes nothing.
 *
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { rpInitiatedLogout } from 'fastify-logout'
 * import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const issuer = 'https://login.example'
 * await app.register(rpInitiatedLogout({
 *   sessions: sessionStoreSource(memorySessionStore(), { cookie: { name: '__Host-sid' } }),
 *   issuers: [{ issuer, clientId: 'app' }],
 *   // The login has put the ID Token into the session.
 *   provider: session => ({ issuer, idToken: session?.data?.['idToken'] as string | undefined }),
 *   publicUrl: 'https://app.example',
 *   returnUrls: { default: '/goodbye' }
 * }))
 * ```
 */
export const rpInitiatedLogout = pluginOrFactory<RpInitiatedLogoutOptions>('openid-rp-initiated', routes) as unknown as
  RpInitiatedLogoutPlugin

async function routes (fastify: FastifyInstance, options: RpInitiatedLogoutOptions): Promise<void> {
  const settings = resolveOptions(options)
  const { path, returnPath, allowGet } = settings
  prepareLogoutScope(fastify, plugin)
  fastify.setErrorHandler(answerFailure)
  const logOut = logout(fastify, settings)
  const logLevel = levelWithoutRequests(fastify.log)

  fastify.post(path, {
    bodyLimit,
    logLevel,
    schema: documented(fastify, settings, { ...operations.logout, ...inputs.POST }),
    onRequest: async request => {
      refusePrefetch(request)
      if (settings.judgeOrigin(request) !== 'allowed') throw logoutError('LOGOUT_CROSS_SITE')
    }
  }, async (request, reply) => logOut(request, reply, fieldsOf(request.body)['return_to']))

  if (allowGet) {
    const schema = documented(fastify, settings, {
      ...operations.logout, ...inputs.GET, operationId: `${operations.logout.operationId}ByLink`
    })
    fastify.get(path, { exposeHeadRoute: false, logLevel, schema, onRequest: async request => refuseOtherThanLinks(request) },
      async (request, reply) => logOut(request, reply, returnToOf(request)))
  }

  const schema = documented(fastify, settings, operations.return)
  fastify.get(returnPath, { exposeHeadRoute: false, logLevel, schema }, comeBack(fastify, settings))
}

function refusePrefetch ({ headers }: FastifyRequest): void {
  if (isPrefetch(headers)) throw logoutError('LOGOUT_PREFETCH')
}

/** A link on a page of the host's own: the browser says so, and that the user follows it. */
function refuseOtherThanLinks (request: FastifyRequest): void {
  refusePrefetch(request)
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode } = request.headers
  if (site !== 'same-origin' || mode !== 'navigate') throw logoutError('LOGOUT_CROSS_SITE')
}

/** One value is a string; several are a list, as in a form. */
function returnToOf (request: FastifyRequest): unknown {
  const given = queryOf(request).getAll('return_to')
  return given.length > 1 ? given : given[0]
}

function logout (fastify: FastifyInstance, settings: Settings) {
  const { steps, targetOf, providerOf, returnUrl } = settings
  const states = logoutStates(fastify, plugin, settings.isHttps)
  const sendOn = onward(settings.maxUrlLength)

  return async (request: FastifyRequest, reply: FastifyReply, returnTo: unknown): Promise<FastifyReply> => {
    const target = targetOf(returnTo)
    if (returnTo && target.length > longestTarget) throw logoutError('LOGOUT_RETURN_TO')
    const session = await steps.find(request)
    const login = await providerOf(session, request)
    await steps.logOut(request, reply)

    const endpoint = login && await endSessionEndpointOf(login.provider, steps.call, request)
    if (login === undefined || endpoint === undefined) return sendOn(request, reply, target)
    const state = states.begin(reply, returnTo ? target : '')
    return sendOn(request, reply, providerLogout(endpoint, login, { returnUrl, state }))
  }
}

/** Sends the browser where it wanted to go when it logged out; if it cannot be told, to the default. */
function comeBack (fastify: FastifyInstance, { targetOf, isHttps }: Settings) {
  const states = logoutStates(fastify, plugin, isHttps)
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const remembered = states.end(request, reply)
    return redirect(reply, allowedOr(targetOf, remembered))
  }
}

function allowedOr (targetOf: Settings['targetOf'], remembered: string | undefined): string {
  try {
    return targetOf(remembered)
  } catch {
    return targetOf(undefined)
  }
}

// Errors

const errors: Readonly<Record<string, OAuthError>> = {
  LOGOUT_PREFETCH: { status: 403, error: 'access_denied' },
  LOGOUT_CROSS_SITE: { status: 403, error: 'access_denied' },
  LOGOUT_BODY: { status: 400, error: 'invalid_request', description: 'logout: malformed body' },
  LOGOUT_RETURN_TO: { status: 400, error: 'invalid_request', description: 'logout: return_to is not allowed' }
}

function answerFailure (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  const error = (isLogoutError(thrown) ? errors[thrown.code] : undefined) ?? oauthErrorOf(thrown, reply)
  if (isLogoutError(thrown)) logLogoutFailure(request, thrown)
  else if (error.status >= 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a request to a logout route failed')
  sendOAuthError(reply, error)
}
