import { keyPrefix, listOf, numberOf, redisScripts, type RedisClient, type Reply } from '../internal/databases/redis.ts'
import { assertOption, duration } from '../internal/plugin/options.ts'

/** Where in Redis {@link redisRateLimitStore} counts, and how long it waits. */
export interface RedisRateLimitStoreOptions {
  /** What the keys begin with. Stores with different prefixes count apart. @default 'logout-rate-limit' */
  readonly prefix?: string | undefined
  /**
   * How long a count may take, in milliseconds. Then `@fastify/rate-limit` gets an error: with `skipOnError` it lets the
   * request through, otherwise the response is 500. @default 2000
   */
  readonly timeout?: number | undefined
}

/** How often a key was counted in its window, and how many milliseconds are left of the window. */
export interface RateLimitCount {
  current: number
  ttl: number
}

/** Called once, with the count or with an error. */
export type Callback = (error: Error | null, count?: RateLimitCount) => void

/** What `@fastify/rate-limit` makes of the class: one for a registration, and a child for each route with settings of its own. */
export interface RedisRateLimitStore {
  /** Counts a hit, and calls back with the count. */
  incr (key: string, callback: Callback, timeWindow: number): void
  /** Calls back with the count, without a hit. */
  read (key: string, callback: Callback): void
  /** A store for a route with a limit of its own, which counts apart. */
  child (route: object): RedisRateLimitStore
}

/** What `@fastify/rate-limit` takes as its `store`. */
export type RedisRateLimitStoreClass = new (settings: RateLimitSettings) => RedisRateLimitStore

/** The settings of `@fastify/rate-limit` that concern the store. */
export interface RateLimitSettings {
  readonly continueExceeding?: boolean | undefined
  readonly exponentialBackoff?: boolean | undefined
  readonly routeInfo?: { readonly method?: string | string[] | undefined, readonly url?: string | undefined } | undefined
}

/**
 * A class for the `store` option of `@fastify/rate-limit` and of `tenantStatusLogout`'s `rateLimit`: it counts in Redis 7
 * or Valkey, so that all nodes count together. Windows are fixed from the first hit on. Each hit is one round trip. On a
 * cluster the counters spread over its slots.
 *
 * Every counter ends: its end is set in the same script as the count, and set again if it is missing. A Redis that does
 * not reply is an error after `timeout`.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed.
 * @throws {TypeError} when the client is none of these, or an option is wrong. At registration also for
 * `continueExceeding` and `exponentialBackoff`, because the windows never move.
 *
 * @example
 * ```ts
 * import rateLimit from '@fastify/rate-limit'
 * import Fastify from 'fastify'
 * import { Redis } from 'ioredis'
 * import { redisRateLimitStore } from 'fastify-logout/rate-limit-stores/redis'
 *
 * const app = Fastify()
 * const redis = new Redis('redis://127.0.0.1:6379', { socketTimeout: 5000 })
 * await app.register(rateLimit, { max: 100, timeWindow: 60_000, skipOnError: true, store: redisRateLimitStore(redis) })
 * ```
 *
 * @see https://github.com/fastify/fastify-rate-limit#custom-store
 */
export function redisRateLimitStore (redis: RedisClient, options: RedisRateLimitStoreOptions = {}): RedisRateLimitStoreClass {
  const script = redisScripts(redis, caller)
  const prefix = keyPrefix(options.prefix ?? 'logout-rate-limit', caller)
  const timeout = duration(options.timeout, 2000, caller, 'timeout')
  const [hit, look] = [script(hitLua), script(lookLua)]

  return class Store implements RedisRateLimitStore {
    readonly #route: string

    constructor ({ continueExceeding, exponentialBackoff, routeInfo }: RateLimitSettings) {
      assertOption(continueExceeding !== true, caller, 'continueExceeding', 'must not be set: the windows never move')
      assertOption(exponentialBackoff !== true, caller, 'exponentialBackoff', 'must not be set: the windows never move')
      this.#route = encodeURIComponent(`${routeInfo?.method ?? ''}${routeInfo?.url ?? ''}`)
    }

    incr (key: string, callback: Callback, timeWindow: number): void {
      callBackWithin(timeout, callback, () => hit(this.#keys(key), `${Math.max(1, Math.ceil(timeWindow))}`))
    }

    read (key: string, callback: Callback): void {
      callBackWithin(timeout, callback, () => look(this.#keys(key)))
    }

    child (route: object): RedisRateLimitStore {
      return new Store(route)
    }

    #keys (key: string): [string] {
      return [`${prefix}${this.#route}/${encodeURIComponent(key)}`]
    }
  }
}

const caller = 'redisRateLimitStore'

/** Calls back with the count or an error, once. A count that comes after the timeout is dropped. */
function callBackWithin (timeout: number, callback: Callback, ask: () => Promise<Reply>): void {
  const counted = async () => countOf(await ask())
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${caller}: Redis did not reply within ${timeout} ms`)), timeout)
  })
  Promise.race([counted(), late]).finally(() => clearTimeout(timer)).then(count => callback(null, count), callback)
}

function countOf (reply: Reply): RateLimitCount {
  const [current, ttl] = listOf(reply)
  return { current: numberOf(current), ttl: numberOf(ttl) }
}

const hitLua = `
local current = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return { current, left }`

const lookLua = `
return { tonumber(redis.call('GET', KEYS[1]) or 0), math.max(0, redis.call('PTTL', KEYS[1])) }`
