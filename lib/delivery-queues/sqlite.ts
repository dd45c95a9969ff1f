import { setTimeout as sleep } from 'node:timers/promises'
import type { Immediate } from '../awaitable.ts'
import type { AttemptDelivery, Delivery, DeliveryOutcome, DeliveryQueue, DeliveryWorkOptions } from '../delivery-queue.ts'
import { deliveryStatements, deliveryTable } from '../internal/databases/sqlite-delivery-sql.ts'
import {
  inOwnTransaction, inTransaction, migrateSqlite, prepareAll, sqliteStatements, type RunSqlite, type SqliteDatabase
} from '../internal/databases/sqlite.ts'
import { asNew, deliveryRecord, outcomeOf } from '../internal/records/delivery.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in the database {@link sqliteDeliveryQueue} keeps deliveries, and how often it looks. */
export interface SqliteDeliveryQueueOptions {
  /** The table. @default 'logout_delivery' */
  readonly table?: string | undefined
  /** How often a worker looks for deliveries of other processes, in milliseconds. It sees its own at once. @default 1000 */
  readonly pollInterval?: number | undefined
  /** Called when the database fails under a worker, which goes on. @default a process warning */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** {@link sqliteDeliveryQueue}. It returns plain values; a failure is thrown. */
export interface SqliteDeliveryQueue extends Immediate<DeliveryQueue> {
  /** Creates the table if it does not exist. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps deliveries in a table of SQLite, for the processes of one machine. What a killed process had in hand is handed out to
 * another worker within the `timeout` of an attempt and 5 seconds.
 *
 * Within a transaction of the host `enqueue` is part of it: what is rolled back is never sent. A worker waits until the
 * transaction is over.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3, in WAL mode. It is never closed: stop the
 *   worker first.
 * @throws {TypeError} when it is not such a database, or an option is wrong
 * @example
 * ```ts
 * import Database from 'better-sqlite3'
 * import { sqliteDeliveryQueue } from 'fastify-logout/delivery-queues/sqlite'
 *
 * const database = new Database('deliveries.db')
 * database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 500')
 * const queue = sqliteDeliveryQueue(database)
 * await queue.migrate()
 * ```
 */
export function sqliteDeliveryQueue (database: SqliteDatabase, options: SqliteDeliveryQueueOptions = {}): SqliteDeliveryQueue {
  const { table, pollInterval, onError } = resolveOptions(options)
  const run = prepareAll(sqliteStatements(database, table, caller), deliveryStatements(table, caller))
  const workers = new Set<() => void>()
  const wake = () => { for (const look of workers) look() }

  return {
    enqueue (deliveries) {
      const records = deliveries.map(deliveryRecord)
      const now = Date.now()
      inTransaction(database, () => {
        for (const record of records) run.enqueue(tokenDigest(record.id), JSON.stringify(record), now)
      })
      setImmediate(wake)
    },

    work (attempt, settings) {
      const worker = startWorker({ database, run, attempt, settings, pollInterval, onError })
      workers.add(worker.look)
      return async () => {
        workers.delete(worker.look)
        await worker.stop()
        return 0
      }
    },

    dead ({ limit, after }) {
      const rows = run.dead(after === undefined ? '' : tokenDigest(after), limit)
      return rows.map(row => ({ delivery: JSON.parse(String(row['delivery'])), reason: String(row['reason']) }))
    },

    redeliver (id) {
      const isRevived = inTransaction(database, () => revive(run, tokenDigest(id)))
      setImmediate(wake)
      return isRevived
    },

    migrate: () => migrateSqlite(database, deliveryTable(table, caller))
  }
}

const caller = 'sqliteDeliveryQueue'
/** How much longer than its timeout an attempt may take before another worker gets the delivery. */
const grace = 3000
const longestInterval = 2000
/** Due deliveries stay where they are during a transaction of the host. */
const shortestInterval = 10

function resolveOptions (options: SqliteDeliveryQueueOptions) {
  const { table = 'logout_delivery', pollInterval = 1000, onError = warn } = options
  if (typeof pollInterval !== 'number' || !(pollInterval > 0 && pollInterval <= longestInterval)) {
    throw new TypeError(`${caller}: option "pollInterval" must be a positive number of milliseconds, at most ${longestInterval}`)
  }
  if (typeof onError !== 'function') throw new TypeError(`${caller}: option "onError" must be a function if it is given`)
  return { table, pollInterval, onError }
}

function warn (error: unknown): void {
  process.emitWarning(`${caller}: ${String(error)}`)
}

type Statements = Readonly<Record<keyof ReturnType<typeof deliveryStatements>, RunSqlite>>

/** Makes a dead delivery a new one. Whether it was there. */
function revive (run: Statements, key: string): boolean {
  const [dead] = run.findDead(key)
  if (dead === undefined) return false
  return run.revive(JSON.stringify(asNew(JSON.parse(String(dead['delivery'])))), Date.now(), key).length > 0
}

interface WorkerSettings {
  readonly database: SqliteDatabase
  readonly run: Statements
  readonly attempt: AttemptDelivery
  readonly settings: DeliveryWorkOptions
  readonly pollInterval: number
  readonly onError: (error: unknown) => void
}

interface Claimed {
  readonly key: string
  readonly claim: number
  readonly delivery: Delivery
}

/** A worker: `look` has it look for deliveries now. */
function startWorker (worker: WorkerSettings) {
  const { attempt, settings: { parallel, timeout }, pollInterval, onError } = worker
  const inHand = new Set<Promise<void>>()
  let isStopped = false
  let timer: NodeJS.Timeout | undefined

  const look = (): void => {
    clearTimeout(timer)
    if (isStopped) return
    let wait = pollInterval
    try {
      const claimed = claim(worker, { limit: parallel - inHand.size, until: Date.now() + timeout + grace })
      for (const one of claimed) take(one)
      if (inHand.size < parallel) wait = Math.min(pollInterval, nextDue(worker))
    } catch (error) {
      onError(error)
    }
    timer = setTimeout(look, wait)
  }

  const take = (one: Claimed): void => {
    const end = Date.now() + timeout + grace
    const settled = outcomeOf(attempt, one.delivery).then(outcome => settle(worker, one, { outcome, end })).then(() => {
      inHand.delete(settled)
      setImmediate(look)
    })
    inHand.add(settled)
  }

  setImmediate(look)
  return {
    look,
    async stop () {
      isStopped = true
      clearTimeout(timer)
      await Promise.all(inHand)
    }
  }
}

/** Claims deliveries that are due. None within a transaction of the host, which may be rolled back. */
function claim ({ database, run }: WorkerSettings, { limit, until }: { readonly limit: number, readonly until: number }): Claimed[] {
  const now = Date.now()
  if (limit === 0 || dueOf(run) > now) return []
  const rows = inOwnTransaction(database, () => run.claim(until, now, limit)) ?? []
  return rows.map(row => ({ key: String(row['id']), claim: Number(row['claim']), delivery: JSON.parse(String(row['delivery'])) }))
}

function dueOf (run: Statements): number {
  const [row] = run.nextDue()
  return Number(row?.['due'] ?? Infinity)
}

/** In milliseconds from now. */
function nextDue ({ run }: WorkerSettings): number {
  return Math.max(dueOf(run) - Date.now(), shortestInterval)
}

/** Writes what became of an attempt, again and again if the database fails, until another worker gets the delivery. */
async function settle (
  worker: WorkerSettings, { key, claim, delivery }: Claimed, { outcome, end }: { readonly outcome: DeliveryOutcome, readonly end: number }
): Promise<void> {
  const { run, onError } = worker
  try {
    if (outcome === 'done') run.done(key, claim)
    else if ('dead' in outcome) run.bury(outcome.dead, key, claim)
    else run.retry(JSON.stringify({ ...outcome.delivery, id: delivery.id }), outcome.retryAt, key, claim)
  } catch (error) {
    onError(error)
    if (Date.now() >= end) return
    await sleep(50)
    await settle(worker, { key, claim, delivery }, { outcome, end })
  }
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 *
 * @example
 * ```ts
 * import { sqliteDeliveryTable } from 'fastify-logout/delivery-queues/sqlite'
 *
 * console.log(sqliteDeliveryTable('app_delivery')) // the SQL of a migration
 * ```
 */
export function sqliteDeliveryTable (table = 'logout_delivery'): string {
  return deliveryTable(table, 'sqliteDeliveryTable')
}
