import { streamEntries, type RedisConnection, type StreamEntry } from '../databases/redis-connection.ts'
import { listOf, numberOf, textOf } from '../databases/redis.ts'
import { luaClock, rowsOfStored, rowsOfText, type RevocationKeys, type StoredMark } from '../marks/redis.ts'
import { markOfRow } from '../marks/row.ts'
import { isChain, isLater, type MessageBox } from './redis-messages.ts'
import type { Loaded, Place } from './redis-position.ts'
import type { FeedPage, Mark } from '../../revocation-store.ts'

/** Reads pages of a store's marks. */
export interface RedisReader {
  /** Begins anew, without a mark yet. */
  begin (): Promise<FeedPage>
  load (place: Place, loaded: Loaded): Promise<FeedPage>
  /** Waits for messages, and reads the stream where they do not follow on a place. */
  wait (place: Place, milliseconds: number): Promise<FeedPage>
  /** Reads the entries behind a place, and whether this heartbeat has arrived. */
  prove (place: Place, heartbeat: string): Promise<FeedPage>
}

/** What {@link redisReader} reads. */
export interface RedisReaderOptions {
  readonly keys: RevocationKeys
  /** Where the heartbeat is. */
  readonly heartbeat: string
  readonly messages: MessageBox
  /** How many ids are read at once, with their marks. */
  readonly ids: number
  /** How many entries of the stream are read at once. */
  readonly entries: number
}

/** Reads on a connection, and takes the messages that come. */
export function redisReader (connection: RedisConnection, options: RedisReaderOptions): RedisReader {
  const { keys, messages, ids } = options
  const [begin, load] = [connection.script(beginLua), connection.script(loadLua)] as const
  let proofs = 0

  const reader: RedisReader = {
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
      return isWhole && isChain(place.name, entries) ? pageOf(place, entries) : read(place)
    },

    async prove (place, heartbeat) {
      messages.assertDelivery()
      const page = await read(place, heartbeat)
      if (!page.complete) return page
      const { entry } = JSON.parse(page.position) as Place
      // What was added before it listened has no message.
      if (proofs++ > 0 && entry !== place.entry) messages.expect(entry)
      return page
    }
  }
  const read = streamReader(connection, options, reader.begin)
  return reader
}

/** Returns a function that reads the entries behind a place, and whether a heartbeat has arrived. It begins anew at a gap. */
function streamReader (connection: RedisConnection, { keys, heartbeat, entries: most }: RedisReaderOptions, begin: RedisReader['begin']) {
  const readEnd = connection.script(readEndLua)
  return async (place: Place, wanted?: string): Promise<FeedPage> => {
    const [now, found, name, list] = listOf(await readEnd([keys.marks, keys.feed, heartbeat], place.entry, place.name, `${most}`))
    if (wanted !== undefined && found !== wanted) {
      throw new Error('the feed reads from a server that does not have what the store has just written')
    }
    const entries = streamEntries(list)
    if (isGap(place, entries) || (entries.length === 0 && name !== place.name)) return begin()
    return { ...pageOf(place, entries), complete: wanted !== undefined && entries.length < most, now: numberOf(now) }
  }
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

/** The marks of several ids, as the store keeps them: for each id a line with the id, and one with its marks. */
function storedMarks (text: string): Mark[] {
  const lines = text.split('\n')
  const found: Mark[] = []
  for (let line = 1; line < lines.length; line += 2) {
    for (const row of rowsOfText(String(lines[line - 1]), String(lines[line]))) found.push(markOfRow(row))
  }
  return found
}

const beginLua = `${luaClock}
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return { string.format('%.0f', clock()), last and last[1] or '0-0', redis.call('HGET', KEYS[1], '') or '' }
`

/*
 * A mark that was made to stay longer since it was read has another place now: all that end when it ended are read again.
 * Stored ids and JSON have no line breaks, and lines take less time to make and to read than JSON.
 */
const loadLua = `${luaClock}
local from
if redis.call('ZSCORE', KEYS[1], ARGV[2]) == ARGV[1] then from = redis.call('ZRANK', KEYS[1], ARGV[2]) + 1
else from = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[1]) end
local ids = redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1)
local texts = #ids > 0 and redis.call('HMGET', KEYS[2], unpack(ids)) or {}
local lines = {}
for index, id in ipairs(ids) do
  if texts[index] then
    lines[#lines + 1] = id
    lines[#lines + 1] = texts[index]
  end
end
local last = ids[#ids] or ARGV[2]
local place = { redis.call('ZSCORE', KEYS[1], last) or ARGV[1], last }
return { string.format('%.0f', clock()), place, #ids, table.concat(lines, '\\n') }
`

const readEndLua = `${luaClock}
local name = redis.call('HGET', KEYS[1], '') or ''
local entries = {}
if name ~= ARGV[2] then entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[3]) end
return { string.format('%.0f', clock()), redis.call('GET', KEYS[3]), name, entries }
`
