import pg from 'pg'
import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import { postgresRevocationFeed, type PostgresPool } from '../../lib/revocation-stores/postgres-feed.ts'
import { postgresRevocationStore, postgresRevocationTable } from '../../lib/revocation-stores/postgres.ts'
import { withPostgres } from '../servers/postgres.ts'
import { everyMark, eventually, follows } from './follow.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withPostgres(t, async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url, max: 8 })
  pool.on('error', () => {})
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}`)
    await pool.end()
  })
  const fresh = async () => {
    const table = `test_${process.pid}_${Date.now()}_${tables.length}`
    tables.push(table)
    const store = postgresRevocationStore(pool, { table })
    await Promise.all([store.migrate(), store.migrate(), store.migrate()])
    return { table, store }
  }

  await t.test('the rules', async t => {
    const { store } = await fresh()
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('the rules, through a replica', async t => {
    const { table, store } = await fresh()
    const replica = revocationReplica({ store, feed: postgresRevocationFeed(pool, { table }) })
    t.teardown(() => replica.close())
    await replica.start()
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => replica), rule.name)
  })

  await t.test('a replica follows', async t => {
    const { table, store } = await fresh()
    await follows(t, store, () => postgresRevocationFeed(pool, { table, pageSize: 7 }))
  })

  await t.test('what one revoke writes while another waits is missed by nobody', async t => {
    const { table, store } = await fresh()
    const feed = postgresRevocationFeed(pool, { table, pageSize: 5 })
    const seen = new Set<unknown>()
    let position: string | undefined
    let writing = true
    const writers = Promise.all(Array.from({ length: 6 }, async (_, writer) => {
      for (let index = 0; index < 25; index++) await store.revoke(...[0, 1, 2].map((mark): Mark => ({ tokenId: `${writer}.${index}.${mark}`, until })), { tokenId: `${index}`, until: until + writer })
    })).finally(() => { writing = false })
    await eventually(async () => {
      const done = !writing
      const page = await feed.next(position, 5)
      for (const mark of page.marks) seen.add(Object.values(mark)[0])
      position = page.position
      return done && page.complete
    }, 'everything is written')
    await writers
    feed.close()
    t.equal(seen.size, 6 * 25 * 3 + 25)
  })

  await t.test('two stores merged later agree with one', async t => {
    const [one, two, whole, merged] = [await fresh(), await fresh(), await fresh(), await fresh()] as const
    const marks = [{ subject: 'u', cutoff: 10, except: 'a', until }, { subject: 'u', cutoff: 8, except: 'b', until }, { subject: 'u', cutoff: 6, until }, { tokenId: 't', until }]
    for (const [index, mark] of marks.entries()) await (index % 2 === 0 ? one : two).store.revoke(mark)
    await whole.store.revoke(...marks)
    for (const { table } of [two, one]) await merged.store.revoke(...await everyMark(postgresRevocationFeed(pool, { table })))
    for (const sessionId of ['a', 'b', 'c']) {
      for (const issuedAt of [5, 6, 7, 8, 9, 10, 11]) {
        const facts = { subject: 'u', sessionId, issuedAt }
        t.equal(await merged.store.check(facts), await whole.store.check(facts))
      }
    }
    t.equal(await merged.store.check({ tokenId: 't' }), 'revoked')
  })

  await t.test('what ended a minute ago is forgotten with the next call, unless it is marked again', async t => {
    const { table, store } = await fresh()
    const past = Date.now() - 61_000
    await pool.query(`INSERT INTO ${table} VALUES
      ('told', '', '', '', 0, ${past}, 1, 1), ('cold', '', '', '', 0, ${past}, -1, -1), ('tagain', '', '', '', 0, ${past}, 1, 1)`)
    await store.revoke({ tokenId: 't', until }, { tokenId: 'again', until })
    t.same((await pool.query(`SELECT id FROM ${table} ORDER BY id`)).rows, [{ id: 'tagain' }, { id: 'tt' }])
  })

  await t.test('a server that fell back behind the position is read from the beginning', async t => {
    const { table, store } = await fresh()
    const feed = postgresRevocationFeed(pool, { table })
    await store.revoke({ tokenId: 'a', until })
    const far = await feed.next('["1000","","","",""]', 1)
    t.same(far, { marks: [], position: '["0","","","",""]', complete: false })
    t.same((await feed.next(far.position, 1)).marks, [{ tokenId: 'a', until }])
    feed.close()
  })

  await t.test('a feed waits for news no longer than it is told, claims and ended marks are no news, and a lost connection is opened anew', async t => {
    const { table, store } = await fresh()
    const feed = postgresRevocationFeed(pool, { table })
    await store.claimOnce('k', until)
    await pool.query(`INSERT INTO ${table} VALUES ('told', '', '', '', 0, 1, 1, 1)`)
    const asked = Date.now()
    t.same(await feed.next(undefined, 60), { marks: [], position: '["0","","","",""]', complete: true })
    t.ok(Date.now() - asked >= 50)
    const waiting = feed.next(undefined, 8000)
    await store.revoke({ tokenId: 'a', until })
    t.equal((await waiting).marks.length, 1)
    t.ok(Date.now() - asked < 6000, 'a notification wakes it')
    await pool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()', [`%${table}%`]).catch(() => {})
    await t.rejects(async () => { for (let attempt = 0; attempt < 100; attempt++) await feed.next(undefined, 1) })
    feed.close()
    t.equal((await feed.next(undefined, 1)).marks.length, 1)
    feed.close()
    feed.close()
  })

  await t.test('news that come before anybody waits for them are no error', async t => {
    const { table, store } = await fresh()
    const feed = postgresRevocationFeed({
      async connect () {
        const connection = await pool.connect()
        const query = async (text: string, values: unknown[]) => {
          const answer = await connection.query(text, values)
          connection.emit('notification', { processId: 0, channel: 'news' })
          return answer
        }
        return Object.assign(Object.create(connection), { query })
      }
    }, { table })
    t.teardown(() => feed.close())
    await store.revoke({ tokenId: 'early', until })
    t.match((await everyMark(feed)), [{ tokenId: 'early' }])
  })

  await t.test('a missing table says what to do', async t => {
    await t.rejects(postgresRevocationStore(pool, { table: 'not_there' }).check({ tokenId: 't' }), { message: 'table not_there is missing: run migrate()' })
    const feed = postgresRevocationFeed(pool, { table: 'not_there' })
    await t.rejects(feed.next(undefined, 1), { message: 'table not_there is missing: run migrate()' })
    feed.close()
  })

  await t.test('a schema may stand in front of the table', async t => {
    await pool.query('CREATE SCHEMA IF NOT EXISTS with_schema')
    const table = 'with_schema.revocations'
    const store = postgresRevocationStore(pool, { table })
    await store.migrate()
    await store.revoke({ tokenId: 't', until })
    const feed = postgresRevocationFeed(pool, { table })
    t.same((await feed.next(undefined, 1)).marks, [{ tokenId: 't', until }])
    feed.close()
    await pool.query('DROP SCHEMA with_schema CASCADE')
  })
}))

t.test('a connection that cannot listen is given back', async t => {
  const released: boolean[] = []
  const connection = { query: async () => { throw new Error('no') }, on () {}, off () {}, release: (destroy: boolean) => { released.push(destroy) } }
  const feed = postgresRevocationFeed({ connect: async () => connection })
  await t.rejects(feed.next(undefined, 1), { message: 'no' })
  t.same(released, [true])
  feed.close()
})

t.test('misuse is a TypeError that names what is wrong', async t => {
  const pool = { query: async () => ({ rows: [] }), connect () { throw new Error('not now') } }
  t.throws(() => postgresRevocationStore({} as PostgresClient), { name: 'TypeError', message: /pass a Pool of pg/ })
  t.throws(() => postgresRevocationStore(pool, { table: 'a b' }), { name: 'TypeError', message: /option "table" must be/ })
  t.throws(() => postgresRevocationFeed({} as PostgresPool), { name: 'TypeError', message: /pass a Pool of pg/ })
  t.throws(() => postgresRevocationFeed(pool, { pageSize: 0 }), { name: 'TypeError', message: /pageSize/ })
  t.match(postgresRevocationTable(), /CREATE TABLE IF NOT EXISTS "logout_revocation"/)
})
