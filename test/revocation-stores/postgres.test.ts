import pg from 'pg'
import t from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import {
  postgresRevocationStore, postgresRevocationTable, type PostgresRevocationStoreOptions
} from '../../lib/revocation-stores/postgres.ts'
import { valueTypes } from '../servers/postgres-types.ts'
import { withPostgres } from '../servers/postgres.ts'
import { everyMark, follows } from './follow.ts'

const minute = 60_000
const until = Date.now() + 60 * minute
const timeouts = { query_timeout: 20_000, connectionTimeoutMillis: 20_000 }

t.test('on a server', t => withPostgres(t, async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url, max: 8, ...timeouts })
  pool.on('error', () => {})
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}; DROP FUNCTION IF EXISTS ${table}_revoke`)
    await pool.end()
  })
  const fresh = async (options: PostgresRevocationStoreOptions = {}) => {
    const table = `test_${process.pid}_${Date.now()}_${tables.length}`
    tables.push(table)
    const store = postgresRevocationStore(pool, { table, ...options })
    await Promise.all([store.migrate(), store.migrate(), store.migrate()])
    return { table, store }
  }

  for (const batch of [true, false]) {
    await t.test(`the rules, ${batch ? 'with' : 'without'} shared statements`, async t => {
      const { store } = await fresh({ batch })
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  for (const { what, types } of valueTypes) {
    await t.test(`the rules, with a client that gives ${what}`, async t => {
      const { table } = await fresh()
      const typed = new pg.Pool({ connectionString: url, max: 8, types, query_timeout: 20_000, connectionTimeoutMillis: 20_000 })
      t.teardown(() => typed.end())
      const store = postgresRevocationStore(typed, { table })
      for (const rule of [...revocationStoreRules, ...revocationFeedRules]) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules of a feed', async t => {
    const { store } = await fresh()
    for (const rule of revocationFeedRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('the rules, through a replica', async t => {
    const { store } = await fresh()
    const replica = revocationReplica(store)
    t.teardown(() => replica.close())
    await replica.start()
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => replica), rule.name)
  })

  await t.test('a replica follows', async t => {
    const { store } = await fresh()
    await follows(t, store)
  })

  for (const level of ['REPEATABLE READ', 'SERIALIZABLE']) {
    await t.test(`the rules hold for a role whose transactions are ${level}`, async t => {
      const { store, table } = await fresh()
      const isolation = `-c default_transaction_isolation=${level.toLowerCase().replace(' ', '\\ ')}`
      const strict = new pg.Pool({ connectionString: url, max: 8, options: isolation, ...timeouts })
      t.teardown(() => strict.end())
      t.match((await strict.query('SHOW transaction_isolation')).rows, [{ transaction_isolation: level.toLowerCase() }])
      const same = postgresRevocationStore(strict, { table })
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => same), rule.name)
      for (const rule of revocationFeedRules) await t.resolves(rule.check(() => same), rule.name)
      const marks = Array.from({ length: 200 }, (_, index): Mark => ({ subject: `u${index % 5}`, cutoff: index, until }))
      await t.resolves(Promise.all(marks.map((mark, index) => (index % 2 === 0 ? same : store).revoke(mark))))
    })
  }

  await t.test('stores added to a third one give the verdicts of one', async t => {
    const [one, two, whole, merged] = [await fresh(), await fresh(), await fresh(), await fresh()] as const
    const marks: Mark[] = [
      { subject: 'u', cutoff: 10, except: 'a', until }, { subject: 'u', cutoff: 8, except: 'b', until },
      { subject: 'u', cutoff: 6, until }, { tokenId: 't', until }
    ]
    for (const [index, mark] of marks.entries()) await (index % 2 === 0 ? one : two).store.revoke(mark)
    await whole.store.revoke(...marks)
    for (const { store } of [two, one]) await merged.store.revoke(...await everyMark(store))
    for (const sessionId of ['a', 'b', 'c']) {
      for (const issuedAt of [5, 6, 7, 8, 9, 10, 11]) {
        const credential = { subject: 'u', sessionId, issuedAt }
        t.equal(await merged.store.check(credential), await whole.store.check(credential))
      }
    }
    t.equal(await merged.store.check({ tokenId: 't' }), 'revoked')
  })

  await t.test('rows that ended a minute ago are forgotten with the calls that come, claims too', async t => {
    const { table, store } = await fresh()
    const fill = () => pool.query(`INSERT INTO ${table} SELECT unnest(ARRAY['told', 'cold', 'hold', 'tnew']), '', '', '', 0,
      (extract(epoch FROM now()) * 1000)::bigint - unnest(ARRAY[61000, 61000, 61000, 50000]), '1'`)
    const left = async () => (await pool.query(`SELECT id FROM ${table} WHERE id LIKE '_old' OR id = 'tnew' ORDER BY id`)).rows
    await fill()
    for (let call = 0; call < 16; call++) await store.revoke({ tokenId: 'again', until })
    t.same(await left(), [{ id: 'tnew' }])
    await pool.query(`DELETE FROM ${table}`)
    await fill()
    for (let call = 0; call < 16; call++) await store.claimOnce(`k${call}`, until)
    t.same(await left(), [{ id: 'tnew' }])
  })

  await t.test('a mark that has ended takes no part in one that is made later', async t => {
    const { table, store } = await fresh()
    await pool.query(`INSERT INTO ${table} VALUES ('uu', '', '', '', 1000, (extract(epoch FROM now()) * 1000)::bigint - 1, '1')`)
    t.equal(await store.revoke({ subject: 'u', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'u', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ subject: 'v', cutoff: 1000, until: 1 }, { subject: 'v', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'v', issuedAt: 11 }), 'live')
  })

  await t.test('ten thousand marks and one in one call are all made, and resolve true once', async t => {
    const { store } = await fresh()
    const marks = Array.from({ length: 10_001 }, (_, index): Mark => ({ tokenId: `t${index}`, until }))
    t.equal(await store.revoke(...marks), true)
    t.equal(await store.revoke(...marks), false)
    t.equal((await everyMark(store)).length, marks.length)
    for (const index of [0, 49, 50, 10_000]) t.equal(await store.check({ tokenId: `t${index}` }), 'revoked')
    t.equal(await store.revoke(...marks, { tokenId: 'one more', until }), true)
  })

  await t.test('calls of one turn share statements, of which few are under way at once, and a check need not wait for them', async t => {
    const { table } = await fresh()
    let statements = 0
    let underWay = 0
    let most = 0
    const counting = counted(pool, {
      before () { statements++; most = Math.max(most, ++underWay) },
      after () { underWay-- }
    })
    const store = postgresRevocationStore(counting, { table, batch: true })
    const both = (index: number): Mark[] => [{ tokenId: `t${index}`, until }, { sessionId: `s${index}`, until }]
    await Promise.all(Array.from({ length: 320 }, async (_, index) => store.revoke(...both(index))))
    t.equal(statements, 20)
    t.equal(most, 3)
    t.equal(await store.check({ tokenId: 't319' }), 'revoked')
    t.equal(await store.revoke(), false)
    t.equal(await store.check({}), 'live')
    t.equal(statements, 21, 'nothing is asked for nothing')
  })

  await t.test('a transaction that revoked and stays open holds up nobody else, and its marks are followed once it commits', async t => {
    const { table, store } = await fresh()
    const replica = revocationReplica(store)
    t.teardown(() => replica.close())
    await replica.start()
    const host = await pool.connect()
    t.teardown(() => host.release(true))
    await host.query('BEGIN')
    const within = postgresRevocationStore(host, { table, batch: false })
    t.equal(await within.revoke({ subject: 'alice', cutoff: 10, until }, { tokenId: 'alices', until }), true)

    let isLockedOver = false
    const locked = store.revoke({ subject: 'alice', cutoff: 20, until }).finally(() => { isLockedOver = true })
    const subjects = Array.from({ length: 50 }, (_, index) => `bob${index}`)
    const others = await Promise.all(subjects.map(async subject => store.revoke({ subject, cutoff: 10, until })))
    t.notOk(others.includes(false))
    t.equal(isLockedOver, false)
    await eventuallyRevoked(replica, { subject: 'bob49', issuedAt: 10 })
    t.equal(await replica.check({ tokenId: 'alices' }), 'live')

    await host.query('COMMIT')
    t.equal(await locked, true)
    await eventuallyRevoked(replica, { tokenId: 'alices' })
    await eventuallyRevoked(replica, { subject: 'alice', issuedAt: 20 })
  })

  await t.test('a transaction that is rolled back has revoked nothing, anywhere', async t => {
    const { table, store } = await fresh()
    const replica = revocationReplica(store)
    t.teardown(() => replica.close())
    await replica.start()
    const host = await pool.connect()
    t.teardown(() => host.release(true))
    await host.query('BEGIN')
    await postgresRevocationStore(host, { table, batch: false }).revoke({ tokenId: 't', until })
    await host.query('ROLLBACK')
    await store.revoke({ tokenId: 'later', until })
    await eventuallyRevoked(replica, { tokenId: 'later' })
    t.equal(await replica.check({ tokenId: 't' }), 'live')
    t.equal(await store.check({ tokenId: 't' }), 'live')
  })

  await t.test('a node whose clock is ten minutes ahead or behind ends no mark early and keeps none from working', async t => {
    const { now } = Date
    t.teardown(() => Object.assign(Date, { now }))
    for (const error of [10 * minute, -10 * minute]) {
      const { store } = await fresh()
      await store.revoke({ tokenId: 'short', until: now() + 5 * minute })
      Date.now = () => now() + error
      for (let call = 0; call < 20; call++) await store.revoke({ tokenId: 'own', until: now() + 5 * minute })
      for (const tokenId of ['short', 'own']) t.equal(await store.check({ tokenId }), 'revoked', tokenId)
      t.equal(await store.check({ tokenId: 'other' }), 'live')
      t.equal(await store.claimOnce('k', now() + 5 * minute), true)
      t.equal(await store.claimOnce('k', now() + 5 * minute), false)
      t.equal((await everyMark(store)).length, 2)
      Object.assign(Date, { now })
      t.equal(await store.check({ tokenId: 'short' }), 'revoked')
    }
  })

  await t.test('a claim may end at a fraction of a millisecond, and must end at an instant', async t => {
    const { store } = await fresh()
    t.equal(await store.claimOnce('k', until + 0.5), true)
    t.equal(await store.claimOnce('k', until), false)
    await t.rejects(store.claimOnce('x', NaN), { name: 'TypeError', message: /"until" must be an instant/ })
    t.equal(await store.claimOnce('x', until), true)
  })

  await t.test('tables of one name in two schemas, found by the search path, are followed apart', async t => {
    const stores = await Promise.all(['one', 'two'].map(async schema => {
      await pool.query(`CREATE SCHEMA IF NOT EXISTS test_${schema}`)
      const own = new pg.Pool({ connectionString: url, options: `-c search_path=test_${schema}`, ...timeouts })
      t.teardown(async () => {
        await own.end()
        await pool.query(`DROP SCHEMA test_${schema} CASCADE`)
      })
      const store = postgresRevocationStore(own)
      await store.migrate()
      const replica = revocationReplica(store)
      t.teardown(() => replica.close())
      await replica.start()
      return { store, replica }
    }))
    const [one, two] = stores as [typeof stores[0], typeof stores[0]]
    await one.store.revoke({ tokenId: 't', until })
    await eventuallyRevoked(one.replica, { tokenId: 't' })
    await two.store.revoke({ tokenId: 'u', until })
    await eventuallyRevoked(two.replica, { tokenId: 'u' })
    t.equal(await two.replica.check({ tokenId: 't' }), 'live')
  })

  await t.test('a missing table says what to do', async t => {
    const missing = postgresRevocationStore(pool, { table: 'not_there' })
    await t.rejects(missing.check({ tokenId: 't' }), { message: 'table not_there is missing: run migrate()' })
    await t.rejects(missing.revoke({ tokenId: 't', until }), {
      message: /table not_there is missing, or another version made it: run migrate\(\)/
    })
    const feed = missing.feed()
    await t.rejects(feed.next(undefined, 1), { message: 'table not_there is missing: run migrate()' })
    feed.close()
  })

  await t.test('a schema may stand in front of the table', async t => {
    await pool.query('CREATE SCHEMA IF NOT EXISTS with_schema')
    t.teardown(() => pool.query('DROP SCHEMA with_schema CASCADE'))
    const store = postgresRevocationStore(pool, { table: 'with_schema.revocations' })
    await store.migrate()
    await store.revoke({ tokenId: 't', until })
    t.same(await everyMark(store), [{ tokenId: 't', until }])
  })
}))

t.test('misuse is a TypeError that names what is wrong', async t => {
  const client = { query: async () => ({ rows: [] }) }
  t.throws(() => postgresRevocationStore({} as PostgresClient), { name: 'TypeError', message: /pass a Pool of pg/ })
  t.throws(() => postgresRevocationStore(client, { table: 'a b' }), { name: 'TypeError', message: /option "table" must be/ })
  t.throws(() => postgresRevocationStore(client, { table: 'a'.repeat(41) }), {
    name: 'TypeError', message: /option "table" must have at most 40/
  })
  t.throws(() => postgresRevocationStore(client, { batch: 1 as unknown as boolean }), { name: 'TypeError', message: /option "batch" must/ })
  t.throws(() => postgresRevocationStore(client).feed(), { name: 'TypeError', message: /feed\(\) needs a Pool of pg/ })
  t.match(postgresRevocationTable(), /CREATE TABLE IF NOT EXISTS "logout_revocation"/)
})

async function eventuallyRevoked (replica: { check (credential: object): unknown }, credential: object): Promise<void> {
  for (let attempt = 0; await replica.check(credential) !== 'revoked'; attempt++) {
    if (attempt > 1000) throw new Error(`never revoked: ${JSON.stringify(credential)}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

function counted (pool: pg.Pool, hooks: { before (): void, after (): void }): PostgresClient {
  return {
    async query (text, values) {
      hooks.before()
      try {
        return await pool.query(text, values)
      } finally {
        hooks.after()
      }
    }
  }
}
