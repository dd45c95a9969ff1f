import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { create, failed, filesHold, host, survives, tokenOf } from './session-survival.ts'

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
