import { setTimeout as sleep } from 'node:timers/promises'
import mysql from 'mysql2/promise'
import t from 'tap'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { mysqlSessionStore, mysqlSessionTables } from '../../lib/session-stores/mysql.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { mysqlDatabase } from '../servers/sql.ts'
import { session, sessionsOnSql } from './on-sql.ts'

/** Makes sessions without the store: so many, each with its state and subject. */
async function fill (pool: mysql.Pool, table: string, count: number, make: (index: number) => [state: 'due' | 'live', subject: string]) {
  const rows = Array.from({ length: count }, (_, index) => {
    const [state, subject] = make(index)
    const end = state === 'due' ? 1 : session().keepUntil
    return [`${table}${state}${subject}${index}`, `${state}${subject}${index}`, subject, 1, end, end, '{}']
  })
  await pool.query(`INSERT INTO ${table} (digest, id, subject, created_at, expires_at, keep_until, details) VALUES ?`, [rows])
}

t.test('on a server that others use too', t => withMysql(t, async ({ url }) => {
  await sessionsOnSql(t, {
    ...mysqlDatabase(max => mysql.createPool({ uri: url, connectionLimit: max })),
    store: (client, options) => mysqlSessionStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}, ${table}_everywhere`],
    lock: (table, where) => `SELECT 1 FROM ${table} WHERE ${where} FOR UPDATE`
  })

  const pool = mysqlPool(t, url)
  let made = 0
  const fresh = async (client: MysqlClient = pool, options: { timeout?: number, batch?: boolean } = {}) => {
    const table = `test_own_${process.pid}_${Date.now()}_${made++}`
    t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${table}, ${table}_everywhere`))
    const store = mysqlSessionStore(client, { table, ...options })
    await store.migrate()
    return { table, store }
  }

  await t.test('prune deletes what is past its keepUntil, and keeps the rest', async t => {
    const { table, store } = await fresh()
    await store.create('kept', session({ id: 'kept' }))
    await store.create('due', session({ id: 'due', expiresAt: 0, keepUntil: Date.now() - 1 }))
    await store.logOutSubject({ subject: 'alice', except: 'kept' })
    await store.create('bobs', session({ id: 'bobs', subject: 'bob', expiresAt: 0, keepUntil: Date.now() - 1 }))
    await store.logOutSubject({ subject: 'bob' })
    await fill(pool, table, 998, i => ['due', `${i % 500}`])
    t.equal(await store.prune(), 1000)
    t.equal(await store.prune(), 0)
    await fill(pool, table, 1800, i => ['due', `${i}`])
    t.equal(await store.prune(), 1800)
    t.equal((await store.find('kept'))?.status, 'active')
    t.strictSame((await pool.query(`SELECT * FROM ${table}_everywhere`))[0], [], 'nothing is left that ends no session')
  })

  await t.test('prune keeps a logout everywhere as long as there is a session that it ended', async t => {
    const { table, store } = await fresh()
    await store.create('ended', session())
    await store.create('due', session({ expiresAt: 0, keepUntil: Date.now() - 1 }))
    await store.logOutSubject({ subject: 'alice' })
    t.equal(await store.prune(), 1)
    t.equal((await store.find('ended'))?.status, 'logged_out')
    t.equal((await pool.query<mysql.RowDataPacket[]>(`SELECT * FROM ${table}_everywhere`))[0].length, 1)
  })

  await t.test('prune does not wait for a session that another transaction has locked', async t => {
    const { table, store } = await fresh()
    for (const id of ['a', 'b']) await store.create(id, session({ id, expiresAt: 0, keepUntil: 1 }))
    const connection = await pool.getConnection()
    await connection.query('BEGIN')
    await connection.query(`SELECT 1 FROM ${table} WHERE id = 'a' FOR UPDATE`)
    t.equal(await store.prune(), 1)
    await connection.query('ROLLBACK')
    connection.release()
    t.equal(await store.prune(), 1)
  })

  await t.test('prune deletes a logout everywhere when only sessions are left that began after it', async t => {
    const { table, store } = await fresh()
    await store.create('ended', session({ expiresAt: 0, keepUntil: Date.now() - 1 }))
    await store.logOutSubject({ subject: 'alice' })
    await store.create('later', session())
    t.equal(await store.prune(), 1)
    t.strictSame((await pool.query(`SELECT * FROM ${table}_everywhere`))[0], [])
    t.equal((await store.find('later'))?.status, 'active')
  })

  await t.test('a logout of the subject waits for a login, and ends it, at READ COMMITTED too', async t => {
    const { table, store } = await fresh(mysqlPool(t, url, {}, ['SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED']))
    const connection = await pool.getConnection()
    await connection.query('BEGIN')
    await mysqlSessionStore(connection, { table }).create('token', session())
    const waiting = store.logOutSubject({ subject: 'alice' })
    await sleep(50)
    await connection.query('COMMIT')
    connection.release()
    await waiting
    t.equal((await store.find('token'))?.status, 'logged_out')
  })

  await t.test('logging out everywhere again and again adds no rows', async t => {
    const { table, store } = await fresh()
    await store.create('token', session({ id: 'id' }))
    for (let time = 0; time < 5; time++) {
      await store.logOutSubject({ subject: 'alice', except: 'id' })
      await store.logOutSubject({ subject: 'nobody' })
    }
    t.equal((await pool.query<mysql.RowDataPacket[]>(`SELECT * FROM ${table}_everywhere`))[0].length, 1)
    t.equal((await store.find('token'))?.status, 'active')
  })

  await t.test('the rows are in the database that stands in front of the table', async t => {
    const name = `test_database_${process.pid}`
    await pool.query(`CREATE DATABASE ${name}`)
    t.teardown(() => pool.query(`DROP DATABASE ${name}`))
    const store = mysqlSessionStore(pool, { table: `${name}.sessions` })
    await store.migrate()
    await store.create('token', session())
    await store.logOutSubject({ subject: 'alice' })
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.equal((await pool.query<mysql.RowDataPacket[]>(`SELECT * FROM ${name}.sessions_everywhere`))[0].length, 1)
  })

  await t.test('of the logouts of one turn, only those whose session is locked are repeated', async t => {
    const { table, store } = await fresh()
    for (const token of ['ended', 'locked', 'free']) await store.create(token, session({ id: token }))
    await store.logOut('ended')
    const connection = await pool.getConnection()
    await connection.query('BEGIN')
    await connection.query(`SELECT 1 FROM ${table} WHERE id = 'locked' FOR UPDATE`)
    const before = ['ended', 'locked', 'free', 'locked'].map(token => store.logOut(token))
    t.strictSame((await Promise.all([before[0], before[2]])).map(found => found?.status), ['logged_out', 'active'])
    await connection.query('COMMIT')
    connection.release()
    t.strictSame((await Promise.all([before[1], before[3]])).map(found => found?.status).sort(), ['active', 'logged_out'])
  })

  await t.test('ids are compared by their bytes, spaces at the end included', async t => {
    const { store } = await fresh()
    for (const id of ['a', 'A', 'a ', 'á']) await store.create(id, session({ id, subject: id }))
    for (const id of ['a', 'A', 'a ', 'á']) t.match(await store.logOutById({ id, subject: id }), { id, subject: id, status: 'active' })
  })

  await t.test('each call is as few statements as promised, however many sessions there are', async t => {
    const pool = mysqlPool(t, url, { connectionLimit: 1 })
    const { table, store } = await fresh(pool)
    for (const [subject, count] of [['ten', 10], ['many', 10_000]] as const) {
      await store.create(`of ${subject}`, session({ id: subject, subject }))
      await fill(pool, table, count - 1, () => ['live', subject])
    }
    const statements = async (act: () => Promise<unknown>) => {
      const count = async () => {
        const [rows] = await pool.query<mysql.RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Questions'")
        return Number(rows[0]?.['Value'])
      }
      const before = await count()
      await act()
      return await count() - before - 1
    }
    t.equal(await statements(() => store.create('token', session({ id: 'id' }))), 1)
    t.equal(await statements(() => store.find('token')), 1)
    t.equal(await statements(() => store.logOut('unknown')), 1)
    t.equal(await statements(() => store.logOut('token')), 2)
    t.equal(await statements(() => store.logOut('token')), 1)
    t.equal(await statements(() => store.logOutById({ id: 'id' })), 1)
    t.equal(await statements(() => store.list({ subject: 'many', limit: 10 })), 1)
    for (const token of ['a', 'b', 'c']) await store.create(token, session({ id: token }))
    t.equal(await statements(() => Promise.all(['a', 'b', 'c', 'a', 'token', 'unknown'].map(token => store.logOut(token)))), 2)

    const written = async (subject: string) => {
      const rows = async () => {
        const [found] = await pool.query<mysql.RowDataPacket[]>("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_%'")
        return found.filter(row => /read|update|write/.test(row['Variable_name'])).reduce((sum, row) => sum + Number(row['Value']), 0)
      }
      await rows()
      const noise = -(await rows()) + await rows()
      const before = await rows()
      t.equal(await statements(() => store.logOutSubject({ subject, except: subject })), 1)
      return await rows() - before - 3 * noise
    }
    const [ten, many] = [await written('ten'), await written('many')]
    t.ok(many <= ten + 10, `ten sessions touch ${ten} rows, ten thousand ${many}`)
    t.match((await store.list({ subject: 'many', limit: 10 })).map(({ id }) => id), ['many'])
    t.equal(await statements(() => store.logOutSubject({ subject: 'many', count: true })), 2)
  })

  await t.test('a pool whose connections do not commit by themselves is refused, and nothing is changed', async t => {
    const { table, store } = await fresh()
    const forgetful = mysqlSessionStore(mysqlPool(t, url, {}, ['SET autocommit = 0']), { table })
    await t.rejects(forgetful.create('token', session()), { message: /do not commit by themselves: set autocommit = 1/ })
    await sleep(50)
    t.equal(await store.find('token'), undefined)
  })
}))

t.test('a wrong client or option is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'mysql://127.0.0.1', { promise: () => ({}) }]) {
    t.throws(() => mysqlSessionStore(client as MysqlClient), { name: 'TypeError', message: /^mysqlSessionStore: pass a pool of mysql2/ })
  }
  const client: MysqlClient = { query: async () => [[]] }
  for (const table of ['', 'a`b', 'a;b', 'a.b.c', '1a', 'a'.repeat(41), `app.${'a'.repeat(41)}`]) {
    t.throws(() => mysqlSessionStore(client, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => mysqlSessionTables(table), { name: 'TypeError', message: /table/ })
  }
  t.throws(() => mysqlSessionStore(client, { batch: 1 as never }), {
    name: 'TypeError', message: 'mysqlSessionStore: option "batch" must be true or false'
  })
  for (const timeout of [0, -1, NaN, Infinity, 2 ** 31, '1' as never]) {
    t.throws(() => mysqlSessionStore(client, { timeout }), { name: 'TypeError', message: /option "timeout" must be a positive number/ })
  }
  t.ok(mysqlSessionStore(client, { table: `app.${'a'.repeat(40)}` }))
  const twoTables = /^CREATE TABLE IF NOT EXISTS `logout_session` [^]*;\nCREATE TABLE IF NOT EXISTS `logout_session_everywhere` [^]*;\n$/
  t.match(mysqlSessionTables(), twoTables)
})
