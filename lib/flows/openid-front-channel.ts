import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { cookieReader, cookieRemover, type CookieIdentity, type CredentialCookie, type ReadCookie } from '../internal/http/cookie.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { queryOf } from '../internal/http/query.ts'
import { oauthErrorHandler, oauthFailures, sendOAuthError, type OAuthError } from '../internal/oauth/error.ts'
import { prepareLimitedScope, limitedRouteMembers, type LimitedRouteOptions } from '../internal/oauth/limited-route.ts'
import { sessionEnder } from '../internal/openid/session-ender.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { detachEndedSession } from '../internal/plugin/detach-session.ts'
import { verbatim } from '../internal/plugin/host-isolation.ts'
import { levelWithoutRequests } from '../internal/plugin/log-level.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration, lifetimeOf } from '../internal/plugin/options.ts'
import type { LogoutRateLimit } from '../internal/plugin/rate-limit.ts'
import { resolveRoute } from '../internal/plugin/route.ts'
import type { LogoutEvent } from '../logout-event.ts'
import type { BoundSession, ProviderSessionIndex } from '../provider-session-index.ts'
import type { HostSession, SessionsById } from '../session-source.ts'
import type { SessionStore } from '../session-store.ts'

// Options

/** The cookie of the host's sessions, and the store that finds a session by it. */
export interface FrontChannelCookie extends CredentialCookie {
  /** Finds the session of a value of the cookie, also when it has ended. */
  readonly sessions: Pick<SessionStore, 'find'>
  /** Further cookies to remove together with this one, each with the attributes it was set with. @default [] */
  readonly clearCookies?: readonly CookieIdentity[] | undefined
}

/** The route of {@link frontChannelLogout}: where it is, who may embed it, how often it may be called. */
export interface FrontChannelRouteOptions extends LimitedRouteOptions {
  /** The issuer of requests without `iss`, which Microsoft Entra sends: one of `issuers`. @default they are refused */
  readonly missingIssuer?: string | undefined
  /** The origins that may embed the route, such as `https://login.example`. @default the origins of the issuers */
  readonly frameAncestors?: readonly string[] | undefined
  /** How often an address may call. @default 300 in a minute */
  readonly rateLimit?: LogoutRateLimit | undefined
}

/** The options of {@link frontChannelLogout}. `issuers`, `index`, `sessions` and `sessionLifetime` are required. Times are milliseconds. */
export interface FrontChannelLogoutOptions {
  /** The providers that embed the route. Their other members are not used here, so the issuers of `backChannelLogout` will do. */
  readonly issuers: ReadonlyArray<{
    /** Exactly the `iss` of its requests, down to the slash at the end. */
    readonly issuer: string
  }>
  /** Where the host has bound its logins. */
  readonly index: Pick<ProviderSessionIndex, 'logOut'>
  /** The host's sessions: a session store, a session source with `logOutById`, or a plain function. */
  readonly sessions: SessionsById
  /** The longest life of a session: a logout is remembered for so long, for logins that are bound after it. */
  readonly sessionLifetime: number
  /**
   * The cookie to remove when it carries a session that the logout covers. Current browsers send no cookies with a frame of
   * another site.
   * @default no cookie is read
   */
  readonly cookie?: FrontChannelCookie | undefined
  /** Called once for each session that was live and is now logged out. Its failure is logged and does not change the response. */
  onLogout?: ((event: LogoutEvent<HostSession>, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** How long each call to the host's functions may take. @default 2000 */
  readonly timeout?: number | undefined
  /** Where the route is (by default at `/frontchannel-logout`), who may embed it, and how often it may be called. */
  readonly route?: FrontChannelRouteOptions | undefined
}

const plugin = 'frontChannelLogout'
const standardPath = '/frontchannel-logout'
/** How far the clock of a provider may be ahead: the cutoff is our own instant. */
const clockTolerance = 60_000
const parallel = 16

function resolveOptions (options: FrontChannelLogoutOptions, fastify: FastifyInstance) {
  const { index, sessions } = options
  assertOption(typeof index?.logOut === 'function', plugin, 'index',
    'is missing: pass a provider session index, such as redisProviderSessionIndex(redis)')
  assertOption(typeof sessions?.logOutById === 'function', plugin, 'sessions', 'is missing: pass a session store, or { logOutById }')
  assertOption(options.sessionLifetime !== undefined, plugin, 'sessionLifetime',
    'is missing: pass the longest life of a session, in milliseconds')
  assertFunctions(options, plugin, ['onLogout'])
  assertGrouped(options, plugin, {
    route: [...limitedRouteMembers, 'missingIssuer', 'frameAncestors'], cookie: ['clearCookies']
  })
  const route = resolveRoute(options.route, standardPath, plugin)
  const issuers = resolveIssuers(options.issuers)
  const { missingIssuer } = route
  assertOption(missingIssuer === undefined || issuers.has(missingIssuer), plugin, 'route.missingIssuer', 'must be one of "issuers"')
  const sessionLifetime = lifetimeOf(options.sessionLifetime, 0, plugin, 'sessionLifetime')
  const ask = askWithin(duration(options.timeout, 2000, plugin, 'timeout'), plugin, fastify.log)
  return {
    ask,
    route,
    index,
    issuers,
    missingIssuer,
    policy: framePolicy(options.issuers, route.frameAncestors),
    endSessions: sessionEnder(sessions, {
      ask, parallel, notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary })
    }),
    cookie: resolveCookie(options.cookie, fastify),
    cutoff: () => Math.ceil(Date.now() + clockTolerance),
    until: () => Math.ceil(Date.now() + sessionLifetime + clockTolerance)
  }
}

type Settings = ReturnType<typeof resolveOptions>

type Issuers = FrontChannelLogoutOptions['issuers']

function resolveIssuers (issuers: Issuers): ReadonlySet<string> {
  assertOption(Array.isArray(issuers) && issuers.length > 0, plugin, 'issuers', 'must be a list of at least one issuer')
  const names = issuers.map((given: Issuers[number], index) => {
    const issuer: unknown = Object(given).issuer
    assertOption(typeof issuer === 'string' && issuer !== '', plugin, `issuers[${index}].issuer`, 'must be a non-empty string')
    return issuer
  })
  const known = new Set(names)
  assertOption(known.size === names.length, plugin, 'issuers', 'must name each issuer once')
  return known
}

/** The policy that lets the pages of the providers embed ours, and nothing else. */
function framePolicy (issuers: Issuers, frameAncestors: readonly string[] | undefined): string {
  const origins = frameAncestors ?? issuers.map(({ issuer }) => URL.canParse(issuer) ? new URL(issuer).origin : issuer)
  assertOption(Array.isArray(origins) && origins.length > 0 && origins.every(isOrigin), plugin, 'route.frameAncestors',
    'must be a list of origins, such as "https://login.example"')
  return `default-src 'none'; frame-ancestors ${[...new Set(origins)].join(' ')}`
}

function isOrigin (value: unknown): boolean {
  return typeof value === 'string' && /^https?:\/\/[\w.*[\]:-]+$/i.test(value)
}

/** What is needed to remove a cookie. */
interface RemovableCookie {
  readonly read: ReadCookie
  readonly sessions: Pick<SessionStore, 'find'>
  remove (reply: FastifyReply): void
}

function resolveCookie (cookie: FrontChannelCookie | undefined, fastify: FastifyInstance): RemovableCookie | undefined {
  if (cookie === undefined) return undefined
  assertGroup(cookie, plugin, 'cookie', '{ name, sessions }')
  const { sessions, clearCookies = [], ...identity } = cookie
  assertOption(Array.isArray(clearCookies), plugin, 'cookie.clearCookies', 'must be a list of cookies')
  const companions = clearCookies.map(companion => cookieRemover(companion, plugin, 'cookie.clearCookies'))
  assertOption(typeof sessions?.find === 'function', plugin, 'cookie', 'must have "sessions", a session store that finds the session')
  const removals = [cookieRemover(identity, plugin, 'cookie'), ...companions]
  return {
    sessions,
    read: cookieReader(fastify, identity, { caller: plugin, option: 'cookie' }),
    remove: reply => { for (const remove of removals) remove(reply) }
  }
}

// Schema

function routeSchema (prefix: string, { path, security }: Settings['route']) {
  return {
    ...(security !== undefined && { security }),
    operationId: operationId('frontChannelLogout', prefix + (path === standardPath ? '' : path)),
    summary: 'Log out the sessions of a session at an OpenID Provider, whose page embeds this one',
    tags: ['logout'],
    querystring: Type.Object({
      iss: Type.Optional(Type.String({ description: 'The issuer' })),
      sid: Type.String({ minLength: 1, maxLength: longestId, description: 'The session at the issuer' })
    }),
    response: {
      200: { description: 'The sessions are logged out, now or before', content: { 'text/html': { schema: Type.String() } } },
      ...oauthFailures({
        400: 'The issuer or the session is missing or not known by this name',
        403: 'The request is a prefetch, or not for a frame',
        429: 'Too many requests',
        503: 'The outcome is unknown: retry'
      })
    }
  }
}

const undocumented: FastifySchema & { readonly hide: true } = { hide: true }

// Flow

/**
 * `GET /frontchannel-logout?iss&sid`, which a page of an OpenID Provider embeds as a frame when a user logs out there. It ends
 * the host's sessions that the `index` has for this `sid`, as `backChannelLogout` does.
 *
 * A 200 says that the session store ended all of them, now or before. An outage is a 503. The request is not authenticated:
 * knowing a `sid` is the right to log that session out, and no more. So requests to this route are not logged at the level
 * info, and `request.log.info` in `onLogout` writes nothing.
 *
 * Prefer `backChannelLogout` where the provider has both: a frame reaches the host only while the browser is open, and the
 * provider never learns the outcome.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @see https://openid.net/specs/openid-connect-frontchannel-1_0.html
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { frontChannelLogout } from 'fastify-logout'
 * import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const index = memoryProviderSessionIndex() // The login binds its sessions to it.
 * await app.register(frontChannelLogout, {
 *   issuers: [{ issuer: 'https://login.example' }],
 *   index,
 *   sessions: memorySessionStore(),
 *   sessionLifetime: 8 * 3_600_000
 * })
 * ```
 */
export const frontChannelLogout: FastifyPluginAsync<FrontChannelLogoutOptions> = fp(routes, {
  name: 'fastify-logout/openid-front-channel', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: FrontChannelLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { ask, route: { path, rateLimit = {} }, policy } = settings
  await prepareLimitedScope(fastify, { caller: plugin, ask, route: { path, rateLimit }, answerFailure })
  fastify.addHook('onSend', async (_request, reply) => { setHeaders(reply, policy) })

  const logOut = logout(settings)
  const logLevel = levelWithoutRequests(fastify.log)
  const schema = freshSchema(routeSchema(fastify.prefix, settings.route))
  fastify.get(path, { exposeHeadRoute: false, logLevel, schema }, async (request, reply) => {
    const refused = refusalOf(request)
    if (refused !== undefined) return sendOAuthError(reply, refused)
    const named = sessionNamed(request, settings)
    if ('status' in named) return sendOAuthError(reply, named)
    await logOut(named, request, reply)
    return reply.type('text/html; charset=utf-8').serializer(verbatim).send('<!doctype html><title>Logged out</title>')
  })
  // HEAD is the host's 404. It has a route so that its log line, which has the sid, is quiet too.
  fastify.head(path, { logLevel, schema: freshSchema(undocumented) }, (_request, reply) => { reply.callNotFound() })
}

/** Sets the headers of every response, whatever the host has set, also on the raw response. */
function setHeaders (reply: FastifyReply, policy: string): void {
  reply.headers({ 'cache-control': 'no-store', 'content-security-policy': policy, 'referrer-policy': 'no-referrer' })
  reply.removeHeader('x-frame-options')
}

/** A browser says what a request is for. Only a frame is what a provider's page embeds. */
function refusalOf ({ headers }: FastifyRequest): OAuthError | undefined {
  const destination = headers['sec-fetch-dest']
  const isFrame = destination === undefined || destination === 'iframe' || destination === 'frame'
  return isFrame && !isPrefetch(headers) ? undefined : { status: 403, error: 'access_denied' }
}

/** A session at a provider, as a request names it. */
interface NamedSession {
  readonly issuer: string
  readonly sid: string
}

const longestId = 1024

function sessionNamed (request: FastifyRequest, { issuers, missingIssuer }: Settings): NamedSession | OAuthError {
  const query = queryOf(request)
  const [[issuer = missingIssuer, ...otherIssuers], [sid, ...otherSids]] = [query.getAll('iss'), query.getAll('sid')]
  if (otherIssuers.length > 0 || otherSids.length > 0) return invalid('repeated')
  if (issuer === undefined || sid === undefined) return invalid('iss and sid are required')
  if (!issuers.has(issuer)) return invalid('unknown issuer')
  return sid === '' || sid.length > longestId ? invalid('sid') : { issuer, sid }
}

function logout ({ ask, index, endSessions, cookie, cutoff, until }: Settings) {
  return async ({ issuer, sid }: NamedSession, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const logout = { issuer, sid, cutoff: cutoff(), until: until() }
    const sessions = await ask('index.logOut', async () => [...await index.logOut(logout)], sessions => {
      return endSessions(sessions, request, () => {})
    })
    await detachEndedSession(request, ask)
    if (cookie === undefined) return
    for (const token of cookie.read(request.headers.cookie)) {
      const session = await ask('cookie.sessions.find', () => cookie.sessions.find(token))
      if (isAmong(sessions, session)) cookie.remove(reply)
    }
  }
}

function isAmong (sessions: readonly BoundSession[], session: { readonly id: string } | undefined): boolean {
  return session !== undefined && sessions.some(({ sessionId }) => sessionId === session.id)
}

// Errors

function invalid (fault: 'repeated' | 'iss and sid are required' | 'unknown issuer' | 'sid'): OAuthError {
  return { status: 400, error: 'invalid_request', description: `frontchannel logout: ${fault}` }
}

const answerFailure = oauthErrorHandler('a logout could not be completed')
