import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { FollowableRevocationStore } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { makeMarks, tokens, watch } from './revocation-following.ts'

const before = tokens('before', 3000)

t.test('two replicas of one Redis', t => withPrivateRedis(t, async server => {
  await cutAtRandom(t, server.port, port => {
    const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20 })
    redis.on('error', () => {})
    t.teardown(() => redis.disconnect())
    return redisRevocationStore(redis)
  })
}))

t.test('two replicas of one Postgres', t => withPrivatePostgres(t, async server => {
  const poolAt = (port: number) => {
    const connectionString = `postgresql://postgres@127.0.0.1:${port}/postgres`
    const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 2000, query_timeout: 2000 })
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    return postgresRevocationStore(pool)
  }
  await poolAt(server.port).migrate()
  await cutAtRandom(t, server.port, poolAt)
}))

t.test('two replicas of one MariaDB or MySQL', t => withPrivateMysql(t, async server => {
  const storeAt = (port: number) => {
    const pool = mysqlPool(t, server.url.replace(String(server.port), String(port)), { connectTimeout: 2000 })
    return mysqlRevocationStore(pool, { timeout: 2000 })
  }
  await storeAt(server.port).migrate()
  await cutAtRandom(t, server.port, storeAt)
}))

/** Half of all connections are cut again and again, while marks are made. No replica may call live by itself what was revoked before. */
async function cutAtRandom (t: Test, port: number, storeAt: (port: number) => FollowableRevocationStore): Promise<void> {
  const direct = storeAt(port)
  await direct.revoke(...before)
  const wires = await Promise.all([0, 1].map(() => tcpProxy(t, port)))
  const cutting = setInterval(() => { for (const wire of wires) wire.cutAtRandom(0.5) }, 100)
  t.teardown(() => clearInterval(cutting))
  const replicas = await Promise.all(wires.map(wire => watch(t, storeAt(wire.port))))
  const writing = makeMarks(direct, 'mark')
  let looks = 0
  let fresh = 0
  for (const end = Date.now() + 8000; Date.now() < end; looks++) {
    const old = [...before, ...writing.old()]
    for (const { missing, replica } of replicas) {
      const called = missing(old)
      if (called.length > 0) t.fail(`${called.length} of ${old.length} marks are called live`)
      if (replica.staleness() < 1000) fresh++
    }
    await sleep(20)
  }
  clearInterval(cutting)
  for (const wire of wires) wire.heal()
  const made = await writing.stop()
  t.ok(made.length > 100, `${made.length} marks were made`)
  t.comment(`${fresh} of ${2 * looks} times a replica was up to date`)
  for (const { knows } of replicas) await knows([...before, ...made], 'when it has healed')
}
