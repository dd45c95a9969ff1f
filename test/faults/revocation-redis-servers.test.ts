import { Redis, Cluster } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCluster } from 'redis'
import t, { type Test } from 'tap'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { moveSlotOf, serverOf, withPrivateRedisCluster } from '../servers/redis-cluster.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { tcpProxy, type TcpProxy } from '../servers/tcp-proxy.ts'
import { maxStaleness, tokens, watch } from './revocation-following.ts'

const durable = { config: { appendonly: 'yes', appendfsync: 'always' } }
const many = tokens('many', 20_000)

t.test('a server that is killed and restarted while a replica loads: no mark is missed', t => withPrivateRedis(t, async server => {
  const redis = connect(t, server.url)
  const store = redisRevocationStore(redis)
  await store.revoke(...many)
  for (const at of [1, 10, 40]) {
    const watched = await watch(t, store, async page => {
      if (page !== at) return
      await server.kill()
      await server.start()
    })
    await watched.knows(many, `killed at page ${at}`)
    const later = tokens(`after-${at}`, 20)
    await store.revoke(...later)
    await watched.knows(later, 'and it follows')
    await watched.replica.close()
  }
}, durable))

t.test('a server that lost its last marks when it was killed: everything that it has is known', t => withPrivateRedis(t, async server => {
  const redis = connect(t, server.url)
  const store = redisRevocationStore(redis)
  await store.revoke(...many.slice(0, 500))
  await redis.call('SAVE')
  const watched = await watch(t, store)
  const lost = tokens('lost', 50)
  for (const mark of lost) await store.revoke(mark)
  await watched.knows(lost, 'before the end')
  await server.kill()
  await server.start()
  t.equal(await eventually(() => store.check({ tokenId: 'lost-0' })), 'live', 'the server has forgotten it')
  const later = tokens('later', 80)
  for (const mark of later) await store.revoke(mark)
  await watched.knows([...many.slice(0, 500), ...lost, ...later], 'after the restart')
}))

t.test('a replica that was behind takes over: everything that it has is known', t => withPrivateRedis(t, async first => {
  await withPrivateRedis(t, async second => {
    const { name, store, promoted } = await replicated(t, first, second)
    await store.revoke(...many.slice(0, 1000))
    const watched = await watch(t, store)
    await watched.knows(many.slice(0, 1000), 'before')

    promoted.link.cut()
    const lost = tokens('lost', 50)
    for (const mark of lost) await store.revoke(mark)
    await watched.knows(lost, 'what the replica does not have')
    await first.kill()
    await promoted.redis.call('REPLICAOF', 'NO', 'ONE')
    name.leadTo(second.port)
    const other = redisRevocationStore(promoted.redis)
    const later = tokens('later', 80)
    for (const mark of later) await other.revoke(mark)
    await watched.knows([...many.slice(0, 1000), ...later], 'after the failover')
  })
}))

t.test('a primary that was demoted, with its link down, is not taken for up to date', t => withPrivateRedis(t, async first => {
  await withPrivateRedis(t, async second => {
    const { name, redis, store, promoted } = await replicated(t, first, second)
    await store.revoke(...many.slice(0, 100))
    const watched = await watch(t, store)
    await watched.knows(many.slice(0, 100), 'before')

    const [admin] = [connect(t, first.url)]
    await promoted.redis.call('REPLICAOF', 'NO', 'ONE')
    await admin.call('REPLICAOF', '127.0.0.1', '1')
    const later = tokens('later', 20)
    await redisRevocationStore(promoted.redis).revoke(...later)
    await sleep(maxStaleness)
    for (let time = 0; time < 50; time++) {
      t.same(watched.missing(later), [], 'it calls nothing live by itself')
      await sleep(20)
    }
    t.equal(watched.judge({ tokenId: 'many-7', until: 0 }), 'revoked')
    await t.rejects(store.check({ tokenId: 'later-0' }), /READONLY/, 'nor does the store')

    name.leadTo(second.port)
    redis.disconnect(true)
    await watched.knows([...many.slice(0, 100), ...later], 'the feed finds the new primary by itself')
  })
}))

t.test('with min-replicas-to-write, a primary that was cut off is not taken for up to date', t => withPrivateRedis(t, async first => {
  await withPrivateRedis(t, async second => {
    const { store, promoted } = await replicated(t, first, second)
    const watched = await watch(t, store)
    await connect(t, first.url).call('CONFIG', 'SET', 'min-replicas-to-write', '1', 'min-replicas-max-lag', '1')
    promoted.link.cut()
    await promoted.redis.call('REPLICAOF', 'NO', 'ONE')
    const elsewhere = tokens('elsewhere', 10)
    await redisRevocationStore(promoted.redis).revoke(...elsewhere)
    await sleep(3000 + maxStaleness)
    t.same(watched.missing(elsewhere), [])
    await t.rejects(store.check({ tokenId: 'elsewhere-0' }), /NOREPLICAS/)
  })
}))

t.test('a slot moves to another server while a replica loads and follows', t => withPrivateRedisCluster(t, 3, async servers => {
  const cluster = new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port })))
  const nodeRedis = createCluster({ rootNodes: servers.map(({ url }) => ({ url })) })
  for (const client of [cluster, nodeRedis]) client.on('error', () => {})
  t.teardown(() => { cluster.disconnect(); nodeRedis.destroy() })
  await nodeRedis.connect()
  for (const [library, client] of Object.entries({ ioredis: cluster, 'node-redis': nodeRedis })) {
    await t.test(library, async t => {
      const prefix = `moving-${library}`
      const key = `{${prefix}}:marks`
      const store = redisRevocationStore(client as unknown as RedisClient, { prefix })
      await store.revoke(...many)
      const move = async () => {
        const from = await serverNow(key, servers)
        await moveSlotOf(key, servers, { from, to: (from + 1) % 3 })
      }
      const watched = await watch(t, store, page => page === 10 && move())
      await watched.knows(many, 'moved while it loaded')
      const later = tokens(`${library}-later`, 20)
      await store.revoke(...later)
      await move()
      const last = tokens(`${library}-last`, 20)
      for (const mark of last) await eventually(() => store.revoke(mark))
      await watched.knows([...later, ...last], 'moved while it followed')
    })
  }
}))

/** A primary behind a name, and a replica behind a link that can be cut. */
async function replicated (t: Test, first: PrivateServer, second: PrivateServer) {
  const name: TcpProxy = await tcpProxy(t, first.port)
  const link = await tcpProxy(t, first.port)
  const replica = connect(t, second.url)
  await replica.call('REPLICAOF', '127.0.0.1', `${link.port}`)
  while (!(await replica.info('replication')).includes('master_link_status:up')) await sleep(20)
  const redis = connect(t, `redis://127.0.0.1:${name.port}`)
  return { name, redis, store: redisRevocationStore(redis), promoted: { redis: replica, link } }
}

function connect (t: Test, url: string): Redis {
  const redis = new Redis(url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return redis
}

async function serverNow (key: string, servers: readonly PrivateServer[]): Promise<number> {
  for (const [index, { url }] of servers.entries()) {
    const node = new Redis(url)
    const there = await node.exists(key).catch(() => 0)
    node.disconnect()
    if (there === 1) return index
  }
  return serverOf(key, servers)
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
