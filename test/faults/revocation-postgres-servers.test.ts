import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { withPostgresStandby } from '../servers/postgres-standby.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { tokens, watch } from './revocation-following.ts'

const many = tokens('many', 5000)

t.test('a standby that was behind is promoted: everything that it has is known', t => withPostgresStandby(t, async servers => {
  const name = await tcpProxy(t, servers.primary.port)
  const pool = poolAt(t, name.port)
  const store = postgresRevocationStore(pool)
  await store.migrate()
  await store.revoke(...many)
  await servers.caughtUp()
  const watched = await watch(t, store)
  await watched.knows(many, 'before')

  // The primary goes far ahead in its transactions: the standby gives their numbers out again.
  servers.cutReplication()
  const lost = tokens('lost', 300)
  for (const mark of lost) await store.revoke(mark)
  await watched.knows(lost, 'what the standby does not have')
  await servers.failOver()
  name.leadTo(servers.standby.port)
  name.cut()
  name.heal()

  const other = postgresRevocationStore(poolAt(t, servers.standby.port))
  const later = tokens('later', 150)
  for (const mark of later) await other.revoke(mark)
  await watched.knows([...many, ...lost, ...later], 'after the failover')
}))

t.test('a primary that stays up beside the promoted standby is not taken for up to date', t => withPostgresStandby(t, async servers => {
  const name = await tcpProxy(t, servers.primary.port)
  const pool = poolAt(t, name.port)
  const store = postgresRevocationStore(pool)
  await store.migrate()
  await servers.caughtUp()
  const watched = await watch(t, store)
  await watched.knows([], 'before')

  const promoted = poolAt(t, servers.standby.port)
  await promoted.query('SELECT pg_promote()')
  name.leadTo(servers.standby.port)
  // The feed stays on its connection to the old primary; the host's own connections are new.
  const elsewhere = tokens('elsewhere', 20)
  await postgresRevocationStore(promoted).revoke(...elsewhere)
  await closeIdle(pool)
  await watched.knows(elsewhere, 'the feed goes where the store goes')
  t.match(watched.errors.map(error => String((error as Error).cause)), [/does not have what the store has just written/])
}))

t.test('a server that lost commits in a crash: what gets their numbers later is known', t => withPrivatePostgres(t, async server => {
  const pool = poolAt(t, server.port)
  const store = postgresRevocationStore(pool)
  await store.migrate()
  await store.revoke(...many.slice(0, 500))
  await pool.query('CHECKPOINT')
  const watched = await watch(t, store)
  await watched.knows(many.slice(0, 500), 'before')
  for (const round of [1, 2, 3]) {
    const lost = tokens(`lost-${round}`, 20)
    for (const mark of lost) await store.revoke(mark)
    await server.kill()
    await server.start()
    const later = tokens(`later-${round}`, 60)
    for (const mark of later) await eventually(() => store.revoke(mark))
    await watched.knows([...many.slice(0, 500), ...later], `crash ${round}`)
  }
}, { config: { wal_writer_delay: '10s', synchronous_commit: 'off' } }))

const poolTimeouts = { 'with timeouts': { connectionTimeoutMillis: 500, query_timeout: 500 }, 'without timeouts': {} }
for (const [name, timeouts] of Object.entries(poolTimeouts)) {
  t.test(`packets are swallowed: a feed holds one connection on its way, in a pool ${name}`, t => withPrivatePostgres(t, async server => {
    await postgresRevocationStore(poolAt(t, server.port)).migrate()
    const wire = await tcpProxy(t, server.port)
    const pool = new pg.Pool({ connectionString: `postgresql://postgres@127.0.0.1:${wire.port}/postgres`, ...timeouts })
    pool.on('error', () => {})
    t.teardown(() => { wire.cut(); return pool.end() })
    const watched = await watch(t, postgresRevocationStore(pool))
    await watched.knows([], 'before')
    wire.swallow()
    let most = 0
    for (let time = 0; time < 400; time++) {
      most = Math.max(most, pool.totalCount - pool.idleCount + pool.waitingCount)
      await sleep(25)
    }
    t.ok(most <= 2, `${most} connections at most: one that listens or is on its way, and one with a heartbeat`)
    t.equal(watched.replica.check({ tokenId: 'x' }), 'asked')

    wire.heal()
    if (name === 'without timeouts') wire.cut()
    wire.heal()
    const other = postgresRevocationStore(poolAt(t, server.port))
    const later = tokens('later', 10)
    await other.revoke(...later)
    await watched.knows(later, 'when it has healed')
  }))
}

t.test('a node whose clock is ten minutes ahead deletes nobody\'s marks', t => withPrivatePostgres(t, async server => {
  const store = postgresRevocationStore(poolAt(t, server.port))
  await store.migrate()
  const watched = await watch(t, store)
  const soon = { tokenId: 'soon', until: Date.now() + 5 * 60_000 }
  await store.revoke(soon)
  const { now } = Date
  t.teardown(() => Object.assign(Date, { now }))
  Date.now = () => now() + 10 * 60_000
  for (const mark of tokens('ahead', 40)) await store.revoke(mark)
  for (let call = 0; call < 40; call++) await store.claimOnce(`claim-${call}`, now() + 60_000)
  Object.assign(Date, { now })
  t.equal(await store.check({ tokenId: 'soon' }), 'revoked')
  await watched.knows([soon], 'the replica')
}))

function poolAt (t: Test, port: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString: `postgresql://postgres@127.0.0.1:${port}/postgres`, connectionTimeoutMillis: 3000, query_timeout: 3000, max: 6
  })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return pool
}

/** Lets the connections that nobody uses be closed, as a pool does after a while. */
async function closeIdle (pool: pg.Pool): Promise<void> {
  const clients = []
  while (pool.idleCount > 0) clients.push(await pool.connect())
  for (const client of clients) client.release(true)
}

async function eventually<T> (ask: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      if (attempt > 300) throw error
      await sleep(20)
    }
  }
}
