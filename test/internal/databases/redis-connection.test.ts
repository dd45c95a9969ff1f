import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { canDuplicate, openRedisConnection, type RedisConnection } from '../../../lib/internal/databases/redis-connection.ts'
import type { RedisClient } from '../../../lib/internal/databases/redis.ts'
import { connectOddRedisClients } from '../../servers/redis-clients.ts'
import { withPrivateRedis } from '../../servers/redis.ts'
import { eventually } from '../../revocation-stores/follow.ts'

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const plain = new Redis(url)
  t.teardown(() => plain.disconnect())

  await t.test('messages and replies come alike through each client, whatever its options', async t => {
    const { named, end } = await connectOddRedisClients(url)
    t.teardown(end)
    for (const [name, client] of named.filter(([, client]) => canDuplicate(client))) {
      const key = name.endsWith('key prefix') ? 'host:key' : 'key'
      const connection = open(t, client)
      t.same(await connection.script('return { 1, KEYS[1], ARGV[1] }')(['key'], 'x'), ['1', key, 'x'], name)
      const { messages, heard } = listener()
      await connection.subscribe('channel', heard)
      for (const message of ['{"x":"ü"}', '']) await plain.publish('channel', message)
      await eventually(() => messages.length === 2, name)
      t.same(messages, ['{"x":"ü"}', ''], name)
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
      const { messages, heard, ends } = listener()
      await connection.subscribe('channel', heard)
      await sleep(250)
      await plain.publish('channel', 'late')
      await eventually(() => messages.length === 1, name)
      t.equal(ends(), 0, name)
    }
  })

  await t.test('a connection that was ended or lost says so and rejects, and is not opened again', async t => {
    const nodeRedis = createClient({ url })
    nodeRedis.on('error', () => {})
    t.teardown(() => nodeRedis.destroy())
    await nodeRedis.connect()
    for (const client of [plain, nodeRedis]) {
      const lost = open(t, client as RedisClient)
      const { heard, ends } = listener()
      await lost.subscribe('channel', heard)
      for (const type of ['pubsub', 'normal']) await plain.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
      await eventually(() => ends() > 0, 'it says that it was lost')
      await t.rejects(lost.script('return 1')([]))
      lost.end()

      const ended = open(t, client as RedisClient)
      ended.end()
      await t.rejects(ended.script('return 1')([]))
      await t.rejects(ended.subscribe('channel', heard), { message: 'the connection was closed' })
      ended.end()
      t.equal(String(await plain.client('LIST')).includes('sub=1'), false)
    }
  })
}))

t.test('nobody is there: it rejects, and nothing is thrown elsewhere', async t => {
  const ioredis = new Redis({ port: 1, lazyConnect: true })
  const nodeRedis = createClient({ url: 'redis://127.0.0.1:1' })
  for (const client of [ioredis, nodeRedis]) {
    const connection = open(t, client as RedisClient)
    await t.rejects(connection.script('return 1')([]))
    await t.rejects(connection.subscribe('channel', listener().heard))
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

t.test('a cluster client listens by itself: it has a connection of its own for messages', async t => {
  const calls: string[] = []
  let listen = (_channel: string, _message: string) => {}
  const duplicate = {
    on (event: string, listener: typeof listen) { if (event === 'message') listen = listener },
    evalsha: async () => 1,
    evalSha: async () => 1,
    connect: async () => { calls.push('connect') },
    async subscribe (channel: string, listener?: (message: string) => void) {
      calls.push(channel)
      if (listener !== undefined) listen = (_, message) => listener(message)
    },
    disconnect () { calls.push('end') },
    destroy () { calls.push('end') }
  }
  const opened = () => {
    calls.push('open')
    return duplicate
  }
  const clients = {
    ioredis: { isCluster: true, evalsha: async () => 1, eval: async () => 1, duplicate: opened },
    'node-redis': { nodeClient: async () => {}, evalSha: async () => 1, eval: async () => 1, duplicate: opened }
  }
  for (const [name, client] of Object.entries(clients)) {
    calls.length = 0
    const connection = open(t, client)
    const { messages, heard } = listener()
    await connection.subscribe('channel', heard)
    listen('channel', 'news')
    connection.end()
    t.same(messages, ['news'], name)
    t.same(calls, name === 'ioredis' ? ['open', 'channel', 'end'] : ['open', 'connect', 'channel', 'end'], name)
  }
})

t.test('a client that throws when it is closed twice, as earlier versions of node-redis do, is closed', async t => {
  const client = { evalSha: async () => 1, eval: async () => 1 }
  const duplicate = () => ({ ...client, on () {}, connect: async () => {}, destroy () { throw new Error('closed') } })
  const connection = open(t, { ...client, duplicate } as RedisClient)
  connection.end()
  await t.rejects(connection.subscribe('channel', listener().heard), { message: 'the connection was closed' })
})

t.test('a pool cannot open a connection of this kind', async t => {
  t.equal(canDuplicate({ evalSha: async () => 1, eval: async () => 1 }), false)
})

function open (t: Test, client: RedisClient): RedisConnection {
  const connection = openRedisConnection(client, 'test')
  t.teardown(() => connection.end())
  return connection
}

function listener () {
  const messages: string[] = []
  let ended = 0
  return { messages, heard: { onMessage: (message: string) => messages.push(message), onEnd: () => { ended++ } }, ends: () => ended }
}
