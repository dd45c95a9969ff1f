import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { isCutOff } from '../internal/marks/cutoff.ts'
import { assertMarks, markId } from '../internal/marks/id.ts'
import { questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import { cutoffOfText, revocationKeys } from '../internal/marks/redis.ts'
import { listOf, numberOf, redisScripts, type RedisClient } from '../internal/databases/redis.ts'
import type { RevocationStore } from '../revocation-store.ts'

/** Where in Redis {@link redisRevocationStore} keeps its marks. */
export interface RedisRevocationStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-revocation' */
  readonly prefix?: string | undefined
  /** How many of the last calls of `revoke` a replica finds when it comes back after a cut; behind that it loads every mark again. @default 10000 */
  readonly feedLength?: number | undefined
}

/** {@link redisRevocationStore} */
export interface RedisRevocationStore extends Promised<RevocationStore> {}

/**
 * Keeps marks in Redis 7 or Valkey, under three keys: one sorted set, one hash, and the stream that replicas follow with
 * `redisRevocationFeed`. Every call is one script: one round trip. On a cluster the three share a slot. What ended a
 * minute ago or more is forgotten with the calls that come, and everything when the last mark has ended.
 *
 * A mark is as durable as the server is told to be (`appendfsync`, replicas): one that a failover loses is lost.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed.
 * @throws {TypeError} when the client is none of these, or an option is wrong.
 */
export function redisRevocationStore (redis: RedisClient, options: RedisRevocationStoreOptions = {}): RedisRevocationStore {
  const { feedLength = 10_000 } = options
  const script = redisScripts(redis, 'redisRevocationStore')
  const keys = revocationKeys(options.prefix, 'redisRevocationStore')
  if (!(Number.isInteger(feedLength) && feedLength > 0)) throw new TypeError('redisRevocationStore: feedLength must be a positive integer')
  const [revoke, check, claim] = [script(revokeLua), script(checkLua), script(claimLua)] as const

  return {
    async revoke (...marks) {
      assertMarks(marks)
      const now = Date.now()
      const rows = rowsOfMarks(marks, now)
      if (rows.length === 0) return
      const values = rows.flatMap(({ id, spared, cutoff, until }) => [id, spared, `${cutoff}`, `${until}`])
      await revoke([keys.marks, keys.cutoffs, keys.feed], `${now - 60_000}`, `${feedLength}`, JSON.stringify(rows), ...values)
    },

    async check (facts) {
      const { ids, subjects } = questionOf(facts)
      const now = Date.now()
      const [dead, ...cutoffs] = listOf(await check([keys.marks, keys.cutoffs], `${now}`, ...ids, ...subjects))
      const isDead = numberOf(dead) === 1 || cutoffs.some(text => typeof text === 'string' && isCutOff(cutoffOfText(text), facts, now))
      return isDead ? 'revoked' : 'live'
    },

    async claimOnce (key, until) {
      return numberOf(await claim([`${keys.claim}${markId(key)}`], randomUUID(), `${until}`, `${Date.now()}`)) === 1
    }
  }
}

/** A cutoff is a text: at, exceptAt, until, except. */
const revokeLua = `
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, 100)
for _, id in ipairs(ended) do
  redis.call('ZREM', KEYS[1], id)
  if id:sub(1, 1) == 'u' then redis.call('HDEL', KEYS[2], id) end
end

local never = '${Number.MIN_SAFE_INTEGER}'
local function greater (a, b)
  if tonumber(a) >= tonumber(b) then return a end
  return b
end
local function join (a, b)
  if tonumber(b.at) > tonumber(a.at) then a, b = b, a end
  local other = b.at
  if b.except ~= '' and b.except == a.except then other = b.exceptAt end
  local exceptAt = greater(a.exceptAt, other)
  local except = a.except
  if tonumber(exceptAt) >= tonumber(a.at) then exceptAt, except = a.at, '' end
  return { at = a.at, exceptAt = exceptAt, untilTime = greater(a.untilTime, b.untilTime), except = except }
end

for i = 4, #ARGV, 4 do
  local id, spared, cutoff, untilTime = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local known = redis.call('ZSCORE', KEYS[1], id)
  if not known or tonumber(known) < tonumber(untilTime) then redis.call('ZADD', KEYS[1], untilTime, id) end
  if id:sub(1, 1) == 'u' then
    local new = { at = cutoff, exceptAt = cutoff, untilTime = untilTime, except = spared }
    if spared ~= '' then new.exceptAt = never end
    local old = redis.call('HGET', KEYS[2], id)
    if old then
      local at, exceptAt, oldUntil, except = old:match('^(%S+) (%S+) (%S+) (.*)$')
      new = join({ at = at, exceptAt = exceptAt, untilTime = oldUntil, except = except }, new)
    end
    redis.call('HSET', KEYS[2], id, new.at .. ' ' .. new.exceptAt .. ' ' .. new.untilTime .. ' ' .. new.except)
  end
end

local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'behind', last and last[1] or '0-0', 'marks', ARGV[3])
local latest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', latest + 60000)) end
`

const checkLua = `
for i = 2, 3 do
  local untilTime = ARGV[i] ~= '' and redis.call('ZSCORE', KEYS[1], ARGV[i])
  if untilTime and tonumber(untilTime) > tonumber(ARGV[1]) then return { 1 } end
end
return { 0, ARGV[4] ~= '' and redis.call('HGET', KEYS[2], ARGV[4]), ARGV[5] ~= '' and redis.call('HGET', KEYS[2], ARGV[5]) }
`

/** The claim of a command that a client sends again after a cut connection is recognised. */
const claimLua = `
local claimed, untilTime = (redis.call('GET', KEYS[1]) or ' 0'):match('^(%S*) (%S+)$')
if claimed == ARGV[1] then return 1 end
if tonumber(untilTime) > tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + 60000))
return 1
`
