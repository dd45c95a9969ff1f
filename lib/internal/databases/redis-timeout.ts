import type { RedisClient } from './redis.ts'
import { warnOnce } from './warning.ts'

const code = 'FASTIFY_LOGOUT_REDIS_TIMEOUT'

/** What clients of ioredis and iovalkey show of their options, and those of node-redis except its pools and clusters. */
interface ShownOptions {
  readonly socketTimeout?: unknown
  /** Of a cluster client of ioredis or iovalkey. */
  readonly redisOptions?: { readonly socketTimeout?: unknown } | undefined
  /** Of node-redis. */
  readonly socket?: { readonly socketTimeout?: unknown, readonly reconnectStrategy?: unknown } | undefined
}

/**
 * Emits a process warning, once for each client, when a connection that falls silent (a cut cable, a firewall that drops
 * packets) would stay in use for as long as the operating system waits, which can be 15 minutes.
 *
 * With `socketTimeout` alone node-redis never connects again, because its own strategy gives up after this timeout.
 */
export function warnOfMissingTimeout (client: RedisClient, caller: string): void {
  const { options } = client as { readonly options?: ShownOptions | null }
  if (typeof options !== 'object' || options === null) return
  const { socketTimeout, redisOptions, socket } = options
  if ('evalSha' in client) warnOfNodeRedis(client, socket, caller)
  else if (!socketTimeout && !redisOptions?.socketTimeout) {
    warnOnce(client, code, `${caller}: the Redis client has no socketTimeout. ${silence} Set it, for example to 5000 (milliseconds).`)
  }
}

function warnOfNodeRedis (client: RedisClient, socket: ShownOptions['socket'], caller: string): void {
  if (!socket?.socketTimeout) {
    warnOnce(client, code, `${caller}: the Redis client has no socket.socketTimeout. ${silence} ` +
      'Set it, for example to 5000 (milliseconds), with a socket.reconnectStrategy and a shorter pingInterval.')
  } else if (socket.reconnectStrategy === undefined) {
    warnOnce(client, code, `${caller}: the Redis client has socket.socketTimeout, but no socket.reconnectStrategy. ` +
      'After that timeout it does not connect again. Set one, for example retries => Math.min(retries * 100, 2000).')
  }
}

const silence = 'A connection that falls silent then fails every call for minutes.'
