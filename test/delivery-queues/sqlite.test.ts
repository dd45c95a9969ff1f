import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { deliveryQueueRules } from '../../lib/conformance/delivery-queue.ts'
import { sqliteDeliveryQueue, sqliteDeliveryTable, type SqliteDeliveryQueueOptions } from '../../lib/delivery-queues/sqlite.ts'
import type { Delivery } from '../../lib/delivery-queue.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { delivery } from '../delivery-host.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

const options = { parallel: 4, timeout: 100 }

async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5)
}

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const memory = async (t: Test, queueOptions: SqliteDeliveryQueueOptions = {}) => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const queue = sqliteDeliveryQueue(database, queueOptions)
      await queue.migrate()
      return { database, queue }
    }

    t.test('the rules', { jobs: 4 }, async t => {
      for (const { name, check } of deliveryQueueRules) t.test(name, t => check(() => memory(t)))
    })

    t.test('the rules, with a worker in another connection to the file', { jobs: 4 }, async t => {
      for (const { name, check } of deliveryQueueRules) {
        t.test(name, async t => {
          const path = join(t.testdir({}), 'deliveries.db')
          const [ours, theirs] = [open(path), open(path)]
          t.teardown(() => { ours.close(); theirs.close() })
          for (const database of [ours, theirs]) database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 2000')
          const [host, worker] = [ours, theirs].map(database => sqliteDeliveryQueue(database, { pollInterval: 20 }))
          await host?.migrate()
          if (host !== undefined && worker !== undefined) await check(() => ({ queue: { ...host, work: worker.work } }))
        })
      }
    })

    t.test('within a transaction of the host it is part of that, and no worker sees it before its end', async t => {
      const { database, queue } = await memory(t, { pollInterval: 5 })
      const seen: string[] = []
      const stop = queue.work(async ({ id }) => { seen.push(id); return 'done' }, options)
      await sleep(20)
      database.exec('BEGIN')
      queue.enqueue([delivery({ id: 'rolled back' })])
      await sleep(50)
      t.strictSame(seen, [])
      database.exec('ROLLBACK')
      database.exec('BEGIN')
      queue.enqueue([delivery({ id: 'committed' })])
      await sleep(20)
      database.exec('COMMIT')
      await until(() => seen.length > 0)
      await stop()
      t.strictSame(seen, ['committed'])
    })

    t.test('S14 what another worker had in hand for too long is handed out again, and its late outcome changes nothing', async t => {
      const { queue } = await memory(t, { pollInterval: 20 })
      const hands: Delivery[] = []
      const late: Array<() => void> = []
      const first = queue.work(one => {
        hands.push(one)
        return new Promise(resolve => late.push(() => resolve('done')))
      }, { parallel: 1, timeout: 1 })
      queue.enqueue([delivery({ id: 'lost' })])
      await until(() => hands.length === 1)
      const start = Date.now()
      const second = queue.work(async one => {
        hands.push(one)
        return { retryAt: Date.now() + 3_600_000, delivery: { ...one, attempt: 2 } }
      }, options)
      await until(() => hands.length === 2)
      t.ok(Date.now() - start >= 2500, 'after its time')
      late.forEach(resolve => resolve())
      await Promise.all([first(), second()])
      const third = queue.work(async () => ({ dead: 'seen' }), options)
      queue.enqueue([delivery({ id: 'lost' }), delivery({ id: 'other' })])
      await until(() => queue.dead({ limit: 5 }).length === 1)
      t.strictSame(queue.dead({ limit: 5 }).map(({ delivery: { id } }) => id), ['other'], 'the lost one waits for its retry still')
      await third()
    })

    t.test('while the file is locked, an outcome waits, and the host hears of it', async t => {
      const path = join(t.testdir({}), 'deliveries.db')
      const [ours, theirs] = [open(path), open(path)]
      t.teardown(() => { ours.close(); theirs.close() })
      ours.exec('PRAGMA journal_mode = WAL')
      const errors: unknown[] = []
      const queue = sqliteDeliveryQueue(ours, { pollInterval: 10, onError: error => errors.push(error) })
      await queue.migrate()
      let attempts = 0
      const stop = queue.work(async () => {
        if (attempts++ === 0) theirs.exec('BEGIN IMMEDIATE')
        return 'done'
      }, { parallel: 4, timeout: 60_000 })
      queue.enqueue([delivery({ id: '1' }), delivery({ id: '2' })])
      await until(() => errors.length > 2)
      t.match(String(errors[0]), /locked/)
      t.throws(() => queue.enqueue([delivery({ id: '3' })]), /locked/)
      theirs.exec('COMMIT')
      await until(() => theirs.prepare('SELECT 1 FROM logout_delivery').all().length === 0)
      await stop()
      t.equal(attempts, 2)
    })

    t.test('an outcome that cannot be written until another worker gets the delivery is given up', async t => {
      const { database } = await memory(t)
      let isBroken = false
      const breaking: SqliteDatabase = {
        exec: sql => database.exec(sql),
        prepare (sql) {
          const statement = database.prepare(sql)
          return {
            all (...values) {
              if (isBroken && sql.startsWith('DELETE')) throw new Error('planted')
              return statement.all(...values)
            }
          }
        }
      }
      const errors: unknown[] = []
      const queue = sqliteDeliveryQueue(breaking, { pollInterval: 20, onError: error => errors.push(error) })
      const seen: string[] = []
      const stop = queue.work(async ({ id }) => {
        seen.push(id)
        isBroken = seen.length === 1
        return 'done'
      }, { parallel: 1, timeout: 1 })
      queue.enqueue([delivery({ id: '1' })])
      await until(() => seen.length === 2)
      await stop()
      t.ok(errors.length > 2)
      t.strictSame(seen, ['1', '1'])
      t.strictSame(database.prepare('SELECT 1 FROM logout_delivery').all(), [])
    })

    t.test('a worker whose database fails warns, and goes on', async t => {
      const { database, queue } = await memory(t, { pollInterval: 10 })
      const seen: string[] = []
      const warnings = t.capture(process, 'emitWarning', () => {})
      const stop = queue.work(async ({ id }) => { seen.push(id); return 'done' }, options)
      database.exec('ALTER TABLE logout_delivery RENAME TO elsewhere')
      await sleep(60)
      database.exec('ALTER TABLE elsewhere RENAME TO logout_delivery')
      queue.enqueue([delivery()])
      await until(() => seen.length === 1)
      await stop()
      t.match(warnings()[0]?.args, ['sqliteDeliveryQueue: Error: table logout_delivery is missing: run migrate()'])
    })

    t.test('two tables in one file never see each other', async t => {
      const { database, queue } = await memory(t)
      const other = sqliteDeliveryQueue(database, { table: 'main.other' })
      await other.migrate()
      await other.migrate()
      other.enqueue([delivery({ id: 'other' })])
      queue.enqueue([delivery({ id: 'ours' })])
      const stop = queue.work(async () => ({ dead: 'seen' }), options)
      await until(() => queue.dead({ limit: 5 }).length === 1)
      await stop()
      t.strictSame(other.dead({ limit: 5 }), [])
      t.equal(other.redeliver('ours'), false)
    })

    t.test('the ids of users stand nowhere but in the deliveries, and a done delivery leaves nothing', async t => {
      const { database, queue } = await memory(t)
      const stop = queue.work(async () => 'done', options)
      queue.enqueue([delivery({ id: 'a\0b\ud800' })])
      t.match(database.prepare('SELECT * FROM logout_delivery').all(), [{ id: /^[\w-]{43}$/, due: Number, claim: 0, reason: null }])
      await until(() => database.prepare('SELECT 1 FROM logout_delivery').all().length === 0)
      await stop()
    })

    t.test('a missing table says what to do', async t => {
      const { database } = await memory(t)
      const queue = sqliteDeliveryQueue(database, { table: 'nowhere' })
      const message = 'table nowhere is missing: run migrate()'
      t.throws(() => queue.enqueue([delivery()]), { message })
      t.throws(() => queue.dead({ limit: 1 }), { message })
      t.throws(() => queue.redeliver('1'), { message })
    })
  })
}

t.test('a wrong database, table or option is a TypeError that names it', async t => {
  t.throws(() => sqliteDeliveryQueue({} as SqliteDatabase), { name: 'TypeError', message: /sqliteDeliveryQueue: pass a database/ })
  const database: SqliteDatabase = { prepare: () => ({ all: () => [] }), exec: () => {} }
  for (const table of ['', 'a"b', 'a;b', 'a.b.c', '1a']) {
    t.throws(() => sqliteDeliveryQueue(database, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => sqliteDeliveryTable(table), { name: 'TypeError', message: /table/ })
  }
  for (const pollInterval of [0, -1, NaN, 2001, '1' as never]) {
    t.throws(() => sqliteDeliveryQueue(database, { pollInterval }), { name: 'TypeError', message: /"pollInterval" must/ })
  }
  t.throws(() => sqliteDeliveryQueue(database, { onError: 7 as never }), { name: 'TypeError', message: /"onError" must/ })
  t.match(sqliteDeliveryTable(), /"logout_delivery"/)
})
