import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { keyPrefix, listOf, numberOf, redisScripts, textOf, type RedisClient, type Reply } from '../internal/databases/redis.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { idsOf } from '../internal/records/user-key.ts'
import type { UserKey, UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** Where in Redis {@link redisUserStatusStore} keeps its records. */
export interface RedisUserStatusStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-user-status' */
  readonly prefix?: string | undefined
}

/** {@link redisUserStatusStore} */
export interface RedisUserStatusStore extends Promised<Required<UserStatusStore> & UserRecords> {}

/**
 * Keeps the status of users in Redis 7 or Valkey, one hash for each user, without expiry. Every call is one script on one
 * key: one round trip, on a cluster too. A command that a client sends again after a cut connection is recognised.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed.
 * @throws {TypeError} when the client is none of these, or the prefix has other characters than letters, digits and `_ . : -`.
 */
export function redisUserStatusStore (redis: RedisClient, options: RedisUserStatusStoreOptions = {}): RedisUserStatusStore {
  const script = redisScripts(redis, 'redisUserStatusStore')
  const prefix = keyPrefix(options.prefix ?? 'logout-user-status', 'redisUserStatusStore')
  const [get, compareAndSet, logOut, set, remove] = [script(getLua), script(compareAndSetLua), script(logOutLua), script(setLua), script(removeLua)] as const
  const keyOf = (user: UserKey) => [prefix + idsOf(user).map(encodeURIComponent).join(':')]

  return {
    async get (user) {
      return recordOf(await get(keyOf(user)))
    },

    async compareAndSet (user, expected, change) {
      const { at, requestId } = checkedChange(change)
      return numberOf(await compareAndSet(keyOf(user), randomUUID(), change.status, `${at}`, requestId, `${expected ?? ''}`)) === 1
    },

    async logOut (user, change) {
      const { at, requestId } = checkedChange(change)
      return recordOf(await logOut(keyOf(user), randomUUID(), 'logged_out', `${at}`, requestId))
    },

    async set (user, status) {
      await set(keyOf(user), randomUUID(), status)
    },

    async remove (user) {
      await remove(keyOf(user))
    }
  }
}

function recordOf (answer: Reply): UserStatus | undefined {
  if (answer === null) return undefined
  const [status, version, loggedOutAt, lastSeenAt] = listOf(answer).map(textOf) as [string, string, string, string]
  return { status, version, loggedOutAt: timeOf(loggedOutAt), lastSeenAt: timeOf(lastSeenAt) }
}

function timeOf (text: string): number | undefined {
  return text === '' ? undefined : Number(text)
}

const readLua = `
local status, version, loggedOutAt, lastSeenAt = unpack(redis.call('HMGET', KEYS[1], 'status', 'version', 'loggedOutAt', 'lastSeenAt'))
local function record ()
  if not status then return false end
  return { status, version or '', loggedOutAt or '', lastSeenAt or '' }
end
`

/** Writes the change of ARGV: version, status, time, request. Neither time moves back. */
const writeLua = `${readLua}
local ours = status == 'logged_in' or status == 'logged_out'
local function write ()
  local field, last = 'lastSeenAt', lastSeenAt
  if ARGV[2] == 'logged_out' then field, last = 'loggedOutAt', loggedOutAt end
  local at = ARGV[3]
  if last and tonumber(last) > tonumber(at) then at = last end
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'status', ARGV[2], field, at, 'requestId', ARGV[4], 'was', status or '')
end
`

const getLua = `${readLua}
return record()`

const compareAndSetLua = `${writeLua}
if version == ARGV[1] then return 1 end
if (status and not ours) or (version or '') ~= ARGV[5] then return 0 end
write()
return 1`

const logOutLua = `${writeLua}
if version == ARGV[1] then
  status = redis.call('HGET', KEYS[1], 'was')
elseif ours then
  write()
end
return record()`

const setLua = 'redis.call(\'HSET\', KEYS[1], \'version\', ARGV[1], \'status\', ARGV[2])'

const removeLua = 'redis.call(\'UNLINK\', KEYS[1])'
