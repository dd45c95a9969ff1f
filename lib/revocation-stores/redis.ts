import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { listOf, numberOf, redisScripts, type RedisClient, type Reply } from '../internal/databases/redis.ts'
import { redisFeed } from '../internal/feeds/redis.ts'
import { assertMarks, claimEnd, markId } from '../internal/marks/id.ts'
import { luaClock, revocationKeys, rowsOfStored, storedOfRow, type StoredMark } from '../internal/marks/redis.ts'
import { isRevokedBy, questionOf, rowOfMark, type MarkQuestion } from '../internal/marks/row.ts'
import type { Credential, FollowableRevocationStore, Mark, RevocationStore } from '../revocation-store.ts'

/** Where in Redis {@link redisRevocationStore} keeps its marks. */
export interface RedisRevocationStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-revocation' */
  readonly prefix?: string | undefined
  /**
   * How many of the last calls of `revoke` a replica finds when it comes back after a cut. After more than these, it loads
   * every mark again.
   *
   * @default 10000
   */
  readonly feedLength?: number | undefined
}

/** {@link redisRevocationStore} */
export interface RedisRevocationStore extends Promised<RevocationStore>, Pick<FollowableRevocationStore, 'feed'> {}

const marksOfOneScript = 200

/**
 * Keeps marks in Redis 7 or Valkey, under three keys: a sorted set, a hash, and the stream that replicas follow. Every
 * call is one script, so one round trip; more than 200 marks take one for each 200. The server's clock decides what has
 * ended. It is forgotten a minute later with the calls that come, and everything with the last mark.
 *
 * A mark is as durable as the setting `appendfsync` of the server. A failover loses what was not replicated: set
 * `min-replicas-to-write`, and a primary that was cut off from its replicas refuses `revoke`, and `check` too.
 *
 * On a cluster the three keys share a slot, so that `check` asks one server for everything that a credential names, and
 * a replica follows one stream. That server holds all marks of the store, about 300 bytes for each: a million in 0.3
 * gigabytes. Claims are spread over all slots.
 *
 * New marks are published in a channel with the name of the stream, to which a replica subscribes on a connection of its
 * own; a second connection reads. A user of an ACL needs the channel: `&{logout-revocation}:feed` with the default prefix.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed. Give it the primary: a server that takes no
 * writes is refused.
 * @throws {TypeError} when the client is none of these, or an option is wrong.
 * @example
 * ```ts
 * import { redisRevocationStore } from 'fastify-logout/revocation-stores/redis'
 * import { Redis } from 'ioredis'
 *
 * const revocations = redisRevocationStore(new Redis(), { prefix: 'shop:revocation' })
 * console.log(await revocations.check({ tokenId: '0b9c0e2e', subject: 'alice' }))
 * ```
 */
export function redisRevocationStore (redis: RedisClient, options: RedisRevocationStoreOptions = {}): RedisRevocationStore {
  const { keys, feedLength } = resolveOptions(options)
  const script = redisScripts(redis, caller)
  const [runRevoke, check, claim] = [script(revokeLua), script(checkLua), script(claimLua)] as const

  /** Adds marks. Resolves whether they revoke something more, provided that the credential, if one is given, was live before. */
  const revoke = async (marks: readonly Mark[], credential: Credential = {}) => {
    assertMarks(marks)
    const question = questionOf(credential)
    const rows = marks.map(mark => storedOfRow(rowOfMark(mark)))
    let news = false
    for (let from = 0; from < rows.length; from += marksOfOneScript) {
      const given = JSON.stringify(rows.slice(from, from + marksOfOneScript))
      const reply = await runRevoke([keys.ends, keys.marks, keys.feed], `${feedLength}`, randomUUID(), given, ...question.ids)
      const [isNews, now, before] = listOf(reply)
      news ||= numberOf(isNews) === 1 && !isRevoked(question, now, before)
    }
    return news
  }

  return {
    revoke: async (...marks) => revoke(marks),

    revokeOnce: async (credential, ...marks) => revoke(marks, credential),

    async check (credential) {
      const question = questionOf(credential)
      if (question.ids.length === 0) return 'live'
      const [now, found] = listOf(await check([keys.marks], ...question.ids))
      return isRevoked(question, now, found) ? 'revoked' : 'live'
    },

    async claimOnce (key, until) {
      return numberOf(await claim([`${keys.claim}${markId(key)}`], randomUUID(), `${claimEnd(until)}`)) === 1
    },

    feed: () => redisFeed(redis, { keys, caller })
  }
}

const caller = 'redisRevocationStore'

function resolveOptions ({ prefix, feedLength = 10_000 }: RedisRevocationStoreOptions) {
  if (!(Number.isSafeInteger(feedLength) && feedLength > 0)) {
    throw new TypeError(`${caller}: option "feedLength" must be a positive integer`)
  }
  return { keys: revocationKeys(prefix, caller), feedLength }
}

/** Whether one of the marks that were found under the ids of a question revokes the credential. */
function isRevoked (question: MarkQuestion, now: Reply | undefined, found: Reply | undefined): boolean {
  const rows = listOf(found).flatMap((text, index) =>
    typeof text === 'string' ? rowsOfStored(String(question.ids[index]), JSON.parse(text) as StoredMark[]) : [])
  return rows.some(row => isRevokedBy(row, question, numberOf(now)))
}

/*
 * The hash has the marks of each id, as a list in JSON, and under an empty name the name of the last entry of the stream.
 * Every entry names itself and the one before it, so that a reader notices when one is missing.
 * The reply has what was found before under the ids of a credential, if they are given.
 */
const revokeLua = `${luaClock}
local now = clock()
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - 60000), 'LIMIT', 0, 100)
for _, id in ipairs(ended) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
local before = ARGV[4] and redis.call('HMGET', KEYS[2], unpack(ARGV, 4)) or {}

local issuer, tenant, except, cutoff, till = 1, 2, 3, 4, 5
local function rise (row, place, value)
  if tonumber(row[place]) >= tonumber(value) then return false end
  row[place] = value
  return true
end
local function add (known, new)
  local same, excepts, covered
  for _, row in ipairs(known) do
    if row[issuer] == new[issuer] and row[tenant] == new[tenant] then
      if row[except] == new[except] then same = row end
      if tonumber(row[cutoff]) >= tonumber(new[cutoff]) then
        covered = covered or excepts or row[except] == '' or row[except] == new[except]
        excepts = true
      end
    end
  end
  if not same then
    known[#known + 1] = new
    return true, not covered
  end
  local later, longer = rise(same, cutoff, new[cutoff]), rise(same, till, new[till])
  return later or longer, not covered
end

local changed, news = false, 0
for _, given in ipairs(cjson.decode(ARGV[3])) do
  if tonumber(given[6]) > now then
    local id = table.remove(given, 1)
    local text = redis.call('HGET', KEYS[2], id)
    local known = {}
    for _, row in ipairs(text and cjson.decode(text) or {}) do
      if tonumber(row[till]) > now then known[#known + 1] = row end
    end
    local isChanged, isNews = add(known, given)
    if isNews then news = 1 end
    if isChanged then
      changed = true
      redis.call('HSET', KEYS[2], id, cjson.encode(known))
      redis.call('ZADD', KEYS[1], 'GT', given[till], id)
    end
  end
end
local reply = { news, string.format('%.0f', now), before }
if not changed then return reply end

local behind = redis.call('HGET', KEYS[2], '') or ''
local entry = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[1], '*', 'behind', behind, 'name', ARGV[2], 'marks', ARGV[3])
redis.call('HSET', KEYS[2], '', ARGV[2])
redis.pcall('PUBLISH', KEYS[3], entry .. ' ' .. behind .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
local latest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', latest + 60000)) end
return reply
`

/*
 * It tries a write that changes nothing: a server that was demoted, or cut off from its replicas, refuses it, and its
 * answer could be an old one. A server that only cannot save to its disk (MISCONF) has no old answers.
 */
const checkLua = `${luaClock}
local refused = redis.pcall('HDEL', KEYS[1], '#')
if type(refused) == 'table' and refused.err and not refused.err:find('MISCONF', 1, true) then return refused end
return { string.format('%.0f', clock()), redis.call('HMGET', KEYS[1], unpack(ARGV)) }
`

/** A client that sends a claim again after a cut connection gets the same answer. */
const claimLua = `${luaClock}
local claimed, till = (redis.call('GET', KEYS[1]) or ' 0'):match('^(%S*) (%S+)$')
if claimed == ARGV[1] then return 1 end
if tonumber(till) > clock() then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + 60000))
return 1
`
