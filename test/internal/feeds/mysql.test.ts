import { setTimeout as sleep } from 'node:timers/promises'
import type { RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { revocationFeedStatements, revocationTableName } from '../../../lib/internal/databases/mysql-revocation-sql.ts'
import { mysqlStatements, type MysqlClient, type RunMysql } from '../../../lib/internal/databases/mysql.ts'
import { mysqlFeed } from '../../../lib/internal/feeds/mysql.ts'
import type { Mark, RevocationFeed } from '../../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../../lib/revocation-stores/mysql.ts'
import { mysqlPool, withMysql } from '../../servers/mysql.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withMysql(t, async ({ url }) => {
  const pool = mysqlPool(t, url, { connectionLimit: 8 })
  let made = 0
  const fresh = async (t: Test, pageSize = 2000, watch: (sql: string) => void = () => {}) => {
    const name = `test_feed_${process.pid}_${Date.now()}_${made++}`
    t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${name}`))
    const store = mysqlRevocationStore(pool, { table: name })
    await store.migrate()
    const ask = mysqlStatements({ client: pool, table: name, timeout: 20_000 }, 'test')
    const run: RunMysql = sql => {
      watch(sql)
      return ask(sql)
    }
    const feed = mysqlFeed({ run, table: revocationTableName(name, 'test'), pollInterval: 5, pageSize })
    t.teardown(() => feed.close())
    return { name, store, feed }
  }
  const countOf = async (sql: string) => (await pool.query<RowDataPacket[]>(sql))[0].length

  await t.test('marks are loaded and read on in pages, and each has a number in the end', async t => {
    const { name, store, feed } = await fresh(t, 7)
    const marks = Array.from({ length: 50 }, (_, index): Mark => ({ tokenId: `${index}`, until }))
    await store.revoke(...marks)
    const loaded = await readOn(feed)
    t.same(loaded.ids, marks.map(mark => 'tokenId' in mark && mark.tokenId).sort())
    await store.revoke(...marks.map(mark => ({ ...mark, until: until + 1 })))
    const again = await readOn(feed, loaded.position)
    t.same(again.ids, loaded.ids)
    t.ok(await countOf(`SELECT id FROM ${name} WHERE written IS NULL`) < 7, 'those without a number are less than a page')
    let { position } = again
    for (let ids = ['some']; ids.length > 0;) ({ ids, position } = await readOn(feed, position))
    t.equal(await countOf(`SELECT id FROM ${name} WHERE written IS NULL`), 0)
  })

  await t.test('marks of one number that are more than fit on a page are all read', async t => {
    const { name, store, feed } = await fresh(t, 10)
    const { position } = await readOn(feed)
    await store.revoke(...Array.from({ length: 19 }, (_, index): Mark => ({ tokenId: `${index + 10}`, until })))
    const { seen } = JSON.parse(position)
    await pool.query(`UPDATE ${name} SET written = ${BigInt(seen) + 1n} WHERE id BETWEEN 't10' AND 't14'`)
    await pool.query(`UPDATE ${name} SET written = ${BigInt(seen) + 2n} WHERE id BETWEEN 't15' AND 't22'`)
    await pool.query(`UPDATE ${name} SET written = ${BigInt(seen) + 3n} WHERE id > 't22'`)
    t.equal((await readOn(feed, position)).ids.length, 19)
  })

  await t.test('marks of one number that are more than a page can have are all read: another feed has numbered them at once', async t => {
    const { name, store, feed } = await fresh(t, 10)
    let { position } = await readOn(feed)
    await store.revoke(...Array.from({ length: 59 }, (_, index): Mark => ({ tokenId: `${index + 10}`, until })))
    await pool.query(`UPDATE ${name} SET written = ${BigInt(JSON.parse(position).seen) + 1n} WHERE id LIKE 't%'`)
    const ids = new Set<unknown>()
    for (let pages = 0, complete = false; pages < 10 && !complete; pages++) {
      const page = await feed.next(position, 1)
      for (const mark of page.marks) ids.add('tokenId' in mark && mark.tokenId);
      ({ position, complete } = page)
    }
    t.equal(ids.size, 59)
  })

  await t.test('marks that have no number yet are handed out at once, and then not again before there is something else', async t => {
    let asked = 0
    const { store, feed } = await fresh(t, 2000, () => { asked++ })
    const { position } = await readOn(feed)
    await store.revoke({ tokenId: 'a', until })
    const first = await feed.next(position, 60_000)
    t.equal(first.marks.length, 1)
    asked = 0
    const start = performance.now()
    const waiting = feed.next(first.position, 60_000)
    await sleep(100)
    t.ok(asked <= 2 + (performance.now() - start) / 5, `${asked} questions in ${performance.now() - start} ms`)
    await store.revoke({ tokenId: 'a', until: until + 1 })
    t.match((await waiting).marks, [{ tokenId: 'a', until: until + 1 }], 'a longer life is something else')
    const again = feed.next(first.position, 60_000)
    await store.revoke({ tokenId: 'b', until })
    t.equal((await again).marks.length, 2)
    feed.close()
    t.equal((await feed.next(first.position, 60_000)).marks.length, 2, 'when it was closed they count as new')
  })

  await t.test('transactions that end in another order than they began are missed by no page', async t => {
    const { name, store, feed } = await fresh(t, 12)
    const hosts = await Promise.all([0, 1, 2].map(() => pool.getConnection()))
    t.teardown(() => hosts.forEach(host => host.destroy()))
    for (const [index, host] of hosts.entries()) {
      await host.query('BEGIN')
      const within = mysqlRevocationStore(host, { table: name })
      await within.revoke(...Array.from({ length: 5 }, (_, mark): Mark => ({ tokenId: `${index}.${mark}`, until })))
    }
    await store.revoke({ tokenId: 'first', until })
    let { ids, position } = await readOn(feed)
    t.same(ids, ['first'])
    for (const index of [2, 0, 1]) {
      await hosts[index]?.query('COMMIT')
      await store.revoke({ tokenId: `after ${index}`, until })
      feed.close();
      ({ ids, position } = await readOn(feed, position))
      for (const id of [`after ${index}`, ...[0, 1, 2, 3, 4].map(mark => `${index}.${mark}`)]) t.ok(ids.includes(id), id)
      t.notOk(ids.includes('first'), 'what has a number is not read again')
    }
  })

  await t.test('where many marks have no number, a feed that begins gives them some with each call', async t => {
    let statements = 0
    const { name, store, feed } = await fresh(t, 5, () => { statements++ })
    await store.revoke(...Array.from({ length: 34 }, (_, index): Mark => ({ tokenId: `${index}`, until })))
    const withoutNumber = async () => countOf(`SELECT id FROM ${name} WHERE written IS NULL`)
    let position: string | undefined
    for (const left of [24, 14, 4, 0]) {
      statements = 0
      const page = await feed.next(position, 1)
      position = page.position
      t.same([page.marks.length, page.complete, await withoutNumber()], [0, false, left])
      t.ok(statements <= 3, `${statements} statements in one call`)
    }
    t.equal((await feed.next(position, 1)).marks.length, 5, 'then it loads')
    t.equal((await readOn(feed, position)).ids.length, 34)
  })

  await t.test('while one feed gives numbers, another one does not wait for it', async t => {
    const { name, store, feed } = await fresh(t)
    const { position } = await readOn(feed)
    const other = await pool.getConnection()
    t.teardown(() => other.destroy())
    await other.query('BEGIN')
    await other.query(`SELECT 1 FROM ${name} WHERE id = 'n' AND issuer = '' AND tenant = '' AND \`except\` = '' FOR UPDATE`)
    await store.revoke({ tokenId: 't', until })
    const run = mysqlStatements({ client: pool, table: name, timeout: 20_000 }, 'test')
    const { changed } = await run(numbering(revocationTableName(name, 'test')))
    t.equal(changed, 0)
    await other.query('COMMIT')
    const { ids } = await readOn(feed, position)
    t.same(ids, ['t'])
  })

  await t.test('numbers never go back, whatever the clock of the server was', async t => {
    const { name, store, feed } = await fresh(t)
    await readOn(feed)
    const far = 2n ** 63n
    await pool.query(`UPDATE ${name} SET written = ${far} WHERE id = 'n'`)
    await store.revoke({ tokenId: 't', until })
    const { ids, position } = await readOn(feed)
    t.same(ids, ['t'])
    t.equal(JSON.parse(position).seen, String(far + 1n))
    await store.revoke({ tokenId: 'u', until })
    t.same((await readOn(feed, position)).ids, ['u'])
  })

  await t.test('numbers go by the clock, so that a server that lost its last numbers gives greater ones', async t => {
    const { name, store, feed } = await fresh(t)
    await store.revoke({ tokenId: 'before', until })
    const { position } = await readOn(feed)
    const { seen } = JSON.parse(position)
    const [[row]] = await pool.query<RowDataPacket[]>('SELECT UNIX_TIMESTAMP() * 1000 AS now')
    t.ok(Math.abs(Number(BigInt(seen) / 1024n) - Number(row?.['now'])) < 600_000, `${seen} at ${row?.['now']}`)
    await pool.query(`UPDATE ${name} SET written = 0 WHERE id = 'n'`)
    await store.revoke({ tokenId: 'after', until })
    const read = await readOn(feed, position)
    t.same(read.ids, ['after'])
    t.ok(BigInt(JSON.parse((await readOn(feed, read.position)).position).seen) > BigInt(seen))
  })

  await t.test('on another server it begins anew, while it loads too', async t => {
    const { store, feed } = await fresh(t, 2)
    await store.revoke(...['a', 'b', 'c', 'd'].map((tokenId): Mark => ({ tokenId, until })))
    const { position } = await readOn(feed)
    const elsewhere = (place: string) => JSON.stringify({ ...JSON.parse(place), server: 'another/3306/1' })
    t.same(new Set((await readOn(feed, elsewhere(position))).ids), new Set(['a', 'b', 'c', 'd']))
    const loading = await feed.next((await feed.next(undefined, 1)).position, 1)
    t.equal(loading.marks.length, 2)
    t.same(new Set((await readOn(feed, elsewhere(loading.position))).ids), new Set(['a', 'b', 'c', 'd']))
    t.same(new Set((await readOn(feed, loading.position)).ids), new Set(['c', 'd']), 'and otherwise it goes on')
    await readOn(feed, position)
    const moved = await feed.next(elsewhere(position), 60_000)
    t.match(JSON.parse(moved.position), { loaded: ['s'] }, 'while it waits too')
  })

  await t.test('no page is complete while what the store writes does not arrive', async t => {
    let loses = false
    const { name, feed } = await fresh(t)
    const ask = mysqlStatements({ client: pool, table: name, timeout: 20_000 }, 'test')
    const { position } = await readOn(feed)
    const split = mysqlFeed({
      run: sql => loses && sql.startsWith('INSERT') ? Promise.resolve({ rows: [], changed: 0, insertId: 0 }) : ask(sql),
      table: revocationTableName(name, 'test'),
      pollInterval: 5
    })
    loses = true
    await t.rejects(split.next(position, 1), { message: /reads from a server that does not have what the store has just written/ })
  })

  await t.test('it asks once in each interval while there is nothing new, and ceases when it is closed', async t => {
    let asked = 0
    const { feed } = await fresh(t, 2000, () => { asked++ })
    const { position } = await readOn(feed)
    asked = 0
    const start = performance.now()
    const waiting = t.rejects(feed.next(position, 60_000), { name: 'AbortError' })
    await sleep(100)
    feed.close()
    await waiting
    t.ok(asked >= 2, `${asked} questions`)
    t.ok(asked <= 2 + (performance.now() - start) / 5, `${asked} questions in ${performance.now() - start} ms`)
    const before = asked
    await sleep(20)
    t.equal(asked, before)
  })

  await t.test('its heartbeat is one row, which ends by itself', async t => {
    const { name, feed } = await fresh(t)
    let position: string | undefined
    for (let proof = 0; proof < 5; proof++) {
      feed.close()
      position = (await readOn(feed, position)).position
    }
    const [rows] = await pool.query<RowDataPacket[]>(`SELECT \`until\` FROM ${name} WHERE id LIKE 'h%'`)
    t.equal(rows.length, 1)
    const life = Number(rows[0]?.['until']) - Date.now()
    t.ok(life > 200_000 && life < 700_000, `${life} ms`)
  })
}))

t.test('a read that fails is not the end of the feed', async t => {
  const client: MysqlClient = { query: async () => { throw new Error('down') } }
  const feed = mysqlFeed({ run: mysqlStatements({ client, table: 'x', timeout: 100 }, 'test'), table: '`x`', pollInterval: 5 })
  for (const position of [undefined, '{"server":"a","seen":"1"}', 'null', '{"server":"a","seen":"x"}']) {
    await t.rejects(feed.next(position, 1), { message: 'down' })
  }
})

function numbering (table: string): string {
  return revocationFeedStatements(table).number(10)
}

/** Everything behind a position. */
async function readOn (feed: RevocationFeed, position?: string): Promise<{ ids: string[], position: string }> {
  const ids = new Set<string>()
  for (;;) {
    const page = await feed.next(position, 1)
    for (const mark of page.marks) ids.add('tokenId' in mark ? mark.tokenId : 'other')
    position = page.position
    if (page.complete) return { ids: [...ids].sort(), position }
  }
}
