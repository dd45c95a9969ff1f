import { randomUUID } from 'node:crypto'
import { canDuplicate, openRedisConnection, streamEntries, type RedisConnection, type StreamEntry } from '../databases/redis-connection.ts'
import { listOf, numberOf, redisScripts, textOf, type RedisClient } from '../databases/redis.ts'
import { luaClock, rowsOfStored, type RevocationKeys, type StoredMark } from '../marks/redis.ts'
import { markOfRow } from '../marks/row.ts'
import { heartbeat } from './heartbeat.ts'
import { inbox, type Inbox } from './inbox.ts'
import type { FeedPage, Mark, RevocationFeed } from '../../revocation-store.ts'

/** How much {@link redisFeed} reads at once. */
export interface RedisFeedSizes {
  /** Ids with their marks, while it loads. @default 500 */
  readonly ids?: number
  /** Entries of the stream: one for each script that made marks. @default 50 */
  readonly entries?: number
}

/**
 * Follows the marks of a store in Redis: new marks are published, and the store's stream has everything that was.
 *
 * Each entry of the stream has a random name and gives the name of the one before it. So a message that did not come, a
 * stream that was trimmed, a server that lost something and a server with another history all show as a gap: then the
 * stream is read, and every mark is loaded again if the stream has the gap too. Loading goes by the marks' ends and ids:
 * such a place means the same on every server, unlike the cursor of a scan.
 *
 * A page is complete only if this connection found a heartbeat that the store's client wrote after the question, in the
 * same script that read the end of the stream. So marks are read where they are written, whatever failed over meanwhile.
 *
 * It takes two connections: one that reads, and one on which messages come.
 *
 * @throws {TypeError} when the client cannot open another connection; `caller` begins the message.
 */
export function redisFeed (redis: RedisClient, keys: RevocationKeys, caller: string, sizes: RedisFeedSizes = {}): RevocationFeed {
  if (!canDuplicate(redis)) throw new TypeError(`${caller}: feed() needs a client that has duplicate(), which a pool has not`)
  const key = `${keys.heartbeat}${randomUUID()}`
  const writeHeartbeat = redisScripts(redis, caller)(heartbeatLua)
  const beat = heartbeat(value => writeHeartbeat([key], value))
  const open = () => opening(openRedisConnection(redis, caller), keys, { key, ids: 500, entries: 50, ...sizes })
  let opened: Opened | undefined

  return {
    async next (position, timeout) {
      const current = opened ??= open()
      const reader = await current.reader
      const place = placeOf(position)
      if (place === undefined) return reader.begin()
      if (place.loaded !== undefined) return reader.load(place, place.loaded)

      const asked = performance.now()
      const wait = Math.ceil(current.completeAt + timeout - asked)
      if (wait > 0) return reader.wait(place, wait)
      const page = await reader.prove(place, await beat())
      if (page.complete) current.completeAt = asked
      return page
    },

    close () {
      opened?.end()
      opened = undefined
    }
  }
}

interface Opened {
  /** Once it listens. */
  readonly reader: Promise<Reader>
  /** When everything was last known to be read, by `performance.now()`. */
  completeAt: number
  end (): void
}

/** Listens to the channel that has the name of the stream's key, whatever prefix the client puts before it. */
function opening (connection: RedisConnection, keys: RevocationKeys, sizes: ReadSizes): Opened {
  const messages = messageBox()
  const listen = async () => {
    const channel = textOf(await connection.script('return KEYS[1]')([keys.feed]))
    await connection.subscribe(channel, { onMessage: messages.put, onEnd: messages.end })
    return reading(connection, keys, { ...sizes, messages })
  }
  const reader = listen()
  reader.catch(() => {})
  return {
    reader,
    completeAt: -Infinity,
    end () {
      messages.end()
      connection.end()
    }
  }
}

/** The messages that have come, and which was the last one. */
interface MessageBox extends Pick<Inbox<StreamEntry>, 'take' | 'wait' | 'end'> {
  put (message: string): void
  /** Whether the message of this entry has come, or one of a later entry. */
  hasHeard (entry: string): boolean
}

/** So many messages wait to be taken, each of up to 200 marks. More than these are read from the stream. */
const mostMessages = 1000

function messageBox (): MessageBox {
  const { put, lose, take, wait, end } = inbox<StreamEntry>(mostMessages)
  let heard = '0-0'
  return {
    put (message) {
      const entry = entryOfMessage(message)
      if (entry === undefined) return lose()
      heard = entry.id
      put(entry)
    },
    hasHeard: entry => !isLater(entry, heard),
    take,
    wait,
    end
  }
}

/** An entry as the store's script publishes it: `id behind name marks`. */
function entryOfMessage (message: string): StreamEntry | undefined {
  const [, id, behind, name, marks] = /^(\d+-\d+) (\S*) (\S+) (\[.*)$/.exec(message) ?? []
  if (id === undefined || behind === undefined || name === undefined || marks === undefined) return undefined
  return { id, fields: { behind, name, marks } }
}

/** Whether an entry of a stream is later than another one, by their ids. */
function isLater (id: string, than: string): boolean {
  const [time = 0, count = 0] = id.split('-').map(Number)
  const [otherTime = 0, otherCount = 0] = than.split('-').map(Number)
  return time === otherTime ? count > otherCount : time > otherTime
}

/** How far a feed has come: an entry of the stream, and while it loads, which of the marks before that entry are loaded. */
interface Place {
  readonly entry: string
  readonly name: string
  readonly loaded?: Loaded
}

/** Every mark that ends before this instant, and those that end then and have this id or one before it. */
interface Loaded {
  readonly until: string
  readonly id: string
}

/** Reads a position. Returns `undefined` for one of another kind of feed. */
function placeOf (position: string | undefined): Place | undefined {
  try {
    const place = JSON.parse(position ?? 'null') as Partial<Place> | null
    return typeof place?.entry === 'string' && typeof place.name === 'string' ? place as Place : undefined
  } catch {
    return undefined
  }
}

/** What is published and has not come after so many milliseconds will not come. */
const longestDelivery = 1000

interface ReadSizes extends Required<RedisFeedSizes> {
  /** Where the heartbeat is. */
  readonly key: string
}

interface Reader {
  /** Begins anew, without a mark yet. */
  begin (): Promise<FeedPage>
  load (place: Place, loaded: Loaded): Promise<FeedPage>
  /** Waits for messages, and reads the stream where they do not follow on a place. */
  wait (place: Place, milliseconds: number): Promise<FeedPage>
  /** Reads the entries behind a place, and whether this heartbeat has arrived. */
  prove (place: Place, heartbeat: string): Promise<FeedPage>
}

interface ReadOptions extends ReadSizes {
  readonly messages: MessageBox
}

function reading (connection: RedisConnection, keys: RevocationKeys, { key, ids, entries: most, messages }: ReadOptions): Reader {
  const [begin, load, readEnd] = [connection.script(beginLua), connection.script(loadLua), connection.script(readEndLua)] as const
  // An entry that a proof found, and since when its message is due.
  let due: { readonly entry: string, readonly since: number } | undefined
  let proofs = 0

  const read = async (place: Place, heartbeat?: string): Promise<FeedPage> => {
    const [now, found, name, list] = listOf(await readEnd([keys.marks, keys.feed, key], place.entry, place.name, `${most}`))
    if (heartbeat !== undefined && found !== heartbeat) {
      throw new Error('the feed reads from a server that does not have what the store has just written')
    }
    const entries = streamEntries(list)
    if (isGap(place, entries) || (entries.length === 0 && name !== place.name)) return reader.begin()
    return { ...pageOf(place, entries), complete: heartbeat !== undefined && entries.length < most, now: numberOf(now) }
  }

  const reader: Reader = {
    async begin () {
      const [now, entry, name] = listOf(await begin([keys.marks, keys.feed])).map(textOf)
      const place = { entry, name, loaded: { until: now, id: '' } }
      return { marks: [], position: JSON.stringify(place), complete: false }
    },

    async load ({ entry, name }, { until, id }) {
      const [now, last, count, marks] = listOf(await load([keys.ends, keys.marks], until, id, `${ids}`))
      const loaded = numberOf(count) < ids ? undefined : { until: textOf(listOf(last)[0]), id: textOf(listOf(last)[1]) }
      return { marks: storedMarks(textOf(marks)), position: JSON.stringify({ entry, name, loaded }), complete: false, now: numberOf(now) }
    },

    async wait (place, milliseconds) {
      await messages.wait(milliseconds)
      const { items, isWhole } = messages.take()
      const entries = items.filter(({ id }) => isLater(id, place.entry))
      return isWhole && isChain(place, entries) ? pageOf(place, entries) : read(place)
    },

    async prove (place, heartbeat) {
      if (due !== undefined && messages.hasHeard(due.entry)) due = undefined
      if (due !== undefined && performance.now() - due.since > longestDelivery) throw new Error('what is published does not arrive')
      const page = await read(place, heartbeat)
      if (!page.complete) return page
      const { entry } = JSON.parse(page.position) as Place
      if (proofs++ > 0 && entry !== place.entry) due ??= { entry, since: performance.now() }
      return page
    }
  }
  return reader
}

/** Whether each entry follows on the one before it, and the first one on a place. */
function isChain ({ name }: Place, entries: readonly StreamEntry[]): boolean {
  return entries.every(({ fields }, index) => fields['behind'] === (index === 0 ? name : entries[index - 1]?.fields['name']))
}

/** Whether something is missing between a place and the first of the entries behind it. */
function isGap ({ name }: Place, [first]: readonly StreamEntry[]): boolean {
  return first !== undefined && first.fields['behind'] !== name
}

function pageOf (place: Place, entries: readonly StreamEntry[]): FeedPage {
  const last = entries.at(-1)
  return {
    marks: entries.flatMap(({ fields }) => entryMarks(String(fields['marks']))),
    position: JSON.stringify(last === undefined ? place : { entry: last.id, name: last.fields['name'] }),
    complete: false
  }
}

/** The marks of an entry, as the store's script was given them. */
function entryMarks (text: string): Mark[] {
  const marks = JSON.parse(text) as ReadonlyArray<readonly [id: string, ...mark: StoredMark]>
  return marks.flatMap(([id, ...mark]) => rowsOfStored(id, [mark]).map(markOfRow))
}

/** The marks of several ids, as the store keeps them. */
function storedMarks (text: string): Mark[] {
  const stored = JSON.parse(text) as ReadonlyArray<readonly [id: string, marks: readonly StoredMark[]]>
  return stored.flatMap(([id, marks]) => rowsOfStored(id, marks).map(markOfRow))
}

const heartbeatLua = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)"

const beginLua = `${luaClock}
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return { string.format('%.0f', clock()), last and last[1] or '0-0', redis.call('HGET', KEYS[1], '') or '' }
`

/* A mark that was made to stay longer since it was read has another place now: all that end when it ended are read again. */
const loadLua = `${luaClock}
local from
if redis.call('ZSCORE', KEYS[1], ARGV[2]) == ARGV[1] then from = redis.call('ZRANK', KEYS[1], ARGV[2]) + 1
else from = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[1]) end
local ids = redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1)
local texts = #ids > 0 and redis.call('HMGET', KEYS[2], unpack(ids)) or {}
local found = {}
for index, id in ipairs(ids) do
  if texts[index] then found[#found + 1] = '[' .. cjson.encode(id) .. ',' .. texts[index] .. ']' end
end
local last = ids[#ids] or ARGV[2]
local place = { redis.call('ZSCORE', KEYS[1], last) or ARGV[1], last }
return { string.format('%.0f', clock()), place, #ids, '[' .. table.concat(found, ',') .. ']' }
`

const readEndLua = `${luaClock}
local name = redis.call('HGET', KEYS[1], '') or ''
local entries = {}
if name ~= ARGV[2] then entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[3]) end
return { string.format('%.0f', clock()), redis.call('GET', KEYS[3]), name, entries }
`
