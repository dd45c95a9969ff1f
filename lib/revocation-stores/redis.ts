import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { assertMarks, markId } from '../internal/marks/id.ts'
import { isRevokedBy, questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import { revocationKeys, rowsOfText } from '../internal/marks/redis.ts'
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
      if (rows.length === 0) return false
      const texts = rows.map(row => ({ ...row, cutoff: `${row.cutoff}`, until: `${row.until}` }))
      const news = await revoke([keys.ends, keys.marks, keys.feed], `${now}`, `${feedLength}`, JSON.stringify(rows), JSON.stringify(texts))
      return numberOf(news) === 1
    },

    async check (credential) {
      const question = questionOf(credential)
      if (question.ids.length === 0) return 'live'
      const found = listOf(await check([keys.marks], ...question.ids))
      const rows = question.ids.flatMap((id, index) => typeof found[index] === 'string' ? rowsOfText(id, found[index]) : [])
      const now = Date.now()
      return rows.some(row => isRevokedBy(row, question, now)) ? 'revoked' : 'live'
    },

    async claimOnce (key, until) {
      return numberOf(await claim([`${keys.claim}${markId(key)}`], randomUUID(), `${until}`, `${Date.now()}`)) === 1
    }
  }
}

/** The marks of one id are a list in JSON. Numbers are texts there, so that none is rounded. */
const revokeLua = `
local now = tonumber(ARGV[1])
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - 60000), 'LIMIT', 0, 100)
for _, id in ipairs(ended) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end

local function greater (a, b)
  if tonumber(a) >= tonumber(b) then return a end
  return b
end
local function add (known, new)
  local same, excepts, covered
  for _, row in ipairs(known) do
    if row.issuer == new.issuer and row.tenant == new.tenant then
      if row.except == new.except then same = row end
      if tonumber(row['until']) > now and tonumber(row.cutoff) >= tonumber(new.cutoff) then
        covered = covered or excepts or row.except == '' or row.except == new.except
        excepts = true
      end
    end
  end
  if same then
    same.cutoff, same['until'] = greater(same.cutoff, new.cutoff), greater(same['until'], new['until'])
  else
    known[#known + 1] = { issuer = new.issuer, tenant = new.tenant, except = new.except, cutoff = new.cutoff, ['until'] = new['until'] }
  end
  return not covered
end

local news = 0
for _, new in ipairs(cjson.decode(ARGV[4])) do
  local text = redis.call('HGET', KEYS[2], new.id)
  local known = {}
  for _, row in ipairs(text and cjson.decode(text) or {}) do
    if tonumber(row['until']) >= now - 60000 then known[#known + 1] = row end
  end
  if add(known, new) then news = 1 end
  redis.call('HSET', KEYS[2], new.id, cjson.encode(known))
  redis.call('ZADD', KEYS[1], 'GT', new['until'], new.id)
end

local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'behind', last and last[1] or '0-0', 'marks', ARGV[3])
local latest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', latest + 60000)) end
return news
`

const checkLua = "return redis.call('HMGET', KEYS[1], unpack(ARGV))"

/** The claim of a command that a client sends again after a cut connection is recognised. */
const claimLua = `
local claimed, untilTime = (redis.call('GET', KEYS[1]) or ' 0'):match('^(%S*) (%S+)$')
if claimed == ARGV[1] then return 1 end
if tonumber(untilTime) > tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + 60000))
return 1
`
