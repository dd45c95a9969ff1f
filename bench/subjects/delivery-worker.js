// A notifier that works on a queue, and clients that accept everything: in one process, as a host has them.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { logoutNotifier } from '../../dist/index.js'
import { memoryDeliveryQueue } from '../../dist/delivery-queues/memory.js'
import { sqliteDeliveryQueue } from '../../dist/delivery-queues/sqlite.js'

/** Opens the queue of a kind. `servers` has the URLs of private servers, `directory` a folder for files. */
const queues = {
  memory: async () => ({ queue: memoryDeliveryQueue({ stopTimeout: 0 }), close: async () => {} }),
  async sqlite ({ directory }) {
    const { default: Database } = await import('better-sqlite3')
    const database = new Database(`${directory}/deliveries-${process.pid}.db`)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 500')
    const queue = sqliteDeliveryQueue(database, { pollInterval: 20 })
    await queue.migrate()
    return { queue, close: async () => database.close() }
  },
  async bullmq ({ redis }) {
    const { Queue, Worker } = await import('bullmq')
    const { bullmqDeliveryQueue } = await import('../../dist/delivery-queues/bullmq.js')
    const connection = { url: redis }
    const queue = new Queue(`bench-${process.pid}`, { connection })
    return { queue: bullmqDeliveryQueue({ queue, Worker, connection, onError () {} }), close: () => queue.close() }
  },
  async 'pg-boss' ({ postgres }) {
    const { PgBoss } = await import('pg-boss')
    const { pgBossDeliveryQueue } = await import('../../dist/delivery-queues/pg-boss.js')
    const boss = new PgBoss({ connectionString: postgres })
    boss.on('error', () => {})
    const queue = pgBossDeliveryQueue(await boss.start())
    await queue.migrate()
    return { queue, close: () => boss.stop() }
  }
}

/**
 * How many deliveries a second arrive, and how many microseconds `notify` adds to a logout.
 *
 * @param {{ kind: keyof typeof queues, count: number, directory?: string, redis?: string, postgres?: string }} parameters
 */
export async function measureDeliveries ({ kind, count, ...places }) {
  const { queue, close } = await queues[kind](places)
  let arrived = 0
  let all = () => {}
  const server = createServer((request, response) => {
    request.resume()
    response.end()
    if (++arrived === count) all()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/`
  const notifier = logoutNotifier({
    findClient: () => ({ kind: 'webhook', url, secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] }),
    queue,
    wait: 0,
    limits: { parallel: 50, parallelPerClient: 50 },
    network: { allowInsecure: true, allowAddresses: ['127.0.0.1'] }
  })

  const [notified, began] = [performance.now(), process.cpuUsage()]
  for (let index = 0; index < count; index++) await notifier.notify([{ clientId: 'shop', subject: 'alice', sid: `${index}` }])
  const notifying = performance.now() - notified
  const { user, system } = process.cpuUsage(began)

  const done = new Promise(resolve => { all = resolve })
  const started = performance.now()
  await notifier.start()
  await done
  const delivering = performance.now() - started
  await notifier.stop()
  await close()
  server.close()
  return {
    kind, deliveriesPerSecond: count / delivering * 1000, notifyMicroseconds: notifying / count * 1000, notifyCpuMicroseconds: (user + system) / count
  }
}

const [parameters] = process.argv.slice(2)
if (process.argv[1] === import.meta.filename && parameters !== undefined) console.log(JSON.stringify(await measureDeliveries(JSON.parse(parameters))))
