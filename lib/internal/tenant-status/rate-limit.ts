import rateLimit, { normalizeIP, type FastifyRateLimitOptions, type FastifyRateLimitStore, type FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { assertFunctions, assertOption, duration } from '../plugin/options.ts'
import type { Ask } from '../plugin/ask.ts'

type Counted = Readonly<{ current: number, ttl: number }>

/** How often an address may log out. */
export interface TenantRateLimit {
  /** Requests per window. @default 30 */
  readonly max?: number | undefined
  /** The window, in milliseconds, fixed from the first request on. @default 3600000 */
  readonly window?: number | undefined
  /** Whose requests are counted together. @default the address of the client, an IPv6 address by its /64 */
  readonly keyGenerator?: ((request: FastifyRequest) => Awaitable<string>) | undefined
  /** Where requests are counted, as a store class of `@fastify/rate-limit`. @default in this process */
  readonly store?: FastifyRateLimitStoreCtor | undefined
  /** What to do with a logout while the store fails: refuse it with 500, or let it through uncounted. @default 'allow' */
  readonly whenUnavailable?: 'refuse' | 'allow' | undefined
  /** `legacy`: `X-RateLimit-*`; `ietf`: `RateLimit` and `RateLimit-Policy`. `Retry-After` stands on every 429. @default 'legacy' */
  readonly headers?: 'legacy' | 'ietf' | 'both' | 'none' | undefined
}

const limitHeader = 'x-ratelimit-limit'
const remainingHeader = 'x-ratelimit-remaining'
const resetHeader = 'x-ratelimit-reset'

/**
 * Limits the routes of this scope, and only them: the host's own limiter, its key and its error body play no part.
 * Over the limit an error with `statusCode: 429` is thrown.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ for the `ietf` headers
 */
export async function limitRequests (scope: FastifyInstance, limit: TenantRateLimit, ask: Ask, caller: string): Promise<void> {
  const { max = 30, headers = 'legacy', store, keyGenerator = addressOf, whenUnavailable = 'allow' } = limit
  const window = duration(limit.window, 3_600_000, caller, 'rateLimit.window')
  assertOption(Number.isInteger(max) && max > 0, caller, 'rateLimit.max', 'must be a positive integer')
  assertOption(['legacy', 'ietf', 'both', 'none'].includes(headers), caller, 'rateLimit.headers', 'must be "legacy", "ietf", "both" or "none"')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), caller, 'rateLimit.whenUnavailable', 'must be "refuse" or "allow"')
  assertFunctions({ 'rateLimit.keyGenerator': keyGenerator, 'rateLimit.store': store }, caller, ['rateLimit.keyGenerator', 'rateLimit.store'])

  await scope.register(rateLimit, {
    global: true,
    hook: 'onRequest',
    max,
    timeWindow: window,
    cache: 100_000,
    ban: -1,
    skipOnError: whenUnavailable === 'allow',
    continueExceeding: false,
    exponentialBackoff: false,
    enableDraftSpec: false,
    errorResponseBuilder: () => Object.assign(new Error('too many requests'), { statusCode: 429 }),
    keyGenerator: async request => ask('rateLimit.keyGenerator', () => keyGenerator(request)),
    ...(store !== undefined && { store: timeBoxed(store, scope, ask) })
  })

  if (store !== undefined || headers !== 'legacy') {
    scope.addHook('onSend', (_request, reply, payload, done) => {
      tellLimit(reply, headers, Math.ceil(window / 1000))
      done(null, payload)
    })
  }
}

/** Clients on a Unix socket have no address: they count as one. */
function addressOf ({ ip }: { readonly ip?: string | undefined }): string {
  return normalizeIP(ip ?? '')
}

function tellLimit (reply: FastifyReply, headers: 'legacy' | 'ietf' | 'both' | 'none', window: number): void {
  const limit = reply.getHeader(limitHeader)
  const remaining = reply.getHeader(remainingHeader)
  // Whoever was counted has less left than the limit: others were let through because the store failed.
  const counted = remaining !== limit
  if (counted && (headers === 'ietf' || headers === 'both')) {
    reply.header('ratelimit-policy', `"logout";q=${String(limit)};w=${window}`)
    reply.header('ratelimit', `"logout";r=${String(remaining)};t=${String(reply.getHeader(resetHeader))}`)
  }
  if (!counted || headers === 'ietf' || headers === 'none') {
    for (const name of [limitHeader, remainingHeader, resetHeader]) reply.removeHeader(name)
  }
}

/** The host's store, with a timeout, with a log of its failures, and with counters of this route alone. */
function timeBoxed (Store: FastifyRateLimitStoreCtor, scope: FastifyInstance, ask: Ask): FastifyRateLimitStoreCtor {
  return class implements FastifyRateLimitStore {
    readonly #store: FastifyRateLimitStore

    constructor (options: FastifyRateLimitOptions) {
      this.#store = new Store(options)
    }

    incr (key: string, callback: Parameters<FastifyRateLimitStore['incr']>[1], timeWindow: number, max: number): void {
      const count = async () => ask('rateLimit.store', () => new Promise<Counted>((resolve, reject) => {
        this.#store.incr(`${scope.prefix}/auth/logout-${key}`, (error, counted) => {
          if (counted === undefined || error) reject(error)
          else resolve(counted)
        }, timeWindow, max)
      }))
      count().then(counted => callback(null, counted), (error: Error) => {
        scope.log.error({ err: error, event: 'logout.rate-limit-outage' }, 'the rate limit of logouts could not be counted')
        callback(error)
      })
    }

    child (): this {
      return this
    }
  }
}
