import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { revocationFeedStatements, type MarkKey } from '../databases/mysql-revocation-sql.ts'
import type { RunMysql } from '../databases/mysql.ts'
import { markOfRow } from '../marks/row.ts'
import type { FeedPage, Mark, RevocationFeed } from '../../revocation-store.ts'
import { heartbeat, type Heartbeat } from './heartbeat.ts'

/** Whose marks {@link mysqlFeed} follows. */
export interface MysqlFeedSource {
  readonly run: RunMysql
  /** The table, quoted. */
  readonly table: string
  /** How long it waits between two questions, in milliseconds. */
  readonly pollInterval: number
  /** How many marks are read at once. @default 2000 */
  readonly pageSize?: number
}

/** Where a feed is: every mark whose number is at most `seen` was handed out, but for those of a load under way. */
interface Place {
  readonly server: string
  /** Digits. */
  readonly seen: string
  /** While it loads: every mark up to this one was handed out. */
  readonly loaded?: MarkKey | undefined
}

type Row = Readonly<Record<string, unknown>>
type Statements = ReturnType<typeof revocationFeedStatements>

interface Feeding {
  readonly run: RunMysql
  readonly statements: Statements
  readonly id: string
  readonly beat: Heartbeat
  readonly pageSize: number
  readonly pollInterval: number
}

/**
 * Follows the marks of a store in MySQL by asking for them again and again. It needs no connection of its own.
 *
 * It misses no mark, in whatever order transactions end and however long they take: what has no number yet is in every page,
 * and numbers become visible in their order. A page is complete only if it shows a heartbeat that was written after the
 * question.
 *
 * On another server, for example after a failover, every mark is loaded again.
 */
export function mysqlFeed ({ run, table, pollInterval, pageSize = 2000 }: MysqlFeedSource): RevocationFeed {
  const statements = revocationFeedStatements(table)
  const id = `h${randomUUID()}`
  const beat = heartbeat(value => run(statements.heartbeat(id, Number(value))))
  const feeding = { run, statements, id, beat, pageSize, pollInterval }
  let closing = new AbortController()
  let completeAt = -Infinity
  /** The marks without a number in the last page. */
  let handedOut: ReadonlySet<string> = new Set()

  return {
    async next (position, timeout) {
      const { signal } = closing
      const place = placeOf(position)
      if (place === undefined) return begin(feeding)
      if (place.loaded !== undefined) return load(feeding, place, place.loaded)

      const asked = performance.now()
      const end = completeAt + timeout
      const isNew = ({ hasNumbers, unnumbered }: Reading) => hasNumbers || unnumbered.some(mark => !handedOut.has(mark))
      const { page, unnumbered } = asked < end
        ? await readWhenNew(feeding, place, { end, signal, isNew })
        : await readEnd(feeding, place)
      signal.throwIfAborted()
      if (page.complete) completeAt = asked
      handedOut = new Set(unnumbered)
      return page
    },

    close () {
      closing.abort(new Error('the feed was closed'))
      closing = new AbortController()
      completeAt = -Infinity
      handedOut = new Set()
    }
  }
}

interface Waiting {
  /** Until when it waits, by `performance.now()`. */
  readonly end: number
  readonly signal: AbortSignal
  /** Whether something was read that was not in the last page. */
  isNew (reading: Reading): boolean
}

/** Reads until there is something new, or until the time is over. */
async function readWhenNew (feeding: Feeding, place: Place, waiting: Waiting): Promise<Reading> {
  const { end, signal, isNew } = waiting
  const reading = await read(feeding, place)
  const left = end - performance.now()
  if (isNew(reading) || reading.isElsewhere || left <= 0) return reading
  await sleep(Math.min(feeding.pollInterval, left), undefined, { signal })
  return readWhenNew(feeding, place, waiting)
}

/** Reads everything, and whether a heartbeat arrives. */
async function readEnd (feeding: Feeding, place: Place): Promise<Reading> {
  const { run, statements, beat, pageSize } = feeding
  const value = await beat()
  const reading = await read(feeding, place)
  const { page, isElsewhere, isWhole, unnumbered, heartbeat } = reading
  if (isElsewhere) return reading
  if (heartbeat !== value) throw new Error('the feed reads from a server that does not have what the store has just written')
  if (unnumbered.length > 0) await run(statements.number(Math.floor(pageSize / 2)))
  return { ...reading, page: { ...page, complete: isWhole } }
}

/** The position of a feed that still gives numbers before it begins: read as none. */
const beforeBeginning = ''

/**
 * Begins anew, without a mark yet. Where no feed has given numbers for long, many marks have none, and it would hand out all
 * of these twice. So it first gives numbers, some with each call, for a call that takes long looks like a server that is silent.
 */
async function begin ({ run, statements, beat, pageSize }: Feeding): Promise<FeedPage> {
  await beat()
  const numbers = 2 * pageSize
  const { changed } = await run(statements.number(numbers))
  if (changed > numbers) return { marks: [], position: beforeBeginning, complete: false }
  const { rows: [row] } = await run(statements.begin)
  const place: Place = { server: String(row?.['server']), seen: String(row?.['seen']), loaded: ['s', '', '', ''] }
  return { marks: [], position: JSON.stringify(place), complete: false }
}

async function load (feeding: Feeding, place: Place, loaded: MarkKey): Promise<FeedPage> {
  const { rows } = await feeding.run(feeding.statements.load(loaded, feeding.pageSize))
  if (rows[0]?.['server'] !== place.server) return begin(feeding)
  const found = rows.filter(isMark)
  const last = found.length < feeding.pageSize ? undefined : found.at(-1)
  const position = JSON.stringify({ ...place, loaded: last && keyOf(last) })
  return { marks: found.map(markOf), position, complete: false, now: Number(rows[0]?.['now']) }
}

interface Reading {
  readonly page: FeedPage
  /** Whether every mark that was there is in it. */
  readonly isWhole: boolean
  /** Whether some of the marks have a number. */
  readonly hasNumbers: boolean
  /** The marks without one, each as a text. */
  readonly unnumbered: readonly string[]
  /** Whether it is another server, so that the feed begins anew. */
  readonly isElsewhere: boolean
  readonly heartbeat: unknown
}

/**
 * Reads the marks whose numbers have not been seen, and those that have none yet: of each at most `count`, or more where so
 * many have one number.
 */
async function read (feeding: Feeding, place: Place, count = feeding.pageSize): Promise<Reading> {
  const { rows } = await feeding.run(feeding.statements.read({ heartbeat: feeding.id, seen: place.seen, count }))
  const heartbeat = rows[0]?.['heartbeat']
  if (rows[0]?.['server'] !== place.server) {
    return { page: await begin(feeding), isWhole: false, hasNumbers: false, unnumbered: [], isElsewhere: true, heartbeat }
  }

  const found = rows.filter(isMark)
  const numbered = found.filter(row => row['written'] !== null)
  const unnumbered = found.filter(row => row['written'] === null)
  const areAll = numbered.length < count
  const seen = areAll ? highest(numbered, place.seen) : nextToHighest(numbered, place.seen)
  if (!areAll && seen === place.seen) return read(feeding, place, 2 * count)
  const position = JSON.stringify({ server: place.server, seen })
  return {
    page: { marks: found.map(markOf), position, complete: false, now: Number(rows[0]?.['now']) },
    isWhole: areAll && unnumbered.length < count,
    hasNumbers: numbered.length > 0,
    unnumbered: unnumbered.map(row => JSON.stringify([...keyOf(row), row['cutoff'], row['until']])),
    isElsewhere: false,
    heartbeat
  }
}

function numbersOf (rows: readonly Row[]): bigint[] {
  return rows.map(row => BigInt(String(row['written'])))
}

function highest (rows: readonly Row[], seen: string): string {
  return String(numbersOf(rows).reduce((most, number) => number > most ? number : most, BigInt(seen)))
}

/** The highest number of which surely every mark is among the rows: the one before the last, for more marks may have that. */
function nextToHighest (rows: readonly Row[], seen: string): string {
  const last = highest(rows, seen)
  return highest(rows.filter(row => String(row['written']) !== last), seen)
}

/** Reads a position. One of another kind of feed is none. */
function placeOf (position: string | undefined): Place | undefined {
  try {
    const place = JSON.parse(position ?? 'null') as Partial<Place> | null
    return typeof place?.server === 'string' && /^\d+$/.test(String(place.seen)) ? place as Place : undefined
  } catch {
    return undefined
  }
}

function isMark (row: Row): boolean {
  return row['id'] !== null
}

function markOf (row: Row): Mark {
  const [id, issuer, tenant, except] = keyOf(row)
  return markOfRow({ id, issuer, tenant, except, cutoff: Number(row['cutoff']), until: Number(row['until']) })
}

function keyOf (row: Row): MarkKey {
  return [String(row['id']), String(row['issuer']), String(row['tenant']), String(row['except'])]
}
