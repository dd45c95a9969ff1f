import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { PostgresClient } from '../../../lib/internal/databases/postgres.ts'
import { revocationNames } from '../../../lib/internal/databases/postgres-revocation-sql.ts'
import { postgresFeed } from '../../../lib/internal/feeds/postgres.ts'
import type { Mark, RevocationFeed } from '../../../lib/revocation-store.ts'
import { postgresRevocationStore } from '../../../lib/revocation-stores/postgres.ts'
import { withPostgres } from '../../servers/postgres.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withPostgres(t, async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url, max: 6, query_timeout: 20_000, connectionTimeoutMillis: 20_000 })
  pool.on('error', () => {})
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}; DROP FUNCTION IF EXISTS ${table}_revoke`)
    await pool.end()
  })
  const fresh = async (t: Test, pageSize = 1000, client: PostgresClient = pool) => {
    const table = `test_feed_${process.pid}_${tables.length}`
    tables.push(table)
    const store = postgresRevocationStore(pool, { table })
    await store.migrate()
    const feed = postgresFeed(client, { names: revocationNames(table, 'test'), table, caller: 'test', pageSize })
    t.teardown(() => feed.close())
    return { table, store, feed }
  }
  const backends = async (table: string) => (await pool.query(
    'SELECT pid FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()', [`%${table}%`])).rows.map(row => Number(row.pid))

  await t.test('marks are loaded and read on in pages', async t => {
    const { store, feed } = await fresh(t, 7)
    const marks = Array.from({ length: 50 }, (_, index): Mark => ({ tokenId: `${index}`, until }))
    await store.revoke(...marks)
    const loaded = await readOn(feed)
    t.same(loaded.ids, marks.map(mark => 'tokenId' in mark && mark.tokenId).sort())
    await Promise.all(marks.map(async mark => store.revoke({ ...mark, until: until + 1 })))
    feed.close()
    const again = await readOn(feed, loaded.position)
    t.same([...new Set(again.ids)].sort(), loaded.ids, 'what was written while nobody listened')
    t.same((await readOn(feed, again.position)).ids, [])
  })

  await t.test('transactions that end in another order than they began are missed by no page, and re-read by none', async t => {
    const { table, store, feed } = await fresh(t, 3)
    const hosts = await Promise.all([0, 1, 2].map(() => pool.connect()))
    t.teardown(() => hosts.forEach(host => host.release(true)))
    for (const [index, host] of hosts.entries()) {
      await host.query('BEGIN')
      const marks = Array.from({ length: 5 }, (_, mark): Mark => ({ tokenId: `${index}.${mark}`, until }))
      await postgresRevocationStore(host, { table, batch: false }).revoke(...marks)
    }
    await store.revoke({ tokenId: 'first', until })
    const first = await readOn(feed)
    t.same(first.ids, ['first'])
    let { position } = first
    for (const [place, index] of [2, 0, 1].entries()) {
      await hosts[index]?.query('COMMIT')
      await store.revoke({ tokenId: `between ${place}`, until })
      // A feed that was closed gets no notifications: it reads.
      feed.close()
      const read = await readOn(feed, position)
      const expected = [`between ${place}`, ...[0, 1, 2, 3, 4].map(mark => `${index}.${mark}`)]
      t.same(new Set(read.ids), new Set(expected), `page after transaction ${index}`)
      position = read.position
    }
    const { pages } = await readOn(feed, position)
    t.equal(pages, 1)
  })

  await t.test('marks too large for a notification are read', async t => {
    const { store, feed } = await fresh(t)
    const { position } = await readOn(feed)
    const waiting = feed.next(position, 20_000)
    const scope = { issuer: 'i'.repeat(120), cutoff: 1, until }
    await store.revoke(...Array.from({ length: 50 }, (_, index): Mark => ({ subject: `${'x'.repeat(120)}${index}`, ...scope })))
    const page = await waiting
    t.equal(page.marks.length, 50)
    t.equal(page.complete, false)
  })

  await t.test('after a lost connection it goes on where it was, unless the server lost something', async t => {
    for (const loss of ['nothing', 'the heartbeat'] as const) {
      const { table, store, feed } = await fresh(t)
      await store.revoke({ tokenId: 'before', until })
      const { position } = await readOn(feed)
      const waiting = t.rejects(async () => {
        for (let at = position; ;) at = (await feed.next(at, 20_000)).position
      })
      for (const pid of await backends(table)) await pool.query('SELECT pg_terminate_backend($1)', [pid])
      await waiting
      feed.close()
      await store.revoke({ tokenId: 'meanwhile', until })
      if (loss === 'the heartbeat') await pool.query(`UPDATE ${table} SET cutoff = 0 WHERE id LIKE 'h%'`)
      t.same((await readOn(feed, position)).ids, loss === 'nothing' ? ['meanwhile'] : ['before', 'meanwhile'], `${loss} was lost`)
    }
  })

  await t.test('after a lost connection it reads again what only the last page had: no heartbeat has come after that', async t => {
    const { store, feed } = await fresh(t)
    const { position } = await readOn(feed)
    await store.revoke({ tokenId: 'last', until })
    const last = await readOn(feed, position)
    t.same(last.ids, ['last'])
    feed.close()
    const again = await readOn(feed, last.position)
    t.same(again.ids, ['last'])
    const { position: proven } = await readOn(feed, again.position)
    feed.close()
    t.same((await readOn(feed, proven)).ids, [])
  })

  await t.test('the heartbeat of a load is written behind what the load begins with', async t => {
    const { table, feed } = await fresh(t)
    const { position } = await feed.next(undefined, 1)
    const { seen, proof } = JSON.parse(position)
    const { rows } = await pool.query(`SELECT id, cutoff::text AS value, xmin::text AS written FROM ${table}`)
    t.same(proof, { id: rows[0]?.id, value: rows[0]?.value, seen })
    t.ok(Number(rows[0]?.written) >= Number(seen.split(':')[1]), `written by ${rows[0]?.written}, seen ${seen}`)
  })

  await t.test('a position of another server or another table begins anew', async t => {
    const { store, feed } = await fresh(t, 2)
    await store.revoke(...['a', 'b', 'c', 'd'].map((tokenId): Mark => ({ tokenId, until })))
    const { position } = await readOn(feed)
    const other = { ...JSON.parse(position), server: 'another/00000001/1' }
    t.same((await readOn(feed, JSON.stringify(other))).ids, ['a', 'b', 'c', 'd'])
  })

  await t.test('a load that is cut off goes on where it was, unless the server lost something', async t => {
    for (const loss of ['nothing', 'the heartbeat'] as const) {
      const { table, store, feed } = await fresh(t, 2)
      await store.revoke(...['b', 'c', 'd', 'e'].map((tokenId): Mark => ({ tokenId, until })))
      const cut = await feed.next((await feed.next(undefined, 1)).position, 1)
      t.same(cut.marks.map(mark => 'tokenId' in mark && mark.tokenId), ['b', 'c'])
      feed.close()
      await store.revoke({ tokenId: 'a', until })
      if (loss === 'the heartbeat') await pool.query(`UPDATE ${table} SET cutoff = 0 WHERE id LIKE 'h%'`)
      const { ids } = await readOn(feed, cut.position)
      t.same([...new Set(ids)], loss === 'nothing' ? ['a', 'd', 'e'] : ['a', 'b', 'c', 'd', 'e'], `${loss} was lost`)
    }
  })

  await t.test('each page of a load has so many marks at most', async t => {
    const { store, feed } = await fresh(t, 3)
    await store.revoke(...Array.from({ length: 10 }, (_, index): Mark => ({ tokenId: `${index}`, until })))
    const sizes: number[] = []
    let position: string | undefined
    for (let isComplete = false; !isComplete;) {
      const page = await feed.next(position, 1)
      sizes.push(page.marks.length)
      position = page.position
      isComplete = page.complete
    }
    t.same(sizes, [0, 3, 3, 3, 1, 0])
  })

  await t.test('no page is complete while what the store writes does not arrive', async t => {
    const split = await fresh(t)
    await pool.query(`CREATE SCHEMA ${split.table}_elsewhere`)
    t.teardown(() => pool.query(`DROP SCHEMA ${split.table}_elsewhere CASCADE`))
    await postgresRevocationStore(pool, { table: `${split.table}_elsewhere.${split.table}` }).migrate()
    const elsewhere = new pg.Pool({
      connectionString: url, options: `-c search_path=${split.table}_elsewhere`, query_timeout: 20_000, connectionTimeoutMillis: 20_000
    })
    t.teardown(() => elsewhere.end())
    let lent = 0
    const client = { query: pool.query.bind(pool), connect: () => lent++ === 0 ? elsewhere.connect() : pool.connect() }
    const feed = postgresFeed(client, { names: revocationNames(split.table, 'test'), table: split.table, caller: 'test' })
    t.teardown(() => feed.close())
    await t.rejects(readOn(feed), { message: /reads from a server that does not have what the store has just written/ })
  })

  await t.test('it takes one connection for itself, gives the others back, and all of them when it is closed', async t => {
    const { feed } = await fresh(t)
    const taken = () => pool.totalCount - pool.idleCount
    let closed = 0
    const count = () => { closed++ }
    pool.on('remove', count)
    const { position } = await readOn(feed)
    t.equal(taken(), 1)
    await readOn(feed, position)
    t.equal(taken(), 1)
    t.equal(closed, 0)
    pool.off('remove', count)
    const waiting = feed.next(position, 20_000).catch(() => {})
    feed.close()
    await waiting
    t.equal(taken(), 0)
    t.equal(pool.waitingCount, 0)
  })

  await t.test('its heartbeat is one row, which is written in place and ends', async t => {
    const { table, feed } = await fresh(t)
    let position: string | undefined
    for (let proof = 0; proof < 10; proof++) {
      feed.close()
      position = (await readOn(feed, position)).position
    }
    const { rows } = await pool.query(`SELECT until - (extract(epoch FROM now()) * 1000)::bigint AS life FROM ${table} WHERE id LIKE 'h%'`)
    t.equal(rows.length, 1)
    t.ok(Number(rows[0]?.life) > 200_000 && Number(rows[0]?.life) <= 600_000, `${rows[0]?.life} ms`)
    await pool.query('SELECT pg_stat_force_next_flush()').catch(() => {})
    await sleep(1500)
    const updates = 'SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = $1'
    const { rows: [stat] } = await pool.query(updates, [table])
    t.ok(Number(stat.updates) >= 8 && stat.updates === stat.hot, `${stat.hot} of ${stat.updates} updates touched no index`)
  })

  await t.test('a proof reads only what is new: it uses its index from there on, also before the table is analyzed', async t => {
    const { table, feed } = await fresh(t)
    await pool.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`)
    await pool.query(`INSERT INTO ${table}
      SELECT 't' || md5(i::text), '', '', '', 1, ${until}, pg_current_xact_id() FROM generate_series(1, 50000) AS i`)
    let { position } = await readOn(feed)
    /** Waits until every connection has reported what it did: an idle one may keep that for ten seconds. */
    const reported = async () => {
      feed.close()
      const idle = await Promise.all(Array.from({ length: pool.idleCount }, () => pool.connect()))
      for (const connection of idle) {
        await connection.query('SELECT pg_stat_force_next_flush()').catch(() => {}) // PostgreSQL before 15 has no such function
        connection.release()
      }
      await sleep(1200)
    }
    await reported()
    const scans = async () => {
      const whole = 'SELECT seq_scan AS all_rows, seq_tup_read AS rows FROM pg_stat_user_tables WHERE relname = $1'
      const { rows } = await pool.query(whole, [table])
      return rows[0]
    }
    const blocks = async () => {
      const sum = 'SELECT sum(idx_blks_hit + idx_blks_read) AS blocks FROM pg_statio_user_indexes WHERE relname = $1'
      const { rows } = await pool.query(sum, [table])
      return Number(rows[0]?.blocks)
    }
    const before = await scans()
    const blocksBefore = await blocks()
    for (let time = 0; time < 20; time++) {
      feed.close()
      position = (await readOn(feed, position)).position
    }
    await reported()
    t.same(await scans(), before, 'no scan of the whole table')
    const read = await blocks() - blocksBefore
    t.ok(read < 20 * 100, `${read} blocks of indexes for 20 proofs`)
    const { rows } = await pool.query('SELECT last_analyze, last_autoanalyze FROM pg_stat_user_tables WHERE relname = $1', [table])
    t.same(rows, [{ last_analyze: null, last_autoanalyze: null }])
  })
}))

t.test('a connection that cannot listen is closed', async t => {
  const released: unknown[] = []
  const release = (destroy?: boolean) => { released.push(destroy) }
  const connection = { query: async () => { throw new Error('no') }, on () {}, off () {}, release }
  const pool = { query: async () => ({ rows: [] }), connect: async () => connection }
  const feed = postgresFeed(pool, { names: revocationNames('x', 'test'), table: 'x', caller: 'test' })
  await t.rejects(feed.next(undefined, 1), { message: 'no' })
  t.same(released, [true])
  feed.close()
  feed.close()
  t.same(released, [true])
})

t.test('where nothing is answered it holds one connection, and closes it when it gives up', async t => {
  const released: unknown[] = []
  const release = (destroy?: boolean) => { released.push(destroy) }
  const silent = { query: () => new Promise<never>(() => {}), on () {}, off () {}, release }
  let lent = 0
  const pool = { query: silent.query, connect: async () => { lent++; return silent } }
  const feed = postgresFeed(pool, { names: revocationNames('x', 'test'), table: 'x', caller: 'test' })
  for (let attempt = 1; attempt < 4; attempt++) {
    feed.next(undefined, 1).catch(() => {})
    await sleep(5)
    t.equal(lent, attempt)
    feed.close()
    t.equal(released.length, attempt)
  }
})

/** Everything behind a position. */
async function readOn (feed: RevocationFeed, position?: string): Promise<{ ids: string[], position: string, pages: number }> {
  const ids: string[] = []
  for (let pages = 1; ; pages++) {
    const page = await feed.next(position, 1)
    ids.push(...page.marks.map(mark => 'tokenId' in mark ? mark.tokenId : 'other'))
    position = page.position
    if (page.complete) return { ids: ids.sort(), position, pages }
  }
}
