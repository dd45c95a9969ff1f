import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { isClusterClient, keyPrefix, oneServerOrCluster, redisScripts, type RedisClient } from '../internal/databases/redis.ts'
import { assertOption } from '../internal/plugin/options.ts'
import { queryById, queryBySubject, queryPage } from '../internal/records/session-query.ts'
import { sessionRecord } from '../internal/records/session.ts'
import { sessionKeys, sortable } from '../internal/redis-sessions/layout.ts'
import { sessionsOnCluster } from '../internal/redis-sessions/on-a-cluster.ts'
import { sessionsOnOneServer } from '../internal/redis-sessions/on-one-server.ts'
import type { SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in Redis {@link redisSessionStore} keeps its sessions. */
export interface RedisSessionStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-session' */
  readonly prefix?: string | undefined
  /**
   * Whether the keys may be on different servers: `true` behind a proxy that spreads keys over servers.
   *
   * @default true for the cluster clients of ioredis, iovalkey and node-redis, and from the moment when a server of a
   * cluster refuses keys of several slots
   */
  readonly cluster?: boolean | undefined
}

const caller = 'redisSessionStore'

function resolveOptions (redis: RedisClient, options: RedisSessionStoreOptions) {
  const { prefix = 'logout-session', cluster } = options
  assertOption(cluster === undefined || typeof cluster === 'boolean', caller, 'cluster', 'must be true or false')
  return { keys: sessionKeys(keyPrefix(prefix, caller)), cluster: cluster ?? isClusterClient(redis) }
}

/** {@link redisSessionStore} */
export interface RedisSessionStore extends Promised<SessionStore> {}

/**
 * Keeps sessions in Redis 7 or Valkey, on one server or on a cluster.
 *
 * - On one server every call is one script: one round trip, which logouts of the same turn of the event loop share.
 * - On a cluster the keys spread over its slots. A call takes at most two round trips, a login or a list three. Each script declares
 *   its only key, so that clients follow slots that move.
 *
 * Logging out a subject everywhere is one write, however many sessions there are. Redis expires each session at its
 * `keepUntil`.
 *
 * A full Redis refuses logins, and still logs out. A session whose data were evicted is logged out or unknown, and never
 * active again; nevertheless set `maxmemory-policy` to `noeviction`. A failover loses what was not replicated.
 *
 * A command that a client sends again after a cut connection is recognised for ten minutes, and has the same reply.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed. Give it `socketTimeout`: connections that
 * fall silent stay in use without it for up to 15 minutes. With node-redis it needs a `reconnectStrategy` beside it.
 * @throws {TypeError} when the client is none of these, the prefix has other characters than letters, digits and `_ . : -`,
 * or `cluster` is not a boolean.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { Redis } from 'ioredis'
 * import { kratosLogout } from 'fastify-logout'
 * import { redisSessionStore } from 'fastify-logout/session-stores/redis'
 *
 * const app = Fastify()
 * const sessions = redisSessionStore(new Redis('redis://127.0.0.1:6379', { maxRetriesPerRequest: 1, socketTimeout: 5000 }))
 * await app.register(kratosLogout, { sessions })
 * ```
 */
export function redisSessionStore (redis: RedisClient, options: RedisSessionStoreOptions = {}): RedisSessionStore {
  const script = redisScripts(redis, caller)
  const { keys, cluster } = resolveOptions(redis, options)
  const inSteps = sessionsOnCluster(script, keys)
  const sessions = oneServerOrCluster(cluster, { oneServer: sessionsOnOneServer(script, keys, inSteps), cluster: inSteps })

  return {
    async create (token, session) {
      const record = sessionRecord(token, session)
      const call = newCall()
      const stored = await sessions(way => way.create({ record, digest: tokenDigest(token) }, call))
      if (!stored) throw new Error('a session with this token or id exists already')
    },

    find: token => sessions(way => way.find(tokenDigest(token))),

    logOut (token) {
      const call = newCall()
      return sessions(way => way.logOut(tokenDigest(token), call))
    },

    async logOutById (asked) {
      const query = queryById(asked)
      const call = newCall()
      return query && sessions(way => way.logOutById({ id: query.id, subject: query.subject ?? undefined }, call))
    },

    async logOutSubject ({ count, ...asked }) {
      const query = queryBySubject(asked)
      const call = newCall()
      const ended = query && await sessions(way => way.logOutSubject({ ...query, count, except: query.except ?? undefined }, call))
      return count === true ? ended ?? 0 : undefined
    },

    async list (page) {
      const query = queryPage(page)
      return query === undefined ? [] : sessions(way => way.list({ ...page, subject: query.subject, except: query.except ?? undefined }))
    }
  }
}

/** Begins with the time, so that old calls can be forgotten. */
function newCall (): string {
  return `${sortable(Date.now())}${randomUUID().slice(0, 18)}`
}
