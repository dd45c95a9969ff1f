import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { create, failed, filesHold, host, survives, tokenOf, until204 } from './session-survival.ts'

t.test('Redis', t => withPrivateRedis(t, async server => {
  const clients = await connectRedisClients(server.url)
  t.teardown(clients.end)
  for (const [name, client] of [['ioredis', clients.ioredis], ['node-redis', clients.nodeRedis]] as const) {
    await t.test(name, t => survives(t, server, {
      store: redisSessionStore(client, { prefix: name }),
      other: redisSessionStore(clients.iovalkey, { prefix: name }),
      cutConnections: () => clients.iovalkey.call('CLIENT', 'KILL', 'TYPE', 'normal')
    }))
  }
  await clients.iovalkey.config('SET', 'rdbcompression', 'no')
  await clients.iovalkey.call('SAVE')
  t.ok(filesHold(server.directory, 'session-1'), 'its files hold the sessions')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')
}, { config: { appendonly: 'yes', appendfsync: 'always' } }))

t.test('a full Redis still logs out', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const store = redisSessionStore(ioredis)
  await create(store, 'one')
  const node = await host(store)
  await ioredis.config('SET', 'maxmemory', '1')
  t.equal((await node.logOut('one')).status, 204)
  t.equal((await node.logOut('one')).status, 204)
  t.strictSame(node.ended, ['one'])
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('a read-only replica of Redis: 500, and nothing changes; it answers whose session it is', t => withPrivateRedis(t, async primary => {
  await withPrivateRedis(t, async replica => {
    const [writer, reader] = [new Redis(primary.url), new Redis(replica.url)]
    t.teardown(() => { writer.disconnect(); reader.disconnect() })
    await create(redisSessionStore(writer), 'one')
    await reader.replicaof('127.0.0.1', primary.port)
    const store = redisSessionStore(reader)
    for (let waited = 0; waited < 300 && await store.find(tokenOf('one')).catch(() => undefined) === undefined; waited++) await sleep(20)
    t.equal((await store.find(tokenOf('one')))?.id, 'one')
    t.equal((await store.list({ subject: 'alice', limit: 9 })).length, 1)
    const node = await host(store)
    t.match(await node.logOut('one'), { status: 500, body: failed })
    t.equal((await redisSessionStore(writer).find(tokenOf('one')))?.status, 'active')
  })
}, { config: { 'repl-diskless-sync-delay': '0' } }))

t.test('a primary stopped by min-replicas-to-write: 500, then 204 when its replica is back', t => withPrivateRedis(t, async primary => {
  await withPrivateRedis(t, async replica => {
    const [writer, reader] = [new Redis(primary.url), new Redis(replica.url)]
    t.teardown(() => { writer.disconnect(); reader.disconnect() })
    const store = redisSessionStore(writer)
    await create(store, 'one')
    await reader.replicaof('127.0.0.1', primary.port)
    await writer.config('SET', 'min-replicas-to-write', '1', 'min-replicas-max-lag', '1')
    const untilWritable = async (expected: boolean) => {
      while (await writer.set('key', 'value').then(() => true, () => false) !== expected) await sleep(50)
    }
    await untilWritable(true)
    replica.freeze()
    await untilWritable(false)
    const node = await host(store)
    t.match(await node.logOut('one'), { status: 500, body: failed })
    t.match(node.logged.join(), /NOREPLICAS/)
    t.equal((await store.find(tokenOf('one')))?.status, 'active')
    replica.thaw()
    await untilWritable(true)
    t.equal((await node.logOut('one')).status, 204)
    t.strictSame(node.ended, ['one'])
  })
}, { config: { 'repl-diskless-sync-delay': '0' } }))

const reconnectStrategy = () => 50
type Library = 'ioredis' | 'iovalkey' | 'node-redis'
type Timeouts = 'none' | 'socketTimeout' | 'socketTimeout alone'

/** Connects with a client of each library. */
const libraries: Readonly<Record<Library, (url: string, timeouts: Timeouts) => Promise<Connection>>> = {
  async ioredis (url, timeouts) {
    const client = new Redis(url, timeouts === 'none' ? {} : { socketTimeout: 400 })
    return { client: client.on('error', () => {}), end: () => client.disconnect() }
  },
  async iovalkey (url, timeouts) {
    const client = new Valkey(url, timeouts === 'none' ? {} : { socketTimeout: 400 })
    return { client: client.on('error', () => {}), end: () => client.disconnect() }
  },
  async 'node-redis' (url, timeouts) {
    const socket = {
      ...timeouts === 'none' ? {} : { socketTimeout: 400 },
      ...timeouts === 'socketTimeout alone' ? {} : { reconnectStrategy }
    }
    const client = createClient({ url, pingInterval: 200, socket })
    return { client: await client.on('error', () => {}).connect() as RedisClient, end: () => { if (client.isOpen) client.destroy() } }
  }
}

interface Connection {
  readonly client: RedisClient
  end (): void
}

t.test('a network that swallows every packet', t => withPrivateRedis(t, async server => {
  const direct = new Redis(server.url)
  t.teardown(() => direct.disconnect())

  /** Logs out while packets are swallowed, and again afterwards, and resolves to the statuses. */
  async function statusesOf (t: Test, library: Library, timeouts: Timeouts) {
    const proxy = await tcpProxy(t, server.port)
    const { client, end } = await libraries[library](server.url.replace(String(server.port), String(proxy.port)), timeouts)
    t.teardown(end)
    const prefix = `${library}-${timeouts}`.replaceAll(' ', '-')
    const [store, node] = [redisSessionStore(direct, { prefix }), await host(redisSessionStore(client, { prefix }))]
    const ids = Array.from({ length: 8 }, (_, index) => `${index}`)
    for (const id of ['first', ...ids]) await create(store, id)
    t.equal((await node.logOut('first')).status, 204)
    proxy.swallow()
    const swallowed = await Promise.all(ids.map(node.logOut))
    proxy.heal()
    const later = await Promise.all(ids.map(id => until204(node, id, 3)))
    const found = await Promise.all(ids.map(id => store.find(tokenOf(id))))
    t.strictSame(swallowed.map(({ status }) => status), ids.map(() => 500))
    t.strictSame(found.map(session => session?.status), later.map(status => status === 204 ? 'logged_out' : 'active'))
    t.equal(new Set(node.ended).size, node.ended.length, 'none was reported twice')
    return new Set(later)
  }

  for (const library of ['ioredis', 'iovalkey', 'node-redis'] as const) {
    await t.test(`a client of ${library} with socketTimeout heals by itself, and no answered logout is lost`, async t => {
      t.strictSame(await statusesOf(t, library, 'socketTimeout'), new Set([204]))
    })
    await t.test(`a client of ${library} without it stays silent, which is why a warning asks for it`, async t => {
      t.strictSame(await statusesOf(t, library, 'none'), new Set([500]))
    })
  }

  await t.test('a client of node-redis with socketTimeout alone never connects again, which is why a warning asks for more', async t => {
    t.strictSame(await statusesOf(t, 'node-redis', 'socketTimeout alone'), new Set([500]))
  })
}))
