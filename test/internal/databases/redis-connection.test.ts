import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { canDuplicate, openRedisConnection, type RedisConnection } from '../../../lib/internal/databases/redis-connection.ts'
import type { RedisClient } from '../../../lib/internal/databases/redis.ts'
import { connectOddRedisClients } from '../../servers/redis-clients.ts'
import { withPrivateRedis } from '../../servers/redis.ts'

const stream = { key: 'stream', after: '0-0', count: 10, wait: 400 }
const entries = [
  { id: '1-1', fields: { name: 'a', text: '{"x":"ü"}' } },
  { id: '2-1', fields: { name: 'b', text: '' } }
]

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const plain = new Redis(url)
  t.teardown(() => plain.disconnect())

  await t.test('entries of a stream are read alike through each client, whatever its options', async t => {
    const { named, end } = await connectOddRedisClients(url)
    t.teardown(end)
    for (const [name, client] of named.filter(([, client]) => canDuplicate(client))) {
      const key = name.endsWith('key prefix') ? 'host:stream' : 'stream'
      await plain.del(key)
      const connection = open(t, client)
      t.same(await connection.readStream({ ...stream, wait: 1 }), [], `${name}: none`)
      for (const { id, fields } of entries) await plain.xadd(key, id, ...Object.entries(fields).flat())
      t.same(await connection.readStream(stream), entries, name)
      t.same(await connection.readStream({ ...stream, count: 1 }), entries.slice(0, 1), name)
      t.same(await connection.readStream({ ...stream, after: '1-1' }), entries.slice(1), name)
      t.same(await connection.script('return { 1, KEYS[1], ARGV[1] }')(['stream'], 'x'), ['1', key, 'x'], name)
    }
  })

  await t.test('clients that give up early wait on a connection of this kind', async t => {
    const nodeRedis = createClient({ url, disableOfflineQueue: true, commandOptions: { timeout: 50 }, socket: { socketTimeout: 100 } })
    nodeRedis.on('error', () => {})
    t.teardown(() => nodeRedis.destroy())
    await nodeRedis.connect()
    const hasty = { enableOfflineQueue: false, commandTimeout: 50, maxRetriesPerRequest: 0, lazyConnect: true }
    const clients = {
      ioredis: new Redis(url, { ...hasty, socketTimeout: 100, blockingTimeout: 50 }),
      iovalkey: new Valkey(url, { ...hasty, socketTimeout: 100 }),
      'node-redis': nodeRedis
    }
    t.teardown(() => { for (const client of [clients.ioredis, clients.iovalkey]) client.disconnect() })
    for (const [name, client] of Object.entries(clients)) {
      const connection = open(t, client as RedisClient)
      for (let time = 0; time < 2; time++) t.same(await connection.readStream({ ...stream, key: 'empty' }), [], name)
    }
  })

  await t.test('a connection that was ended or lost rejects, and is not opened again', async t => {
    const nodeRedis = createClient({ url })
    nodeRedis.on('error', () => {})
    t.teardown(() => nodeRedis.destroy())
    for (const client of [plain, nodeRedis]) {
      const lost = open(t, client as RedisClient)
      const waiting = t.rejects(lost.readStream({ ...stream, key: 'empty', wait: 60_000 }))
      while (!String(await plain.client('LIST')).includes('cmd=xread'));
      await plain.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await waiting
      await t.rejects(lost.script('return 1')([]))
      lost.end()

      const ended = open(t, client as RedisClient)
      ended.end()
      await t.rejects(ended.script('return 1')([]))
      ended.end()
    }
  })
}))

t.test('nobody is there: it rejects, and nothing is thrown elsewhere', async t => {
  const ioredis = new Redis({ port: 1, lazyConnect: true })
  const nodeRedis = createClient({ url: 'redis://127.0.0.1:1' })
  for (const client of [ioredis, nodeRedis]) {
    const connection = open(t, client as RedisClient)
    await t.rejects(connection.script('return 1')([]))
    await t.rejects(connection.readStream(stream))
  }
})

t.test('a cluster client of ioredis keeps its options, and never asks a replica of a server', async t => {
  const duplicates: unknown[][] = []
  const duplicate = (...overrides: unknown[]) => {
    duplicates.push(overrides)
    return { on () {}, evalsha: async () => 1, disconnect () {} }
  }
  const options = { redisOptions: { password: 'x', commandTimeout: 5 } }
  const client = { evalsha: async () => 1, eval: async () => 1, isCluster: true, options, duplicate }
  t.equal(await open(t, client).script('return 1')([]), '1')
  t.same(duplicates, [[[], {
    enableOfflineQueue: true,
    scaleReads: 'master',
    redisOptions: {
      password: 'x', enableOfflineQueue: true, commandTimeout: undefined, socketTimeout: undefined, blockingTimeout: undefined
    }
  }]])
})

t.test('a pool cannot open a connection of this kind', async t => {
  t.equal(canDuplicate({ evalSha: async () => 1, eval: async () => 1 }), false)
})

function open (t: Test, client: RedisClient): RedisConnection {
  const connection = openRedisConnection(client, 'test')
  t.teardown(() => connection.end())
  return connection
}
