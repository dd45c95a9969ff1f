import { Cluster, Redis } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import { createCluster } from 'redis'
import t from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { follows } from '../revocation-stores/follow.ts'
import { serverOf, withPrivateRedisCluster } from '../servers/redis-cluster.ts'

t.test('revocation marks on a cluster of three', t => withPrivateRedisCluster(t, 3, async servers => {
  const clients = servers.map(({ url, port }, index) => {
    if (index === 0) return new Cluster([{ host: '127.0.0.1', port }])
    return index === 1 ? new ValkeyCluster([{ host: '127.0.0.1', port }]) : createCluster({ rootNodes: [{ url }] })
  })
  t.teardown(() => { for (const client of clients) 'destroy' in client ? client.destroy() : client.disconnect() })
  for (const client of clients) {
    client.on('error', () => {})
    if ('destroy' in client) await client.connect()
  }

  for (const [index, client] of clients.entries()) {
    const prefix = await prefixOn((index + 1) % 3)
    await t.test(`the rules and a replica, through ${['ioredis', 'iovalkey', 'node-redis'][index]}`, async t => {
      const store = redisRevocationStore(client as RedisClient, { prefix })
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
      const followed = redisRevocationStore(client as RedisClient, { prefix: await prefixOn((index + 2) % 3, `followed-${index}`) })
      for (const rule of revocationFeedRules) await t.resolves(rule.check(() => followed), rule.name)
      await follows(t, followed)
    })
  }
  for (const { url } of servers) {
    const node = new Redis(url)
    t.ok(await node.dbsize() > 2, 'each of the servers had a store')
    node.disconnect()
  }

  /** A prefix whose keys are on this server. */
  async function prefixOn (server: number, name = 'test'): Promise<string> {
    let number = 0
    while (await serverOf(`{${name}-${number}}`, servers) !== server) number++
    return `${name}-${number}`
  }
}))
