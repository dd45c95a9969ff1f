import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { PgBoss } from 'pg-boss'
import PgBoss10 from 'pg-boss-10'
import t, { type Test } from 'tap'
import { deliveryQueueRules } from '../../lib/conformance/delivery-queue.ts'
import type { Delivery } from '../../lib/delivery-queue.ts'
import { pgBossDeliveryQueue, type PgBossClient, type PgBossDatabase } from '../../lib/delivery-queues/pg-boss.ts'
import { withPostgres } from '../servers/postgres.ts'
import { delivery, until } from './deliveries.ts'

t.setTimeout(240_000)

const options = { parallel: 4, timeout: 10_000 }

/** A PgBoss of one version, in a schema of its own. */
async function start (t: Test, version: 10 | 12, url: string) {
  const schema = `boss_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  const settings = { connectionString: url, schema, supervise: false, schedule: false, max: 5 }
  const { boss, maintain } = version === 12 ? await startNew(settings) : await startOld(settings)
  t.teardown(() => boss.stop({ graceful: false }))
  const newQueue = async (changes: Parameters<typeof pgBossDeliveryQueue>[1] = {}) => {
    const queue = pgBossDeliveryQueue(boss, { name: `q-${randomUUID()}`, schema, pollInterval: 50, ...changes })
    await queue.migrate()
    return queue
  }
  return { boss: boss as PgBossClient, schema, newQueue, maintain }
}

async function startNew (settings: ConstructorParameters<typeof PgBoss>[0] & object) {
  const boss = new PgBoss(settings)
  boss.on('error', error => { t.comment(String(error)) })
  await boss.start()
  return { boss, maintain: () => boss.supervise() }
}

async function startOld (settings: ConstructorParameters<typeof PgBoss10>[0]) {
  const boss = new PgBoss10(settings)
  boss.on('error', error => { t.comment(String(error)) })
  await boss.start()
  return { boss, maintain: async () => { await (boss as unknown as { maintain (): Promise<unknown> }).maintain() } }
}

for (const version of [10, 12] as const) {
  t.test(`pg-boss ${version}`, t => withPostgres(t, async ({ url }) => {
    const { boss, schema, newQueue, maintain } = await start(t, version, url)
    const pool = new pg.Pool({ connectionString: url, max: 2 })
    t.teardown(() => pool.end())
    const rowsOf = async (name: string) => (await pool.query(`SELECT * FROM ${schema}.job WHERE name = $1`, [name])).rows

    for (const rule of deliveryQueueRules) t.test(rule.name, async () => rule.check(async () => ({ queue: await newQueue() })))

    t.test('what is enqueued in a transaction of the host is handed out after its commit, and never after its rollback', async t => {
      let transaction: PgBossDatabase | undefined
      const queue = await newQueue({ transaction: () => transaction })
      const seen: string[] = []
      const stop = await queue.work(async ({ id }) => { seen.push(id); return 'done' }, options)
      for (const [id, end] of [['rolled back', 'ROLLBACK'], ['committed', 'COMMIT']] as const) {
        const client = await pool.connect()
        await client.query('BEGIN')
        transaction = { executeSql: (text, values) => client.query(text, values) }
        await queue.enqueue([delivery(id), delivery(`${id} too`)])
        await sleep(200)
        t.strictSame(seen, [], 'not before its end')
        await client.query(end)
        client.release()
      }
      transaction = undefined
      await until(() => seen.length >= 2)
      await queue.enqueue([delivery('last')])
      await until(() => seen.includes('last'))
      t.strictSame(seen.sort(), ['committed', 'committed too', 'last'])
      await stop()
    })

    const lateOutcomes = { dead: { dead: 'by a lost worker' }, 'a retry': { retryAt: 1, delivery: { ...delivery('1'), attempt: 9 } } }
    for (const [what, late] of Object.entries(lateOutcomes)) {
      t.test(`a delivery whose worker is lost is handed out again, and its late outcome, ${what}, changes nothing`, async t => {
        const name = `lost-${what.length}`
        const queue = await newQueue({ name })
        const releases: Array<() => void> = []
        const hang = async () => {
          await new Promise<void>(resolve => { releases.push(resolve) })
          return late
        }
        const stops = [await queue.work(hang, { parallel: 1, timeout: 500 })]
        await queue.enqueue([delivery('1')])
        await until(() => releases.length === 1)
        const seen: Delivery[] = []
        stops.push(await queue.work(async one => {
          seen.push(one)
          return seen.length === 1 ? { retryAt: Date.now() + 1_000_000, delivery: { ...one, attempt: 2 } } : 'done'
        }, { ...options, timeout: 500 }))
        await until(() => seen.length === 1)
        t.strictSame(seen, [delivery('1')])
        await until(async () => (await rowsOf(name))[0].state === 'retry')
        for (const release of releases) release()
        await Promise.all(stops.map(stop => stop()))
        t.strictSame(await queue.dead({ limit: 1 }), [])
        t.match(await rowsOf(name), [{ state: 'retry', data: { delivery: { ...delivery('1'), attempt: 2 } } }])
      })
    }

    t.test('a delivery that is done leaves no row; one that waits or is dead outlives the maintenance of pg-boss', async t => {
      const queue = await newQueue({ name: 'kept' })
      const stop = await queue.work(async one => {
        if (one.id === 'late') return { retryAt: Date.now() + 86_400_000, delivery: one }
        return one.id === 'dead' ? { dead: 'refused' } : 'done'
      }, options)
      await queue.enqueue(['good', 'late', 'dead'].map(delivery))
      await until(async () => {
        const rows = await rowsOf('kept')
        return rows.length === 2 && rows.every(({ state }) => state !== 'active')
      })
      await stop()
      await maintain()
      const rows = (await rowsOf('kept')).map(({ data, state, start_after: start, keep_until: until }) => {
        return [data.delivery.id, data.reason, state, start > Date.now() + 80_000_000, until > Date.now() + 20 * 86_400_000]
      }).sort()
      t.strictSame(rows, [['dead', 'refused', 'created', true, true], ['late', undefined, 'retry', true, true]])
    })

    t.test('what is enqueued or redelivered in the process of a worker does not wait for the next look', async t => {
      const queue = await newQueue({ pollInterval: 2000 })
      const seen: string[] = []
      const stop = await queue.work(async ({ id }) => { seen.push(id); return seen.length === 1 ? { dead: 'x' } : 'done' }, options)
      await sleep(300)
      await queue.enqueue([delivery('1')])
      await until(async () => (await queue.dead({ limit: 1 })).length === 1)
      t.equal(await queue.redeliver('1'), true)
      await until(() => seen.length === 2)
      await queue.enqueue(Array.from({ length: 50 }, (_, place) => delivery(`many ${place}`)))
      await until(() => seen.length === 52)
      t.equal(seen.length, 52)
      await stop()
    })

    t.test('of two callers that redeliver at the same time one gets true', async t => {
      const queue = await newQueue()
      const stop = await queue.work(async () => ({ dead: 'refused' }), options)
      await queue.enqueue([delivery('1')])
      await until(async () => (await queue.dead({ limit: 1 })).length === 1)
      await stop()
      const answers = await Promise.all(Array.from({ length: 10 }, () => queue.redeliver('1')))
      t.strictSame(answers.filter(Boolean), [true])
    })

    t.test('a queue that is missing is an error, and migrate can be repeated', async t => {
      const queue = pgBossDeliveryQueue(boss, { name: 'missing', schema })
      await t.rejects(queue.enqueue([delivery('1')]), { message: version === 10 ? /missing: run migrate/ : /missing/ })
      await Promise.all([queue.migrate(), queue.migrate()])
      await queue.migrate()
      await queue.enqueue([delivery('1')])
      await queue.enqueue([delivery('1')])
      t.equal((await rowsOf('missing')).length, 1)
    })
  }))
}

/** A PgBoss without a database, with other functions. */
function standIn (changes: Partial<PgBossClient> = {}): PgBossClient {
  return {
    createQueue: async () => {},
    getQueue: async () => ({}),
    insert: async () => ['1'],
    fetch: async () => [],
    deleteJob: async () => {},
    getDb: () => ({ executeSql: async () => ({ rows: [] }) }),
    ...changes
  }
}

const down = async (): Promise<never> => { throw new Error('the database is down') }

t.test('an outage rejects what is asked', async t => {
  const queue = pgBossDeliveryQueue(standIn({ insert: down, createQueue: down, getDb: () => ({ executeSql: down }) }))
  const error = { message: 'the database is down' }
  await t.rejects(queue.enqueue([delivery('1')]), error)
  await t.rejects(queue.migrate(), error)
  await t.rejects(queue.dead({ limit: 1 }), error)
  await t.rejects(queue.redeliver('1'), error)
  const thrown = Object.assign(Object.create(null), { message: 'jobs argument should be an array' })
  t.equal(await Promise.resolve(pgBossDeliveryQueue(standIn({ insert: () => Promise.reject(thrown) })).enqueue([delivery('1')]))
    .catch(error => error), thrown, 'what is no Error is not read')
})

t.test('a worker goes on after an outage, which is reported once', async t => {
  let isDown = true
  let asked = 0
  const fetch = async () => {
    asked++
    return isDown ? down() : []
  }
  const errors: unknown[] = []
  const queue = pgBossDeliveryQueue(standIn({ fetch }), { pollInterval: 1, onError: error => { errors.push(error) } })
  const stop = await queue.work(async () => 'done', options)
  const more = async () => { const before = asked; await until(() => asked > before + 3) }
  await more()
  t.match(errors, [{ message: 'the database is down' }])
  isDown = false
  await more()
  isDown = true
  await more()
  t.equal(errors.length, 2)
  await stop()
  t.equal(await stop(), 0, 'stopping again changes nothing')
})

t.test('what is enqueued or redelivered is looked for at once, and so is the next one where all hands were full', async t => {
  let asked = 0
  const fetch: PgBossClient['fetch'] = async (_name, { batchSize }) => {
    asked++
    return asked < 20 ? Array.from({ length: batchSize }, () => ({ id: 'x', data: { delivery: delivery('1') }, retryCount: 0 })) : []
  }
  const queue = pgBossDeliveryQueue(standIn({ fetch }), { pollInterval: 2000 })
  const stop = await queue.work(async () => 'done', options)
  const started = performance.now()
  await until(() => asked >= 20)
  t.ok(performance.now() - started < 9000, 'with pauses it would take 38 seconds')
  for (const call of [() => queue.enqueue([delivery('1')]), () => queue.redeliver('1')]) {
    const started = performance.now()
    for (let round = 0; round < 5; round++) {
      const before = asked
      await call()
      await until(() => asked > before)
    }
    t.ok(performance.now() - started < 9000, 'with pauses it would take 10 seconds')
  }
  await stop()
})

t.test('no more is asked for than there is room, and nothing without room', async t => {
  const sizes: number[] = []
  const releases: Array<() => void> = []
  const fetch: PgBossClient['fetch'] = async (_name, { batchSize }) => {
    sizes.push(batchSize)
    return sizes.length > 3 ? [] : [{ id: 'x', data: { delivery: delivery('1') }, retryCount: 0 }]
  }
  const queue = pgBossDeliveryQueue(standIn({ fetch }), { pollInterval: 1 })
  const stop = await queue.work(() => new Promise(resolve => { releases.push(() => resolve('done')) }), { parallel: 3, timeout: 10_000 })
  await until(() => releases.length === 3)
  await sleep(50)
  t.strictSame(sizes, [3, 2, 1])
  for (const release of releases) release()
  await stop()
})

t.test('without onError an outage is a process warning', async t => {
  const warnings: Array<Error & { code?: string }> = []
  const listen = (warning: Error) => { warnings.push(warning) }
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  const stop = await pgBossDeliveryQueue(standIn({ fetch: down })).work(async () => 'done', options)
  await until(() => warnings.length > 0)
  await stop()
  t.match(warnings, [{
    name: 'FastifyLogoutWarning', code: 'FASTIFY_LOGOUT_PG_BOSS', message: /^deliveries of logouts wait, .* the database is down$/
  }])
})

t.test('what a worker gets while it is stopped is given back', async t => {
  const statements: unknown[][] = []
  let found = (_jobs: Awaited<ReturnType<PgBossClient['fetch']>>) => {}
  const boss = standIn({
    fetch: () => new Promise(resolve => { found = resolve }),
    getDb: () => ({ executeSql: async (text, values) => { statements.push([text, ...values]); return { rows: [] } } })
  })
  let attempts = 0
  const stop = await pgBossDeliveryQueue(boss).work(async () => { attempts++; return 'done' }, options)
  await sleep(10)
  const stopped = stop()
  found([{ id: 'a job', data: { delivery: delivery('1') }, retryCount: 3 }])
  t.equal(await stopped, 0)
  t.equal(attempts, 0)
  const [text, ...values] = statements.at(-1) ?? []
  t.match(text, /SET state = 'retry'/)
  t.match(values, ['logout-delivery', 'a job', 3, JSON.stringify({ delivery: delivery('1') }), Number])
})

t.test('migrate tries again where other nodes made the queue at the same moment, and not for ever', async t => {
  let asked = 0
  const createQueue = async () => { if (++asked < 5) throw new Error('deadlock detected') }
  await pgBossDeliveryQueue(standIn({ createQueue })).migrate()
  t.equal(asked, 5)
  const failing = standIn({ createQueue: async () => { asked++; return down() } })
  await t.rejects(pgBossDeliveryQueue(failing).migrate(), { message: 'the database is down' })
  t.equal(asked, 10)
})

t.test('whether the queue is there is asked only if nothing was put in', async t => {
  let asked = 0
  const getQueue = async () => { asked++; return {} }
  await pgBossDeliveryQueue(standIn({ getQueue })).enqueue([delivery('1')])
  t.equal(asked, 0)
  await pgBossDeliveryQueue(standIn({ getQueue, insert: async () => null })).enqueue([delivery('1')])
  t.equal(asked, 1)
})

t.test('dead deliveries are read in the order of their ids, whatever plan the database has', async t => {
  let text = ''
  const boss = standIn({ getDb: () => ({ executeSql: async statement => { text = statement; return { rows: [] } } }) })
  await pgBossDeliveryQueue(boss).dead({ limit: 1 })
  t.match(text, /ORDER BY id LIMIT \$3$/)
})

t.test('the statements name the schema', async t => {
  const statements: string[] = []
  const boss = standIn({ getDb: () => ({ executeSql: async text => { statements.push(text); return { rows: [] } } }) })
  await pgBossDeliveryQueue(boss).dead({ limit: 1 })
  await pgBossDeliveryQueue(boss, { schema: 'other' }).dead({ limit: 1 })
  t.match(statements, [/FROM pgboss\.job/, /FROM other\.job/])
})

t.test('an option that is wrong is a TypeError', async t => {
  for (const boss of [undefined, null, {}, 'x']) {
    const message = 'pgBossDeliveryQueue: pass a PgBoss that was started'
    t.throws(() => pgBossDeliveryQueue(boss as never), { name: 'TypeError', message })
  }
  for (const [option, values] of Object.entries({
    name: ['', 'a b', null, 5],
    schema: ['', 'a.b', 'a;b', '1a', null],
    transaction: [null, {}],
    pollInterval: [0, -1, NaN, 2001, '5', null],
    onError: [null, 'x']
  })) {
    for (const value of values) {
      const message = new RegExp(`^pgBossDeliveryQueue: option "${option}" must be`)
      t.throws(() => pgBossDeliveryQueue(standIn(), { [option]: value }), { name: 'TypeError', message }, `${option}: ${String(value)}`)
    }
  }
})
