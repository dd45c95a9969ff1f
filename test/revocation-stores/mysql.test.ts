import { setTimeout as sleep } from 'node:timers/promises'
import callbackMysql from 'mysql2'
import type { PoolOptions, RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { FollowableRevocationStore, Mark } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore, mysqlRevocationTable, type MysqlRevocationStoreOptions } from '../../lib/revocation-stores/mysql.ts'
import { clientOptions, sqlModes } from '../servers/mysql-settings.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { eventually, everyMark, follows } from './follow.ts'

const minute = 60_000
const until = Date.now() + 60 * minute

t.test('on a server', t => withMysql(t, async ({ url }) => {
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

  for (const batch of [true, false]) {
    await t.test(`the rules, ${batch ? 'with' : 'without'} shared statements`, async t => {
      const { store } = await fresh({ batch })
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
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

  const settings: Array<readonly [name: string, options: PoolOptions, first: readonly string[]]> = [
    ...Object.entries(clientOptions).map(([name, options]) => [`the client option ${name}`, options, []] as const),
    ...Object.entries(sqlModes).map(([name, first]) => [name, {}, first] as const)
  ]
  for (const [name, options, first] of settings) {
    await t.test(`the rules, with ${name}`, async t => {
      const { store } = await fresh({}, mysqlPool(t, url, { connectionLimit: 8, ...options }, first))
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules, with a pool of callbacks', async t => {
    const callbacks = callbackMysql.createPool({ uri: url, connectionLimit: 8 })
    t.teardown(() => callbacks.promise().end())
    const { store } = await fresh({}, callbacks)
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

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
    const fill = () => pool.query(`INSERT INTO ${table} (id, issuer, tenant, \`except\`, cutoff, \`until\`, maker, written) VALUES ?`, [
      ['told', 'cold', 'hold', 'tnew'].map(id => [id, '', '', '', 0, Date.now() - (id === 'tnew' ? 50_000 : 61_000), 1, 1])
    ])
    const left = async () => (await rowsOf(`SELECT id FROM ${table} WHERE id LIKE '_old' OR id = 'tnew'`)).map(row => String(row['id']))
    await fill()
    for (let call = 0; call < 16; call++) await store.revoke({ tokenId: 'again', until })
    t.same(await left(), ['tnew'])
    await pool.query(`DELETE FROM ${table}`)
    await fill()
    for (let call = 0; call < 16; call++) await store.claimOnce(`k${call}`, until)
    t.same(await left(), ['tnew'])
  })

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

  await t.test('a mark that has ended takes no part in one that is made later', async t => {
    const { table, store } = await fresh()
    await pool.query(`INSERT INTO ${table} VALUES ('uu', '', '', '', 1000, ${Date.now() - 1}, 1, 1), ('tt', '', '', '', 1000, 5, 1, 1)`)
    t.equal(await store.revoke({ subject: 'u', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'u', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ subject: 'v', cutoff: 1000, until: 1 }, { subject: 'v', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'v', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ tokenId: 't', until }), true)
    t.equal(await store.revoke({ tokenId: 'ended', until: 1 }), false)
  })

  await t.test('ten thousand marks and one in one call are all made, and resolve true once', async t => {
    const { store } = await fresh()
    const marks = Array.from({ length: 10_001 }, (_, index): Mark => ({ tokenId: `t${index}`, until }))
    t.equal(await store.revoke(...marks), true)
    t.equal(await store.revoke(...marks), false)
    t.equal((await distinctMarks(store)).length, marks.length)
    for (const index of [0, 499, 500, 10_000]) t.equal(await store.check({ tokenId: `t${index}` }), 'revoked')
    t.equal(await store.revoke(...marks, { tokenId: 'one more', until }), true)
  })

  await t.test('of many calls at once with one mark exactly one resolves true, from several pools too', async t => {
    const { table } = await fresh()
    const stores = Array.from({ length: 4 }, () => mysqlRevocationStore(mysqlPool(t, url), { table }))
    for (const mark of [{ tokenId: 't', until }, { sessionId: 's', until }]) {
      const news = await Promise.all(Array.from({ length: 200 }, (_, index) => stores[index % 4]?.revoke(mark)))
      t.equal(news.filter(Boolean).length, 1)
    }
    const own = Array.from({ length: 200 }, (_, index) => stores[index % 4]?.revoke({ tokenId: `own ${index % 50}`, until }))
    const each = await Promise.all(own)
    t.equal(each.filter(Boolean).length, 50)
    const claims = await Promise.all(Array.from({ length: 200 }, (_, index) => stores[index % 4]?.claimOnce('key', until)))
    t.equal(claims.filter(Boolean).length, 1)
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
  })

  await t.test('a transaction that revoked and stays open holds up nobody else, and its marks are followed once it commits', async t => {
    const { table, store } = await fresh()
    const replica = revocationReplica(store)
    t.teardown(() => replica.close())
    await replica.start()
    const host = await pool.getConnection()
    t.teardown(() => host.destroy())
    await host.query('BEGIN')
    const within = mysqlRevocationStore(host, { table })
    t.equal(await within.revoke({ subject: 'alice', cutoff: 10, until }, { tokenId: 'alices', until }), true)
    const bobs = Array.from({ length: 50 }, (_, index): Mark => ({ subject: `bob${index}`, cutoff: 10, until }))
    const others = await Promise.all(bobs.map(mark => store.revoke(mark)))
    t.notOk(others.includes(false))
    await eventuallyRevoked(replica, { subject: 'bob49', issuedAt: 10 })
    for (const tokenId of ['one', 'two', 'three']) {
      await store.revoke({ tokenId, until })
      const asked = Date.now()
      await eventually(() => Date.now() - asked > replica.staleness(), 'the replica is complete meanwhile')
    }
    t.equal(await replica.check({ tokenId: 'alices' }), 'live')
    await host.query('COMMIT')
    await eventuallyRevoked(replica, { tokenId: 'alices' })
  })

  await t.test('a transaction that is rolled back has revoked nothing, anywhere', async t => {
    const { table, store } = await fresh()
    const replica = revocationReplica(store)
    t.teardown(() => replica.close())
    await replica.start()
    const host = await pool.getConnection()
    await host.query('BEGIN')
    await mysqlRevocationStore(host, { table }).revoke({ tokenId: 't', until })
    await host.query('ROLLBACK')
    host.release()
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
      t.equal((await distinctMarks(store)).length, 2)
      Object.assign(Date, { now })
      t.equal(await store.check({ tokenId: 'short' }), 'revoked')
    }
  })

  await t.test('a missing table says what to do', async t => {
    const missing = mysqlRevocationStore(pool, { table: 'not_there' })
    const message = 'table not_there is missing: run migrate()'
    await t.rejects(missing.check({ tokenId: 't' }), { message })
    await t.rejects(missing.revoke({ tokenId: 't', until }), { message })
    await t.rejects(missing.claimOnce('k', until), { message })
    await t.rejects(missing.feed().next(undefined, 1), { message })
  })
}))

async function distinctMarks (store: FollowableRevocationStore): Promise<string[]> {
  return [...new Set((await everyMark(store)).map(mark => JSON.stringify(mark)))]
}

async function eventuallyRevoked (replica: { check (credential: object): unknown }, credential: object): Promise<void> {
  for (let attempt = 0; await replica.check(credential) !== 'revoked'; attempt++) {
    if (attempt > 2000) throw new Error(`never revoked: ${JSON.stringify(credential)}`)
    await sleep(5)
  }
}

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
