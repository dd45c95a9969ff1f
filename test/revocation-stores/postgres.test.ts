import pg from 'pg'
import t from 'tap'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import {
  postgresRevocationStore, postgresRevocationTable, type PostgresRevocationStoreOptions
} from '../../lib/revocation-stores/postgres.ts'
import { withPostgres } from '../servers/postgres.ts'
import { postgresDatabase } from '../servers/sql.ts'
import { everyMark } from './follow.ts'
import { eventuallyRevoked, revocationsOnSql } from './on-sql.ts'

const until = Date.now() + 3_600_000
const timeouts = { query_timeout: 20_000, connectionTimeoutMillis: 20_000 }

t.test('on a server', t => withPostgres(t, async ({ url }) => {
  await revocationsOnSql(t, {
    ...postgresDatabase(max => quiet(new pg.Pool({ connectionString: url, max, ...timeouts }))),
    store: (client, options) => postgresRevocationStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}`, `DROP FUNCTION IF EXISTS ${table}_revoke`],
    insert: (table, rows) => `INSERT INTO ${table} VALUES ${rows.map(({ id, cutoff = 0, until }) => (
      `('${id}', '', '', '', ${cutoff}, ${until}, '1')`
    )).join()}`
  })

  const pool = new pg.Pool({ connectionString: url, max: 8, ...timeouts })
  pool.on('error', () => {})
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}; DROP FUNCTION IF EXISTS ${table}_revoke`)
    await pool.end()
  })
  const fresh = async (options: PostgresRevocationStoreOptions = {}) => {
    const table = `test_${process.pid}_${Date.now()}_${tables.length}`
    tables.push(table)
    const store = postgresRevocationStore(pool, { table, ...options })
    await Promise.all([store.migrate(), store.migrate(), store.migrate()])
    return { table, store }
  }

  await t.test('calls of one turn share statements, of which few are under way at once, and a check need not wait for them', async t => {
    const { table } = await fresh()
    let statements = 0
    let underWay = 0
    let most = 0
    const counting = counted(pool, {
      before () { statements++; most = Math.max(most, ++underWay) },
      after () { underWay-- }
    })
    const store = postgresRevocationStore(counting, { table, batch: true })
    const both = (index: number): Mark[] => [{ tokenId: `t${index}`, until }, { sessionId: `s${index}`, until }]
    await Promise.all(Array.from({ length: 320 }, async (_, index) => store.revoke(...both(index))))
    t.equal(statements, 20)
    t.equal(most, 3)
    t.equal(await store.check({ tokenId: 't319' }), 'revoked')
    t.equal(await store.revoke(), false)
    t.equal(await store.check({}), 'live')
    t.equal(await store.revokeOnce({}), false)
    t.equal(statements, 21, 'nothing is asked for nothing')
    const once = (sessionId: string) => store.revokeOnce({ sessionId, subject: 'u', issuedAt: 2 }, { sessionId, until })
    const answers = await Promise.all([once('a'), once('b'), once('a'), store.revoke({ sessionId: 'c', until }), once('c'), once('s0')])
    t.strictSame(answers, [true, true, false, true, false, false], 'revokeOnce shares a statement with revoke')
    t.equal(statements, 22)
  })

  await t.test('tables of one name in two schemas, found by the search path, are followed apart', async t => {
    const stores = await Promise.all(['one', 'two'].map(async schema => {
      await pool.query(`CREATE SCHEMA IF NOT EXISTS test_${schema}`)
      const own = new pg.Pool({ connectionString: url, options: `-c search_path=test_${schema}`, ...timeouts })
      t.teardown(async () => {
        await own.end()
        await pool.query(`DROP SCHEMA test_${schema} CASCADE`)
      })
      const store = postgresRevocationStore(own)
      await store.migrate()
      const replica = revocationReplica(store)
      t.teardown(() => replica.close())
      await replica.start()
      return { store, replica }
    }))
    const [one, two] = stores as [typeof stores[0], typeof stores[0]]
    await one.store.revoke({ tokenId: 't', until })
    await eventuallyRevoked(one.replica, { tokenId: 't' })
    await two.store.revoke({ tokenId: 'u', until })
    await eventuallyRevoked(two.replica, { tokenId: 'u' })
    t.equal(await two.replica.check({ tokenId: 't' }), 'live')
  })

  await t.test('a schema may stand in front of the table', async t => {
    await pool.query('CREATE SCHEMA IF NOT EXISTS with_schema')
    t.teardown(() => pool.query('DROP SCHEMA with_schema CASCADE'))
    const store = postgresRevocationStore(pool, { table: 'with_schema.revocations' })
    await store.migrate()
    await store.revoke({ tokenId: 't', until })
    t.same(await everyMark(store), [{ tokenId: 't', until }])
  })
}))

t.test('misuse is a TypeError that names what is wrong', async t => {
  const client = { query: async () => ({ rows: [] }) }
  t.throws(() => postgresRevocationStore({} as PostgresClient), { name: 'TypeError', message: /pass a Pool of pg/ })
  t.throws(() => postgresRevocationStore(client, { table: 'a b' }), { name: 'TypeError', message: /option "table" must be/ })
  t.throws(() => postgresRevocationStore(client, { table: 'a'.repeat(41) }), {
    name: 'TypeError', message: /option "table" must have at most 40/
  })
  t.throws(() => postgresRevocationStore(client, { batch: 1 as unknown as boolean }), { name: 'TypeError', message: /option "batch" must/ })
  t.throws(() => postgresRevocationStore(client).feed(), { name: 'TypeError', message: /feed\(\) needs a Pool of pg/ })
  t.match(postgresRevocationTable(), /CREATE TABLE IF NOT EXISTS "logout_revocation"/)
})

/** A pool that says nothing of connections that end. */
function quiet (pool: pg.Pool): pg.Pool {
  pool.on('error', () => {})
  return pool
}

function counted (pool: pg.Pool, hooks: { before (): void, after (): void }): PostgresClient {
  return {
    async query (text, values) {
      hooks.before()
      try {
        return await pool.query(text, values)
      } finally {
        hooks.after()
      }
    }
  }
}
