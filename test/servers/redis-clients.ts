import type { EventEmitter } from 'node:events'
import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient } from 'redis'

import type { RedisClient } from '../../lib/internal/databases/redis.ts'

/** A client of each library that we take, connected. End them when the test ends. */
export async function connectRedisClients (url: string) {
  const ioredis = new Redis(url)
  const iovalkey = new Valkey(url)
  const nodeRedis = createClient({ url })
  const all: EventEmitter[] = [ioredis, iovalkey, nodeRedis]
  for (const client of all) client.on('error', () => {})
  await nodeRedis.connect()
  const named: Array<[string, RedisClient]> = [['ioredis', ioredis], ['iovalkey', iovalkey], ['node-redis', nodeRedis]]
  return {
    ioredis,
    iovalkey,
    nodeRedis,
    named,
    end () {
      ioredis.disconnect()
      iovalkey.disconnect()
      nodeRedis.destroy()
    }
  }
}
