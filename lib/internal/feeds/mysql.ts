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
 * It misses no mark, in whatever order transactions end and however long they take: what has no number yet is handed out each
 * time, and numbers become visible in their order. A page is complete only if it shows a heartbeat that was written after
 * the question.
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

  return {
    async next (position, timeout) {
      const { signal } = closing
      const place = placeOf(position)
      if (place === undefined) return begin(feeding)
      if (place.loaded !== undefined) return load(feeding, place, place.loaded)

      const asked = performance.now()
      const end = completeAt + timeout
      const page = asked < end ? await readWhenNew(feeding, place, { end, signal }) : await readEnd(feeding, place)
      signal.throwIfAborted()
      if (page.complete) completeAt = asked
      return page
    },

    close () {
      closing.abort(new Error('the feed was closed'))
      closing = new AbortController()
      completeAt = -Infinity
    }
  }
}

interface Waiting {
  /** Until when it waits, by `performance.now()`. */
  readonly end: number
  readonly signal: AbortSignal
}

/** Reads until there are marks, or until the time is over. */
async function readWhenNew (feeding: Feeding, place: Place, { end, signal }: Waiting): Promise<FeedPage> {
  const { page, isElsewhere } = await read(feeding, place)
  const left = end - performance.now()
  if (page.marks.length > 0 || isElsewhere || left <= 0) return page
  await sleep(Math.min(feeding.pollInterval, left), undefined, { signal })
  return readWhenNew(feeding, place, { end, signal })
}

/** Reads everything, and whether a heartbeat arrives. */
async function readEnd (feeding: Feeding, place: Place): Promise<FeedPage> {
  const { run, statements, beat, pageSize } = feeding
  const value = await beat()
  const { page, isElsewhere, isWhole, isNumbered, heartbeat } = await read(feeding, place)
  if (isElsewhere) return page
  if (heartbeat !== value) throw new Error('the feed reads from a server that does not have what the store has just written')
  if (!isNumbered) await run(statements.number(Math.floor(pageSize / 2)))
  return { ...page, complete: isWhole }
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
  /** Whether each of the marks has a number. */
  readonly isNumbered: boolean
  /** Whether it is another server, so that the feed begins anew. */
  readonly isElsewhere: boolean
  readonly heartbeat: unknown
}

/** Reads the marks whose numbers have not been seen, and those that have none yet. */
async function read (feeding: Feeding, place: Place): Promise<Reading> {
  const { run, statements, id, pageSize } = feeding
  const { rows } = await run(statements.read({ heartbeat: id, seen: place.seen, count: pageSize }))
  const heartbeat = rows[0]?.['heartbeat']
  if (rows[0]?.['server'] !== place.server) {
    return { page: await begin(feeding), isWhole: false, isNumbered: true, isElsewhere: true, heartbeat }
  }

  const found = rows.filter(isMark)
  const numbered = found.filter(row => row['written'] !== null)
  const others = found.length - numbered.length
  const seen = numbered.length < pageSize ? highest(numbered, place.seen) : nextToHighest(numbered, place.seen)
  const position = JSON.stringify({ server: place.server, seen })
  return {
    page: { marks: found.map(markOf), position, complete: false, now: Number(rows[0]?.['now']) },
    isWhole: numbered.length < pageSize && others < pageSize,
    isNumbered: others === 0,
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
