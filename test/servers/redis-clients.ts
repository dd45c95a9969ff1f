import type { EventEmitter } from 'node:events'
import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient, createClientPool, RESP_TYPES } from 'redis'

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

const asBuffers = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer, [RESP_TYPES.VERBATIM_STRING]: Buffer }
const asTexts = { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.DOUBLE]: String, [RESP_TYPES.BIG_NUMBER]: String }
const asCollections = { [RESP_TYPES.MAP]: Map, [RESP_TYPES.SET]: Set }

/** Clients with documented options that change how commands are sent and in what types replies come. */
export async function connectOddRedisClients (url: string) {
  const ioredis = {
    'ioredis, stringNumbers': new Redis(url, { stringNumbers: true }),
    'ioredis, RESP 2': new Redis(url, { protocol: 2 }),
    'ioredis, RESP 3 shapes': new Redis(url, { replyMapping: 'resp3' }),
    'ioredis, auto-pipelining': new Redis(url, { enableAutoPipelining: true }),
    'ioredis, key prefix': new Redis(url, { keyPrefix: 'host:' }),
    'iovalkey, stringNumbers': new Valkey(url, { stringNumbers: true }),
    'iovalkey, auto-pipelining': new Valkey(url, { enableAutoPipelining: true })
  }
  const nodeRedis = {
    'node-redis, RESP 2': createClient({ url, RESP: 2 }),
    'node-redis, Buffers': createClient({ url, RESP: 2, commandOptions: { typeMapping: asBuffers } }),
    'node-redis, RESP 3, Buffers and texts': createClient({ url, RESP: 3, commandOptions: { typeMapping: { ...asBuffers, ...asTexts } } }),
    'node-redis, RESP 3, Maps and Sets': createClient({ url, RESP: 3, commandOptions: { typeMapping: asCollections } }),
    'node-redis, key prefix': createClient({ url, keyPrefix: 'host:' }),
    'node-redis, a short queue': createClient({ url, commandsQueueMaxLength: 1000, disableOfflineQueue: true }),
    'node-redis, client-side cache': createClient({ url, RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100 } })
  }
  const pool = createClientPool({ url }, { minimum: 1, maximum: 4 })
  const all: EventEmitter[] = [...Object.values(ioredis), ...Object.values(nodeRedis), pool]
  for (const client of all) client.on('error', () => {})
  for (const client of [...Object.values(nodeRedis), pool]) await client.connect()
  const typed = createClient({ url })
  typed.on('error', () => {})
  await typed.connect()
  const named = Object.entries({
    ...ioredis,
    ...nodeRedis,
    'node-redis, a pool': pool,
    'node-redis, withTypeMapping': typed.withTypeMapping(asBuffers)
  }) as Array<[string, RedisClient]>
  return {
    named,
    end () {
      for (const client of Object.values(ioredis)) client.disconnect()
      for (const client of [...Object.values(nodeRedis), pool, typed]) client.destroy()
    }
  }
}
