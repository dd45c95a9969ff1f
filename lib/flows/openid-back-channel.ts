import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import { bodyLimit, formOf, mediaTypes, readForms } from '../internal/http/form.ts'
import { oauthErrorHandler, oauthFailures, sendEmpty, sendOAuthError } from '../internal/oauth/error.ts'
import { prepareLimitedScope, limitedRouteMembers, type LimitedRouteOptions } from '../internal/oauth/limited-route.ts'
import { resolveIssuers, type LogoutTokenIssuer } from '../internal/openid/logout-issuer.ts'
import { logoutTokenVerifier, type LogoutTokenContent, type LogoutTokenRefusal } from '../internal/openid/logout-token.ts'
import { sessionEnder } from '../internal/openid/session-ender.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration, lifetimeOf, wholeNumber } from '../internal/plugin/options.ts'
import { pluginOrFactory } from '../internal/plugin/plugin-or-factory.ts'
import { resolveRoute } from '../internal/plugin/route.ts'
import type { LogoutEvent } from '../logout-event.ts'
import type { BoundSession, ProviderLogout, ProviderSessionIndex } from '../provider-session-index.ts'
import type { HostSession, SessionsById } from '../session-source.ts'

// Options

/** A logout at a provider, for what else the host ends with it. */
export interface BackChannelLogout {
  readonly issuer: string
  /** The user at the provider. At least one of `subject` and `sid` is there. */
  readonly subject?: string | undefined
  /** The session at the provider. */
  readonly sid?: string | undefined
  /** The host's sessions that the logout covers, also those that were ended before. */
  readonly sessions: readonly BoundSession[]
  /** Whether the provider also revoked offline access: Keycloak's `revoke_offline_access`. */
  readonly offline: boolean
}

/** Which logout tokens {@link backChannelLogout} accepts, and what they end. Times are milliseconds. */
export interface BackChannelTokenOptions {
  /** What a token with both `sub` and `sid` ends: this provider session, or everything of the subject. @default 'session' */
  readonly sidEnds?: 'session' | 'subject' | undefined
  /** The oldest `iat` that is accepted. @default 300000 */
  readonly maxAge?: number | undefined
  /** How far the provider's clock may differ from ours. @default 60000 */
  readonly clockTolerance?: number | undefined
  /** Longer tokens are refused unread. In characters. @default 16384 */
  readonly maxLength?: number | undefined
}

/** Where the route of {@link backChannelLogout} is, what it may use, and how it is documented. */
export interface BackChannelRouteOptions extends LimitedRouteOptions {
  /** How many sessions a request ends at once. @default 16 */
  readonly parallel?: number | undefined
}

/** The options of {@link backChannelLogout}. `issuers`, `index`, `sessions` and `sessionLifetime` are required. Times are milliseconds. */
export interface BackChannelLogoutOptions<S extends HostSession = HostSession> {
  /** The providers whose logout tokens are accepted. */
  readonly issuers: readonly LogoutTokenIssuer[]
  /** Where the host has bound its logins. */
  readonly index: Pick<ProviderSessionIndex, 'logOut'>
  /** The host's sessions: a session store, a source for `@fastify/session`, `@fastify/secure-session` or JWTs, or a plain function. */
  readonly sessions: SessionsById<S>
  /** The longest life of a session: a logout is remembered for so long, for logins that are bound after it. */
  readonly sessionLifetime: number
  /**
   * Ends what else goes with the session, such as refresh tokens. Called for every good token after the sessions were ended,
   * also without sessions and for repeats. If it fails, the response is a 503.
   */
  alsoEnd?: ((logout: BackChannelLogout, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** Called once for each session that was live and is now logged out. Its failure is logged and does not change the response. */
  onLogout?: ((event: LogoutEvent<S>, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** Which logout tokens are accepted, and what they end. */
  readonly logoutToken?: BackChannelTokenOptions | undefined
  /**
   * For each call to the host's functions, for the provider's keys, and for ending all sessions of one request. Providers hang
   * up after 2.5 seconds or later.
   * @default 2000
   */
  readonly timeout?: number | undefined
  /** Where the route is (by default at `/backchannel-logout`), what it may use, and how it is documented. */
  readonly route?: BackChannelRouteOptions | undefined
}

/** The type of {@link backChannelLogout}. */
export interface BackChannelLogoutPlugin {
  /** Returns the plugin for these options. The type of the session is inferred, for `onLogout`. */
  <S extends HostSession>(options: BackChannelLogoutOptions<S>): FastifyPluginAsync
  /** The plugin itself, for `app.register(backChannelLogout, options)`. */
  <S extends HostSession = HostSession>(fastify: FastifyInstance, options: BackChannelLogoutOptions<S>): Promise<void>
}

const plugin = 'backChannelLogout'
const standardPath = '/backchannel-logout'

function resolveOptions (options: BackChannelLogoutOptions, { log }: FastifyInstance) {
  const { index, sessions, alsoEnd, onLogout } = options
  assertOption(typeof index?.logOut === 'function', plugin, 'index',
    'is missing: pass a provider session index, such as redisProviderSessionIndex(redis)')
  assertOption(typeof sessions?.logOutById === 'function', plugin, 'sessions', 'is missing: pass a session store, or { logOutById }')
  assertOption(options.sessionLifetime !== undefined, plugin, 'sessionLifetime',
    'is missing: pass the longest life of a session, in milliseconds')
  assertFunctions(options, plugin, ['alsoEnd', 'onLogout'])
  assertGrouped(options, plugin, {
    logoutToken: ['sidEnds', 'maxAge', 'clockTolerance', 'maxLength'], route: [...limitedRouteMembers, 'parallel']
  })
  const timeout = duration(options.timeout, 2000, plugin, 'timeout')
  const { parallel, ...route } = resolveRoute(options.route, standardPath, plugin)
  const tokens = resolveTokens(options.logoutToken)
  const sessionLifetime = lifetimeOf(options.sessionLifetime, 0, plugin, 'sessionLifetime')
  const ask = askWithin(timeout, plugin, log)
  return {
    ask,
    index,
    alsoEnd,
    route,
    maxTokenLength: tokens.maxTokenLength,
    verify: logoutTokenVerifier({ ask, issuers: resolveIssuers(options.issuers, { caller: plugin, timeout }), ...tokens }),
    endSessions: sessionEnder(sessions, {
      ask,
      parallel: wholeNumber(parallel, plugin, 'route.parallel', { standard: 16, least: 1 }),
      notify: logoutNotice(plugin, ask, { onLogout, summaryOf: sessionSummary })
    }),
    until: () => Math.ceil(Date.now() + sessionLifetime + tokens.clockTolerance)
  }
}

function resolveTokens (options: BackChannelTokenOptions = {}) {
  assertGroup(options, plugin, 'logoutToken', "{ sidEnds: 'subject' }")
  const { sidEnds = 'session' } = options
  assertOption(sidEnds === 'session' || sidEnds === 'subject', plugin, 'logoutToken.sidEnds', 'must be "session" or "subject"')
  return {
    sidEnds,
    maxAge: duration(options.maxAge, 300_000, plugin, 'logoutToken.maxAge'),
    clockTolerance: wholeNumber(options.clockTolerance, plugin, 'logoutToken.clockTolerance', { standard: 60_000, least: 0 }),
    maxTokenLength: wholeNumber(options.maxLength, plugin, 'logoutToken.maxLength', { standard: 16_384, least: 1 })
  }
}

type Settings = ReturnType<typeof resolveOptions>

// Schema

function routeSchema (prefix: string, { route: { path, security }, maxTokenLength }: Settings) {
  return {
    ...(security !== undefined && { security }),
    operationId: operationId('backChannelLogout', prefix + (path === standardPath ? '' : path)),
    summary: 'Log out the sessions of a user or of a session at an OpenID Provider, which sends this request',
    tags: ['logout'],
    consumes: [...mediaTypes],
    body: Type.Object({ logout_token: Type.String({ maxLength: maxTokenLength, description: 'A Logout Token that the provider signed' }) }),
    response: {
      200: Type.Null({ description: 'The sessions are logged out, now or before' }),
      ...oauthFailures({
        400: 'The logout token is refused', 413: 'The body is too long', 429: 'Too many requests', 503: 'The outcome is unknown: retry'
      })
    }
  }
}

// Flow

/**
 * `POST /backchannel-logout`, which an OpenID Provider calls with a logout token when a user logs out there. It ends the
 * host's sessions that the `index` has for the token's `sid` or `sub`.
 *
 * A 200 says that the session store ended all of them, now or before. A token that is not good in every respect is a 400. An
 * outage of a store or of the provider's key set is a 503, so that providers send the token again: repeats have no further
 * effect, and `onLogout` is called once for each session.
 *
 * A logout is a comparison of times: it ends the sessions whose ID Token was issued before it. One that arrives before its
 * login is bound wins, and a new login in the same provider session lives.
 *
 * Refusals are logged as `logout.token-refused`, with the reason and, for providers that leave things out, the
 * tolerance that would help. The log never holds a token, a `sub` or a `sid`.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { backChannelLogout } from 'fastify-logout'
 * import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const index = memoryProviderSessionIndex() // The login binds its sessions to it.
 * await app.register(backChannelLogout, {
 *   issuers: [{ issuer: 'https://login.example', clientId: 'shop', tolerate: ['untyped'] }],
 *   index,
 *   sessions: memorySessionStore(),
 *   sessionLifetime: 8 * 3_600_000
 * })
 * ```
 */
export const backChannelLogout: BackChannelLogoutPlugin = pluginOrFactory<BackChannelLogoutOptions>('openid-back-channel', routes)

async function routes (fastify: FastifyInstance, options: BackChannelLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { ask, route, verify } = settings
  const logOut = logout(settings)

  await prepareLimitedScope(fastify, { caller: plugin, ask, route, answerFailure })
  readForms(fastify)
  fastify.addHook('onSend', async (_request, reply) => { reply.header('cache-control', 'no-store') })

  fastify.post(route.path, { bodyLimit, schema: freshSchema(routeSchema(fastify.prefix, settings)) }, async (request, reply) => {
    const token = tokenIn(request)
    const content = 'fault' in token ? token : await verify(token.logoutToken)
    if ('fault' in content) return refuse(content, request, reply)
    await logOut(content, request)
    return sendEmpty(reply, 200)
  })
}

function tokenIn (request: FastifyRequest): { readonly logoutToken: string } | LogoutTokenRefusal {
  const form = formOf(request)
  if (form === 'malformed') return { fault: 'malformed' }
  const [logoutToken = '', ...others] = form.get('logout_token') ?? []
  if (others.length > 0) return { fault: 'repeated' }
  return logoutToken === '' ? { fault: 'missing' } : { logoutToken }
}

/** What follows a success of the index follows a late success too: the provider may never send the token again. */
function logout ({ ask, index, endSessions, alsoEnd, until }: Settings) {
  return async (content: LogoutTokenContent, request: FastifyRequest): Promise<void> => {
    const { issuer, target, cutoff, offline } = content
    const logout: ProviderLogout = { issuer, cutoff, until: until(), ...target }
    await ask('index.logOut', async () => [...await index.logOut(logout)], sessions => {
      return endSessions(sessions, request, async () => {
        if (alsoEnd !== undefined) await ask('alsoEnd', () => alsoEnd({ issuer, ...content.ids, sessions, offline }, request))
      })
    })
  }
}

// Errors

function refuse ({ fault, issuer = 'unknown', tolerance }: LogoutTokenRefusal, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const hint = tolerance !== undefined && { tolerance }
  request.log.warn({ event: 'logout.token-refused', issuer, reason: fault, ...hint }, 'a logout token was refused')
  return sendOAuthError(reply, { status: 400, error: 'invalid_request', description: `logout token: ${fault}` })
}

const answerFailure = oauthErrorHandler('a logout could not be completed')
