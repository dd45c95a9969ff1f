import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { tokens, watch } from './revocation-following.ts'
import { sqlServers } from './sql-servers.ts'

const many = tokens('many', 500)

t.setTimeout(300_000)

for (const { name, forgetful, keep, nodeAt } of sqlServers) {
  t.test(`${name}: a server that lost commits in a crash: what gets their numbers later is known`, t => forgetful(t, async server => {
    const node = nodeAt(t, server.port)
    const store = node.revocations
    await node.migrate()
    await store.revoke(...many)
    await keep(node, server)
    const watched = await watch(t, store)
    await watched.knows(many, 'before')
    for (const round of [1, 2, 3]) {
      const lost = tokens(`lost-${round}`, 20)
      for (const mark of lost) await store.revoke(mark)
      await server.kill()
      await server.start()
      const verdicts = await Promise.all(lost.map(mark => eventually(async () => store.check(mark as { tokenId: string }))))
      t.comment(`${verdicts.filter(verdict => verdict === 'live').length} marks were lost`)
      const later = tokens(`later-${round}`, 60)
      for (const mark of later) await eventually(async () => store.revoke(mark))
      await watched.knows([...many, ...later], `crash ${round}`)
    }
  }))

  t.test(`${name}: a node whose clock is ten minutes ahead deletes nobody's marks`, t => forgetful(t, async server => {
    const node = nodeAt(t, server.port)
    const store = node.revocations
    await node.migrate()
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
}

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

t.test('packets are swallowed: a feed of MySQL asks again when it has healed', t => withPrivateMysql(t, async server => {
  const direct = mysqlRevocationStore(mysqlPool(t, server.url))
  await direct.migrate()
  const wire = await tcpProxy(t, server.port)
  const pool = mysqlPool(t, server.url.replace(String(server.port), String(wire.port)), { connectTimeout: 500 })
  t.teardown(() => { wire.cut() })
  const watched = await watch(t, mysqlRevocationStore(pool, { timeout: 500 }))
  await watched.knows([], 'before')
  wire.swallow()
  for (let waited = 0; waited < 400 && watched.replica.check({ tokenId: 'x' }) !== 'asked' as never; waited++) await sleep(25)
  t.equal(watched.replica.check({ tokenId: 'x' }), 'asked', 'it is not taken for up to date')
  wire.heal()
  const later = tokens('later', 10)
  await direct.revoke(...later)
  await watched.knows(later, 'when it has healed')
}))

function poolAt (t: Test, port: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString: `postgresql://postgres@127.0.0.1:${port}/postgres`, connectionTimeoutMillis: 3000, query_timeout: 3000, max: 6
  })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return pool
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
