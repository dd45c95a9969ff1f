import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { actTogether } from '../internal/databases/redis-batch.ts'
import {
  isClusterClient, keyPrefix, listOf, numberOf, oneServerOrCluster, redisScripts, textOf, type RedisClient, type Reply
} from '../internal/databases/redis.ts'
import { assertOption } from '../internal/plugin/options.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { idsOf } from '../internal/records/user-key.ts'
import type { UserKey, UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** Where in Redis {@link redisUserStatusStore} keeps its records. */
export interface RedisUserStatusStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-user-status' */
  readonly prefix?: string | undefined
  /**
   * Whether the keys may be on different servers: `true` behind a proxy that spreads keys over servers.
   *
   * @default true for the cluster clients of ioredis, iovalkey and node-redis, and from the moment when a server of a
   * cluster refuses keys of several slots
   */
  readonly cluster?: boolean | undefined
}

/** {@link redisUserStatusStore} */
export interface RedisUserStatusStore extends Promised<Required<UserStatusStore> & UserRecords> {}

/**
 * Keeps the status of users in Redis 7 or Valkey, one hash for each user, without expiry. On a cluster the users spread
 * over its slots. Every call is one round trip. On one server, logouts of the same turn of the event loop share it.
 *
 * A full Redis refuses logins and new users, and still logs out. A command that a client sends again after a cut
 * connection is recognised.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed. Give it `socketTimeout`: connections that
 * fall silent stay in use without it for up to 15 minutes. With node-redis it needs a `reconnectStrategy` beside it.
 * @throws {TypeError} when the client is none of these, or an option is wrong.
 *
 * @example
 * ```ts
 * import { Redis } from 'ioredis'
 * import { redisUserStatusStore } from 'fastify-logout/user-status-stores/redis'
 *
 * const users = redisUserStatusStore(new Redis('redis://127.0.0.1:6379', { maxRetriesPerRequest: 1, socketTimeout: 5000 }))
 * await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * ```
 */
export function redisUserStatusStore (redis: RedisClient, options: RedisUserStatusStoreOptions = {}): RedisUserStatusStore {
  const script = redisScripts(redis, caller)
  const { prefix, cluster } = resolveOptions(redis, options)
  const [get, compareAndSet, set, remove] = [script(getLua), script(compareAndSetLua), script(setLua), script(removeLua)] as const
  const logOutOne = script(`${logOutLua}return act(KEYS[1], unpack(ARGV))`)
  const logOut = oneServerOrCluster(cluster, {
    oneServer: actTogether(script, logOutLua),
    cluster: ({ key, values }) => logOutOne([key], ...values)
  })
  const keyOf = (user: UserKey) => prefix + idsOf(user).map(encodeURIComponent).join(':')

  return {
    async get (user) {
      return recordOf(await get([keyOf(user)]))
    },

    async compareAndSet (user, expected, change) {
      const { at, requestId } = checkedChange(change)
      return numberOf(await compareAndSet([keyOf(user)], randomUUID(), change.status, `${at}`, requestId, `${expected ?? ''}`)) === 1
    },

    async logOut (user, change) {
      const { at, requestId } = checkedChange(change)
      const call = { key: keyOf(user), values: [randomUUID(), `${at}`, requestId] }
      return recordOf(await logOut(way => way(call)))
    },

    async set (user, status) {
      await set([keyOf(user)], randomUUID(), status)
    },

    async remove (user) {
      await remove([keyOf(user)])
    }
  }
}

const caller = 'redisUserStatusStore'

function resolveOptions (redis: RedisClient, options: RedisUserStatusStoreOptions): { prefix: string, cluster: boolean } {
  const { prefix = 'logout-user-status', cluster } = options
  assertOption(cluster === undefined || typeof cluster === 'boolean', caller, 'cluster', 'must be true or false')
  return { prefix: keyPrefix(prefix, caller), cluster: cluster ?? isClusterClient(redis) }
}

function recordOf (reply: Reply): UserStatus | undefined {
  if (reply === null) return undefined
  const [status, version, loggedOutAt, lastSeenAt] = listOf(reply)
  return { status: textOf(status), version: textOf(version), loggedOutAt: timeOf(loggedOutAt), lastSeenAt: timeOf(lastSeenAt) }
}

function timeOf (reply: Reply | undefined): number | undefined {
  return reply === '' ? undefined : numberOf(reply)
}

/** Reads a record: its status, version and two times. */
const readLua = `
local function read (key)
  return redis.call('HMGET', key, 'status', 'version', 'loggedOutAt', 'lastSeenAt')
end

local function shown (record)
  if not record[1] then return false end
  for place = 2, 4 do record[place] = record[place] or '' end
  return record
end
`

/** Writes a change. Neither time moves back. */
const writeLua = `${readLua}
local function isOurs (record)
  return record[1] == 'logged_in' or record[1] == 'logged_out'
end

local function write (key, record, version, status, at, requestId)
  local field, last = 'lastSeenAt', record[4]
  if status == 'logged_out' then field, last = 'loggedOutAt', record[3] end
  if last and tonumber(last) > tonumber(at) then at = last end
  redis.call('HSET', key, 'version', version, 'status', status, field, at, 'requestId', requestId, 'was', record[1] or '')
end
`

const getLua = `${readLua}
return shown(read(KEYS[1]))`

const compareAndSetLua = `${writeLua}
local version, status, at, requestId, expected = unpack(ARGV)
local record = read(KEYS[1])
if record[2] == version then return 1 end
if (record[1] and not isOurs(record)) or (record[2] or '') ~= expected then return 0 end
write(KEYS[1], record, version, status, at, requestId)
return 1`

// A full Redis refuses a script whose first write needs room: a logout begins with one that needs none.
const logOutLua = `${writeLua}
local function act (key, version, at, requestId)
  local record = read(key)
  if record[2] == version then
    record[1] = redis.call('HGET', key, 'was')
  elseif isOurs(record) then
    redis.call('HDEL', key, '')
    write(key, record, version, 'logged_out', at, requestId)
  end
  return shown(record)
end
`

const setLua = 'redis.call(\'HSET\', KEYS[1], \'version\', ARGV[1], \'status\', ARGV[2])'

const removeLua = 'redis.call(\'UNLINK\', KEYS[1])'
