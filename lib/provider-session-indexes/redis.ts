import type { Promised } from '../awaitable.ts'
import { keyPrefix, listOf, numberOf, redisScripts, textOf, type RedisClient, type Reply } from '../internal/databases/redis.ts'
import { luaClock } from '../internal/marks/redis.ts'
import { boundSessions, loginRecord, logoutRecord, wholeGroup, withoutSid, type LoginRecord } from '../internal/records/provider-session.ts'
import type { ProviderSessionIndex } from '../provider-session-index.ts'

/** Where in Redis {@link redisProviderSessionIndex} keeps its logins. */
export interface RedisProviderSessionIndexOptions {
  /** What the keys begin with. Indexes with different prefixes never see each other. @default 'logout-provider-session' */
  readonly prefix?: string | undefined
}

/** {@link redisProviderSessionIndex} */
export interface RedisProviderSessionIndex extends Promised<ProviderSessionIndex> {}

/**
 * Keeps the index in Redis 7 or Valkey, on one server or on a cluster, whose slots its keys spread over.
 *
 * `logOut` is one script. `bind` is one script for the subject and one for the `sid`, which are sent at the same time: both
 * calls take one round trip. Redis expires everything at its `until`; the server's clock decides.
 *
 * A full Redis refuses logins, and still logs out. Set `maxmemory-policy` to `noeviction`: a login that is evicted is not
 * found by its logout. A failover loses what was not replicated.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed. Give it the primary: a server that takes no
 * writes is refused.
 * @throws {TypeError} when the client is none of these, or the prefix has other characters than letters, digits and `_ . : -`
 * @example
 * ```ts
 * import { redisProviderSessionIndex } from 'fastify-logout/provider-session-indexes/redis'
 * import { Redis } from 'ioredis'
 *
 * const index = redisProviderSessionIndex(new Redis('redis://127.0.0.1:6379', { maxRetriesPerRequest: 1 }))
 * ```
 */
export function redisProviderSessionIndex (redis: RedisClient, options: RedisProviderSessionIndexOptions = {}): RedisProviderSessionIndex {
  const script = redisScripts(redis, caller)
  const keys = keysOf(keyPrefix(options.prefix ?? 'logout-provider-session', caller))
  const [bind, logOut] = [script(bindLua), script(logOutLua)] as const

  return {
    async bind (login, session, until) {
      const record = loginRecord(login, session, until)
      const values = [memberOf(record), `${record.issuedAt}`, `${until}`]
      const verdicts = await Promise.all(groupsOf(record).map(({ group, scopes }) => bind(keys(group, scopes), ...values)))
      return verdicts.some(verdict => numberOf(verdict) === 1) ? 'revoked' : 'live'
    },

    async logOut (logout) {
      const { group, scopes, cutoff, until } = logoutRecord(logout)
      const [cutoffs, members] = listOf(await logOut(keys(group, scopes), `${cutoff}`, `${until}`))
      const joined = new Map(listOf(cutoffs).map((text, place) => [scopes[place], numberOf(text)]))
      return boundSessions(covered(listOf(members), joined))
    }
  }
}

const caller = 'redisProviderSessionIndex'

/**
 * The keys of a group, which share a slot: a sorted set of logins by their `until`, and for each scope the cutoff that is
 * remembered, with an expiry of its own.
 */
function keysOf (prefix: string) {
  return (group: string, scopes: readonly string[]): string[] => {
    const logins = `${prefix}{${group}}`
    return [logins, ...scopes.map(scope => `${logins}:${scope}`)]
  }
}

/** The groups in which a login is kept, each with the scopes of cutoffs that cover it. */
function groupsOf ({ subjectKey, sidKey }: LoginRecord) {
  const bySubject = { group: subjectKey, scopes: [wholeGroup, sidKey] }
  return sidKey === withoutSid ? [bySubject] : [bySubject, { group: sidKey, scopes: [wholeGroup] }]
}

function memberOf ({ issuedAt, sidKey, session }: LoginRecord): string {
  return `${issuedAt} ${sidKey} ${session}`
}

function * covered (members: readonly Reply[], cutoffs: ReadonlyMap<string | undefined, number>): Generator<string> {
  for (const member of members) {
    const text = textOf(member)
    const [first, second] = [text.indexOf(' '), text.indexOf(' ', text.indexOf(' ') + 1)]
    const cutoff = cutoffs.get(wholeGroup) ?? cutoffs.get(text.slice(first + 1, second)) ?? -Infinity
    if (Number(text.slice(0, first)) <= cutoff) yield text.slice(second + 1)
  }
}

/*
 * Each script deletes what has expired. That is a write, so a server that accepts no writes cannot reply to it. A full Redis
 * refuses a script whose first write needs room.
 */
const forgetLua = `${luaClock}
local now = clock()
local function forget ()
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
end
`

const bindLua = `${forgetLua}
local login, issued, till = unpack(ARGV)
if tonumber(till) > now then
  redis.call('ZADD', KEYS[1], 'GT', till, login)
  if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(till) then redis.call('PEXPIREAT', KEYS[1], till) end
end
forget()
for place = 2, #KEYS do
  local cutoff = redis.call('GET', KEYS[place])
  if cutoff and tonumber(cutoff) >= tonumber(issued) then return 1 end
end
return 0
`

const logOutLua = `${forgetLua}
forget()
local cutoff, till = unpack(ARGV)
local joined = {}
for place = 2, #KEYS do
  local known = redis.call('GET', KEYS[place])
  local latest = known and tonumber(known) > tonumber(cutoff) and known or cutoff
  if tonumber(till) > now then
    local ends = math.max(redis.call('PEXPIRETIME', KEYS[place]), tonumber(till))
    redis.call('SET', KEYS[place], latest, 'PXAT', string.format('%.0f', ends))
  end
  joined[place - 1] = latest
end
return { joined, redis.call('ZRANGE', KEYS[1], 0, -1) }
`
