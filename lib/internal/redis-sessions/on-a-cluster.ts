import { listOf, numberOf, textOf, type RunScript } from '../databases/redis.ts'
import type { Session } from '../../session-store.ts'
import {
  entryOf, expiryOf, listedId, listedName, pageValues, sessionOfText, sortable, type NewRecord, type RedisSessions, type SessionKeys
} from './layout.ts'
import { activeLua, endLua, enterLua, listLua } from './subject-lua.ts'

/**
 * The verbs of a session store whose keys are on several servers, in at most two round trips, three for a login or a
 * list. Each script touches one key, which it declares: it runs where that key is, also while the cluster moves it.
 *
 * The key of the subject alone decides which sessions are active, so nothing is left half done between two steps: a
 * logout happens in the second one or not at all, and a login that is cut short leaves a session that was never active.
 */
export function sessionsOnCluster (script: (lua: string) => RunScript, keys: SessionKeys): RedisSessions {
  const [isActive, end, endSubject] = [script(isActiveLua), script(endOneLua), script(endSubjectLua)] as const
  const readers = keyReaders(script, keys)
  const { recordOf, idOf } = readers

  return {
    create: createInSteps(script, keys),

    async find (digest) {
      const record = await recordOf(digest)
      return record && sessionOfText(record.session, numberOf(await isActive([record.key], record.entry)) === 1)
    },

    async logOut (digest, call) {
      const record = await recordOf(digest)
      return record && sessionOfText(record.session, numberOf(await end([record.key], record.entry, call)) === 1)
    },

    async logOutById ({ id, subject }, call) {
      const found = await idOf(id)
      if (found === undefined || (subject !== undefined && found.key !== keys.subject(encodeURIComponent(subject)))) return undefined
      const [record, ended] = await Promise.all([recordOf(found.digest), end([found.key], found.entry, call)])
      return record && sessionOfText(record.session, numberOf(ended) === 1)
    },

    async logOutSubject ({ subject, except, count }, call) {
      const key = keys.subject(encodeURIComponent(subject))
      const excepted = except === undefined ? undefined : await idOf(except)
      const entry = excepted?.key === key ? excepted.entry : ''
      return numberOf(await endSubject([key], entry, count === true ? '1' : '', sortable(Date.now()), call))
    },

    list: listInSteps(script, keys, readers)
  }
}

/** Read the keys of a session and of an id. */
interface KeyReaders {
  recordOf (digest: string): Promise<StoredSession | undefined>
  idOf (id: string): Promise<StoredId | undefined>
}

function keyReaders (script: (lua: string) => RunScript, keys: SessionKeys): KeyReaders {
  const read = script(readLua)
  return {
    async recordOf (digest) {
      const [session, subject, entry] = listOf(await read([keys.session(digest)], 'session', 'subject', 'entry'))
      return session === null ? undefined : { session: textOf(session), key: keys.subject(textOf(subject)), entry: textOf(entry) }
    },

    async idOf (id) {
      const [digest, subject, entry] = listOf(await read([keys.id(id)], 'digest', 'subject', 'entry'))
      return digest === null ? undefined : { digest: textOf(digest), key: keys.subject(textOf(subject)), entry: textOf(entry) }
    }
  }
}

function listInSteps (script: (lua: string) => RunScript, keys: SessionKeys, { recordOf, idOf }: KeyReaders): RedisSessions['list'] {
  const page = script(pageLua)

  return async asked => {
    const key = keys.subject(encodeURIComponent(asked.subject))
    const [start, , now, except] = pageValues(asked)
    const liveSession = async (name: string): Promise<Session | undefined> => {
      const found = await idOf(listedId(name))
      const isListed = found?.key === key && listedName(found.entry) === name && expiryOf(found.entry) > now
      const record = isListed && listedId(name) !== except ? await recordOf(found.digest) : undefined
      return record && sessionOfText(record.session, true)
    }
    return filled(asked.limit, start, async (before, count) => {
      const names = listOf(await page([key], before, `${count}`)).map(textOf)
      return { names, sessions: await Promise.all(names.map(liveSession)) }
    })
  }
}

/** Reads on until there are enough sessions, for some of those that are found may have expired. */
async function filled (
  limit: number, start: string,
  read: (before: string, count: number) => Promise<{ names: string[], sessions: Array<Session | undefined> }>
): Promise<Session[]> {
  const found: Session[] = []
  let before: string | undefined = start
  while (before !== undefined && found.length < limit) {
    const count = limit - found.length
    const { names, sessions } = await read(before, count)
    found.push(...sessions.filter(session => session !== undefined))
    before = names.length === count ? names.at(-1) : undefined
  }
  return found
}

interface StoredSession {
  readonly session: string
  /** The key of its subject. */
  readonly key: string
  readonly entry: string
}

interface StoredId {
  readonly digest: string
  /** The key of its subject. */
  readonly key: string
  readonly entry: string
}

/** The id and the token are claimed one after the other. Last the session enters its subject's key, by which it becomes active. */
function createInSteps (script: (lua: string) => RunScript, keys: SessionKeys): RedisSessions['create'] {
  const [claim, release, enter] = [script(claimLua), script(releaseLua), script(enterOneLua)] as const

  const claimToken = async ({ record, digest }: NewRecord, call: string, fields: readonly string[]): Promise<boolean> => {
    let claimed = false
    try {
      const values = ['session', JSON.stringify(record), ...fields]
      claimed = numberOf(await claim([keys.session(digest)], call, `${record.keepUntil}`, ...values)) === 1
      return claimed
    } finally {
      // An id that stays claimed is free again after its keepUntil.
      if (!claimed) await release([keys.id(record.id)], call).catch(() => {})
    }
  }

  return async (session, call) => {
    const { record, digest } = session
    const subject = encodeURIComponent(record.subject)
    const entry = entryOf(session)
    const fields = ['subject', subject, 'entry', entry, 'by', call]
    if (numberOf(await claim([keys.id(record.id)], call, `${record.keepUntil}`, 'digest', digest, ...fields)) !== 1) return false
    if (!await claimToken(session, call, fields)) return false
    await enter([keys.subject(subject)], entry, `${record.keepUntil}`, call)
    return true
  }
}

const readLua = "return redis.call('HMGET', KEYS[1], unpack(ARGV))"

const isActiveLua = `${activeLua}
return isActive(KEYS[1], ARGV[1])
`

const endOneLua = `${endLua}
return endSession(KEYS[1], ARGV[1], ARGV[2])
`

const endSubjectLua = `${endLua}
return endSubject(KEYS[1], unpack(ARGV))
`

const pageLua = `${listLua}
return page(KEYS[1], ARGV[1], tonumber(ARGV[2]))
`

const claimLua = `${enterLua}
local call, instant = ARGV[1], ARGV[2]
if redis.call('EXISTS', KEYS[1]) > 0 then
  return redis.call('HGET', KEYS[1], 'by') == call and 1 or 0
end
if tonumber(instant) > serverTime() then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIREAT', KEYS[1], instant)
end
return 1
`

const releaseLua = `
if redis.call('HGET', KEYS[1], 'by') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
`

const enterOneLua = `${enterLua}
local entry, keepUntil, call = unpack(ARGV)
if redis.call('ZSCORE', KEYS[1], '~' .. call) or tonumber(keepUntil) <= serverTime() then return end
enterSession(KEYS[1], entry, keepUntil)
redis.call('ZADD', KEYS[1], 0, '~' .. call)
`
