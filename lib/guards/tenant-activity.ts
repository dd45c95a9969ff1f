import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { after, isPromise, recovered } from '../internal/async/awaitable.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { aboutRequest, noteArrival, publish, type GuardMessage } from '../internal/plugin/diagnostics.ts'
import { isActivity } from '../internal/plugin/no-activity.ts'
import { assertOption, duration } from '../internal/plugin/options.ts'
import { sendTenantError, tenantErrorOfStatus } from '../internal/tenant-status/envelope.ts'
import { whenUsed } from '../internal/tenant-status/use.ts'
import { optionalId } from '../principal.ts'
import type { UserKey, UserStatus, UserStatusStore } from '../user-status-store.ts'

const plugin = 'tenantActivity'

// Options

/** The user whom the host authenticated. */
export interface ActiveUser extends UserKey {
  /** When the token was issued, in epoch milliseconds. Needed for `denyLoggedOut`. */
  readonly issuedAt?: number | undefined
}

/** The options of {@link tenantActivity}. `users` and `user` are required. */
export interface TenantActivityOptions {
  /** Stores the status of users. */
  readonly users: Pick<UserStatusStore, 'get' | 'compareAndSet'>
  /**
   * Returns the user of a request, as the host's authentication left it. `undefined` for an anonymous request. Called in
   * each phase, from `onRequest` to `preHandler`, until it returns a user.
   */
  readonly user: (request: FastifyRequest) => Awaitable<ActiveUser | undefined | null>
  /**
   * Refuse tokens that were issued at or before the user's last logout, with 401 INVALID_USER_TOKEN.
   * @default false: using such a token logs the user in again
   */
  readonly denyLoggedOut?: boolean | undefined
  /** What to do for a user without a record. @default 'ignore' */
  readonly unknownUsers?: 'ignore' | 'create' | undefined
  /** How old the last activity of a logged-in user must be before it is written again, in milliseconds. @default 60000 */
  readonly interval?: number | undefined
  /**
   * What to do while the store cannot be read or written. `allow`: the host's route answers as usual, and the failure is
   * logged. `refuse`: 503, before the host's handler runs. The activity is then written before the answer is known, so
   * that 401, 429 and 5xx count as use too.
   * @default 'allow'
   */
  readonly whenUnavailable?: 'refuse' | 'allow' | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: TenantActivityOptions) {
  const { users, user, denyLoggedOut = false, unknownUsers = 'ignore', whenUnavailable = 'allow' } = options
  assertOption(typeof users?.get === 'function' && typeof users.compareAndSet === 'function', plugin, 'users',
    'is missing: pass the user-status store of the logout flow')
  assertOption(typeof user === 'function', plugin, 'user',
    'is missing: pass a function request => ({ tenant, subject, issuedAt }) that returns undefined for an anonymous request')
  assertOption(typeof denyLoggedOut === 'boolean', plugin, 'denyLoggedOut', 'must be true or false')
  assertOption(['ignore', 'create'].includes(unknownUsers), plugin, 'unknownUsers', 'must be "ignore" or "create"')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), plugin, 'whenUnavailable', 'must be "refuse" or "allow"')
  return {
    ask: askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin),
    users,
    userOf: (request: FastifyRequest) => after(user(request), keyed),
    denyLoggedOut,
    createsUnknown: unknownUsers === 'create',
    interval: duration(options.interval, 60_000, plugin, 'interval'),
    refuses: whenUnavailable === 'refuse'
  }
}

function keyed (active: ActiveUser | undefined | null): ActiveUser | undefined {
  if (active === undefined || active === null) return undefined
  const [tenant, subject] = [optionalId(active.tenant), optionalId(active.subject)]
  assertOption(tenant !== undefined && subject !== undefined, plugin, 'user', 'must return { tenant, subject }, each a non-empty string')
  return { tenant, subject, issuedAt: active.issuedAt }
}

// Guard

/** The record of the user when the request was authenticated. If the record changes afterwards, this request does not write. */
interface Sighting {
  readonly user: UserKey
  readonly record: UserStatus | undefined
  readonly at: number
}

/**
 * Tracks user activity on the host's routes: use after a logout sets the user's status to `logged_in` again, and the time of
 * the last activity is stored. Requests to logout routes do not count, nor do responses 401, 429 and 5xx. A WebSocket
 * counts when it is opened, and a request whose client leaves counts too.
 *
 * The version of the record is read as soon as the request is authenticated, so that a request that began before a logout
 * never undoes it. Register the guard in the scope of the host's authentication and after it, so that no other hook can
 * wait between the two.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify, { type FastifyRequest } from 'fastify'
 * import { principalOf, tenantActivity, type Claims } from 'fastify-logout'
 * import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
 * import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
 *
 * const users = memoryUserStatusStore()
 * const verifyToken = fastJwtVerifier({
 *   key: process.env['JWT_SECRET'] ?? '',
 *   algorithms: ['HS256'],
 *   issuer: 'https://login.example',
 *   audience: 'https://api.example'
 * })
 * const authenticated = new WeakMap<FastifyRequest, Claims>()
 *
 * const app = Fastify()
 * app.addHook('onRequest', async request => {
 *   authenticated.set(request, await verifyToken(String(request.headers['x-token'])))
 * })
 * await app.register(tenantActivity, {
 *   users,
 *   user: request => {
 *     const { tenant, subject, issuedAt } = principalOf(authenticated.get(request) ?? {})
 *     return tenant === undefined || subject === undefined ? undefined : { tenant, subject, issuedAt }
 *   }
 * })
 * app.get('/me', async () => 'your profile')
 * ```
 */
export const tenantActivity: FastifyPluginAsync<TenantActivityOptions> = fp(guard, {
  name: 'fastify-logout/tenant-activity', fastify: '5.x'
})

async function guard (fastify: FastifyInstance, options: TenantActivityOptions): Promise<void> {
  const sighting = Symbol('fastify-logout.sighting')
  fastify.decorateRequest(sighting, null)
  const observe = observation(resolveOptions(options), sighting)
  // The phases in which a host can authenticate.
  const hooks = {
    onRequest: (request: FastifyRequest, reply: FastifyReply, done: Done) => { observe({ request, reply, isLast: false }, done) },
    preParsing: (request: FastifyRequest, reply: FastifyReply, _payload: unknown, done: Done) => {
      observe({ request, reply, isLast: false }, done)
    },
    preValidation: (request: FastifyRequest, reply: FastifyReply, done: Done) => { observe({ request, reply, isLast: false }, done) },
    preHandler: (request: FastifyRequest, reply: FastifyReply, done: Done) => { observe({ request, reply, isLast: true }, done) }
  }
  fastify.addHook('onRequest', hooks.onRequest)
  fastify.addHook('preParsing', hooks.preParsing)
  fastify.addHook('preValidation', hooks.preValidation)
  fastify.addHook('preHandler', hooks.preHandler)
  fastify.addHook('onRoute', route => {
    for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) observeBetween(route, phase, hooks[phase])
  })
}

type Settings = ReturnType<typeof resolveOptions>
type Done = (error?: Error) => void
interface Look { readonly request: FastifyRequest, readonly reply: FastifyReply, readonly isLast: boolean }

/** Adds the hook after each of the route's own hooks of a phase: one may authenticate, and the next one may wait. */
function observeBetween (route: RouteOptions, phase: 'onRequest' | 'preParsing' | 'preValidation' | 'preHandler', hook: unknown): void {
  const own: unknown[] = [route[phase] ?? []].flat()
  if (own.length > 0) Object.assign(route, { [phase]: own.flatMap(one => [one, hook]) })
}

/** Makes the function that looks for the user of a request until it finds one. It is synchronous where the host is. */
function observation (settings: Settings, sighting: symbol) {
  const { ask, userOf } = settings
  const see = seeing(settings, sighting)
  const refuse = refusal(settings, sighting)

  return (look: Look, done: Done): void => {
    const { request, reply, isLast } = look
    if (!isActivity(request) || request.getDecorator(sighting) !== null) return done()
    noteArrival(request)
    // Before the last phase, the host's function may fail because the host has not authenticated the request yet.
    const find = isLast ? () => userOf(request) : () => recovered(() => userOf(request), () => undefined)
    const seen = recovered(
      () => after(ask('user', find), active => active && see(active, look)),
      error => refuse(look, error)
    )
    const goOn = () => { if (!reply.sent) done() }
    if (isPromise(seen)) seen.then(goOn, done)
    else goOn()
  }
}

function seeing ({ ask, users, denyLoggedOut, refuses, ...limits }: Settings, sighting: symbol) {
  const write = async ({ user, record, at }: Sighting, { id }: FastifyRequest): Promise<void> => {
    if (!isDue({ user, record, at }, limits)) return
    const change = { status: 'logged_in', at, requestId: String(id) } as const
    await ask('users.compareAndSet', () => users.compareAndSet({ ...user }, record?.version, change))
  }

  return async ({ tenant, subject, issuedAt = 0 }: ActiveUser, { request, reply }: Look): Promise<void> => {
    const record = await ask('users.get', () => users.get({ tenant, subject })) ?? undefined
    if (denyLoggedOut && issuedByLogout(issuedAt, record)) {
      judge('revoked', reply)
      sendTenantError(request, reply, deniedToken)
      return
    }
    const seen: Sighting = { user: { tenant, subject }, record, at: Date.now() }
    request.setDecorator(sighting, seen)
    if (refuses) await write(seen, request)
    else whenUsed(reply, () => { write(seen, request).catch(error => logFailure(request, error)) })
    judge('live', reply)
  }
}

/** Makes the function for a request whose user or record could not be read. */
function refusal ({ refuses }: Settings, sighting: symbol) {
  return ({ request, reply }: Look, error: unknown): void => {
    judge('unknown', reply)
    request.setDecorator(sighting, unknown)
    logFailure(request, error)
    if (refuses) sendTenantError(request, reply, unavailable)
  }
}

function judge (verdict: GuardMessage['verdict'], reply: FastifyReply): void {
  publish('fastify-logout:guard', () => ({ ...aboutRequest(plugin, reply), verdict }))
}

/** Tokens carry whole seconds: one of the same second as the logout counts as issued before it. */
function issuedByLogout (issuedAt: number, record: UserStatus | undefined): boolean {
  return record?.loggedOutAt !== undefined && Math.floor(issuedAt / 1000) <= Math.floor(record.loggedOutAt / 1000)
}

function isDue ({ record, at }: Sighting, { interval, createsUnknown }: Pick<Settings, 'interval' | 'createsUnknown'>): boolean {
  if (record === undefined) return createsUnknown
  if (record.status === 'logged_in') return at - (record.lastSeenAt ?? 0) >= interval
  return record.status === 'logged_out'
}

function logFailure (request: FastifyRequest, error: unknown): void {
  request.log.error({ err: error, event: 'activity.outage' }, 'the activity of a user could not be recorded')
}

/** Stands for a user whose record could not be read. */
const unknown = Symbol('fastify-logout.unknown')
const unavailable = tenantErrorOfStatus(503)
const deniedToken = { status: 401, code: 'INVALID_USER_TOKEN', message: 'Invalid user token' }
