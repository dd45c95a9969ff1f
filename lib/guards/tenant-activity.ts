import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { aboutRequest, noteArrival, publish, type GuardMessage } from '../internal/plugin/diagnostics.ts'
import { isActivity } from '../internal/plugin/no-activity.ts'
import { assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { sendTenantError, tenantErrorOfStatus } from '../internal/tenant-status/envelope.ts'
import type { UserKey, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** The user whom the host authenticated. */
export interface ActiveUser extends UserKey {
  /** When the token was issued, in epoch milliseconds. Needed for `denyLoggedOut`. */
  readonly issuedAt?: number | undefined
}

/** What {@link tenantActivity} asks of the host. `users` and `user` are required. */
export interface TenantActivityOptions {
  /** Where the status of users lives. */
  readonly users: Pick<UserStatusStore, 'get' | 'compareAndSet'>
  /**
   * The user of this request, as the host's authentication left it; `undefined` for an anonymous request. Asked before
   * the body is read and, if there is no user yet, again in `preHandler`.
   */
  readonly user: (request: FastifyRequest) => Awaitable<ActiveUser | undefined | null>
  /** Refuse tokens that were issued at or before the user's last logout, with 401 INVALID_USER_TOKEN. @default false: their use logs the user in again */
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

/** What was known of the user when the request authenticated: a write on any later state is dropped. */
interface Sighting {
  readonly user: UserKey
  readonly record: UserStatus | undefined
  readonly at: number
}

/**
 * Keeps the books on the host's own routes: use after a logout marks the user `logged_in` again, and the time of the
 * last activity is kept. Logout routes are no activity, nor are answers 401, 429 and 5xx.
 *
 * The version of the record is taken when the request authenticates, so that a request which began before a logout
 * never undoes it. Register it where the routes are that it is to watch, behind the host's authentication (an
 * `onRequest` or `preValidation` hook).
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const tenantActivity: FastifyPluginAsync<TenantActivityOptions> = fp(guard, {
  name: 'fastify-logout/tenant-activity', fastify: '5.x'
})

async function guard (fastify: FastifyInstance, options: TenantActivityOptions): Promise<void> {
  const { ask, users, userOf, denyLoggedOut, createUnknown, interval, refuses } = resolveOptions(options)
  const sighting = Symbol('fastify-logout.sighting')
  fastify.decorateRequest(sighting, null)

  const observe = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    if (!isActivity(request) || request.getDecorator(sighting) !== null) return
    noteArrival(request)
    try {
      const active = await ask('user', () => userOf(request))
      if (active === undefined || active === null) return
      const { tenant, subject, issuedAt = 0 } = active
      const record = await ask('users.get', () => users.get({ tenant, subject }))
      if (denyLoggedOut && issuedByLogout(issuedAt, record)) {
        judge('revoked', reply)
        return sendTenantError(request, reply, deniedToken)
      }
      const seen: Sighting = { user: { tenant, subject }, record, at: Date.now() }
      request.setDecorator(sighting, seen)
      if (refuses) await write(seen, request)
      judge('live', reply)
    } catch (error) {
      judge('unknown', reply)
      request.setDecorator(sighting, unknown)
      logFailure(request, error)
      if (refuses) return sendTenantError(request, reply, unavailable)
    }
  }

  const write = async (seen: Sighting, request: FastifyRequest): Promise<void> => {
    if (!isDue(seen, interval, createUnknown)) return
    await ask('users.compareAndSet', () => users.compareAndSet(seen.user, seen.record?.version, {
      status: 'logged_in', at: seen.at, requestId: String(request.id)
    }))
  }

  // A body may take its time to arrive: what is known of the user must be from before it, if authentication was.
  fastify.addHook('preParsing', observe)
  fastify.addHook('preHandler', observe)
  if (refuses) return
  fastify.addHook('onResponse', async (request, reply) => {
    const seen = request.getDecorator<Sighting | typeof unknown | null>(sighting)
    if (seen === null || seen === unknown || !showsActivity(reply.statusCode)) return
    try {
      await write(seen, request)
    } catch (error) {
      logFailure(request, error)
    }
  })
}

function judge (verdict: GuardMessage['verdict'], reply: FastifyReply): void {
  publish('fastify-logout:guard', () => ({ ...aboutRequest(plugin, reply), verdict }))
}

/** Tokens carry whole seconds: one of the same second as the logout counts as issued before it. */
function issuedByLogout (issuedAt: number, record: UserStatus | undefined): boolean {
  return record?.loggedOutAt !== undefined && Math.floor(issuedAt / 1000) <= Math.floor(record.loggedOutAt / 1000)
}

function showsActivity (status: number): boolean {
  return status >= 200 && status < 500 && status !== 401 && status !== 429
}

function isDue ({ record, at }: Sighting, interval: number, createUnknown: boolean): boolean {
  if (record === undefined) return createUnknown
  if (record.status === 'logged_in') return at - (record.lastSeenAt ?? 0) >= interval
  return record.status === 'logged_out'
}

function logFailure (request: FastifyRequest, error: unknown): void {
  request.log.error({ err: error, event: 'activity.outage' }, 'the activity of a user could not be recorded')
}

/** Stands for a user of whom nothing could be learnt. */
const unknown = Symbol('fastify-logout.unknown')
const unavailable = tenantErrorOfStatus(503)
const deniedToken = { status: 401, code: 'INVALID_USER_TOKEN', message: 'Invalid user token' }

const plugin = 'tenantActivity'

function resolveOptions (options: TenantActivityOptions) {
  const { users, user, unknownUsers = 'ignore', whenUnavailable = 'allow' } = options
  assertOption(typeof users?.get === 'function' && typeof users.compareAndSet === 'function', plugin, 'users', 'is missing: pass the user-status store of the logout flow')
  assertOption(typeof user === 'function', plugin, 'user', 'is missing: pass request => ({ tenant, subject, issuedAt }), or undefined for an anonymous request')
  assertOption(['ignore', 'create'].includes(unknownUsers), plugin, 'unknownUsers', 'must be "ignore" or "create"')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), plugin, 'whenUnavailable', 'must be "refuse" or "allow"')
  return {
    ask: askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin),
    users,
    userOf: user,
    denyLoggedOut: options.denyLoggedOut === true,
    createUnknown: unknownUsers === 'create',
    interval: duration(options.interval, 60_000, plugin, 'interval'),
    refuses: whenUnavailable === 'refuse'
  }
}
