import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'

import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresUserStatusStore, postgresUserStatusTable } from '../../lib/user-status-stores/postgres.ts'
import { postgresStores } from '../servers/postgres-stores.ts'
import { withPostgres, withPrivatePostgres } from '../servers/postgres.ts'
import { postgresDatabase } from '../servers/sql.ts'
import { alice, login, logout, usersOnSql } from './on-sql.ts'
import { keepsUserRecords } from './user-records.ts'

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const { pool, fresh } = postgresStores(t, url, (pool, table) => postgresUserStatusStore(pool, { table }))

  await usersOnSql(t, {
    ...postgresDatabase(max => new pg.Pool({ connectionString: url, max })),
    store: (client, options) => postgresUserStatusStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}`, `DROP FUNCTION IF EXISTS ${table}_log_out`],
    newVersion: 'gen_random_uuid()'
  })

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
