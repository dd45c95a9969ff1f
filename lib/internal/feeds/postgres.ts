import { randomUUID } from 'node:crypto'
import { connectionLender, isPool, plannedOnce, type PostgresConnection, type PostgresStatement } from '../databases/postgres-connection.ts'
import { revocationFeedStatements, type RevocationNames } from '../databases/postgres-revocation-sql.ts'
import type { PostgresClient } from '../databases/postgres.ts'
import { missingTable } from '../databases/sql-table.ts'
import { markOfRow } from '../marks/row.ts'
import type { FeedPage, Mark, RevocationFeed } from '../../revocation-store.ts'
import { heartbeat, type Heartbeat } from './heartbeat.ts'
import { listen, type Listening } from './postgres-listening.ts'
import { placeOf, transactionsOf, type MarkKey, type Place } from './postgres-position.ts'

/** Whose marks {@link postgresFeed} follows. */
export interface PostgresFeedSource {
  readonly names: RevocationNames
  /** The table, for errors. */
  readonly table: string
  readonly caller: string
  /** How many marks are read at once. @default 1000 */
  readonly pageSize?: number
}

/** After so many milliseconds without an answer to a heartbeat, its connection counts as lost. */
const longestHeartbeat = 60_000

/**
 * Follows the marks of a store in Postgres, on a connection that it takes out of the pool for as long as it follows, and on
 * which it listens: a pooler that shares connections between transactions cannot be in between.
 *
 * New marks are sent to it at once. To be sure that none is missing, it reads what was written since the snapshot that it saw
 * last, so it misses none, in whatever order transactions end and however long they take.
 *
 * A page is complete only if this connection found a heartbeat that was written through the pool after the question. After
 * a lost connection it goes on, also while it loads, only if the server is the same, by its identifier and timeline, and
 * still has the last heartbeat: then it also has what was seen before that. Otherwise every mark is loaded again.
 *
 * @throws {TypeError} when the client is not a pool; `caller` begins the message.
 */
export function postgresFeed (pool: PostgresClient, { names, table, caller, pageSize = 1000 }: PostgresFeedSource): RevocationFeed {
  if (!isPool(pool)) throw new TypeError(`${caller}: feed() needs a Pool of pg, which has connect()`)
  const lend = connectionLender(pool)
  const statements = revocationFeedStatements(names)
  const id = `h${randomUUID()}`
  const beat = heartbeat(value => writeHeartbeat(lend, plannedOnce(statements.heartbeat, [id, value])))
  let opened: Opened | undefined

  return {
    async next (position, timeout) {
      const current = opened ??= open(signal => lend(signal).then(connection => listen(connection, statements, signal)), table)
      const listening = await current.listening
      const place = await placeOn(listening, placeOf(position))
      if (place === undefined) return begin(listening, id, beat)
      if (place.loaded !== undefined) return load(listening, { ...place, loaded: place.loaded }, pageSize)
      if (place.next !== undefined) return readOn(listening, place, { id, pageSize })

      const asked = performance.now()
      const wait = Math.ceil(current.completeAt + timeout - asked)
      if (wait > 0) {
        await listening.wait(wait)
        return receive(listening, place, () => readOn(listening, place, { id, pageSize }))
      }
      const page = await readOn(listening, place, { id, value: await beat(), pageSize })
      if (page.complete) current.completeAt = asked
      return page
    },

    close () {
      opened?.closing.abort(new Error('the feed was closed'))
      opened = undefined
    }
  }
}

interface Opened {
  readonly closing: AbortController
  readonly listening: Promise<Listening>
  /** When everything was last known to be read, by `performance.now()`. */
  completeAt: number
}

/** Begins to listen. `table` is named in the error when it is missing. */
function open (listenUntil: (signal: AbortSignal) => Promise<Listening>, table: string): Opened {
  const closing = new AbortController()
  const listening = listenUntil(closing.signal).catch((error: unknown) => {
    throw missingTable(error, table)
  })
  listening.catch(() => {})
  return { closing, listening, completeAt: -Infinity }
}

async function writeHeartbeat (lend: (signal: AbortSignal) => Promise<PostgresConnection>, statement: PostgresStatement): Promise<void> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new Error('the heartbeat was not answered')), longestHeartbeat)
  timer.unref()
  try {
    const connection = await lend(late.signal)
    await queryOnce(connection, statement, late.signal)
  } finally {
    clearTimeout(timer)
  }
}

/** Runs a statement and gives the connection back; it is closed if the statement fails, or when the signal is aborted. */
async function queryOnce (connection: PostgresConnection, statement: PostgresStatement, signal: AbortSignal): Promise<void> {
  let isLent = true
  const giveBack = (destroy: boolean) => {
    if (isLent) connection.release(destroy)
    isLent = false
  }
  const fail = () => giveBack(true)
  connection.on('error', fail)
  signal.addEventListener('abort', fail)
  try {
    await connection.query(statement)
    connection.off('error', fail)
    giveBack(false)
  } finally {
    signal.removeEventListener('abort', fail)
    fail()
  }
}

/** The place as seen from this connection; `undefined` if it cannot be gone on from. */
async function placeOn (listening: Listening, place: Place | undefined): Promise<Place | undefined> {
  const { server, session } = listening
  if (place?.server !== server) return undefined
  if (place.session === session) return place
  const { proof, loaded } = place
  const [row] = await listening.run('lastHeartbeat', proof.id)
  return row?.['value'] === proof.value ? { server, session, seen: proof.seen, proof, loaded } : undefined
}

/** Begins anew, without a mark yet. The heartbeat is written behind what was seen, so that a load that is cut off can go on. */
async function begin ({ run, server, session }: Listening, id: string, beat: Heartbeat): Promise<FeedPage> {
  const [row] = await run('begin')
  const seen = String(row?.['snapshot'])
  const place: Place = { server, session, seen, loaded: ['s', '', '', ''], proof: { id, value: await beat(), seen } }
  return { marks: [], position: JSON.stringify(place), complete: false }
}

async function load ({ run }: Listening, place: Place & { readonly loaded: MarkKey }, pageSize: number): Promise<FeedPage> {
  const [row] = await run('load', ...place.loaded, pageSize)
  const found = listedMarks(row?.['marks'])
  const last = found.length < pageSize ? undefined : found.at(-1)
  const position = JSON.stringify({ ...place, loaded: last && keyOf(last) })
  return { marks: found.map(markOfListed), position, complete: false, now: Number(row?.['now']) }
}

/** The marks that were sent. If they were too many to be sent, they are read. */
async function receive (listening: Listening, place: Place, read: () => Promise<FeedPage>): Promise<FeedPage> {
  const { items: marks, isWhole } = listening.takeNews()
  if (isWhole) return { marks, position: JSON.stringify(place), complete: false }
  const page = await read()
  return { ...page, marks: [...marks, ...page.marks] }
}

interface ReadOn {
  readonly id: string
  /** The heartbeat that must be found. */
  readonly value?: string
  readonly pageSize: number
}

/** Reads what was written since the place's snapshot. */
async function readOn ({ run }: Listening, place: Place, { id, value, pageSize }: ReadOn): Promise<FeedPage> {
  const { end, running } = transactionsOf(place.seen)
  const after = place.next?.after ?? firstOf('0')
  const afterEnd = BigInt(after[0]) < BigInt(end) ? firstOf(end) : after
  const [row] = await run('readEnd', running, pageSize, ...after, ...afterEnd, id)
  if (value !== undefined && row?.['heartbeat'] !== value) {
    throw new Error('the feed reads from a server that does not have what the store has just written')
  }
  const found = listedMarks(row?.['marks'])
  const last = found.at(-1)
  const seen = place.next?.seen ?? String(row?.['snapshot'])
  const next = found.length < pageSize || last === undefined ? undefined : { seen, after: [`${last[6]}`, ...keyOf(last)] as const }
  const proof = value === undefined ? place.proof : { id, value, seen: place.seen }
  const read: Place = { server: place.server, session: place.session, seen: next === undefined ? seen : place.seen, next, proof }
  return {
    marks: found.map(markOfListed),
    position: JSON.stringify(read),
    complete: value !== undefined && next === undefined,
    now: Number(row?.['now'])
  }
}

/** Before every mark that this transaction wrote. */
function firstOf (transaction: string): readonly [written: string, ...MarkKey] {
  return [transaction, '', '', '', '']
}

type ListedMark = readonly [...key: MarkKey, cutoff: number, until: number, written?: unknown]

function listedMarks (text: unknown): readonly ListedMark[] {
  return JSON.parse(String(text)) as ListedMark[]
}

function keyOf ([id, issuer, tenant, except]: ListedMark): MarkKey {
  return [id, issuer, tenant, except]
}

function markOfListed ([id, issuer, tenant, except, cutoff, until]: ListedMark): Mark {
  return markOfRow({ id, issuer, tenant, except, cutoff, until })
}
