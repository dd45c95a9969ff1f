import { keyPrefix, listOf, numberOf, redisScripts, type RedisClient, type Reply } from '../internal/databases/redis.ts'

/** Where in Redis {@link redisRateLimitStore} counts. */
export interface RedisRateLimitStoreOptions {
  /** What the keys begin with. Stores with different prefixes count apart. @default 'logout-rate-limit' */
  readonly prefix?: string | undefined
}

/** How often a key was counted in its window, and the milliseconds left of it. */
export interface RateLimitCount {
  current: number
  ttl: number
}

/** Told the count, or why there is none. */
export type Callback = (error: Error | null, count?: RateLimitCount) => void

/** What `@fastify/rate-limit` makes of the class: one for a registration, and a child for each route with settings of its own. */
export interface RedisRateLimitStore {
  /** Counts a hit, and tells the count with it. */
  incr (key: string, callback: Callback, timeWindow: number): void
  /** Tells the count without a hit. */
  read (key: string, callback: Callback): void
  /** A store for a route with a limit of its own, which counts apart. */
  child (route: object): RedisRateLimitStore
}

/** Of the settings of `@fastify/rate-limit`, those that bear on the store. */
export interface RateLimitSettings {
  readonly continueExceeding?: boolean | undefined
  readonly exponentialBackoff?: boolean | undefined
  readonly routeInfo?: { readonly method?: string | string[] | undefined, readonly url?: string | undefined } | undefined
}

/**
 * A class for the `store` option of `@fastify/rate-limit` and of `tenantStatusLogout`'s `rateLimit`: counts in Redis 7 or
 * Valkey, so that all nodes count together. Fixed windows from the first hit on, one round trip for each hit.
 *
 * Each counter has an end: it is set in the same script as the count, and set again should it ever be missing.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed.
 * @throws {TypeError} when the client is none of these, the prefix has other characters than letters, digits and
 * `_ . : -`, or, at registration, for `continueExceeding` and `exponentialBackoff`: its windows never move.
 * @see https://github.com/fastify/fastify-rate-limit#custom-store
 */
export function redisRateLimitStore (redis: RedisClient, options: RedisRateLimitStoreOptions = {}): new (settings: RateLimitSettings) => RedisRateLimitStore {
  const script = redisScripts(redis, 'redisRateLimitStore')
  const prefix = keyPrefix(options.prefix ?? 'logout-rate-limit', 'redisRateLimitStore')
  const [hit, look] = [script(hitLua), script(lookLua)]

  return class Store implements RedisRateLimitStore {
    readonly #route: string

    constructor ({ continueExceeding, exponentialBackoff, routeInfo }: RateLimitSettings) {
      if (continueExceeding === true || exponentialBackoff === true) {
        throw new TypeError('redisRateLimitStore: leave out continueExceeding and exponentialBackoff, its windows never move')
      }
      this.#route = encodeURIComponent(`${routeInfo?.method ?? ''}${routeInfo?.url ?? ''}`)
    }

    incr (key: string, callback: Callback, timeWindow: number): void {
      this.#count(callback, () => hit(this.#keys(key), `${Math.max(1, Math.ceil(timeWindow))}`))
    }

    read (key: string, callback: Callback): void {
      this.#count(callback, () => look(this.#keys(key)))
    }

    child (route: object): RedisRateLimitStore {
      return new Store(route)
    }

    #keys (key: string): [string] {
      return [`${prefix}${this.#route}/${encodeURIComponent(key)}`]
    }

    #count (callback: Callback, ask: () => Promise<Reply>): void {
      const counted = async () => countOf(await ask())
      counted().then(count => callback(null, count), callback)
    }
  }
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
