import type { DeliveryQueue } from '../../lib/delivery-queue.ts'
import { sqliteDeliveryQueue } from '../../lib/delivery-queues/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** Opens a queue that outlives its processes, at a place: a file or the URL of a server. */
export type OpenQueue = (place: string) => Promise<DeliveryQueue>

/** The queues on SQLite, by their names. */
export const fileQueues: Readonly<Record<string, OpenQueue>> = Object.fromEntries(
  sqliteLibraries.filter(({ skip }) => skip === false).map(({ name, open }) => [name, async (path: string) => {
    const database = open(path)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL')
    const queue = sqliteDeliveryQueue(database, { pollInterval: 100, onError: error => console.error(error) })
    await queue.migrate()
    return queue
  }])
)
