import { Type } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { STATUS_CODES } from 'node:http'
import type { Awaitable } from '../awaitable.ts'
import { after } from '../internal/async/awaitable.ts'
import { bearerToken } from '../internal/http/bearer-token.ts'
import { askWithin, type Ask } from '../internal/plugin/ask.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { failureStatus } from '../internal/plugin/failure-status.ts'
import { isolateFromHost, validateBodies, verbatim } from '../internal/plugin/host-isolation.ts'
import { logoutNotice } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import { verdictOf } from '../internal/plugin/verdict.ts'
import { credentialOfPrincipal, logoutRevocation, type LogoutRevocation } from '../internal/revocation/logout-revocation.ts'
import { acceptJson, bodySchema, notJson, readAnyBody, type LogoutBody } from '../internal/signinghub/body.ts'
import { optionalId, principalOf, type Principal, type PrincipalOf } from '../principal.ts'
import type { Credential } from '../revocation-store.ts'
import { isTokenRejected, type VerifyToken } from '../token-verifier.ts'

const plugin = 'signingHubLogout'

// Options

/** The user of a token: the subject is logged out, the actor requests it. They differ only if the actor acts for the subject. */
export interface SigningHubUser extends Principal {
  readonly subject: string
  readonly actor: string
}

/** A push token to remove if it belongs to the subject. */
export interface DeviceTokenRemoval extends SigningHubUser {
  readonly deviceToken: string
}

/** What happened to a push token: it was removed, it is unknown, or it belongs to another user and was left alone. */
export type DeviceTokenOutcome = 'removed' | 'not-found' | 'not-owner'

/** One logout, for the audit trail. */
export interface SigningHubActivity extends SigningHubUser {
  /** Epoch milliseconds. */
  readonly at: number
  /** `request.ip`. Clients on a Unix socket have none, nor has a client that left before the request reached this plugin. */
  readonly ip: string | undefined
  readonly userAgent: string | undefined
  /** `none`: the client sent no push token. `failed`: it could not be removed, and the response asks the client to retry. */
  readonly deviceToken: DeviceTokenOutcome | 'none' | 'failed'
}

/** How {@link signingHubLogout} handles the push token in the request body. */
export interface DeviceTokenOptions {
  /**
   * Removes a push token, atomically and only if it belongs to the subject. Must be idempotent.
   * @default push tokens are ignored, with one warning at registration
   */
  readonly remove?: ((removal: DeviceTokenRemoval) => Awaitable<DeviceTokenOutcome>) | undefined
  /** Refuse a logout without a push token with 400. @default false */
  readonly required?: boolean | undefined
  /** The longest push token that is accepted, in UTF-16 code units. @default 4096 */
  readonly maxLength?: number | undefined
  /** The response when the push token belongs to another user: 200, or the vendor's 403. @default 'ignore' */
  readonly foreign?: 'ignore' | 'forbid' | undefined
  /** The response when the push token is unknown: 200, or the vendor's 404. @default 'ignore' */
  readonly unknown?: 'ignore' | 'not-found' | undefined
}

/** How {@link signingHubLogout} finds the user of a token, and who may log out. */
export interface SigningHubUserOptions {
  /** Reads the user, and who acts for the user, from the claims. @default principalOf */
  readonly principal?: PrincipalOf | undefined
  /**
   * Whether this account is enabled: only `true` enables it, `undefined` means that there is no such user. Called for the
   * actor, then for the subject.
   * @default every account is enabled
   */
  readonly isActive?: ((user: string) => Awaitable<boolean | undefined>) | undefined
  /** Whether this actor may act for this other subject: only `true` allows it. @default acting for another user is refused */
  readonly mayActFor?: ((user: SigningHubUser) => Awaitable<boolean>) | undefined
}

/** The options of {@link signingHubLogout}. Only `verifyToken` is required. */
export interface SigningHubLogoutOptions {
  /** Verifies the bearer token. */
  readonly verifyToken: VerifyToken
  /** Who the user of a token is, and who may log out. */
  readonly user?: SigningHubUserOptions | undefined
  /** What to do with the push token that the client sends. */
  readonly deviceToken?: DeviceTokenOptions | undefined
  /** Records the logout. If it fails, the response is 500 and the client retries. @default nothing is recorded */
  readonly recordActivity?: ((activity: SigningHubActivity) => Awaitable<unknown>) | undefined
  /**
   * Revokes the bearer token: a function of the host, or marks that a `revocationGuard` honours. Runs last, and only when
   * every step before it succeeded, so that the client can retry.
   * @default the token stays valid, as it does at the vendor
   */
  readonly revoke?: ((user: SigningHubUser, token: string) => Awaitable<unknown>) | LogoutRevocation | undefined
  /** Called once for each logout, after everything else, and awaited. Its failure is logged and does not change the response. */
  readonly onLogout?: ((activity: SigningHubActivity, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** Where the routes are, and how they are documented. */
  readonly route?: {
    /** The paths of the routes, below the plugin's `prefix`. @default ['/v3/logout', '/v4/logout'] */
    readonly paths?: readonly string[] | undefined
    /** Security of the routes in the host's OpenAPI document, for example `[{ bearer: [] }]`. @default none is stated */
    readonly security?: readonly SecurityRequirement[] | undefined
  } | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: SigningHubLogoutOptions, { log }: FastifyInstance) {
  const { verifyToken } = options
  assertOption(typeof verifyToken === 'function', plugin, 'verifyToken',
    'is missing: pass a token verifier, for example fastJwtVerifier({ ... })')
  assertGrouped(options, plugin, {
    user: ['principal', 'isActive', 'mayActFor'],
    deviceToken: ['remove', 'required', 'maxLength', 'foreign', 'unknown'],
    route: ['paths', 'security']
  })
  assertFunctions(options, plugin,
    ['user.principal', 'user.isActive', 'user.mayActFor', 'deviceToken.remove', 'recordActivity', 'onLogout'])
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, log)
  return {
    ask,
    verifyToken,
    ...resolveUser(options.user),
    deviceToken: resolveDeviceToken(options.deviceToken),
    recordActivity: options.recordActivity ?? (() => {}),
    revoke: resolveRevoke(options.revoke, ask),
    notify: logoutNotice(plugin, ask, {
      onLogout: options.onLogout,
      summaryOf: ({ subject, tenant }) => ({ scope: 'all', subject, tenant })
    }),
    ...resolveRoute(options.route)
  }
}

function resolveUser (options: SigningHubUserOptions = {}) {
  assertGroup(options, plugin, 'user', '{ isActive, mayActFor }')
  const { principal = principalOf, isActive = () => true, mayActFor = () => false } = options
  return { principal, isActive, mayActFor }
}

function resolveRoute (options: SigningHubLogoutOptions['route'] = {}) {
  assertGroup(options, plugin, 'route', '{ paths, security }')
  const { paths = ['/v3/logout', '/v4/logout'], security } = options
  assertOption(Array.isArray(paths) && paths.length > 0 && paths.every(path => String(path).startsWith('/')), plugin, 'route.paths',
    'must be a list of paths that begin with a slash')
  return { paths, security }
}

function resolveDeviceToken (options: DeviceTokenOptions = {}) {
  assertGroup(options, plugin, 'deviceToken', '{ remove, required: true }')
  const { remove, required = false, maxLength = 4096, foreign = 'ignore', unknown = 'ignore' } = options
  assertOption(typeof required === 'boolean', plugin, 'deviceToken.required', 'must be true or false')
  assertOption(Number.isInteger(maxLength) && maxLength > 0, plugin, 'deviceToken.maxLength', 'must be a positive integer')
  assertOption(['ignore', 'forbid'].includes(foreign), plugin, 'deviceToken.foreign', 'must be "ignore" or "forbid"')
  assertOption(['ignore', 'not-found'].includes(unknown), plugin, 'deviceToken.unknown', 'must be "ignore" or "not-found"')
  return { remove, required, maxLength, foreign, unknown }
}

/** Ends the token of an admitted request, then calls `finish`. */
type Revoke = (admission: Admission, finish: () => Awaitable<unknown>) => Awaitable<unknown>

function resolveRevoke (revoke: SigningHubLogoutOptions['revoke'], ask: Ask): Revoke {
  if (typeof revoke === 'function') return ({ user, token }, finish) => ask('revoke', () => revoke({ ...user }, token), finish)
  const mark = logoutRevocation(revoke, plugin, ask)
  return mark === undefined ? (_admission, finish) => finish() : ({ credential }, finish) => mark(credential, finish)
}

// Schema

const messageSchema = Type.Object({ Message: Type.String() }, { additionalProperties: false })

function routeSchema (path: string, { deviceToken, security }: Settings) {
  return freshSchema({
    operationId: operationId('signingHubLogout', path),
    summary: 'Log out, and remove a push token',
    tags: ['logout'],
    ...(security !== undefined && { security }),
    body: bodySchema(deviceToken),
    response: {
      200: Type.Null({ description: 'The user is logged out' }),
      400: { ...messageSchema, description: 'The body is not a valid logout body' },
      401: { ...messageSchema, description: 'The token is missing or refused, or it has no user' },
      403: { ...messageSchema, description: 'The account is disabled' },
      404: { ...messageSchema, description: 'The push token is unknown (only if the host chose this response)' },
      '4xx': { ...messageSchema, description: 'The request was refused' },
      '5xx': { ...messageSchema, description: 'The logout is not complete: retry' }
    }
  })
}

// Flow

const admission = Symbol('fastify-logout.signinghub.admission')

/**
 * `POST /v3/logout` and `POST /v4/logout` with SigningHub's wire contract.
 *
 * A 200 means that each step for which the host passed a function succeeded: the push token is removed (or was not this
 * user's), the logout is recorded, and the token is revoked. The bearer token stays valid unless `revoke` ends it.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { signingHubLogout } from 'fastify-logout'
 * import { jwksVerifier } from 'fastify-logout/token-verifiers/jwks'
 *
 * const phones = new Map([['push-token-of-alice', 'alice']])
 * const app = Fastify()
 * await app.register(signingHubLogout, {
 *   verifyToken: jwksVerifier({
 *     issuers: [{ issuer: 'https://login.example', audience: 'https://api.example', algorithms: ['RS256'] }]
 *   }),
 *   deviceToken: {
 *     remove: ({ deviceToken, subject }) => {
 *       const owner = phones.get(deviceToken)
 *       if (owner !== subject) return owner === undefined ? 'not-found' : 'not-owner'
 *       phones.delete(deviceToken)
 *       return 'removed'
 *     }
 *   },
 *   recordActivity: ({ subject, at }) => { app.log.info({ subject, at }, 'logged out') }
 * })
 * ```
 */
export const signingHubLogout: FastifyPluginAsync<SigningHubLogoutOptions> = fp(routes, {
  name: 'fastify-logout/signinghub', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: SigningHubLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const authenticate = authentication(settings)
  const logOut = logout(settings)
  if (settings.deviceToken.remove === undefined) {
    fastify.log.warn(`${plugin}: without the option "deviceToken.remove" the push tokens that clients send are ignored`)
  }

  noActivity(fastify)
  isolateFromHost(fastify)
  await validateBodies(fastify)
  publishRefusals(fastify, plugin)
  acceptJson(fastify)
  fastify.setErrorHandler(answerFailure)
  fastify.decorateRequest(admission, null)

  for (const path of settings.paths) {
    fastify.route<{ Body: LogoutBody }>({
      method: 'POST',
      url: path,
      bodyLimit: 1_048_576,
      schema: routeSchema(fastify.prefix + path, settings),
      onRequest: async (request, reply) => {
        const verdict = await authenticate(request)
        if ('refusal' in verdict) return refuse(reply, verdict.refusal)
        request.setDecorator(admission, verdict)
      },
      handler: async (request, reply) => {
        const refusal = await logOut(request.getDecorator<Admission>(admission), request, reply)
        return refusal === undefined ? succeed(reply) : refuse(reply, refusal)
      }
    })
  }
}

type Settings = ReturnType<typeof resolveOptions>

/** A request whose user may log out. */
interface Admission {
  readonly user: SigningHubUser
  readonly token: string
  readonly ip: string | undefined
  readonly credential: () => Credential
}

type LogoutRequest = FastifyRequest<{ Body: LogoutBody }>
type Verdict = Admission | { readonly refusal: Refusal }

/** Finds the user of a token, and whether the user may log out, in the order of the vendor's decision table. */
function authentication (settings: Settings) {
  const { ask, verifyToken, principal } = settings

  return async (request: FastifyRequest): Promise<Verdict> => {
    const { ip } = request // It can no longer be read once the client has left.
    readAnyBody(request)
    const token = bearerToken(request.headers.authorization)
    if (token === undefined) return { refusal: refusals.unauthenticated }
    const claims = await ask('verifyToken', () => verdictOf(() => verifyToken(token)))
    if (isTokenRejected(claims)) return { refusal: refusals.badToken }

    const user = userOf(await ask('user.principal', () => principal(claims)))
    if (user === undefined) return { refusal: refusals.noUser }
    const refusal = await refusalOfUser(settings, user)
    return refusal === undefined ? { user, token, ip, credential: () => credentialOfPrincipal(claims, token, user) } : { refusal }
  }
}

function userOf ({ subject, actor = subject, tenant, sessionId, issuedAt }: Principal): SigningHubUser | undefined {
  const ids = { subject: optionalId(subject), actor: optionalId(actor) }
  if (ids.subject === undefined || ids.actor === undefined) return undefined
  return { subject: ids.subject, actor: ids.actor, tenant: optionalId(tenant), sessionId: optionalId(sessionId), issuedAt }
}

async function refusalOfUser ({ ask, mayActFor, isActive }: Settings, user: SigningHubUser): Promise<Refusal | undefined> {
  const { subject, actor } = user
  if (actor !== subject && await ask('user.mayActFor', () => mayActFor({ ...user })) !== true) return refusals.notPrivileged
  for (const account of actor === subject ? [subject] : [actor, subject]) {
    const active = await ask('user.isActive', () => isActive(account))
    if (active === undefined || active === null) return refusals.noUser
    if (active !== true) return refusals.disabled
  }
  return undefined
}

/** Steps that can be retried come first. Revoking the token comes last. */
function logout (settings: Settings) {
  const { ask, deviceToken: { foreign, unknown }, recordActivity, revoke, notify } = settings

  return async (admitted: Admission, request: LogoutRequest, reply: FastifyReply): Promise<Refusal | undefined> => {
    const deviceToken = await removeDeviceToken(settings, admitted.user, request)
    if (deviceToken === 'not-owner' && foreign === 'forbid') return refusals.foreignDeviceToken
    if (deviceToken === 'not-found' && unknown === 'not-found') return refusals.unknownDeviceToken

    const at = Date.now()
    const userAgent = request.headers['user-agent']
    // Members are written out because spreading the user and adding members takes a microsecond longer.
    const { user: { subject, actor, tenant, sessionId, issuedAt }, ip } = admitted
    const activityOf = (): SigningHubActivity => ({
      subject, actor, tenant, sessionId, issuedAt, at, ip, userAgent, deviceToken
    })
    const finish = () => deviceToken === 'failed' ? undefined : revoke(admitted, () => notify(activityOf(), reply))
    await ask('recordActivity', () => recordActivity(activityOf()), finish)
    return deviceToken === 'failed' ? refusals.internal : undefined
  }
}

type Removal = Promise<SigningHubActivity['deviceToken']>

async function removeDeviceToken ({ ask, deviceToken: { remove } }: Settings, user: SigningHubUser, request: LogoutRequest): Removal {
  const deviceToken = request.body?.device_token ?? ''
  if (remove === undefined || deviceToken.trim() === '') return 'none'
  const { subject, actor, tenant, sessionId, issuedAt } = user
  const removal = { subject, actor, tenant, sessionId, issuedAt, deviceToken }
  try {
    return await ask('deviceToken.remove', () => after(remove(removal), knownOutcome))
  } catch (error) {
    logOutage(request, error)
    return 'failed'
  }
}

function knownOutcome (outcome: DeviceTokenOutcome): DeviceTokenOutcome {
  if (outcome === 'removed' || outcome === 'not-found' || outcome === 'not-owner') return outcome
  throw new TypeError(`${plugin}: option "deviceToken.remove" must return "removed", "not-found" or "not-owner"`)
}

/** Sent without a content type, even if the host has set one: clients parse a body that claims to be JSON. */
function succeed (reply: FastifyReply): FastifyReply {
  return reply.code(200).removeHeader('content-type').header('cache-control', 'no-store').send()
}

// Errors

interface Refusal {
  readonly status: number
  readonly body: string
  readonly challenge?: string
}

function refusal (status: number, message: string, challenge?: string): Refusal {
  return { status, body: JSON.stringify({ Message: message }), ...(challenge !== undefined && { challenge }) }
}

const denied = 'Request authorization denied'
const refusals = {
  invalidBody: refusal(400, 'Model state validation failed.'),
  unauthenticated: refusal(401, denied, 'Bearer'),
  badToken: refusal(401, denied, 'Bearer error="invalid_token"'),
  notPrivileged: refusal(401, denied, 'Bearer'),
  noUser: refusal(401, 'User authentication required', 'Bearer'),
  disabled: refusal(403, 'Account is disabled'),
  foreignDeviceToken: refusal(403, 'Document does not belong to user'),
  unknownDeviceToken: refusal(404, 'Document not found'),
  internal: refusal(500, 'An internal server error occurred while processing the request')
}

function refuse (reply: FastifyReply, { status, body, challenge }: Refusal): FastifyReply {
  if (challenge !== undefined) reply.header('www-authenticate', challenge)
  return reply.code(status).header('cache-control', 'no-store').header('content-type', 'application/json').serializer(verbatim).send(body)
}

function logOutage (request: FastifyRequest, error: unknown): void {
  request.log.error({ err: error, event: 'logout.outage' }, 'a logout could not be completed')
}

/** Whether the body is not JSON, does not match its schema, or could not be read. */
function isInvalidBody (error: FastifyError | null, status: number): boolean {
  const code = String(error?.code)
  return code === notJson || code === 'FST_ERR_VALIDATION' || (status === 400 && code.startsWith('FST_ERR_CTP_'))
}

/** Responds to every error: of the host's functions, of Fastify while it reads the body, and of hooks of the host. */
function answerFailure (error: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  const status = failureStatus(error, reply)
  if (isInvalidBody(error, status)) {
    refuse(reply, refusals.invalidBody)
  } else if (status === 401) {
    refuse(reply, refusals.unauthenticated)
  } else if (status < 500) {
    refuse(reply, refusal(status, STATUS_CODES[status] ?? 'Bad Request'))
  } else {
    logOutage(request, error)
    refuse(reply, refusals.internal)
  }
}
