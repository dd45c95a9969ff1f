import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresUserStatusStore, postgresUserStatusTable, type PostgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { valueTypes } from '../servers/postgres-types.ts'
import { withPostgres, withPrivatePostgres } from '../servers/postgres.ts'
import { postgresDatabase } from '../servers/sql.ts'
import { alice, login, logout, usersOnSql } from './on-sql.ts'
import { keepsUserRecords } from './user-records.ts'

let made = 0
const freshTable = () => `test_${process.pid}_${Date.now()}_${made++}`

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: url, max: 4 }))
  const [pool] = pools as [pg.Pool]
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}; DROP FUNCTION IF EXISTS ${table}_log_out`)
    await Promise.all(pools.map(each => each.end()))
  })

  async function fresh () {
    const table = freshTable()
    tables.push(table)
    const stores = pools.map(each => postgresUserStatusStore(each, { table }))
    const [store] = stores as [typeof stores[number]]
    await store.migrate()
    return { table, stores, store }
  }

  await usersOnSql(t, {
    ...postgresDatabase(max => new pg.Pool({ connectionString: url, max })),
    store: (client, options) => postgresUserStatusStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}`, `DROP FUNCTION IF EXISTS ${table}_log_out`],
    newVersion: 'gen_random_uuid()'
  })

  for (const { what, types } of valueTypes) {
    await t.test(`the rules, with a client that gives ${what}`, async t => {
      const typed = new pg.Pool({ connectionString: url, max: 4, types })
      t.teardown(() => typed.end())
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const store = postgresUserStatusStore(typed, { table: (await fresh()).table })
          return { store, set: store.set }
        }), rule.name)
      }
    })
  }

  await t.test('a logout whose statement takes too long fails alone', async t => {
    const { table, store } = await fresh()
    const users = ['alice', 'slow', 'bob'].map(subject => ({ tenant: 'acme', subject }))
    for (const user of users) await store.set(user, 'logged_in')
    await pool.query(`CREATE FUNCTION ${table}_slow () RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN new; END'`)
    await pool.query(
      `CREATE TRIGGER slow BEFORE UPDATE ON ${table} FOR EACH ROW WHEN (old.subject = 'slow') EXECUTE FUNCTION ${table}_slow()`
    )
    t.teardown(() => pool.query(`DROP FUNCTION ${table}_slow CASCADE`))
    const impatient = new pg.Pool({ connectionString: url, max: 4, statement_timeout: 500 })
    t.teardown(() => impatient.end())
    const node = postgresUserStatusStore(impatient, { table })
    const outcomes = await Promise.allSettled(users.map(user => node.logOut(user, logout)))
    t.match(outcomes, [{ value: { status: 'logged_in' } }, { reason: { code: '57014' } }, { value: { status: 'logged_in' } }])
  })

  for (const level of ['repeatable read', 'serializable']) {
    await t.test(`the rules, and 400 logouts, for a role whose default is ${level}`, async t => {
      const strict = Array.from({ length: 2 }, () => new pg.Pool({
        connectionString: url, max: 4, options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`
      }))
      t.teardown(() => Promise.all(strict.map(each => each.end())))
      t.match((await strict[0]?.query('SHOW transaction_isolation'))?.rows, [{ transaction_isolation: level }])
      const onBoth = async () => {
        const { table } = await fresh()
        return strict.map(each => postgresUserStatusStore(each, { table })) as [PostgresUserStatusStore, PostgresUserStatusStore]
      }
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const [store] = await onBoth()
          return { store, set: store.set }
        }), rule.name)
      }
      const stores = await onBoth()
      const users = Array.from({ length: 20 }, (_, i) => ({ tenant: 'acme', subject: `user ${i}` }))
      for (const user of users) await stores[0].set(user, 'logged_in')
      const before = await Promise.all(Array.from({ length: 400 }, async (_, i) => {
        await sleep(i % 40)
        return stores[i % 2]?.logOut(users[i % 20] ?? alice, logout)
      }))
      t.equal(before.filter(record => record?.status === 'logged_in').length, 20)
      t.equal(before.filter(record => record?.status === 'logged_out').length, 380)
    })
  }

  await t.test('set keeps the times, remove forgets only its user, and an old version never fits a new record', async t => {
    await keepsUserRecords(t, (await fresh()).store)
  })
}))

t.test('each call is one statement, as the server saw it', t => withPrivatePostgres(t, async ({ url, log }) => {
  const pool = new pg.Pool({ connectionString: url })
  t.teardown(() => pool.end())
  const store = postgresUserStatusStore(pool, { table: 'public.logout_user_status' })
  await store.migrate()
  await pool.query('SELECT \'from here\'')
  await store.set(alice, 'logged_in')
  await store.get(alice)
  await store.compareAndSet(alice, 'past', login)
  await Promise.all(['alice', 'bob', 'nobody'].map(subject => store.logOut({ tenant: 'acme', subject }, logout)))
  await store.remove(alice)
  await store.compareAndSet(alice, undefined, login)
  await pool.query('SELECT \'to here\'')
  await sleep(50)
  const [, seen = ''] = log().split('from here')
  t.equal(seen.split('to here')[0]?.match(/LOG: +execute <unnamed>/g)?.length, 6)
  t.notMatch(seen, /BEGIN/)
}, { config: { log_statement: 'all' } }))

t.test('a wrong client or table is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'postgres://127.0.0.1']) {
    t.throws(() => postgresUserStatusStore(client as PostgresClient), {
      name: 'TypeError', message: /postgresUserStatusStore: pass a Pool/
    })
  }
  const client = { query: async () => ({ rows: [] }) }
  for (const table of ['', 'a"b', 'a;b', 'a b', 'a.b.c', '1a', 'a'.repeat(41), `public.${'a'.repeat(41)}`, 'ä', 'a\n', 1]) {
    t.throws(() => postgresUserStatusStore(client, { table: table as string }), { name: 'TypeError', message: /table/ })
    t.throws(() => postgresUserStatusTable(table as string), { name: 'TypeError', message: /table/ })
  }
  t.match(postgresUserStatusTable(), /"logout_user_status"/)
})

t.test('an error of the client is passed on unchanged, also one that is not an Error', async t => {
  const refusing = (reason: unknown) => postgresUserStatusStore({ query: async () => { throw reason } })
  const error = Object.assign(new Error('connection terminated'), { code: '57P01' })
  await t.rejects(refusing(error).get(alice), error)
  t.equal(await refusing('gone').get(alice).catch(reason => reason), 'gone')
})
