import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { keyPrefix, listOf, numberOf, redisScripts, textOf, type RedisClient, type Reply } from '../internal/databases/redis.ts'
import { isSessionId, isSubject, sessionOf, sessionRecord } from '../internal/records/session.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'
import { waitingCalls } from '../internal/databases/call-batch.ts'

/** Where in Redis {@link redisSessionStore} keeps its sessions. */
export interface RedisSessionStoreOptions {
  /** What the keys begin with. Stores with different prefixes never see each other. @default 'logout-session' */
  readonly prefix?: string | undefined
}

/** {@link redisSessionStore} */
export interface RedisSessionStore extends Promised<SessionStore> {}

/**
 * Keeps sessions in Redis 7 or Valkey. Every call is one script: one round trip, which logouts of the same turn of the
 * event loop share. Each session is gone by itself after its
 * `keepUntil`. All keys of a store share one hash slot, so that it works on a cluster; several stores spread over it.
 *
 * A full Redis refuses logins, and still logs out. What is evicted is logged out or unknown, never live again;
 * nevertheless `maxmemory-policy` ought to be `noeviction`.
 *
 * A command that a client sends again after a cut connection is recognised, and answered as it was the first time; but
 * for the count of {@link SessionStore.logOutSubject}, which is 0 then.
 *
 * @param redis A client of ioredis, iovalkey or node-redis. It is never closed.
 * @throws {TypeError} when the client is none of these, or the prefix has other characters than letters, digits and `_ . : -`.
 */
export function redisSessionStore (redis: RedisClient, options: RedisSessionStoreOptions = {}): RedisSessionStore {
  const script = redisScripts(redis, 'redisSessionStore')
  const prefix = keyPrefix(options.prefix ?? 'logout-session', 'redisSessionStore').slice(0, -1)
  const keys = [`{${prefix}}:`]
  const [create, find, logOut, logOutById, logOutSubject, list] = [
    script(createLua), script(findLua), script(logOutLua), script(logOutByIdLua), script(logOutSubjectLua), script(listLua)
  ] as const

  const logOutTogether = waitingCalls(async (calls: ReadonlyArray<readonly [digest: string, call: string]>) => {
    const answers = await logOut(keys, ...calls.flat())
    return listOf(answers).map(answer => typeof answer === 'string' ? new Error(answer) : answer)
  })

  return {
    async create (token, session) {
      const record = sessionRecord(token, session)
      const stored = await create(keys, tokenDigest(token), record.id, record.subject, JSON.stringify(record), member(record),
        `${record.expiresAt}`, `${record.keepUntil}`, `${Date.now()}`, randomUUID())
      if (numberOf(stored) !== 1) throw new Error('a session with this token or id exists already')
    },

    async find (token) {
      return sessionOfAnswer(await find(keys, tokenDigest(token)))
    },

    async logOut (token) {
      return sessionOfAnswer(await logOutTogether([tokenDigest(token), randomUUID()]))
    },

    async logOutById ({ id, subject }) {
      if (!isSessionId(id) || !(subject === undefined || isSubject(subject))) return undefined
      return sessionOfAnswer(await logOutById(keys, id, randomUUID(), subject ?? ''))
    },

    async logOutSubject ({ subject, except, count }) {
      const ended = isSubject(subject)
        ? await logOutSubject(keys, subject, isSessionId(except) ? except : '', count === true ? '1' : '', `${Date.now()}`, randomUUID())
        : '0'
      return count === true ? numberOf(ended) : undefined
    },

    async list ({ subject, except, after, limit }) {
      if (!isSubject(subject)) return []
      const start = after === undefined ? '+' : `(${member(after)}`
      const listed = await list(keys, subject, start, `${limit}`, `${Date.now()}`, isSessionId(except) ? except : '')
      return listOf(listed).map(text => sessionOf(JSON.parse(textOf(text)), true))
    }
  }
}

/** Sorts by its bytes as the session does in a list. */
function member ({ createdAt, id }: Pick<Session, 'createdAt' | 'id'>): string {
  return `${createdAt}`.padStart(16, '0') + id
}

function sessionOfAnswer (answer: Reply): Session | undefined {
  if (answer === null) return undefined
  const [record, live] = listOf(answer)
  return sessionOf(JSON.parse(textOf(record)), numberOf(live) === 1)
}

/*
 * s:<digest>   hash: session (JSON), subject, member, expires, generation while it is not logged out,
 *              and by: the call that created it or logged it out
 * i:<id>       digest
 * g:<subject>  generation: a session is active while it has the one that stands here
 * l:<subject>  sorted set of members by their bytes: what is live or expired since the last login
 * x:<subject>  the same by expiry
 *
 * All keys are made from KEYS[1], which has the hash tag, and any key prefix of the client.
 */
const foundLua = `
local base = KEYS[1]
local function found (digest)
  local session, subject, generation, member = unpack(redis.call('HMGET', base .. 's:' .. digest, 'session', 'subject', 'generation', 'member'))
  local live = session and generation and generation == redis.call('GET', base .. 'g:' .. subject)
  return session, live and 1 or 0, subject, member
end
`

// A full Redis refuses a script whose first write needs room: a logout begins with what a session loses.
const endedLua = `${foundLua}
local function ended (digest, call, owner)
  local key = base .. 's:' .. digest
  local session, live, subject, member = found(digest)
  if not session or (owner and owner ~= subject) then return false end
  if live == 1 then
    redis.call('HDEL', key, 'generation')
    redis.call('ZREM', base .. 'l:' .. subject, member)
    redis.call('ZREM', base .. 'x:' .. subject, member)
    redis.call('HSET', key, 'by', call)
  elseif redis.call('HGET', key, 'by') == call then
    live = 1
  end
  return { session, live }
end
`

const findLua = `${foundLua}
local session, live = found(ARGV[1])
return session and { session, live }
`

// Many at once. What fails by itself, answers with the text of its error.
const logOutLua = `${endedLua}
local answers = {}
for place = 1, #ARGV, 2 do
  local done, answer = pcall(ended, ARGV[place], ARGV[place + 1])
  if not done then answer = type(answer) == 'table' and answer.err or tostring(answer) end
  answers[#answers + 1] = answer
end
return answers
`

const logOutByIdLua = `${endedLua}
local digest = redis.call('GET', base .. 'i:' .. ARGV[1])
return digest and ended(digest, ARGV[2], ARGV[3] ~= '' and ARGV[3])
`

const keptLua = `
local base = KEYS[1]
local function kept (key, instant)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIREAT', key, instant) else redis.call('PEXPIREAT', key, instant, 'GT') end
end
local function listed (subject, member, expires, instant)
  redis.call('ZADD', base .. 'l:' .. subject, 0, member)
  redis.call('ZADD', base .. 'x:' .. subject, expires, member)
  kept(base .. 'l:' .. subject, instant)
  kept(base .. 'x:' .. subject, instant)
end
`

const createLua = `${keptLua}
local digest, id, subject, session, member, expires, instant, now, call = unpack(ARGV)
if redis.call('EXISTS', base .. 's:' .. digest, base .. 'i:' .. id) > 0 then
  return redis.call('HGET', base .. 's:' .. digest, 'by') == call and 1 or 0
end
if tonumber(instant) <= tonumber(now) then return 1 end
if redis.call('SET', base .. 'g:' .. subject, call, 'NX') then
  redis.call('UNLINK', base .. 'l:' .. subject, base .. 'x:' .. subject)
end
local generation = redis.call('GET', base .. 'g:' .. subject)
kept(base .. 'g:' .. subject, instant)
redis.call('HSET', base .. 's:' .. digest, 'session', session, 'subject', subject, 'member', member,
  'expires', expires, 'generation', generation, 'by', call)
kept(base .. 's:' .. digest, instant)
redis.call('SET', base .. 'i:' .. id, digest)
kept(base .. 'i:' .. id, instant)
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', base .. 'x:' .. subject, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', base .. 'l:' .. subject, expired)
  redis.call('ZREM', base .. 'x:' .. subject, expired)
end
listed(subject, member, expires, instant)
return 1
`

// Without its generation a list is dead, and the next login drops it: freeing ten thousand entries here could take milliseconds.
const logOutSubjectLua = `${keptLua}
local subject, except, count, now, generation = unpack(ARGV)
local current = redis.call('GET', base .. 'g:' .. subject)
local digest = current and except ~= '' and redis.call('GET', base .. 'i:' .. except)
local owner, its, member, expires
if digest then owner, its, member, expires = unpack(redis.call('HMGET', base .. 's:' .. digest, 'subject', 'generation', 'member', 'expires')) end
local spared = digest and owner == subject and its == current
local ended = 0
if count ~= '' and current then
  ended = redis.call('ZCOUNT', base .. 'x:' .. subject, '(' .. now, '+inf')
  if spared and tonumber(expires) > tonumber(now) then ended = ended - 1 end
end
redis.call('DEL', base .. 'g:' .. subject)
if spared then
  redis.call('UNLINK', base .. 'l:' .. subject, base .. 'x:' .. subject)
  redis.call('HSET', base .. 's:' .. digest, 'generation', generation)
  local instant = redis.call('PEXPIRETIME', base .. 's:' .. digest)
  redis.call('SET', base .. 'g:' .. subject, generation, 'PXAT', instant)
  listed(subject, member, expires, instant)
end
return ended
`

const listLua = `
local base = KEYS[1]
local subject, start, limit, now, except = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local generation = redis.call('GET', base .. 'g:' .. subject)
local sessions = {}
while generation and #sessions < limit do
  local members = redis.call('ZREVRANGEBYLEX', base .. 'l:' .. subject, start, '-', 'LIMIT', 0, limit - #sessions)
  if #members == 0 then break end
  for _, member in ipairs(members) do
    local id = string.sub(member, 17)
    local digest = id ~= except and redis.call('GET', base .. 'i:' .. id)
    if digest then
      local session, its, expires = unpack(redis.call('HMGET', base .. 's:' .. digest, 'session', 'generation', 'expires'))
      if session and its == generation and tonumber(expires) > now then sessions[#sessions + 1] = session end
    end
  end
  start = '(' .. members[#members]
end
return sessions
`
