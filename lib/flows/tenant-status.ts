import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { after } from '../internal/async/awaitable.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { failureStatus } from '../internal/plugin/failure-status.ts'
import { isolateFromHost } from '../internal/plugin/host-isolation.ts'
import { logoutNotice } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import { limitRequests, type LogoutRateLimit } from '../internal/plugin/rate-limit.ts'
import { verdictOf } from '../internal/plugin/verdict.ts'
import { credentialOfPrincipal, logoutRevocation, type LogoutRevocation } from '../internal/revocation/logout-revocation.ts'
import {
  sendTenantError, sendTenantSuccess, tenantErrorOfStatus, tenantErrorSchema, tenantSuccessSchema, type TenantError
} from '../internal/tenant-status/envelope.ts'
import { isKnown, logOutUser } from '../internal/tenant-status/log-out-user.ts'
import { resolveWire, textOf, wireMembers, type TenantWireOptions } from '../internal/tenant-status/wire.ts'
import { optionalId, principalOf, type PrincipalOf } from '../principal.ts'
import type { Credential } from '../revocation-store.ts'
import { isTokenRejected, type VerifyToken } from '../token-verifier.ts'
import type { UserKey, UserStatusStore } from '../user-status-store.ts'

const plugin = 'tenantStatusLogout'

// Options

/** A user whose status changed from logged in to logged out. */
export interface TenantLogout extends UserKey {
  /** Epoch milliseconds. */
  readonly at: number
  readonly requestId: string
}

/** The logout that `isRestricted` is asked about. */
export interface RestrictionQuery extends UserKey {
  /** The option `wire.capability`. */
  readonly capability: string
  readonly request: FastifyRequest
}

/** How {@link tenantStatusLogout} finds the user of a token, and what it asks before it logs the user out. */
export interface TenantUserOptions {
  /** Reads the user and the tenant from the claims. A token of another tenant, or of none, is refused. @default principalOf */
  readonly principal?: PrincipalOf | undefined
  /** Whether logging out is forbidden to this tenant or this user: only `false` allows it. @default it is allowed */
  readonly isRestricted?: ((query: RestrictionQuery) => Awaitable<boolean>) | undefined
  /** A step that must succeed before the status changes. If it fails, the response is 500 and the status stays. */
  readonly beforeLogOut?: ((user: TenantLogout, request: FastifyRequest) => Awaitable<unknown>) | undefined
}

/** The options of {@link tenantStatusLogout}. `users`, `authenticateTenant` and `verifyToken` are required. */
export interface TenantStatusLogoutOptions {
  /** Stores the status of users. */
  readonly users: UserStatusStore
  /** Returns the tenant of this tenant token. `undefined` or `null` refuses the token. */
  readonly authenticateTenant: (token: string, request: FastifyRequest) => Awaitable<string | undefined | null>
  /** Verifies the user's token. */
  readonly verifyToken: VerifyToken
  /** Who the user of a token is, whether the user may log out, and what comes first. */
  readonly user?: TenantUserOptions | undefined
  /**
   * Called once for each user who was logged in and is now logged out, and awaited. Its failure is logged and does not
   * change the response.
   */
  readonly onLogout?: ((user: TenantLogout, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /**
   * Revokes the token, or everything of the user in this tenant, by marks that a `revocationGuard` honours. Runs last, and
   * again when the call is repeated.
   * @default no marks are made: the token stays valid
   */
  readonly revoke?: LogoutRevocation | undefined
  /** Names and codes on the wire, for clients that expect others. */
  readonly wire?: TenantWireOptions | undefined
  /** How often the route may be called, and how it is documented. */
  readonly route?: {
    /** How often an address may log out. @default 30 requests an hour */
    readonly rateLimit?: LogoutRateLimit | undefined
    /** Security of the route in the host's OpenAPI document, for example `[{ tenantToken: [], userToken: [] }]`. @default none is stated */
    readonly security?: readonly SecurityRequirement[] | undefined
  } | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: TenantStatusLogoutOptions, { log }: FastifyInstance) {
  const { users, authenticateTenant, verifyToken } = options
  assertOption(typeof users?.get === 'function' && typeof users.compareAndSet === 'function', plugin, 'users',
    'is missing: pass a user-status store such as memoryUserStatusStore(), or { get, compareAndSet }')
  assertOption(typeof authenticateTenant === 'function', plugin, 'authenticateTenant',
    'is missing: pass a function (token, request) => tenant that returns undefined to refuse the token')
  assertOption(typeof verifyToken === 'function', plugin, 'verifyToken',
    'is missing: pass a token verifier, for example fastJwtVerifier({ ... })')
  assertGrouped(options, plugin, {
    user: ['principal', 'isRestricted', 'beforeLogOut'],
    wire: wireMembers,
    route: ['rateLimit', 'security']
  })
  assertFunctions(options, plugin, ['user.principal', 'user.isRestricted', 'user.beforeLogOut', 'onLogout'])
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, log)
  return {
    ask,
    users,
    authenticateTenant,
    verifyToken,
    ...resolveUser(options.user),
    revoke: logoutRevocation(options.revoke, plugin, ask),
    notify: logoutNotice(plugin, ask, {
      onLogout: options.onLogout,
      summaryOf: ({ subject, tenant }) => ({ scope: 'all', subject, tenant })
    }),
    ...resolveWire(options.wire, plugin),
    ...resolveRoute(options.route)
  }
}

function resolveUser (options: TenantUserOptions = {}) {
  assertGroup(options, plugin, 'user', '{ isRestricted, beforeLogOut }')
  const { principal = principalOf, isRestricted, beforeLogOut } = options
  return { principal, isRestricted, beforeLogOut }
}

function resolveRoute (options: TenantStatusLogoutOptions['route'] = {}) {
  assertGroup(options, plugin, 'route', '{ rateLimit: { max: 30 } }')
  const { rateLimit = {}, security } = options
  return { rateLimit, security }
}

// Schema

function routeSchema (prefix: string, security: readonly SecurityRequirement[] | undefined) {
  return freshSchema({
    operationId: operationId('tenantStatusLogout', prefix),
    summary: 'Log out the user',
    tags: ['logout'],
    ...(security !== undefined && { security }),
    response: {
      200: { ...tenantSuccessSchema, description: 'The user is logged out' },
      400: { ...tenantErrorSchema, description: 'A client header is missing (only if the host requires it)' },
      401: { ...tenantErrorSchema, description: 'The tenant token or the user token is missing or refused' },
      403: { ...tenantErrorSchema, description: 'Logging out is restricted for the tenant or the user' },
      429: { ...tenantErrorSchema, description: 'Too many requests from this address' },
      '4xx': { ...tenantErrorSchema, description: 'The request was refused' },
      '5xx': { ...tenantErrorSchema, description: 'The user may still be logged in: retry' }
    }
  })
}

// Flow

/**
 * `GET /auth/logout` with a tenant token and a user token: the user's status becomes `logged_out`.
 *
 * A 200 means that the store holds `logged_out`. Without `revoke` the token stays valid: using it, as seen by
 * `tenantActivity`, logs the user in again. `onLogout` is called only when the status changed.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { tenantStatusLogout } from 'fastify-logout'
 * import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
 * import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
 *
 * const tenants = new Map([['tenant-token-of-acme', 'acme']])
 * const users = memoryUserStatusStore()
 * await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 *
 * const app = Fastify()
 * await app.register(tenantStatusLogout, {
 *   users,
 *   authenticateTenant: token => tenants.get(token),
 *   verifyToken: fastJwtVerifier({
 *     key: process.env['JWT_SECRET'] ?? '',
 *     algorithms: ['HS256'],
 *     issuer: 'https://login.example',
 *     audience: 'https://api.example'
 *   })
 * })
 * ```
 */
export const tenantStatusLogout: FastifyPluginAsync<TenantStatusLogoutOptions> = fp(routes, {
  name: 'fastify-logout/tenant-status', fastify: '5.x', encapsulate: true
})

const path = '/auth/logout'

async function routes (fastify: FastifyInstance, options: TenantStatusLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { wwwAuthenticate } = settings
  const refusalOf = admission(settings)

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  fastify.setErrorHandler(answerFailure)
  await limitRequests(fastify, settings.rateLimit, { caller: plugin, ask: settings.ask, path, standard: { max: 30, window: 3_600_000 } })

  fastify.route({
    method: 'GET',
    url: path,
    exposeHeadRoute: false,
    schema: routeSchema(fastify.prefix, settings.security),
    handler: async (request, reply) => {
      const refused = await refusalOf(request, reply)
      if (refused === undefined) return sendTenantSuccess(request, reply)
      if (refused.status === 401 && wwwAuthenticate !== undefined) reply.header('www-authenticate', wwwAuthenticate)
      return sendTenantError(request, reply, refused)
    }
  })
}

type Settings = ReturnType<typeof resolveOptions>
type Admission = { readonly user: UserKey, readonly credential: () => Credential }
type Attempt = { readonly request: FastifyRequest, readonly reply: FastifyReply }

/** Logs the user of a request out. Resolves to the error if the request is refused. */
function admission (settings: Settings) {
  const authenticate = authentication(settings)
  const logOut = logout(settings)

  return async (request: FastifyRequest, reply: FastifyReply): Promise<TenantError | undefined> => {
    if (isPrefetch(request.headers)) return errors.forbidden
    const missing = settings.missingHeaders(request)
    if (missing.length > 0) return errors.missingHeaders(missing)
    const verdict = await authenticate(request)
    return 'status' in verdict ? verdict : await logOut(verdict, { request, reply })
  }
}

/** Finds the tenant, then the user. The tenant token comes first: every endpoint of this vendor requires it. */
function authentication (settings: Settings) {
  const { ask, authenticateTenant, tenantHeader, refusals } = settings

  return async (request: FastifyRequest): Promise<Admission | TenantError> => {
    const token = textOf(request.headers[tenantHeader])
    if (token === '') return errors.missingTenantToken
    if (ambiguous.test(token)) return refusals.tenant
    const authenticated = await ask('authenticateTenant', () => verdictOf(() => authenticateTenant(token, request)))
    const tenant = optionalId(authenticated)
    return tenant === undefined ? refusals.tenant : await authenticateUser(settings, request, tenant)
  }
}

async function authenticateUser (settings: Settings, request: FastifyRequest, tenant: string): Promise<Admission | TenantError> {
  const { ask, verifyToken, principal, acceptBearerPrefix, refusals } = settings
  const sent = textOf(request.headers['x-token'])
  const token = acceptBearerPrefix ? sent.replace(/^bearer +/i, '') : sent
  if (token === '') return errors.missingUserToken
  if (ambiguous.test(token)) return refusals.user
  const claims = await ask('verifyToken', () => verdictOf(() => verifyToken(token)))
  if (isTokenRejected(claims)) return claims.reason === 'expired' ? refusals.expired : refusals.user
  if (!claims) return refusals.user

  const user = await ask('user.principal', () => principal(claims))
  if (optionalId(user.tenant) !== tenant) return refusals.user
  const subject = optionalId(user.subject)
  if (subject === undefined) return errors.unexpectedState
  return { user: { tenant, subject }, credential: () => credentialOfPrincipal(claims, token, { ...user, tenant, subject }) }
}

function logout (settings: Settings) {
  const { ask, isRestricted, beforeLogOut, revoke, notify, capability } = settings

  return async ({ user, credential }: Admission, { request, reply }: Attempt): Promise<TenantError | undefined> => {
    const { tenant, subject } = user
    if (isRestricted !== undefined) {
      const restricted = await ask('user.isRestricted', () => isRestricted({ tenant, subject, capability, request }))
      if (restricted !== false) return errors.restricted(capability)
    }

    const at = Date.now()
    const eventOf = (): TenantLogout => ({ tenant, subject, at, requestId: String(request.id) })
    if (beforeLogOut !== undefined) await ask('user.beforeLogOut', () => beforeLogOut(eventOf(), request))
    const before = await logOutUser(settings, eventOf(), before => {
      if (!isKnown(before)) return
      const notified = before.status === 'logged_in' ? notify(eventOf(), reply) : undefined
      return after(notified, () => revoke?.(credential))
    })
    return isKnown(before) ? undefined : errors.unexpectedState
  }
}

/** Matches two credentials in one header, and other words beside a credential. Such a header is refused. */
const ambiguous = /[\s,]/

// Errors

const errors = {
  missingTenantToken: { status: 401, code: 'MISSING_TENANT_TOKEN', message: 'Missing tenant token' },
  missingUserToken: { status: 401, code: 'MISSING_USER_TOKEN', message: 'Missing user token' },
  unexpectedState: { status: 500, code: 'UNEXPECTED_STATE', message: 'Missing user context' },
  forbidden: tenantErrorOfStatus(403),
  restricted: (capability: string): TenantError => ({
    status: 403, code: 'RESTRICTED_CAPABILITY', message: `Capability ${capability} is restricted`
  }),
  missingHeaders: (names: readonly string[]): TenantError => ({
    status: 400,
    code: 'VALIDATION_ERROR',
    message: 'The request could not be processed',
    validation: Object.fromEntries(names.map(name => [name, [`${name} is required`]]))
  })
}

/** Responds to every error: of the host's functions, of the rate limiter, and of hooks of the host. */
function answerFailure (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  const error = tenantErrorOfStatus(failureStatus(thrown, reply))
  if (error.status >= 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a logout could not be completed')
  sendTenantError(request, reply, error)
}
