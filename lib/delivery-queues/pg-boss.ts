import { setTimeout as sleep } from 'node:timers/promises'
import type { Promised } from '../awaitable.ts'
import type { DeliveryQueue } from '../delivery-queue.ts'
import { startPolling, type PollingWorker } from '../internal/databases/pg-boss-worker.ts'
import { pgBossJobs, type PgBossClient, type PgBossDatabase } from '../internal/databases/pg-boss.ts'
import { deliveryRecord } from '../internal/records/delivery.ts'

export type { PgBossClient, PgBossDatabase, PgBossJob } from '../internal/databases/pg-boss.ts'

/** The options of {@link pgBossDeliveryQueue}. */
export interface PgBossDeliveryQueueOptions {
  /** The name of a queue for deliveries alone. @default 'logout-delivery' */
  readonly name?: string | undefined
  /** The schema of pg-boss: its own option `schema`. @default 'pgboss' */
  readonly schema?: string | undefined
  /**
   * Returns the transaction that `enqueue` joins, for example from an `AsyncLocalStorage`. What is enqueued in it is sent once it
   * is committed, and never if it is rolled back. @default each `enqueue` is a transaction of its own
   */
  readonly transaction?: (() => PgBossDatabase | undefined) | undefined
  /** How often a worker looks for deliveries of other processes, in milliseconds. It sees its own at once. @default 1000 */
  readonly pollInterval?: number | undefined
  /** Called for errors of a worker. It goes on by itself. @default a process warning, once for each outage */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** {@link pgBossDeliveryQueue}, and how to make its queue. */
export interface PgBossDeliveryQueue extends Promised<DeliveryQueue> {
  /** Makes the queue in pg-boss. It is safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps deliveries in a queue of pg-boss 10 to 12, in the host's PostgreSQL. With `transaction`, a logout and its messages are
 * committed together.
 *
 * A delivery in the hand of a process that died is handed out again within the `timeout` of an attempt and 5 seconds, whatever
 * `supervise` and `expireInSeconds` of pg-boss are. What is dead stays until `redeliver`: in pg-boss it is a job that waits for
 * the year 9999.
 *
 * `boss` must have been started. It is not stopped.
 *
 * @throws {TypeError} for an option that is wrong
 * @see https://timgit.github.io/pg-boss/
 * @example
 * ```ts
 * import { pgBossDeliveryQueue, type PgBossClient } from 'fastify-logout/delivery-queues/pg-boss'
 *
 * // boss: await new PgBoss('postgres://127.0.0.1/app').start()
 * export async function deliveriesOf (boss: PgBossClient) {
 *   const deliveries = pgBossDeliveryQueue(boss)
 *   await deliveries.migrate()
 *   return deliveries
 * }
 * ```
 */
export function pgBossDeliveryQueue (boss: PgBossClient, options: PgBossDeliveryQueueOptions = {}): PgBossDeliveryQueue {
  const { name, schema, transaction, pollInterval, onError } = resolveOptions(boss, options)
  const jobs = pgBossJobs({ boss, name, schema })
  const workers = new Set<PollingWorker>()

  return {
    migrate: () => createQueue(boss, name),

    async enqueue (deliveries) {
      const records = deliveries.map(deliveryRecord)
      if (records.length === 0) return
      await jobs.add(records, transaction())
      for (const { wake } of workers) wake()
    },

    async work (attempt, work) {
      const worker = startPolling(attempt, { ...work, jobs, pollInterval, onError })
      workers.add(worker)
      return async () => {
        workers.delete(worker)
        await worker.stop()
        return 0
      }
    },

    dead: ({ limit, after }) => jobs.dead(limit, after),

    async redeliver (id) {
      const isRedelivered = await jobs.unbury(id)
      for (const { wake } of workers) wake()
      return isRedelivered
    }
  }
}

/** So that the delivery of a process that died is found in time. */
const longestInterval = 2000

const mostAttempts = 5

/** In version 10, of nodes that make the queue at once the database may let each fail. They try again, not all at once. */
async function createQueue (boss: PgBossClient, name: string, attempt = 1): Promise<void> {
  try {
    await boss.createQueue(name)
  } catch (error) {
    if (attempt === mostAttempts) throw error
    await sleep(attempt * 100 * Math.random())
    await createQueue(boss, name, attempt + 1)
  }
}

function resolveOptions (boss: PgBossClient, options: PgBossDeliveryQueueOptions) {
  const { name = 'logout-delivery', schema = 'pgboss', transaction = () => undefined, pollInterval = 1000, onError = warn } = options
  const check = (holds: boolean, what: string, hint: string) => { if (!holds) throw new TypeError(`pgBossDeliveryQueue: ${what} ${hint}`) }
  check(typeof (boss as PgBossClient | undefined)?.getDb === 'function', 'pass', 'a PgBoss that was started')
  check(typeof name === 'string' && /^[\w./-]+$/.test(name), 'option "name"', 'must be letters, digits, and any of _ - . /')
  check(typeof schema === 'string' && /^[a-z_]\w{0,62}$/i.test(schema), 'option "schema"', 'must be letters, digits and underscores')
  check(typeof transaction === 'function', 'option "transaction"', 'must be a function if it is given')
  check(typeof pollInterval === 'number' && pollInterval > 0 && pollInterval <= longestInterval, 'option "pollInterval"',
    `must be a positive number of milliseconds, at most ${longestInterval}`)
  check(typeof onError === 'function', 'option "onError"', 'must be a function if it is given')
  return { name, schema, transaction, pollInterval, onError }
}

function warn (error: unknown): void {
  process.emitWarning(`deliveries of logouts wait, because pg-boss failed: ${String(error)}`, {
    type: 'FastifyLogoutWarning', code: 'FASTIFY_LOGOUT_PG_BOSS'
  })
}
