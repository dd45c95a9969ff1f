import { Cluster, Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient, createClientPool, createCluster } from 'redis'
import t, { type Test } from 'tap'
import { warnOfMissingTimeout } from '../../../lib/internal/databases/redis-timeout.ts'
import { redisScripts, type RedisClient } from '../../../lib/internal/databases/redis.ts'
import { warningsOf } from './warnings.ts'

const lazyConnect = true
const node = { host: '127.0.0.1', port: 1 }
const socketTimeout = 5000
const reconnectStrategy = () => 100

async function messagesFor (t: Test, client: object): Promise<string[]> {
  const warnings = await warningsOf(t, () => warnOfMissingTimeout(client as RedisClient, 'redisSessionStore'))
  return warnings.map(({ message }) => message)
}

t.test('a client without socketTimeout is warned of', async t => {
  const none = /^redisSessionStore: the Redis client has no socketTimeout\. .* Set it, for example to 5000 \(milliseconds\)\.$/
  t.match(await messagesFor(t, new Redis({ lazyConnect })), [none])
  t.match(await messagesFor(t, new Valkey({ lazyConnect })), [none])
  t.match(await messagesFor(t, new Cluster([node], { lazyConnect })), [none])
  t.match(await messagesFor(t, new Cluster([node], { lazyConnect, redisOptions: { commandTimeout: 1000 } })), [none])
  const noneInSocket = /: the Redis client has no socket\.socketTimeout\. .* with a socket\.reconnectStrategy and a shorter pingInterval\.$/
  t.match(await messagesFor(t, createClient()), [noneInSocket])
  t.match(await messagesFor(t, createClient({ socket: { reconnectStrategy } })), [noneInSocket])
})

t.test('a client of node-redis whose own strategy would give up after socketTimeout is warned of', async t => {
  t.match(await messagesFor(t, createClient({ socket: { socketTimeout } })), [
    /^redisSessionStore: the Redis client has socket\.socketTimeout, but no socket\.reconnectStrategy\. .* it does not connect again\./
  ])
})

t.test('a client with a timeout is not warned of, nor is one whose options cannot be seen', async t => {
  const clients = [
    new Redis({ lazyConnect, socketTimeout }),
    new Valkey({ lazyConnect, socketTimeout }),
    new Cluster([node], { lazyConnect, redisOptions: { socketTimeout } }),
    createClient({ socket: { socketTimeout, reconnectStrategy } }),
    createClient({ socket: { socketTimeout, reconnectStrategy: false } }),
    createCluster({ rootNodes: [] }),
    createClientPool(),
    { options: null },
    {}
  ]
  for (const client of clients) t.strictSame(await messagesFor(t, client), [])
})

t.test('stores that share a client warn once', async t => {
  const client = new Redis({ lazyConnect })
  const warnings = await warningsOf(t, () => {
    redisScripts(client, 'redisSessionStore')
    redisScripts(client, 'redisUserStatusStore')
  })
  t.match(warnings, [{ code: 'FASTIFY_LOGOUT_REDIS_TIMEOUT', message: /^redisSessionStore: / }])
  t.equal(warnings.length, 1)
})
