import mysql from 'mysql2/promise'
import t from 'tap'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { mysqlUserStatusStore, mysqlUserStatusTable } from '../../lib/user-status-stores/mysql.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { mysqlDatabase } from '../servers/sql.ts'
import { alice, login, logout, usersOnSql } from './on-sql.ts'

t.test('on a server that others use too', t => withMysql(t, async ({ url }) => {
  await usersOnSql(t, {
    ...mysqlDatabase(max => mysql.createPool({ uri: url, connectionLimit: max })),
    store: (client, options) => mysqlUserStatusStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}`],
    newVersion: 'UUID()'
  })

  const pool = mysqlPool(t, url)
  let made = 0
  const fresh = async (client: MysqlClient = pool) => {
    const table = `test_own_${process.pid}_${Date.now()}_${made++}`
    t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${table}`))
    const store = mysqlUserStatusStore(client, { table })
    await store.migrate()
    return { table, store }
  }

  await t.test('each verb is as few statements as promised', async t => {
    const single = mysqlPool(t, url, { connectionLimit: 1 })
    const { store } = await fresh(single)
    const statements = async (act: () => Promise<unknown>) => {
      const count = async () => {
        const [rows] = await single.query<mysql.RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Questions'")
        return Number(rows[0]?.['Value'])
      }
      const before = await count()
      await act()
      return await count() - before - 1
    }
    t.equal(await statements(() => store.set(alice, 'logged_in')), 1)
    t.equal(await statements(() => store.get(alice)), 1)
    t.equal(await statements(() => store.compareAndSet(alice, 'past', login)), 1)
    t.equal(await statements(() => store.compareAndSet(alice, undefined, login)), 1)
    t.equal(await statements(() => store.logOut({ tenant: 'acme', subject: 'nobody' }, logout)), 1)
    const users = ['alice', 'bob', 'nobody'].map(subject => ({ tenant: 'acme', subject }))
    t.equal(await statements(() => Promise.all(users.map(user => store.logOut(user, logout)))), 2)
    t.equal(await statements(() => store.remove(alice)), 1)
  })

  await t.test('ids and states that are too long are refused, and not cut', async t => {
    const { store } = await fresh(mysqlPool(t, url, {}, ["SET SESSION sql_mode = ''"]))
    const longest = { tenant: 't'.repeat(1020), subject: '€'.repeat(682) }
    await store.set(longest, 's'.repeat(255))
    t.equal((await store.get(longest))?.status, 's'.repeat(255))
    for (const user of [{ ...longest, tenant: 't'.repeat(1021) }, { ...longest, subject: '€'.repeat(683) }]) {
      await t.rejects(store.get(user), {
        name: 'TypeError', message: /^the id of a (tenant|subject) must have at most \d+ bytes in MySQL$/
      })
    }
    await t.rejects(store.set(alice, 's'.repeat(256)), { name: 'TypeError', message: 'a status must have at most 255 bytes in MySQL' })
  })
}))

t.test('a wrong client or table is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'mysql://127.0.0.1']) {
    t.throws(() => mysqlUserStatusStore(client as MysqlClient), {
      name: 'TypeError', message: /^mysqlUserStatusStore: pass a pool of mysql2/
    })
  }
  const client: MysqlClient = { query: async () => [[]] }
  for (const table of ['', 'a`b', 'a;b', 'a.b.c', '1a', 'a'.repeat(41), `app.${'a'.repeat(41)}`]) {
    t.throws(() => mysqlUserStatusStore(client, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => mysqlUserStatusTable(table), { name: 'TypeError', message: /table/ })
  }
  t.match(mysqlUserStatusTable(), /^CREATE TABLE IF NOT EXISTS `logout_user_status` [^]*;\n$/)
})
