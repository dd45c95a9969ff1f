import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost } from '../internal/plugin/host-isolation.ts'
import { logoutNotice } from '../internal/plugin/logout-notice.ts'
import { credentialOfPrincipal, logoutRevocation, type LogoutRevocation } from '../internal/revocation/logout-revocation.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin, Outage } from '../internal/plugin/ask.ts'
import { isPrefetch } from '../internal/http/prefetch.ts'
import { principalOf, type PrincipalOf } from '../principal.ts'
import { sendTenantError, sendTenantSuccess, tenantErrorOfStatus, tenantErrorSchema, tenantSuccessSchema, type TenantError } from '../internal/tenant-status/envelope.ts'
import { limitRequests, type TenantRateLimit } from '../internal/tenant-status/rate-limit.ts'
import type { Credential } from '../revocation-store.ts'
import { isTokenRejected, type TokenRejectedError, type VerifyToken } from '../token-verifier.ts'
import { logOutUser } from '../internal/tenant-status/log-out-user.ts'
import type { UserKey, UserStatusStore } from '../user-status-store.ts'

// Options

/** A user on the edge from logged in to logged out. */
export interface TenantLogout extends UserKey {
  /** Epoch milliseconds. */
  readonly at: number
  readonly requestId: string
}

/** What differs on the wire of {@link tenantStatusLogout} from deployment to deployment. */
export interface TenantWireOptions {
  /** The name that `isRestricted` is asked about, and that the 403 names. @default 'logout' */
  readonly capability?: string | undefined
  /** The header that holds the tenant token. @default 'x-tenant-token' */
  readonly tenantHeader?: string | undefined
  /** Headers that every client must send. A request without one of them is refused with 400. @default none */
  readonly clientHeaders?: readonly string[] | undefined
  /** Accept `x-token: Bearer <token>` too. @default false */
  readonly acceptBearerPrefix?: boolean | undefined
  /** The `WWW-Authenticate` header of a 401. @default none */
  readonly wwwAuthenticate?: string | undefined
  /** The codes of refused tokens. @default INVALID_TENANT_TOKEN, INVALID_USER_TOKEN and, for an expired user token, that of `user` */
  readonly errorCodes?: { readonly tenant?: string | undefined, readonly user?: string | undefined, readonly expired?: string | undefined } | undefined
}

/** What {@link tenantStatusLogout} asks of the host. `users`, `authenticateTenant` and `verifyToken` are required. */
export interface TenantStatusLogoutOptions {
  /** Where the status of users lives. */
  readonly users: UserStatusStore
  /** The tenant of this tenant token; `undefined` or `null` refuses it. */
  readonly authenticateTenant: (token: string, request: FastifyRequest) => Awaitable<string | undefined | null>
  /** Verifies the user's token. */
  readonly verifyToken: VerifyToken
  /** Reads the user and the tenant from the claims. A token of another tenant, or of none, is refused. @default principalOf */
  readonly principal?: PrincipalOf | undefined
  /** Is logging out forbidden to this tenant or this user? Fails closed. @default it is not */
  readonly isRestricted?: ((query: UserKey & { readonly capability: string, readonly request: FastifyRequest }) => Awaitable<boolean>) | undefined
  /** What must succeed for the logout to happen; its failure is a 500 and changes no status. */
  readonly beforeLogOut?: ((user: TenantLogout, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** Told once of each user who was logged in and is now logged out. Awaited; its failure is logged and changes no answer. */
  readonly onLogout?: ((user: TenantLogout, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /**
   * Revokes the token, or everything of the user in this tenant, by marks that a `revocationGuard` honours. Runs last, and
   * again when the call is repeated.
   * @default no marks are made: the token stays valid
   */
  readonly revoke?: LogoutRevocation | undefined
  /** How often an address may log out. @default 30 requests an hour */
  readonly rateLimit?: TenantRateLimit | undefined
  /** Names and codes on the wire, for clients that expect others. */
  readonly wire?: TenantWireOptions | undefined
  /** Security of the route in the host's OpenAPI document, `[{ tenantToken: [], userToken: [] }]` for instance. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

const routeSchema = (prefix: string, security: readonly SecurityRequirement[] | undefined) => ({
  operationId: operationId('tenantStatusLogout', prefix),
  summary: 'Log out the user',
  tags: ['logout'],
  ...(security !== undefined && { security }),
  response: {
    200: { ...tenantSuccessSchema, description: 'The user is logged out' },
    400: { ...tenantErrorSchema, description: 'A client header is missing (only where the host asks for this)' },
    401: { ...tenantErrorSchema, description: 'The tenant token or the user token is missing or refused' },
    403: { ...tenantErrorSchema, description: 'Logging out is restricted for the tenant or the user' },
    429: { ...tenantErrorSchema, description: 'Too many requests from this address' },
    '4xx': { ...tenantErrorSchema, description: 'The request was refused' },
    '5xx': { ...tenantErrorSchema, description: 'The user may still be logged in: try again' }
  }
})

// Flow

/**
 * `GET /auth/logout` with a tenant token and a user token: the user becomes `logged_out`.
 *
 * A 200 says that the store holds `logged_out`, or held it already. Without `revoke` the token stays valid: its use,
 * seen by `tenantActivity`, logs the user in again. `onLogout` is told on the edge only.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const tenantStatusLogout: FastifyPluginAsync<TenantStatusLogoutOptions> = fp(routes, {
  name: 'fastify-logout/tenant-status', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: TenantStatusLogoutOptions): Promise<void> {
  const settings = resolveOptions(options)
  const { ask, missingHeaders, wwwAuthenticate } = settings
  const authenticate = authentication(settings)
  const logOut = logout(settings)

  const refusalOf = async (request: FastifyRequest, reply: FastifyReply): Promise<TenantError | undefined> => {
    if (isPrefetch(request.headers)) return errors.forbidden
    const missing = missingHeaders(request)
    if (missing.length > 0) return errors.missingHeaders(missing)
    const verdict = await authenticate(request)
    return 'status' in verdict ? verdict : logOut(verdict, request, reply)
  }

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  fastify.setErrorHandler(answerFailure)
  await limitRequests(fastify, settings.rateLimit, ask, plugin)

  fastify.route({
    method: 'GET',
    url: '/auth/logout',
    exposeHeadRoute: false,
    schema: freshSchema(routeSchema(fastify.prefix, options.security)),
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

/** Which tenant, which user? The tenant first: it is asked for on every endpoint. */
function authentication ({ ask, authenticateTenant, verifyToken, principal, tenantHeader, acceptBearerPrefix, refusals }: Settings) {
  return async (request: FastifyRequest): Promise<Admission | TenantError> => {
    const tenantToken = textOf(request.headers[tenantHeader])
    if (tenantToken === '') return errors.missingTenantToken
    if (ambiguous.test(tenantToken)) return refusals.tenant
    const tenant = await answerOf(() => ask('authenticateTenant', () => authenticateTenant(tenantToken, request)))
    if (isTokenRejected(tenant) || !tenant) return refusals.tenant

    const sent = textOf(request.headers['x-token'])
    const token = acceptBearerPrefix ? sent.replace(/^bearer +/i, '') : sent
    if (token === '') return errors.missingUserToken
    if (ambiguous.test(token)) return refusals.user
    const claims = await answerOf(() => ask('verifyToken', () => verifyToken(token)))
    if (isTokenRejected(claims)) return claims.reason === 'expired' ? refusals.expired : refusals.user
    if (!claims) return refusals.user

    const user = await ask('principal', () => principal(claims))
    if (user.tenant !== tenant) return refusals.user
    if (!user.subject) return errors.unexpectedState
    return { user: { tenant, subject: user.subject }, credential: () => credentialOfPrincipal(claims, token, user) }
  }
}

function logout ({ ask, users, isRestricted, beforeLogOut, revoke, notify, capability }: Settings) {
  return async ({ user, credential }: Admission, request: FastifyRequest, reply: FastifyReply): Promise<TenantError | undefined> => {
    const { tenant, subject } = user
    if (await ask('isRestricted', () => isRestricted({ tenant, subject, capability, request }))) return errors.restricted(capability)

    const event = { tenant, subject, at: Date.now(), requestId: String(request.id) }
    await ask('beforeLogOut', () => beforeLogOut(event, request))
    const before = await logOutUser(users, user, event, ask)

    if (before?.status !== 'logged_in' && before?.status !== 'logged_out') return errors.unexpectedState
    if (before.status === 'logged_in') await notify(event, reply)
    await revoke?.(credential)
    return undefined
  }
}

/** Two credentials in one header, or words around one, are nobody's credential. */
const ambiguous = /[\s,]/

function textOf (header: string | string[] | undefined): string {
  return String(header ?? '').trim()
}

/** A refused token is an answer too; whatever else is thrown is not. */
async function answerOf<T> (question: () => Awaitable<T>): Promise<T | TokenRejectedError> {
  try {
    return await question()
  } catch (error) {
    if (isTokenRejected(error)) return error
    throw error
  }
}

const plugin = 'tenantStatusLogout'

function resolveOptions (options: TenantStatusLogoutOptions) {
  const { users, authenticateTenant, verifyToken } = options
  assertOption(typeof users?.get === 'function' && typeof users.compareAndSet === 'function', plugin, 'users', 'is missing: pass a user-status store, memoryUserStatusStore() for instance, or { get, compareAndSet }')
  assertOption(typeof authenticateTenant === 'function', plugin, 'authenticateTenant', 'is missing: pass (token, request) => the tenant, or undefined to refuse')
  assertOption(typeof verifyToken === 'function', plugin, 'verifyToken', 'is missing: pass a token verifier, fastJwtVerifier({ ... }) for instance')
  assertFunctions(options, plugin, ['principal', 'isRestricted', 'beforeLogOut', 'onLogout'])
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)

  return {
    ask,
    users,
    authenticateTenant,
    verifyToken,
    principal: options.principal ?? principalOf,
    isRestricted: options.isRestricted ?? (() => false),
    beforeLogOut: options.beforeLogOut ?? (() => {}),
    revoke: logoutRevocation(options.revoke, plugin, ask),
    notify: logoutNotice(plugin, ask, options.onLogout, ({ subject, tenant }) => ({ scope: 'all', subject, tenant })),
    rateLimit: options.rateLimit ?? {},
    ...resolveWire(options.wire)
  }
}

function resolveWire (options: TenantWireOptions = {}) {
  assertOption(typeof options === 'object' && options !== null, plugin, 'wire', 'must be an object: { capability, tenantHeader, ... }')
  const { capability = 'logout', tenantHeader = 'x-tenant-token', clientHeaders = [], acceptBearerPrefix = false, wwwAuthenticate, errorCodes = {} } = options
  assertOption(typeof capability === 'string', plugin, 'wire.capability', 'must be a string')
  assertOption(/^[\w-]+$/.test(tenantHeader), plugin, 'wire.tenantHeader', 'must be the name of a header')
  assertOption(Array.isArray(clientHeaders), plugin, 'wire.clientHeaders', 'must be a list of names of headers')
  assertOption(typeof acceptBearerPrefix === 'boolean', plugin, 'wire.acceptBearerPrefix', 'must be true or false')
  assertOption(typeof errorCodes === 'object' && errorCodes !== null, plugin, 'wire.errorCodes', 'must be an object: { tenant, user, expired }')
  const required = clientHeaders.map(name => name.toLowerCase())
  return {
    capability,
    tenantHeader: tenantHeader.toLowerCase(),
    missingHeaders: ({ headers }: FastifyRequest) => required.filter(name => textOf(headers[name]) === ''),
    acceptBearerPrefix,
    wwwAuthenticate,
    refusals: {
      tenant: { status: 401, code: errorCodes.tenant ?? 'INVALID_TENANT_TOKEN', message: 'Invalid tenant token' },
      user: { status: 401, code: errorCodes.user ?? 'INVALID_USER_TOKEN', message: 'Invalid user token' },
      expired: { status: 401, code: errorCodes.expired ?? errorCodes.user ?? 'INVALID_USER_TOKEN', message: 'Invalid user token' }
    }
  }
}

// Errors

const errors = {
  missingTenantToken: { status: 401, code: 'MISSING_TENANT_TOKEN', message: 'Missing tenant token' },
  missingUserToken: { status: 401, code: 'MISSING_USER_TOKEN', message: 'Missing user token' },
  unexpectedState: { status: 500, code: 'UNEXPECTED_STATE', message: 'Missing user context' },
  forbidden: tenantErrorOfStatus(403),
  restricted: (capability: string): TenantError => ({ status: 403, code: 'RESTRICTED_CAPABILITY', message: `Capability ${capability} is restricted` }),
  missingHeaders: (names: readonly string[]): TenantError => ({
    status: 400,
    code: 'VALIDATION_ERROR',
    message: 'The request could not be processed',
    validation: Object.fromEntries(names.map(name => [name, [`${name} is required`]]))
  })
}

/**
 * Everything that is thrown: by the host's functions, by the limiter, by hooks of the host, which tell their status by
 * the error or, as Fastify lets them, by `reply.code` in front of it.
 */
function answerFailure (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  const error = tenantErrorOfStatus(thrown instanceof Outage ? 500 : Number(thrown?.statusCode ?? reply.statusCode))
  if (error.status >= 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a logout could not be completed')
  sendTenantError(request, reply, error)
}
