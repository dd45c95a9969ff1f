import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresProviderSessionIndex, postgresProviderSessionTables } from '../../lib/provider-session-indexes/postgres.ts'
import { postgresStores } from '../servers/postgres-stores.ts'
import { withPostgres } from '../servers/postgres.ts'
import { spread } from './spread.ts'
import { checkTimes } from './times.ts'

const hour = 3_600_000
const issuer = 'https://login.example'
const session = (sessionId: string) => ({ sessionId, subject: 'alice' })
const login = (sid?: string, subject = 'alice-there') => ({ issuer, subject, sid, issuedAt: 1000 })
const logoutOf = (sid: string) => ({ issuer, sid, cutoff: 1000, until: Date.now() + hour })

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const { pools, pool, freshTable, fresh: freshStores } = postgresStores(t, url, (pool, table) => {
    return postgresProviderSessionIndex(pool, { table })
  })
  const fresh = async () => {
    const { table, stores: indexes, store: index } = await freshStores()
    return { table, indexes, index }
  }

  await t.test('the rules, on several pools at once', async t => {
    const shared = spread((await fresh()).indexes)
    for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => shared), rule.name)
  })

  await t.test('of two times of a login or a logout the later one counts, and what is over is not found', async t => {
    await checkTimes(t, (await fresh()).index)
  })

  await t.test('the rules, without batches', async t => {
    const { table } = await fresh()
    const index = postgresProviderSessionIndex(pool, { table, batch: false })
    for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => index), rule.name)
  })

  await t.test('a transaction that began before a login was bound is a conflict, and misses nobody', async t => {
    const { table, index } = await fresh()
    const client = await pool.connect()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SELECT 1')
    t.equal(await index.bind(login('phone'), session('1'), Date.now() + hour), 'live')
    await t.rejects(postgresProviderSessionIndex(client, { table }).logOut(logoutOf('phone')), { code: '40001' })
    await client.query('ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SELECT 1')
    await index.logOut({ issuer, subject: 'alice-there', sid: 'phone', cutoff: 1000, until: Date.now() + hour })
    const late = postgresProviderSessionIndex(client, { table })
    await t.rejects(late.bind(login('phone'), session('2'), Date.now() + hour), { code: '40001' })
    await client.query('ROLLBACK')
    client.release()
  })

  await t.test('a logout waits for the transaction of a login, holds no connection meanwhile, and then finds it', async t => {
    const { table, index } = await fresh()
    const single = new pg.Pool({ connectionString: url, max: 1 })
    t.teardown(() => single.end())
    const receiver = postgresProviderSessionIndex(single, { table })
    const client = await pool.connect()
    await client.query('BEGIN')
    t.equal(await postgresProviderSessionIndex(client, { table }).bind(login('phone'), session('1'), Date.now() + hour), 'live')
    let found: unknown
    const waiting = receiver.logOut(logoutOf('phone')).then(sessions => { found = sessions })
    t.strictSame(await receiver.logOut(logoutOf('another')), [], 'it holds up no other logout')
    t.equal(await index.bind(login('another', 'bob'), session('2'), Date.now() + hour), 'revoked')
    t.equal(found, undefined)
    await client.query('COMMIT')
    client.release()
    await waiting
    t.strictSame(found, [session('1')])
  })

  await t.test('a login waits for the transaction of a logout, and is revoked', async t => {
    const { table, index } = await fresh()
    const client = await pool.connect()
    await client.query('BEGIN')
    t.strictSame(await postgresProviderSessionIndex(client, { table }).logOut(logoutOf('phone')), [])
    const waiting = index.bind(login('phone'), session('1'), Date.now() + hour)
    await sleep(30)
    await client.query('COMMIT')
    client.release()
    t.equal(await waiting, 'revoked')
  })

  await t.test('a call is in the transaction of its own request, and in no other one', async t => {
    const { table, index } = await fresh()
    const transactions = new AsyncLocalStorage<pg.PoolClient>()
    const ofRequest: PostgresClient = { query: (text, values) => (transactions.getStore() ?? pool).query(text, values) }
    const node = postgresProviderSessionIndex(ofRequest, { table })
    const client = await pool.connect()
    await client.query('BEGIN')
    const until = Date.now() + hour
    await Promise.all([
      transactions.run(client, () => node.bind(login('phone', 'one'), session('1'), until)),
      node.bind(login('laptop', 'two'), session('2'), until)
    ])
    await client.query('ROLLBACK')
    client.release()
    t.strictSame(await index.logOut(logoutOf('phone')), [])
    t.strictSame(await index.logOut(logoutOf('laptop')), [session('2')])
  })

  await t.test('calls of one turn share a statement, and each has its own answer', async t => {
    const { table, index } = await fresh()
    const statements: string[] = []
    const counted: PostgresClient = {
      query: (text, values) => {
        statements.push(text)
        return pool.query(text, values)
      }
    }
    const node = postgresProviderSessionIndex(counted, { table, batch: true })
    const places = Array.from({ length: 100 }, (_, place) => `s${place}`)
    await index.logOut(logoutOf('s7'))
    const verdicts = await Promise.all(places.map(place => node.bind(login(place, place), session(place), Date.now() + hour)))
    t.strictSame(verdicts.flatMap((verdict, place) => verdict === 'revoked' ? [place] : []), [7])
    t.equal(statements.length, 4)
    const found = await Promise.all(places.map(place => node.logOut(logoutOf(place))))
    t.strictSame(found, places.map(place => [session(place)]))
    t.equal(statements.length, 6)
  })

  await t.test('what the provider said stands nowhere in clear', async t => {
    const { table, index } = await fresh()
    await index.bind(login('the-phone'), session('1'), Date.now() + hour)
    await index.logOut({ issuer, subject: 'alice-there', sid: 'the-phone', cutoff: 1000, until: Date.now() + hour })
    const rows = await Promise.all([table, `${table}_cutoff`].map(async name => (await pool.query(`SELECT * FROM ${name}`)).rows))
    const dump = JSON.stringify(rows)
    t.match(dump, /alice/)
    t.notMatch(dump, /the-phone|alice-there|login\.example/)
  })

  await t.test('prune deletes what is past its time by the clock of the server, in batches, and keeps the rest', async t => {
    const { table, index } = await fresh()
    await index.bind(login('phone'), session('1'), Date.now() + hour)
    await index.logOut(logoutOf('laptop'))
    await index.logOut({ ...logoutOf('tablet'), until: 1 })
    await pool.query(`INSERT INTO ${table} SELECT n::text, n::text, '', '[]', 1, 1 FROM generate_series(1, 2500) AS n`)
    const { now } = Date
    t.teardown(() => { Date.now = now })
    Date.now = () => now() + 100 * hour
    t.equal(await index.prune(), 2500)
    Date.now = now
    t.match((await pool.query(`SELECT count(*)::int AS count FROM ${table}`)).rows, [{ count: 1 }])
    t.match((await pool.query(`SELECT count(*)::int AS count FROM ${table}_cutoff`)).rows, [{ count: 3 }], 'two of the login')
    t.equal(await index.prune(), 0)
    t.strictSame(await index.logOut(logoutOf('phone')), [session('1')])
  })

  await t.test('what a login leaves in the table of cutoffs neither keeps a logout longer nor ends it sooner', async t => {
    const { table, index } = await fresh()
    const cutoffs = async () => (await pool.query(`SELECT scope, cutoff::int, until::text FROM ${table}_cutoff WHERE cutoff >= 0`)).rows
    const until = Date.now() + hour
    await index.bind(login('phone'), session('1'), until + hour)
    await index.logOut({ issuer, sid: 'phone', cutoff: 1000, until })
    t.strictSame(await cutoffs(), [{ scope: '*', cutoff: 1000, until: `${until}` }])
    t.equal(await index.bind(login('phone'), session('2'), until + 2 * hour), 'revoked')
    t.strictSame(await cutoffs(), [{ scope: '*', cutoff: 1000, until: `${until}` }])
    await pool.query(`UPDATE ${table}_cutoff SET until = 1`)
    t.equal(await index.bind(login('phone'), session('3'), until), 'live')
    t.strictSame(await cutoffs(), [])
  })

  await t.test('a database without the tables says what to do, and migrate may run twice and at once', async t => {
    const table = freshTable()
    const index = postgresProviderSessionIndex(pool, { table })
    await t.rejects(index.bind(login(), session('1'), Date.now() + hour), { message: /run migrate\(\)/ })
    await t.rejects(index.logOut(logoutOf('phone')), { message: /run migrate\(\)/ })
    await t.rejects(index.prune(), { message: /run migrate\(\)/ })
    await Promise.all(pools.map(each => postgresProviderSessionIndex(each, { table }).migrate()))
    t.equal(await index.bind(login(), session('1'), Date.now() + hour), 'live')
  })
}))

t.test('no answer is a rejection, and never "live" or an empty list', async t => {
  for (const rows of [[], [{}], [{ verdict: null, sessions: null }], [{ verdict: 1, sessions: 1 }]]) {
    const index = postgresProviderSessionIndex({ query: async () => ({ rows }) })
    await t.rejects(index.bind(login(), session('1'), Date.now() + hour), { message: 'the database returned no row' })
    await t.rejects(index.logOut(logoutOf('phone')), { message: 'the database returned no row' })
  }
})

t.test('a wrong client or option is a TypeError that names it', async t => {
  t.throws(() => postgresProviderSessionIndex({} as PostgresClient), {
    name: 'TypeError', message: /postgresProviderSessionIndex: pass a Pool/
  })
  const client: PostgresClient = { query: async () => ({ rows: [] }) }
  for (const table of ['', 'a"b', 'a;b', 'a.b.c', 'x'.repeat(41)]) {
    t.throws(() => postgresProviderSessionIndex(client, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => postgresProviderSessionTables(table), { name: 'TypeError', message: /table/ })
  }
  t.throws(() => postgresProviderSessionIndex(client, { batch: 'yes' as never }), { name: 'TypeError', message: /option "batch" must be/ })
  t.match(postgresProviderSessionTables(), /"logout_provider_session"/)
})
