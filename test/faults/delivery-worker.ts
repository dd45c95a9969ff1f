import { Queue, Worker } from 'bullmq'
import { writeSync } from 'node:fs'
import { PgBoss } from 'pg-boss'
import type { DeliveryQueue } from '../../lib/delivery-queue.ts'
import { bullmqDeliveryQueue } from '../../lib/delivery-queues/bullmq.ts'
import { pgBossDeliveryQueue } from '../../lib/delivery-queues/pg-boss.ts'

/** A queue, and how to let go of its server. */
export interface OpenQueue {
  readonly queue: DeliveryQueue
  close (): Promise<unknown>
}

/** The queues whose workers may be on other machines. */
export const queues: Readonly<Record<string, (url: string) => Promise<OpenQueue>>> = {
  bullmq: async url => {
    const connection = { url }
    const queue = new Queue('logouts', { connection })
    return { queue: bullmqDeliveryQueue({ queue, Worker, connection, onError: () => {} }), close: () => queue.close() }
  },
  'pg-boss': async url => {
    const boss = new PgBoss({ connectionString: url, max: 3 })
    boss.on('error', () => {})
    const queue = pgBossDeliveryQueue(await boss.start())
    await queue.migrate()
    return { queue, close: () => boss.stop({ graceful: false }) }
  }
}

// As a process of its own: a worker that says each delivery in hand, and never ends one whose id begins with "hang".
const [name, url] = process.argv.slice(2)
if (import.meta.filename === process.argv[1] && name !== undefined && url !== undefined) {
  const open = await queues[name]?.(url)
  await open?.queue.work(async ({ id }) => {
    writeSync(1, `${id}\n`)
    if (id.startsWith('hang')) await new Promise(() => {})
    await new Promise(resolve => setTimeout(resolve, 20))
    return 'done'
  }, { parallel: 5, timeout: 10_000 })
}
