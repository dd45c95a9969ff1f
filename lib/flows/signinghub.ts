import { Type, type Static } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { STATUS_CODES } from 'node:http'
import type { Awaitable } from '../awaitable.ts'
import { bearerToken } from '../internal/http/bearer-token.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost, verbatim } from '../internal/plugin/host-isolation.ts'
import { logoutNotice } from '../internal/plugin/logout-notice.ts'
import { credentialOfPrincipal, logoutRevocation, type LogoutRevocation } from '../internal/revocation/logout-revocation.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin, Outage, type Ask } from '../internal/plugin/ask.ts'
import { principalOf, type Principal, type PrincipalOf } from '../principal.ts'
import type { Credential } from '../revocation-store.ts'
import { isTokenRejected, type VerifyToken } from '../token-verifier.ts'

// Options

/** A token's user: who is logged out, and who asks for it. Both are the same unless somebody acts for a user. */
export interface SigningHubUser extends Principal {
  readonly subject: string
  readonly actor: string
}

/** A push token to be forgotten, if it is this user's. */
export interface DeviceTokenRemoval extends SigningHubUser {
  readonly deviceToken: string
}

/** What became of a push token: removed, not there, or somebody else's and left alone. */
export type DeviceTokenOutcome = 'removed' | 'not-found' | 'not-owner'

/** One logout, for the audit trail. */
export interface SigningHubActivity extends SigningHubUser {
  /** Epoch milliseconds. */
  readonly at: number
  readonly ip: string
  readonly userAgent: string | undefined
  /** `none`: the client sent no push token. `failed`: it could not be removed, and the client is told to retry. */
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
  /** The response when nobody has this push token: 200, or the vendor's 404. @default 'ignore' */
  readonly unknown?: 'ignore' | 'not-found' | undefined
}

/** What {@link signingHubLogout} asks of the host. Only `verifyToken` is required. */
export interface SigningHubLogoutOptions {
  /** Verifies the bearer token. */
  readonly verifyToken: VerifyToken
  /** Reads the user, and who acts for the user, from the claims. @default principalOf */
  readonly principal?: PrincipalOf | undefined
  /** Is this account enabled? `undefined` says that there is no such user. Asked for the actor, then for the subject. @default every account is */
  readonly isActive?: ((user: string) => Awaitable<boolean | undefined>) | undefined
  /** May this actor act for this other subject? @default nobody may */
  readonly mayActFor?: ((user: SigningHubUser) => Awaitable<boolean>) | undefined
  /** What to do with the push token that the client sends. */
  readonly deviceToken?: DeviceTokenOptions | undefined
  /** Records the logout. Its failure is a 500: the client retries. */
  readonly recordActivity?: ((activity: SigningHubActivity) => Awaitable<unknown>) | undefined
  /**
   * Revokes the bearer token: a function of the host, or marks that a `revocationGuard` honours. Runs last, and only when
   * every step before it succeeded, so that the client can retry.
   * @default the token stays valid, as it does at the vendor
   */
  readonly revoke?: ((user: SigningHubUser, token: string) => Awaitable<unknown>) | LogoutRevocation | undefined
  /** Told of each logout, after everything else. Awaited; its failure is logged and changes no answer. */
  readonly onLogout?: ((activity: SigningHubActivity, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** @default ['/v3/logout', '/v4/logout'] */
  readonly paths?: readonly string[] | undefined
  /** Security of the routes in the host's OpenAPI document, `[{ bearer: [] }]` for instance. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

function bodySchema (required: boolean, maxLength: number) {
  const description = 'The push token to remove. Only this user\'s own is removed.'
  return required
    ? Type.Object({ device_token: Type.String({ description, maxLength, pattern: '\\S' }) })
    : Type.Union([
      Type.Object({ device_token: Type.Optional(Type.Union([Type.String({ description, maxLength }), Type.Null()])) }),
      Type.Null()
    ])
}

type LogoutBody = Static<ReturnType<typeof bodySchema>>

const messageSchema = Type.Object({ Message: Type.String() }, { additionalProperties: false })

function routeSchema (path: string, { deviceToken, security }: Settings) {
  return {
    operationId: operationId('signingHubLogout', path),
    summary: 'Log out, and forget a push token',
    tags: ['logout'],
    ...(security !== undefined && { security }),
    body: bodySchema(deviceToken.required, deviceToken.maxLength),
    response: {
      200: Type.Null({ description: 'Logged out' }),
      400: { ...messageSchema, description: 'The body is not a logout body' },
      401: { ...messageSchema, description: 'The token is refused, or has no user' },
      403: { ...messageSchema, description: 'The account is disabled' },
      404: { ...messageSchema, description: 'The push token is unknown (only where the host asks for this)' },
      '4xx': { ...messageSchema, description: 'The request was refused' },
      '5xx': { ...messageSchema, description: 'The logout could not be completed: try again' }
    }
  }
}

// Flow

const admission = Symbol('fastify-logout.signinghub.admission')

/**
 * `POST /v3/logout` and `POST /v4/logout` as SigningHub answers them.
 *
 * A 200 says that the push token is gone (or was not this user's), that the logout is recorded, and that the token is
 * revoked, as far as the host asked for each. The bearer token itself stays valid unless `revoke` ends it.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const signingHubLogout: FastifyPluginAsync<SigningHubLogoutOptions> = fp(routes, {
  name: 'fastify-logout/signinghub', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: SigningHubLogoutOptions): Promise<void> {
  const settings = resolveOptions(options)
  const authenticate = authentication(settings)
  const logOut = logout(settings)
  if (settings.deviceToken.remove === undefined) {
    fastify.log.warn('signingHubLogout: without the option "deviceToken.remove" the push tokens that clients send are ignored')
  }

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  acceptJson(fastify)
  fastify.setErrorHandler(answerFailure)
  fastify.decorateRequest(admission, null)

  for (const path of settings.paths) {
    fastify.route<{ Body: LogoutBody }>({
      method: 'POST',
      url: path,
      bodyLimit: 1_048_576,
      schema: freshSchema(routeSchema(fastify.prefix + path, settings)),
      onRequest: async (request, reply) => {
        // Fastify refuses a media type that it cannot read before any parser sees that the body is blank.
        request.headers['content-type'] = isJson(request) ? 'application/json' : undefined
        const verdict = await authenticate(request.headers.authorization)
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
type Admission = { readonly user: SigningHubUser, readonly token: string, readonly credential: () => Credential }
type Verdict = Admission | { readonly refusal: Refusal }

/** Whose token is this, and may they come in? The order is the decision table's. */
function authentication ({ ask, verifyToken, principal, mayActFor, isActive }: Settings) {
  return async (authorization: string | undefined): Promise<Verdict> => {
    const token = bearerToken(authorization)
    if (token === undefined) return { refusal: refusals.unauthenticated }

    let claims
    try {
      claims = await ask('verifyToken', () => verifyToken(token))
    } catch (error) {
      if (isTokenRejected(error)) return { refusal: refusals.badToken }
      throw error
    }

    const whose = await ask('principal', () => principal(claims))
    const { subject, actor = subject } = whose
    if (!subject || !actor) return { refusal: refusals.noUser }
    const user: SigningHubUser = { subject, actor, tenant: whose.tenant, sessionId: whose.sessionId, issuedAt: whose.issuedAt }

    if (actor !== subject && !await ask('mayActFor', () => mayActFor(user))) return { refusal: refusals.notPrivileged }
    for (const account of actor === subject ? [subject] : [actor, subject]) {
      const active = await ask('isActive', () => isActive(account))
      if (active === undefined) return { refusal: refusals.noUser }
      if (!active) return { refusal: refusals.disabled }
    }
    return { user, token, credential: () => credentialOfPrincipal(claims, token, user) }
  }
}

/** What can be retried comes first, what kills the token comes last. */
function logout (settings: Settings) {
  const { ask, deviceToken: { remove, foreign, unknown }, recordActivity, revoke, notify } = settings

  return async (admission: Admission, request: FastifyRequest<{ Body: LogoutBody }>, reply: FastifyReply): Promise<Refusal | undefined> => {
    const { subject, actor, tenant, sessionId, issuedAt } = admission.user // A spread with members added would cost a microsecond each time.
    const deviceToken = request.body?.device_token ?? ''
    let outcome: SigningHubActivity['deviceToken'] = 'none'
    let failed = false
    const survive = (error: unknown) => {
      failed = true
      logOutage(request, error)
    }

    if (remove !== undefined && deviceToken.trim() !== '') {
      try {
        outcome = await ask('deviceToken.remove', () => remove({ subject, actor, tenant, sessionId, issuedAt, deviceToken }))
      } catch (error) {
        outcome = 'failed'
        survive(error)
      }
      if (outcome === 'not-owner' && foreign === 'forbid') return refusals.foreignDeviceToken
      if (outcome === 'not-found' && unknown === 'not-found') return refusals.unknownDeviceToken
    }

    const activity: SigningHubActivity = {
      subject, actor, tenant, sessionId, issuedAt, at: Date.now(), ip: request.ip, userAgent: request.headers['user-agent'], deviceToken: outcome
    }
    try {
      await ask('recordActivity', () => recordActivity(activity))
    } catch (error) {
      survive(error)
    }
    if (failed) return refusals.internal

    await revoke?.(admission)
    await notify(activity, reply)
    return undefined
  }
}

/** Without a content type, also where the host has set one: clients parse what claims to be JSON. */
function succeed (reply: FastifyReply): FastifyReply {
  return reply.code(200).removeHeader('content-type').header('cache-control', 'no-store').send()
}

function acceptJson (fastify: FastifyInstance): void {
  const parse = fastify.getDefaultJsonParser('error', 'error')
  fastify.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    if (body.trim() === '') done(null, undefined)
    else parse(request, body, (error, value) => done(error && Object.assign(error, { code: notJson }), value))
  })
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (_request, body: string, done) => {
    if (body.trim() === '') done(null, undefined)
    else done(Object.assign(new Error('the body is not JSON'), { statusCode: 415 }))
  })
}

function isJson ({ headers }: FastifyRequest): boolean {
  return /^application\/json[ \t]*(?:;|$)/i.test(headers['content-type'] ?? '')
}

const plugin = 'signingHubLogout'

function resolveOptions (options: SigningHubLogoutOptions) {
  const { paths = ['/v3/logout', '/v4/logout'] } = options
  assertOption(typeof options.verifyToken === 'function', plugin, 'verifyToken', 'is missing: pass a token verifier, fastJwtVerifier({ ... }) for instance')
  assertFunctions(options, plugin, ['principal', 'isActive', 'mayActFor', 'recordActivity', 'onLogout'])
  assertOption(Array.isArray(paths) && paths.length > 0 && paths.every(path => String(path).startsWith('/')), plugin, 'paths', 'must be a list of paths that begin with a slash')
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)
  return {
    ask,
    verifyToken: options.verifyToken,
    principal: options.principal ?? principalOf,
    isActive: options.isActive ?? (() => true),
    mayActFor: options.mayActFor ?? (() => false),
    deviceToken: resolveDeviceToken(options.deviceToken),
    recordActivity: options.recordActivity ?? (() => {}),
    revoke: resolveRevoke(options.revoke, ask),
    notify: logoutNotice(plugin, ask, options.onLogout, ({ subject, tenant }) => ({ scope: 'all', subject, tenant })),
    paths,
    security: options.security
  }
}

function resolveDeviceToken (options: DeviceTokenOptions = {}) {
  assertOption(typeof options === 'object' && options !== null, plugin, 'deviceToken', 'must be an object: { remove, required, maxLength, foreign, unknown }')
  const { remove, required = false, maxLength = 4096, foreign = 'ignore', unknown = 'ignore' } = options
  assertFunctions({ 'deviceToken.remove': remove }, plugin, ['deviceToken.remove'])
  assertOption(typeof required === 'boolean', plugin, 'deviceToken.required', 'must be true or false')
  assertOption(Number.isInteger(maxLength) && maxLength > 0, plugin, 'deviceToken.maxLength', 'must be a positive integer')
  assertOption(['ignore', 'forbid'].includes(foreign), plugin, 'deviceToken.foreign', 'must be "ignore" or "forbid"')
  assertOption(['ignore', 'not-found'].includes(unknown), plugin, 'deviceToken.unknown', 'must be "ignore" or "not-found"')
  return { remove, required, maxLength, foreign, unknown }
}

/** How to revoke a token that was admitted; `undefined` when the host did not ask for it. */
function resolveRevoke (revoke: SigningHubLogoutOptions['revoke'], ask: Ask): ((admission: Admission) => Promise<void>) | undefined {
  if (typeof revoke === 'function') return async ({ user, token }) => { await ask('revoke', () => revoke(user, token)) }
  const mark = logoutRevocation(revoke, plugin, ask)
  return mark && (({ credential }) => mark(credential))
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

/** Fastify's own code for this differs between its versions. */
const notJson = 'LOGOUT_NOT_JSON'

/** Everything that is thrown: by the host's functions, by Fastify while it reads the body, by hooks of the host. */
function answerFailure (error: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  const status = error instanceof Outage ? 500 : Number(error?.statusCode ?? reply.statusCode)
  if (error?.code === notJson || error?.code === 'FST_ERR_VALIDATION' || (status === 400 && String(error?.code).startsWith('FST_ERR_CTP_'))) {
    refuse(reply, refusals.invalidBody)
  } else if (status === 401) {
    refuse(reply, refusals.unauthenticated)
  } else if (status >= 400 && status < 500) {
    refuse(reply, refusal(status, STATUS_CODES[status] ?? 'Bad Request'))
  } else {
    logOutage(request, error)
    refuse(reply, refusals.internal)
  }
}
