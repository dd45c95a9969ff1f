import mysql, { type RowDataPacket } from 'mysql2/promise'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { mysqlRevocationStore, mysqlRevocationTable, type MysqlRevocationStoreOptions } from '../../lib/revocation-stores/mysql.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { mysqlDatabase } from '../servers/sql.ts'
import { revocationsOnSql } from './on-sql.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withMysql(t, async ({ url }) => {
  await revocationsOnSql(t, {
    ...mysqlDatabase(max => mysql.createPool({ uri: url, connectionLimit: max })),
    store: (client, options) => mysqlRevocationStore(client, { pollInterval: 5, ...options }),
    drop: table => [`DROP TABLE IF EXISTS ${table}`],
    insert: (table, rows) => `INSERT INTO ${table} VALUES ${rows.map(({ id, cutoff = 0, until }) => (
      `('${id}', '', '', '', ${cutoff}, ${until}, 1, 1)`
    )).join()}`
  })

  const pool = mysqlPool(t, url, { connectionLimit: 8 })
  let made = 0
  const fresh = async (options: MysqlRevocationStoreOptions = {}, client: MysqlClient = pool) => {
    const table = `test_marks_${process.pid}_${Date.now()}_${made++}`
    t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${table}`))
    const store = mysqlRevocationStore(client, { table, pollInterval: 5, ...options })
    await Promise.all([store.migrate(), store.migrate(), store.migrate()])
    return { table, store }
  }
  const rowsOf = async (sql: string) => (await pool.query<RowDataPacket[]>(sql))[0]

  await t.test('within what may be a transaction of the host nothing is swept but by prune, which deletes all that ended', async t => {
    const { table, store } = await fresh()
    const ended = Array.from({ length: 1200 }, (_, index) => [`told ${index}`, '', '', '', 0, Date.now() - 61_000, 1, 1])
    await pool.query(`INSERT INTO ${table} (id, issuer, tenant, \`except\`, cutoff, \`until\`, maker, written) VALUES ?`, [ended])
    const wrapped = mysqlRevocationStore({ query: statement => pool.query(statement) }, { table })
    for (let call = 0; call < 20; call++) await wrapped.revoke({ tokenId: 'again', until })
    t.equal((await rowsOf(`SELECT id FROM ${table}`)).length, 1201)
    t.equal(await wrapped.prune(), 1200)
    t.equal(await store.prune(), 0)
    t.equal(await store.check({ tokenId: 'again' }), 'revoked')
  })

  await t.test('calls of the same turn as one whose row is locked wait for it for a second, and no longer', async t => {
    const [{ version }] = await rowsOf('SELECT VERSION() AS version') as [RowDataPacket]
    const isMariadb = String(version).includes('MariaDB')
    const node = mysqlPool(t, url, { connectionLimit: 8 }, isMariadb ? [] : ['SET SESSION innodb_lock_wait_timeout = 1'])
    const { table, store } = await fresh({}, node)
    await store.revoke({ tokenId: 'the first call sweeps', until })
    const host = await pool.getConnection()
    t.teardown(() => host.destroy())
    await host.query('BEGIN')
    await mysqlRevocationStore(host, { table, batch: false }).revoke({ tokenId: 'm', until })

    const revoke = (tokenId: string) => Promise.resolve(store.revoke({ tokenId, until })).catch(String)
    let isLockedOver = false
    const outcomes = ['a', 'm', 'z'].map(revoke)
    const locked = outcomes[1]?.finally(() => { isLockedOver = true })
    t.strictSame(await Promise.all([outcomes[0], outcomes[2]]), [true, true])
    t.equal(isLockedOver, false, 'while it is still locked')
    for (const tokenId of ['a', 'z']) t.equal(await store.check({ tokenId }), 'revoked')
    // By itself it has no limit but `timeout`. On MySQL the limit is that of the connection.
    if (isMariadb) await sleep(1200)
    await host.query('COMMIT')
    t.equal(await locked, false, 'the host has revoked it')
  })

  await t.test('each call is as few statements as promised', async t => {
    const single = mysqlPool(t, url, { connectionLimit: 1 })
    const { store } = await fresh({}, single)
    const statements = async (act: () => Promise<unknown>) => {
      const count = async () => Number((await single.query<RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Questions'"))[0][0]?.['Value'])
      const before = await count()
      await act()
      return await count() - before - 1
    }
    await store.claimOnce('the first call sweeps', until)
    const tokens = (from: number) => Promise.all([0, 1, 2, 3, 4].map(index => store.revoke({ tokenId: `t${from + index}`, until })))
    t.equal(await statements(() => tokens(0)), 1)
    t.equal(await statements(() => tokens(3)), 2)
    t.equal(await statements(() => store.revoke({ subject: 'u', cutoff: 1, until })), 2)
    t.equal(await statements(() => store.check({ tokenId: 't', sessionId: 's', subject: 'u' })), 1)
    t.equal(await statements(() => store.claimOnce('k', until)), 1)
    t.equal(await statements(() => store.claimOnce('k', until)), 2)
    t.equal(await statements(async () => t.equal(await store.revoke(), false)), 0)
    t.equal(await statements(async () => t.equal(await store.check({}), 'live')), 0)

    const { store: other } = await fresh({}, single)
    await other.claimOnce('the first call sweeps', until)
    const once = (sessionId: string) => other.revokeOnce({ sessionId, subject: 'u', issuedAt: 2 }, { sessionId, until })
    t.equal(await statements(async () => t.equal(await once('s'), true)), 2)
    t.equal(await statements(async () => t.equal(await once('s'), false)), 3)
    t.equal(await statements(async () => t.strictSame(await Promise.all(['a', 'b', 's', 'b'].map(once)), [true, true, false, false])), 3)
    t.equal(await statements(async () => t.equal(await other.revokeOnce({}), false)), 0)
  })
}))

t.test('misuse is a TypeError that names what is wrong', async (t: Test) => {
  const client: MysqlClient = { query: async () => [[]] }
  t.throws(() => mysqlRevocationStore({} as MysqlClient), { name: 'TypeError', message: /^mysqlRevocationStore: pass a pool of mysql2/ })
  t.throws(() => mysqlRevocationStore(client, { table: 'a b' }), { name: 'TypeError', message: /option "table" must be/ })
  t.throws(() => mysqlRevocationStore(client, { table: 'a'.repeat(41) }), {
    name: 'TypeError', message: /option "table" must have at most 40/
  })
  for (const pollInterval of [0, NaN, 60_001, '5' as never]) {
    t.throws(() => mysqlRevocationStore(client, { pollInterval }), { name: 'TypeError', message: /option "pollInterval" must be a number/ })
  }
  t.match(mysqlRevocationTable(), /^CREATE TABLE IF NOT EXISTS `logout_revocation` [^]*;\n$/)
})
