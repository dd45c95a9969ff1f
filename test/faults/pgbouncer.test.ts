import { randomUUID } from 'node:crypto'
import pg from 'pg'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { withPgBouncer } from '../servers/pgbouncer.ts'
import { spread } from '../session-stores/spread.ts'

function session (id: string) {
  const now = Date.now()
  return { id, subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 }
}

t.test('behind a PgBouncer that pools transactions', t => withPgBouncer(t, async ({ url, bouncer }) => {
  const pools = Array.from({ length: 4 }, () => new pg.Pool({
    connectionString: url, max: 5, connectionTimeoutMillis: 5000, query_timeout: 5000
  }))
  const [pool] = pools as [pg.Pool]
  for (const each of pools) each.on('error', () => {})
  t.teardown(() => Promise.all(pools.map(each => each.end())))
  const stores = pools.map(each => postgresSessionStore(each))
  await Promise.all(stores.map(store => store.migrate()))
  let made = 0

  await t.test('one client is served by several connections of the server', async t => {
    const client = await pool.connect()
    t.teardown(() => client.release())
    const seen = new Set<unknown>()
    for (let attempt = 0; attempt < 1000 && seen.size < 2; attempt++) {
      const others = pools.slice(1).map(each => each.query('SELECT pg_sleep(0.001)'))
      seen.add((await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid)
      await Promise.all(others)
    }
    t.ok(seen.size > 1)
  })

  await t.test('a session store keeps every promise, from several nodes', async t => {
    const shared = spread(stores)
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => shared), rule.name)
  })

  await t.test('a user-status store keeps every promise', async t => {
    for (const rule of userStatusStoreRules) {
      await t.resolves(rule.check(async () => {
        const store = postgresUserStatusStore(pool, { table: `users_${made++}` })
        await store.migrate()
        return { store, set: store.set }
      }), rule.name)
    }
  })

  await t.test('logouts of many nodes at once end each session once', async t => {
    const tokens = Array.from({ length: 100 }, () => randomUUID())
    for (const token of tokens) await stores[0]?.create(token, session(token))
    const before = await Promise.all(stores.flatMap(store => tokens.map(token => store.logOut(token))))
    t.equal(before.filter(found => found?.status === 'active').length, 100)
  })

  await t.test('a PgBouncer that was killed and started again: nothing hangs, and no answered logout is lost', async t => {
    const tokens = Array.from({ length: 50 }, () => randomUUID())
    for (const token of tokens) await stores[0]?.create(token, session(token))
    const answers = Promise.allSettled(tokens.map((token, index) => stores[index % 4]?.logOut(token)))
    await bouncer.kill()
    const outcomes = await answers
    await bouncer.start()
    for (const [index, outcome] of outcomes.entries()) {
      const token = tokens[index] ?? ''
      if (outcome.status === 'fulfilled') t.equal((await stores[0]?.find(token))?.status, 'logged_out')
      t.ok(await stores[1]?.logOut(token))
    }
  })
}))

t.test('timeouts that the server keeps are set for the role: PgBouncer refuses them from clients', t => withPgBouncer(t, async servers => {
  const { url, directUrl, bouncer } = servers
  const refused = new pg.Pool({ connectionString: url, statement_timeout: 4000 })
  const admin = new pg.Client({ connectionString: directUrl })
  t.teardown(() => Promise.all([refused.end(), admin.end()]))
  refused.on('error', () => {})
  await t.rejects(refused.query('SELECT 1'), /unsupported startup parameter/)
  await admin.connect()
  await admin.query('ALTER ROLE postgres SET statement_timeout = 4000')
  await bouncer.stop()
  await bouncer.start()
  const pool = new pg.Pool({ connectionString: url, query_timeout: 5000 })
  t.teardown(() => pool.end())
  t.match((await pool.query('SHOW statement_timeout')).rows, [{ statement_timeout: '4s' }])
}))
