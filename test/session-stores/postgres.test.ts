import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresSessionStore, postgresSessionTables } from '../../lib/session-stores/postgres.ts'
import { postgresStores } from '../servers/postgres-stores.ts'
import { withPostgres, withPrivatePostgres } from '../servers/postgres.ts'
import { postgresDatabase } from '../servers/sql.ts'
import { session, sessionsOnSql } from './on-sql.ts'

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const { pool, fresh } = postgresStores(t, url, (pool, table) => postgresSessionStore(pool, { table }))

  await sessionsOnSql(t, {
    ...postgresDatabase(max => new pg.Pool({ connectionString: url, max })),
    store: (client, options) => postgresSessionStore(client, options),
    drop: table => [`DROP TABLE IF EXISTS ${table}, ${table}_subject`, `DROP FUNCTION IF EXISTS ${table}_log_out`],
    lock: (table, where) => `SELECT 1 FROM ${table} WHERE ${where} FOR UPDATE`
  })

  await t.test('a logout whose statement takes too long fails alone', async t => {
    const { table, store } = await fresh()
    for (const token of ['a', 'slow', 'b']) await store.create(token, session({ id: token }))
    await pool.query(`CREATE FUNCTION ${table}_slow () RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN new; END'`)
    await pool.query(`CREATE TRIGGER slow BEFORE UPDATE ON ${table} FOR EACH ROW WHEN (old.id = 'slow') EXECUTE FUNCTION ${table}_slow()`)
    t.teardown(() => pool.query(`DROP FUNCTION ${table}_slow CASCADE`))
    const impatient = new pg.Pool({ connectionString: url, max: 4, statement_timeout: 500 })
    t.teardown(() => impatient.end())
    const node = postgresSessionStore(impatient, { table })
    const outcomes = await Promise.allSettled(['a', 'slow', 'b'].map(token => node.logOut(token)))
    t.match(outcomes, [{ value: { status: 'active' } }, { reason: { code: '57014' } }, { value: { status: 'active' } }])
    t.equal((await store.find('slow'))?.status, 'active')
  })

  await t.test('a logout in a transaction that began before a logout of the subject is a conflict, not a second end', async t => {
    const { table, store } = await fresh()
    await store.create('token', session())
    const client = await pool.connect()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SELECT 1')
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 1)
    await t.rejects(postgresSessionStore(client, { table }).logOut('token'), { code: '40001' })
    await client.query('ROLLBACK')
    client.release()
  })

  await t.test('a logout that waits for a logout of its subject sees what that did', async t => {
    const { table, store } = await fresh()
    await store.create('token', session({ id: 'id' }))
    const client = await pool.connect()
    await client.query('BEGIN')
    t.equal(await postgresSessionStore(client, { table }).logOutSubject({ subject: 'alice', count: true }), 1)
    const waiting = Promise.all([store.logOut('token'), store.logOutById({ id: 'id' })])
    await sleep(50)
    await client.query('COMMIT')
    client.release()
    t.strictSame((await waiting).map(before => before?.status), ['logged_out', 'logged_out'])
  })

  await t.test('prune deletes what is past its keepUntil, and keeps the rest', async t => {
    const { table, store } = await fresh()
    await store.create('kept', session())
    await store.logOut('kept')
    await store.create('one', session({ expiresAt: 0, keepUntil: Date.now() - 1 }))
    await pool.query(`INSERT INTO ${table} (digest, id, subject, epoch, created_at, expires_at, keep_until, details)
      SELECT i, i, 's' || i, 1, 1, 1, 1, '{}' FROM generate_series(1, 2499) AS i`)
    await pool.query(`INSERT INTO ${table}_subject SELECT subject, 1, 1 FROM ${table} WHERE subject <> 'alice'`)
    const deleted: number[] = []
    const counting: PostgresClient = {
      async query (text, values) {
        const answer = await pool.query(text, values)
        deleted.push(answer.rows.length)
        return answer
      }
    }
    t.equal(await postgresSessionStore(counting, { table }).prune(), 2500)
    t.strictSame(deleted, [1000, 1000, 500, 1000, 1000, 499])
    t.equal(await store.prune(), 0)
    t.equal((await store.find('kept'))?.status, 'logged_out')
    t.strictSame((await pool.query(`SELECT subject FROM ${table}_subject`)).rows, [{ subject: 'alice' }])
  })

  await t.test('prune does not wait for a session that another transaction has locked', async t => {
    const { table, store } = await fresh()
    const past = { expiresAt: 0, keepUntil: Date.now() - 1 }
    for (const id of ['locked', 'free']) await store.create(id, session({ id, subject: id, ...past }))
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query(`SELECT FROM ${table} WHERE id = 'locked' FOR UPDATE`)
    await client.query(`SELECT FROM ${table}_subject WHERE subject = 'locked' FOR UPDATE`)
    t.equal(await store.prune(), 1)
    t.strictSame((await pool.query(`SELECT subject FROM ${table} UNION ALL SELECT subject FROM ${table}_subject`)).rows, [
      { subject: 'locked' }, { subject: 'locked' }
    ])
    await client.query('COMMIT')
    client.release()
    t.equal(await store.prune(), 1)
  })

  await t.test('a node whose clock is ten minutes ahead prunes nothing that others still need', async t => {
    const { store, table } = await fresh()
    const minute = 60_000
    await store.create('token', session({ expiresAt: Date.now() + minute, keepUntil: Date.now() + 5 * minute }))
    const { now } = Date
    t.teardown(() => { Date.now = now })
    Date.now = () => now() + 10 * minute
    t.equal(await store.prune(), 0)
    Date.now = now
    t.equal((await store.find('token'))?.status, 'active')
    t.equal((await pool.query(`SELECT FROM ${table}_subject`)).rowCount, 1)
  })

  await t.test('a subject that was pruned starts anew, and brings nothing back', async t => {
    const { table, store } = await fresh()
    await store.create('token', session())
    await store.logOutSubject({ subject: 'alice' })
    await pool.query(`DELETE FROM ${table}_subject`)
    t.equal(await store.find('token'), undefined)
    t.equal(await store.logOut('token'), undefined)
    await store.create('new', session())
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.equal((await store.find('new'))?.status, 'active')
  })

  await t.test('ids are compared by their bytes, whatever the collation of the database', async t => {
    const { table } = await fresh()
    const { rows } = await pool.query(`SELECT DISTINCT collation_name FROM information_schema.columns
      WHERE table_name IN ($1, $2) AND column_name IN ('digest', 'id', 'subject')`, [table, `${table}_subject`])
    t.strictSame(rows, [{ collation_name: 'C' }])
  })
}))

t.test('each call is one statement, as the server saw it, however many sessions there are', t => withPrivatePostgres(t, async server => {
  const { url, log } = server
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  t.teardown(() => pool.end())
  const store = postgresSessionStore(pool, { table: 'public.logout_session' })
  await store.migrate()
  await store.create('token', session({ id: 'id' }))
  for (const [subject, count] of [['ten', 10], ['many', 10_000]] as const) {
    await store.create(`of ${subject}`, session({ id: subject, subject }))
    await pool.query(`INSERT INTO logout_session (digest, id, subject, epoch, created_at, expires_at, keep_until, details)
      SELECT subject || i, subject || i, subject, epoch, created_at, expires_at, keep_until, details
      FROM logout_session, generate_series(2, $2::int) AS i WHERE id = $1`, [subject, count])
  }
  await pool.query('ANALYZE')

  await pool.query('SELECT \'from here\'')
  await store.create('other', session())
  await store.find('token')
  await Promise.all(['token', 'other', 'unknown', 'token'].map(token => store.logOut(token)))
  await store.logOut('token')
  await store.logOutById({ id: 'id' })
  await store.list({ subject: 'many', limit: 10 })
  await store.logOutSubject({ subject: 'many', except: 'many' })
  t.equal(await store.logOutSubject({ subject: 'ten', except: 'ten', count: true }), 9)
  await pool.query('SELECT \'to here\'')
  await sleep(50)
  const [, seen = ''] = log().split('from here')
  t.equal(seen.split('to here')[0]?.match(/LOG: +execute <unnamed>/g)?.length, 8)
  t.notMatch(seen, /BEGIN/)
  t.match((await store.list({ subject: 'many', limit: 10 })).map(({ id }) => id), ['many'])

  const touched = async (subject: string) => {
    const plan = async (text: string, values?: unknown[]) => {
      const { rows } = await pool.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values)
      explained.push(rows[0]['QUERY PLAN'][0].Plan)
      return { rows: [] }
    }
    const explained: Array<Record<string, number>> = []
    await postgresSessionStore({ query: plan }).logOutSubject({ subject, except: subject })
    return Number(explained[0]?.['Shared Hit Blocks']) + Number(explained[0]?.['Shared Read Blocks'])
  }
  await store.logOutSubject({ subject: 'ten', except: 'ten' })
  const [ten, many] = [await touched('ten'), await touched('many')]
  t.ok(many <= ten + 10, `ten sessions touch ${ten} blocks, ten thousand ${many}`)
}, { config: { log_statement: 'all' } }))

t.test('a wrong client or table is a TypeError that names it', async t => {
  t.throws(() => postgresSessionStore({} as PostgresClient), { name: 'TypeError', message: /postgresSessionStore: pass a Pool/ })
  const client = { query: async () => ({ rows: [] }) }
  for (const table of ['', 'a"b', 'a;b', 'a.b.c', '1a', 'a'.repeat(41), `public.${'a'.repeat(41)}`]) {
    t.throws(() => postgresSessionStore(client, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => postgresSessionTables(table), { name: 'TypeError', message: /table/ })
  }
  t.ok(postgresSessionStore(client, { table: `public.${'a'.repeat(40)}` }))
  t.match(postgresSessionTables(), /"logout_session"/)
})
