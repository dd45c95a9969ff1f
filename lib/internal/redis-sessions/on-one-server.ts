import { actTogether } from '../databases/redis-batch.ts'
import { listOf, numberOf, type Reply, type RunScript } from '../databases/redis.ts'
import {
  entryOf, pageValues, sessionOfReply, sessionOfText, sortable, type NewRecord, type RedisSessions, type SessionKeys
} from './layout.ts'
import { activeLua, endLua, enterLua, listLua } from './subject-lua.ts'

/**
 * The verbs of a session store whose keys are all on one server. Each is one script, so one round trip, and logouts of
 * one turn of the event loop share it. The scripts follow a session to the key of its subject, which they cannot declare
 * beforehand: a server of a cluster refuses that.
 *
 * A key that a script should find and does not find is asked for in steps, by `inSteps`: a proxy may keep it on another
 * server, and a session is not logged out because nobody looked there.
 */
export function sessionsOnOneServer (script: (lua: string) => RunScript, keys: SessionKeys, inSteps: RedisSessions): RedisSessions {
  const { create, find, logOut, logOutById, logOutSubject, list } = prepared(script)

  return {
    async create (session, call) {
      const { declared, values } = creation(session, keys)
      return numberOf(await create(declared, call, ...values)) === 1
    },

    async find (digest) {
      const reply = await find([keys.session(digest)])
      return lacksKey(reply) ? inSteps.find(digest) : sessionOfReply(reply)
    },

    async logOut (digest, call) {
      const reply = await logOut({ key: keys.session(digest), values: [call] })
      return lacksKey(reply) ? inSteps.logOut(digest, call) : sessionOfReply(reply)
    },

    async logOutById (query, call) {
      const key = keys.id(query.id)
      const owner = query.subject === undefined ? '' : encodeURIComponent(query.subject)
      const reply = await logOutById([key], call, owner, keys.tail(key))
      return lacksKey(reply) ? inSteps.logOutById(query, call) : sessionOfReply(reply)
    },

    async logOutSubject ({ subject, except, count }, call) {
      const escaped = encodeURIComponent(subject)
      const declared = [keys.subject(escaped), ...except === undefined ? [] : [keys.id(except)]]
      return numberOf(await logOutSubject(declared, call, escaped, count === true ? '1' : '', sortable(Date.now())))
    },

    async list (page) {
      const subject = encodeURIComponent(page.subject)
      const key = keys.subject(subject)
      const reply = await list([key], ...pageValues(page), subject, keys.tail(key))
      return reply === null ? inSteps.list(page) : listOf(reply).map(text => sessionOfText(text, true))
    }
  }
}

function prepared (script: (lua: string) => RunScript) {
  return {
    create: script(createLua),
    find: script(findLua),
    logOut: actTogether(script, logOutLua),
    logOutById: script(logOutByIdLua),
    logOutSubject: script(logOutSubjectLua),
    list: script(listLiveLua)
  }
}

/** The keys and values with which a session is created. */
function creation (session: NewRecord, keys: SessionKeys) {
  const { record, digest } = session
  const subject = encodeURIComponent(record.subject)
  return {
    declared: [keys.session(digest), keys.id(record.id), keys.subject(subject)],
    values: [JSON.stringify(record), digest, subject, entryOf(session), `${record.keepUntil}`]
  }
}

function lacksKey (reply: Reply): boolean {
  return reply !== null && numberOf(listOf(reply)[1]) === 2
}

const createLua = `${enterLua}
local call, session, digest, subject, entry, keepUntil = unpack(ARGV)
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  return redis.call('HGET', KEYS[1], 'by') == call and 1 or 0
end
if tonumber(keepUntil) <= serverTime() then return 1 end
redis.call('HSET', KEYS[1], 'session', session, 'subject', subject, 'entry', entry, 'by', call)
redis.call('PEXPIREAT', KEYS[1], keepUntil)
redis.call('HSET', KEYS[2], 'digest', digest, 'subject', subject, 'entry', entry, 'by', call)
redis.call('PEXPIREAT', KEYS[2], keepUntil)
enterSession(KEYS[3], entry, keepUntil)
return 1
`

/** A session's key ends with its digest of 43 characters. */
const findLua = `${activeLua}
local session, subject, entry = unpack(redis.call('HMGET', KEYS[1], 'session', 'subject', 'entry'))
return session and { session, isActive(KEYS[1]:sub(1, -46) .. 'u:' .. subject, entry) }
`

const logOutLua = `${endLua}
local function act (key, call)
  local session, subject, entry = unpack(redis.call('HMGET', key, 'session', 'subject', 'entry'))
  return session and { session, endSession(key:sub(1, -46) .. 'u:' .. subject, entry, call) }
end
`

const logOutByIdLua = `${endLua}
local call, owner, tail = unpack(ARGV)
local digest, subject, entry = unpack(redis.call('HMGET', KEYS[1], 'digest', 'subject', 'entry'))
if not digest or (owner ~= '' and owner ~= subject) then return false end
local base = KEYS[1]:sub(1, -1 - tail)
local session = redis.call('HGET', base .. 's:' .. digest, 'session')
if not session then return { '', 2 } end
return { session, endSession(base .. 'u:' .. subject, entry, call) }
`

const logOutSubjectLua = `${endLua}
local call, subject, count, now = unpack(ARGV)
local except = ''
if KEYS[2] then
  local owner, entry = unpack(redis.call('HMGET', KEYS[2], 'subject', 'entry'))
  if owner == subject then except = entry end
end
return endSubject(KEYS[1], except, count, now, call)
`

// The entry of an id is compared: after its keepUntil, an id can be used for another session.
const listLiveLua = `${listLua}
local before, limit, now, except, subject, tail = unpack(ARGV)
local base = KEYS[1]:sub(1, -1 - tail)
limit = tonumber(limit)

local function escaped (id)
  return (id:gsub("[^A-Za-z0-9_.!~*'()-]", function (byte) return string.format('%%%02X', byte:byte()) end))
end

local function isListed (name, owner, entry)
  return owner == subject and nameByCreation('', entry) == 'c' .. name and expiryOf(entry) > now
end

local sessions = {}
while #sessions < limit do
  local names = page(KEYS[1], before, limit - #sessions)
  for _, name in ipairs(names) do
    local id = name:sub(12, -13)
    local digest, owner, entry = unpack(redis.call('HMGET', base .. 'i:' .. escaped(id), 'digest', 'subject', 'entry'))
    if not digest then return false end
    if id ~= except and isListed(name, owner, entry) then
      local session = redis.call('HGET', base .. 's:' .. digest, 'session')
      if not session then return false end
      sessions[#sessions + 1] = session
    end
  end
  if #names == 0 then break end
  before = names[#names]
end
return sessions
`
