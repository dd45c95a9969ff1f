import type { FastifyRateLimitOptions, FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { Ask } from './ask.ts'
import { assertFunction, assertGroup, assertOption, duration } from './options.ts'

// The exported types use no type of `@fastify/rate-limit`: importing one would add `app.rateLimit()` to the types of hosts
// that have not registered that plugin.

/** How often a key was counted in its window, and how many milliseconds of the window are left. */
export interface RateLimitCount {
  readonly current: number
  readonly ttl: number
}

/** A store of `@fastify/rate-limit`, as far as a limit of one route needs it. */
export interface RateLimitStore {
  /** Counts a request under a key, in a window of so many milliseconds. */
  incr (key: string, callback: (error: Error | null, count?: RateLimitCount) => void, timeWindow: number, max: number): void
}

/** How many requests a logout route accepts from one address. */
export interface LogoutRateLimit {
  /** Requests per window. @default 30 for `tenantStatusLogout`, 300 for the OpenID Connect flows */
  readonly max?: number | undefined
  /**
   * The window, in milliseconds. It is fixed and begins with the first request.
   * @default 3600000 for `tenantStatusLogout`, 60000 for the OpenID Connect flows
   */
  readonly window?: number | undefined
  /** Returns the key under which a request is counted. @default the address of the client, an IPv6 address by its /64 */
  readonly keyGenerator?: ((request: FastifyRequest) => Awaitable<string>) | undefined
  /** Where requests are counted: a store class of `@fastify/rate-limit`. @default in the memory of this process */
  readonly store?: (new (settings: never) => RateLimitStore) | undefined
  /** What to do with a logout while the store fails: refuse it with a 5xx, or let it through uncounted. @default 'allow' */
  readonly whenUnavailable?: 'refuse' | 'allow' | undefined
  /** `legacy`: `X-RateLimit-*`. `ietf`: `RateLimit` and `RateLimit-Policy`. Every 429 has `Retry-After`. @default 'legacy' */
  readonly headers?: 'legacy' | 'ietf' | 'both' | 'none' | undefined
}

const limitHeader = 'x-ratelimit-limit'
const remainingHeader = 'x-ratelimit-remaining'
const resetHeader = 'x-ratelimit-reset'

/** The plugin whose routes are limited. */
export interface LimitedPlugin {
  readonly caller: string
  readonly ask: Ask
  /** Part of the keys in a store of the host: the path of the route. */
  readonly path: string
  /** The default limit. */
  readonly standard: { readonly max: number, readonly window: number }
}

/**
 * Limits the routes of this scope, and only them. The host's own limiter, its key and its error body have no effect here. A
 * request over the limit is refused by an error with `statusCode: 429`. `@fastify/rate-limit` is imported only when there
 * is a limit.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ for the `ietf` headers
 */
export async function limitRequests (scope: FastifyInstance, limit: LogoutRateLimit, plugin: LimitedPlugin): Promise<void> {
  const settings = resolveOptions(limit, plugin)
  const { default: rateLimit, normalizeIP } = await import('@fastify/rate-limit')
  const { max, window, store, skipOnError, headers, keyGenerator } = settings
  const keyOf = keyGenerator === undefined
    ? addressOf(normalizeIP)
    : async (request: FastifyRequest) => plugin.ask('route.rateLimit.keyGenerator', () => keyGenerator(request))
  const counted = Symbol('fastify-logout.rate-limit')
  scope.decorateRequest(counted, false)

  await scope.register(rateLimit, {
    global: true,
    hook: 'onRequest',
    max,
    timeWindow: window,
    cache: 100_000,
    ban: -1,
    skipOnError,
    continueExceeding: false,
    exponentialBackoff: false,
    enableDraftSpec: false,
    errorResponseBuilder: () => Object.assign(new Error('too many requests'), { statusCode: 429 }),
    keyGenerator: request => {
      request.setDecorator(counted, true)
      return keyOf(request)
    },
    ...(store !== undefined && { store: storeWithTimeout(store, scope, plugin) })
  })

  if (store === undefined && headers === 'legacy') return
  scope.addHook('onSend', (request, reply, payload, done) => {
    // If a limiter of the host refused the request before, these headers are the host's.
    if (request.getDecorator(counted) === true) writeHeaders(reply, headers, Math.ceil(window / 1000))
    done(null, payload)
  })
}

function resolveOptions (limit: LogoutRateLimit, { caller, standard }: LimitedPlugin) {
  assertGroup(limit, caller, 'route.rateLimit', '{ max: 100 }')
  const { max = standard.max, headers = 'legacy', store, keyGenerator, whenUnavailable = 'allow' } = limit
  assertOption(Number.isInteger(max) && max > 0, caller, 'route.rateLimit.max', 'must be a positive integer')
  assertOption(['legacy', 'ietf', 'both', 'none'].includes(headers), caller, 'route.rateLimit.headers',
    'must be "legacy", "ietf", "both" or "none"')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), caller, 'route.rateLimit.whenUnavailable', 'must be "refuse" or "allow"')
  assertFunction(keyGenerator, caller, 'route.rateLimit.keyGenerator')
  assertFunction(store, caller, 'route.rateLimit.store')
  const window = duration(limit.window, standard.window, caller, 'route.rateLimit.window')
  return { max, window, keyGenerator, store, skipOnError: whenUnavailable === 'allow', headers }
}

/** The address of a client. Clients on a Unix socket have none and count as one. */
function addressOf (normalize: (address: string) => string) {
  return ({ ip }: { readonly ip?: string | undefined }): string => normalize(withoutPort(ip ?? ''))
}

/** Some proxies write the client's port into `X-Forwarded-For`. With it, each connection would count as another address. */
function withoutPort (address: string): string {
  if (!address.includes(':')) return address
  const [, ipv6, ipv4] = /^(?:\[([^\]]+)\](?::\d+)?|(\d+(?:\.\d+){3}):\d+)$/.exec(address) ?? []
  return ipv6 ?? ipv4 ?? address
}

function writeHeaders (reply: FastifyReply, headers: 'legacy' | 'ietf' | 'both' | 'none', window: number): void {
  const limit = reply.getHeader(limitHeader)
  const remaining = reply.getHeader(remainingHeader)
  // A request that was counted has less left than the limit. Otherwise the store failed, and the request was let through.
  const isCounted = remaining !== limit
  if (isCounted && (headers === 'ietf' || headers === 'both')) {
    reply.header('ratelimit-policy', `"logout";q=${String(limit)};w=${window}`)
    reply.header('ratelimit', `"logout";r=${String(remaining)};t=${String(reply.getHeader(resetHeader))}`)
  }
  if (!isCounted || headers === 'ietf' || headers === 'none') {
    for (const name of [limitHeader, remainingHeader, resetHeader]) reply.removeHeader(name)
  }
}

/** Wraps the host's store: calls have a timeout, failures are logged, and the keys belong to this route alone. */
function storeWithTimeout (
  Store: new (settings: never) => RateLimitStore, scope: FastifyInstance, { ask, path }: LimitedPlugin
): FastifyRateLimitStoreCtor {
  return class implements FastifyRateLimitStore {
    readonly #store: RateLimitStore

    constructor (settings: FastifyRateLimitOptions) {
      this.#store = new Store(settings as never)
    }

    incr (key: string, callback: Parameters<FastifyRateLimitStore['incr']>[1], timeWindow: number, max: number): void {
      const count = async () => ask('route.rateLimit.store', () => new Promise<RateLimitCount>((resolve, reject) => {
        this.#store.incr(`${scope.prefix}${path}-${key}`, (error, counted) => {
          if (counted === undefined || error) reject(error)
          else resolve(counted)
        }, timeWindow, max)
      }))
      count().then(counted => callback(null, counted), (error: Error) => {
        scope.log.error({ err: error, event: 'logout.rate-limit-outage' }, 'a request to the logout route could not be counted')
        callback(error)
      })
    }

    child (): this {
      return this
    }
  }
}
