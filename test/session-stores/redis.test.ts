import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient } from 'redis'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { RedisClient } from '../../lib/redis-script.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { withRedis } from '../servers/redis.ts'

await withRedis(t, async ({ url }) => {
  const ioredis = new Redis(url)
  const prefixed = new Redis(url, { keyPrefix: 'host:' })
  const iovalkey = new Valkey(url)
  const nodeRedis = await createClient({ url }).connect()
  t.teardown(() => {
    for (const client of [ioredis, prefixed, iovalkey]) client.disconnect()
    nodeRedis.destroy()
  })
  const clients: Record<string, RedisClient> = { ioredis, 'ioredis with a key prefix': prefixed, iovalkey, 'node-redis': nodeRedis }

  for (const [name, client] of Object.entries(clients)) {
    const store = redisSessionStore(client, { prefix: randomUUID() })
    for (const rule of sessionStoreRules) t.test(`${name}: ${rule.name}`, () => rule.check(() => store))
  }
})
