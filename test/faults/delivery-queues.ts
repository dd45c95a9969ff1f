import { Queue, Worker } from 'bullmq'
import { join } from 'node:path'
import { PgBoss } from 'pg-boss'
import type { Test } from 'tap'
import type { DeliveryQueue } from '../../lib/delivery-queue.ts'
import { bullmqDeliveryQueue } from '../../lib/delivery-queues/bullmq.ts'
import { pgBossDeliveryQueue } from '../../lib/delivery-queues/pg-boss.ts'
import { sqliteDeliveryQueue } from '../../lib/delivery-queues/sqlite.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** A queue, and how to let go of its file or server. */
export interface OpenQueue {
  readonly queue: DeliveryQueue
  close (): unknown
}

/** A kind of queue that outlives its processes. */
export interface DurableQueue {
  /** Has a place for a test: a file, or the URL of a server. */
  withPlace (t: Test, use: (place: string) => Promise<void>): Promise<void>
  open (place: string): Promise<OpenQueue>
}

const fileQueues: Readonly<Record<string, DurableQueue>> = Object.fromEntries(
  sqliteLibraries.filter(({ skip }) => skip === false).map(({ name, open }) => [name, {
    withPlace: async (t: Test, use: (place: string) => Promise<void>) => use(join(t.testdir({}), 'deliveries.db')),
    open: async (path: string) => {
      const database = open(path)
      database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL')
      const queue = sqliteDeliveryQueue(database, { pollInterval: 100, onError: error => console.error(error) })
      await queue.migrate()
      return { queue, close () {} }
    }
  }])
)

/** The queues whose workers may be on other machines. */
export const serverQueues: Readonly<Record<string, DurableQueue>> = {
  bullmq: {
    withPlace: (t, use) => withPrivateRedis(t, ({ url }) => use(url)),
    open: async url => {
      const connection = { url }
      const queue = new Queue('logouts', { connection })
      return { queue: bullmqDeliveryQueue({ queue, Worker, connection, onError: () => {} }), close: () => queue.close() }
    }
  },
  'pg-boss': {
    withPlace: (t, use) => withPrivatePostgres(t, ({ url }) => use(url)),
    open: async url => {
      const boss = new PgBoss({ connectionString: url, max: 3 })
      boss.on('error', () => {})
      const queue = pgBossDeliveryQueue(await boss.start(), { onError: () => {} })
      await queue.migrate()
      return { queue, close: () => boss.stop({ graceful: false }) }
    }
  }
}

/** Every queue that outlives its processes, by its name. */
export const durableQueues: Readonly<Record<string, DurableQueue>> = { ...fileQueues, ...serverQueues }

/** Opens one of them. */
export async function openQueue (name: string, place: string): Promise<OpenQueue> {
  const kind = durableQueues[name]
  if (kind === undefined) throw new Error(`no queue ${name}`)
  return kind.open(place)
}
