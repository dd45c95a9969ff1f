import { setTimeout as sleep } from 'node:timers/promises'
import mysql, { type Pool, type RowDataPacket } from 'mysql2/promise'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { mysqlProviderSessionIndex, mysqlProviderSessionTables } from '../../lib/provider-session-indexes/mysql.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { spread } from './spread.ts'

const hour = 3_600_000
const issuer = 'https://login.example'
const session = (sessionId: string) => ({ sessionId, subject: 'alice' })
const login = (sid?: string, subject = 'alice-there') => ({ issuer, subject, sid, issuedAt: 1000 })
const logoutOf = (sid: string) => ({ issuer, sid, cutoff: 1000, until: Date.now() + hour })

t.test('on a server that others use too', t => withMysql(t, async ({ url }) => {
  const pools = Array.from({ length: 4 }, () => mysqlPool(t, url))
  const [pool] = pools as [Pool]
  let made = 0
  const fresh = async (clients: readonly MysqlClient[] = pools) => {
    const table = `test_index_${process.pid}_${Date.now()}_${made++}`
    t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${table}, ${table}_cutoff`))
    const indexes = clients.map(client => mysqlProviderSessionIndex(client, { table }))
    const [index] = indexes as [typeof indexes[number]]
    await Promise.all([index.migrate(), ...indexes.map(each => each.migrate())])
    return { table, indexes, index }
  }

  await t.test('the rules, on several pools at once', async t => {
    const shared = spread((await fresh()).indexes)
    for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => shared), rule.name)
    const race = providerSessionIndexRules.find(({ name }) => name.startsWith('of 50 logins'))
    for (let round = 0; round < 5; round++) await t.resolves(race?.check(() => shared) ?? Promise.reject(new Error('no such rule')))
  })

  for (const level of ['READ COMMITTED', 'REPEATABLE READ']) {
    await t.test(`a logout waits for the transaction of a login, and then finds it, at ${level}`, async t => {
      const { table, index } = await fresh()
      const host = await pool.getConnection()
      await host.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await host.query('BEGIN')
      t.equal(await mysqlProviderSessionIndex(host, { table }).bind(login('phone'), session('1'), Date.now() + hour), 'live')
      let found: unknown
      const waiting = index.logOut(logoutOf('phone')).then(sessions => { found = sessions })
      await sleep(50)
      t.equal(found, undefined)
      await host.query('COMMIT')
      host.release()
      await waiting
      t.strictSame(found, [session('1')])
    })

    await t.test(`a login waits for the transaction of a logout, and is revoked, at ${level}`, async t => {
      const { table, index } = await fresh()
      const host = await pool.getConnection()
      await host.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await host.query('BEGIN')
      t.strictSame(await mysqlProviderSessionIndex(host, { table }).logOut(logoutOf('phone')), [])
      const waiting = index.bind(login('phone'), session('1'), Date.now() + hour)
      await sleep(50)
      await host.query('COMMIT')
      host.release()
      t.equal(await waiting, 'revoked')
    })

    await t.test(`a login in a transaction that began before a logout is revoked, at ${level}`, async t => {
      const { table, index } = await fresh()
      const host = await pool.getConnection()
      await host.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await host.query('BEGIN')
      await host.query(`SELECT * FROM ${table}_cutoff`)
      await index.logOut(logoutOf('phone'))
      t.equal(await mysqlProviderSessionIndex(host, { table }).bind(login('phone'), session('1'), Date.now() + hour), 'revoked')
      await host.query('ROLLBACK')
      host.release()
    })
  }

  await t.test('every call is two statements', async t => {
    const single = mysqlPool(t, url, { connectionLimit: 1 })
    const { index } = await fresh([single])
    const count = async () => Number((await single.query<RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Questions'"))[0][0]?.['Value'])
    for (const act of [() => index.bind(login('phone'), session('1'), Date.now() + hour), () => index.logOut(logoutOf('phone'))]) {
      const before = await count()
      await act()
      t.equal(await count() - before - 1, 2)
    }
  })

  await t.test('prune deletes what is past its time by the clock of the server, and keeps the rest', async t => {
    const { table, index } = await fresh()
    const { now } = Date
    t.teardown(() => Object.assign(Date, { now }))
    await index.bind(login('kept'), session('kept'), now() + hour)
    await index.logOut({ ...logoutOf('kept'), cutoff: 0 })
    const due = Array.from({ length: 2500 }, (_, i) => [`id ${i}`, `sub ${i}`, '', '["a","b"]', 1, now() - 1000])
    await pool.query(`INSERT INTO ${table} (id, subject_key, sid_key, session, issued_at, \`until\`) VALUES ?`, [due])
    await pool.query(`INSERT INTO ${table}_cutoff VALUES ?`, [due.map(([id]) => [id, '*', 1, now() - 1000])])
    Date.now = () => now() + 2 * hour
    t.equal(await index.prune(), 2500)
    t.equal(await index.prune(), 0)
    Object.assign(Date, { now })
    t.equal((await pool.query<mysql.RowDataPacket[]>(`SELECT * FROM ${table}_cutoff`))[0].length, 1)
    t.strictSame(await index.logOut(logoutOf('kept')), [session('kept')])
  })

  await t.test('a missing table says what to do', async t => {
    const missing = mysqlProviderSessionIndex(pool, { table: 'not_there' })
    const message = 'table not_there is missing: run migrate()'
    await t.rejects(missing.bind(login(), session('1'), Date.now() + hour), { message })
    await t.rejects(missing.logOut(logoutOf('phone')), { message })
  })
}))

t.test('misuse is a TypeError that names what is wrong', async t => {
  const client: MysqlClient = { query: async () => [[]] }
  t.throws(() => mysqlProviderSessionIndex({} as MysqlClient), { name: 'TypeError', message: /^mysqlProviderSessionIndex: pass a pool/ })
  for (const table of ['a b', 'a'.repeat(41)]) {
    t.throws(() => mysqlProviderSessionIndex(client, { table }), { name: 'TypeError', message: /option "table" must/ })
  }
  const tables = mysqlProviderSessionTables().match(/^CREATE TABLE IF NOT EXISTS `\w+`/gm)
  t.strictSame(tables?.map(line => line.split('`')[1]), ['logout_provider_session', 'logout_provider_session_cutoff'])
})
