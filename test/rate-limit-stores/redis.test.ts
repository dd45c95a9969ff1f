import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { redisRateLimitStore, type Callback, type RateLimitCount } from '../../lib/rate-limit-stores/redis.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { connectOddRedisClients, connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'

let made = 0
const freshPrefix = () => `test-${process.pid}-${Date.now()}-${made++}`

function counter (client: RedisClient, prefix: string) {
  const store = new (redisRateLimitStore(client, { prefix }))({})
  const countOf = (ask: (callback: (error: Error | null, count?: RateLimitCount) => void) => void) =>
    new Promise<RateLimitCount | undefined>((resolve, reject) => ask((error, count) => error ? reject(error) : resolve(count)))
  return {
    hit: (key: string, window: number) => countOf(callback => store.incr(key, callback, window)),
    look: (key: string) => countOf(callback => store.read(key, callback))
  }
}

async function limited (client: RedisClient, prefix: string, settings = {}) {
  const app = Fastify()
  await app.register(rateLimit, { max: 30, timeWindow: 60_000, store: redisRateLimitStore(client, { prefix }), ...settings })
  app.get('/', async () => 'here')
  app.get('/tight', { config: { rateLimit: { max: 1 } } }, async () => 'here')
  app.get('/tight-too', { config: { rateLimit: { max: 1 } } }, async () => 'here')
  return { status: async (url = '/') => (await app.inject(url)).statusCode, app }
}

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)

  for (const [name, client] of clients.named) {
    await t.test(`30 requests pass and the 31st does not, through ${name}`, async t => {
      const { status, app } = await limited(client, freshPrefix())
      for (let i = 1; i <= 30; i++) t.equal(await status(), 200)
      const refused = await app.inject('/')
      t.equal(refused.statusCode, 429)
      const retryAfter = Number(refused.headers['retry-after'])
      t.ok(retryAfter > 50 && retryAfter <= 60, 'the window began with the first request')
      t.equal(refused.headers['x-ratelimit-remaining'], '0')
    })
  }

  await t.test('all nodes count together, and each hit counts once', async t => {
    const prefix = freshPrefix()
    const nodes = await Promise.all(clients.named.map(([, client]) => limited(client, prefix)))
    const statuses = await Promise.all(Array.from({ length: 60 }, (_, i) => nodes[i % 3]?.status()))
    t.equal(statuses.filter(status => status === 200).length, 30)
    t.equal(statuses.filter(status => status === 429).length, 30)
  })

  await t.test('routes, keys and prefixes count apart, whatever is in them', async t => {
    const prefix = freshPrefix()
    const { status } = await limited(clients.nodeRedis, prefix)
    t.strictSame([await status('/tight'), await status('/tight'), await status('/tight-too'), await status()], [200, 429, 200, 200])
    const counters = [counter(clients.ioredis, prefix), counter(clients.ioredis, `${prefix}:a`), counter(clients.ioredis, `${prefix}:`)]
    for (const each of counters) {
      const hostile = ['a/b', '/a/b', '', '{x}', '%2F', 'nul\0', '\0', '\u00e9', 'e\u0301', '😀', 'a'.repeat(1 << 20), '*']
      for (const key of ['::1', 'a:b', 'b', ...hostile]) {
        t.equal((await each.hit(key, 60_000))?.current, 1)
      }
    }
  })

  await t.test('a window begins with the first hit, does not move, and ends', async t => {
    const { hit } = counter(clients.iovalkey, freshPrefix())
    t.strictSame(await hit('a', 200), { current: 1, ttl: 200 })
    await sleep(50)
    const second = await hit('a', 200)
    t.equal(second?.current, 2)
    t.ok(second !== undefined && second.ttl <= 150, 'the window stays where it is')
    await sleep(second?.ttl ?? 0)
    await sleep(20)
    t.equal((await hit('a', 200))?.current, 1)
  })

  await t.test('a counter without an end is given one', async t => {
    const prefix = freshPrefix()
    const { hit, look } = counter(clients.ioredis, prefix)
    await clients.ioredis.set(`${prefix}:/a`, '7')
    t.strictSame(await look('a'), { current: 7, ttl: 0 })
    t.strictSame(await hit('a', 5000), { current: 8, ttl: 5000 })
    const left = await clients.ioredis.pttl(`${prefix}:/a`)
    t.ok(left > 4000 && left <= 5000)
  })

  await t.test('read counts nothing and makes no key', async t => {
    const prefix = freshPrefix()
    const { hit, look } = counter(clients.nodeRedis, prefix)
    t.strictSame(await look('a'), { current: 0, ttl: 0 })
    t.equal(await clients.ioredis.exists(`${prefix}:/a`), 0)
    await hit('a', 5000)
    await look('a')
    t.match(await look('a'), { current: 1, ttl: Number })
  })

  await t.test('a window of a fraction of a millisecond, or of none, still ends', async t => {
    const { hit } = counter(clients.ioredis, freshPrefix())
    t.strictSame(await hit('a', 1000.5), { current: 1, ttl: 1001 })
    t.strictSame(await hit('b', 0), { current: 1, ttl: 1 })
  })

  await t.test('a limiter made with createRateLimit counts too, and can read without counting', async t => {
    const { app } = await limited(clients.nodeRedis, freshPrefix(), { global: false })
    const check = app.createRateLimit({ max: 1, timeWindow: 1000, keyGenerator: () => 'by-hand' })
    app.get('/by-hand', async (request) => [await check(request, { increment: false }), await check(request), await check(request)])
    t.match((await app.inject('/by-hand')).json(), [{ remaining: 1 }, { remaining: 0, isExceeded: false }, { isExceeded: true }])
  })

  await t.test('a hit that cannot be counted calls back with an error', async t => {
    const prefix = freshPrefix()
    const { hit, look } = counter(clients.nodeRedis, prefix)
    await clients.ioredis.lpush(`${prefix}:/a`, 'x')
    await t.rejects(hit('a', 1000), /WRONGTYPE/)
    await t.rejects(look('a'), /WRONGTYPE/)
    await t.rejects(hit('\ud800', 1000), URIError)
  })
}))

t.test('counts are numbers, through clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const [name, client] of named) {
    const { hit, look } = counter(client, freshPrefix())
    t.strictSame(await hit('a', 60_000), { current: 1, ttl: 60_000 }, name)
    t.match(await hit('a', 60_000), { current: 2, ttl: Number }, name)
    t.match(await look('a'), { current: 2, ttl: Number }, name)
  }
}))

t.test('each hit is one command, as the server saw it', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  for (const [name, client] of clients.named) {
    const { hit } = counter(client, freshPrefix())
    await hit('a', 60_000)
    const before = await readsOf()
    for (let i = 0; i < 10; i++) await hit('a', 60_000)
    t.equal(await readsOf() - before - 1, 10, name)
  }

  async function readsOf (): Promise<number> {
    return Number(/total_reads_processed:(\d+)/.exec(await clients.ioredis.info('stats'))?.[1])
  }
}))

t.test('a Redis that does not reply is an error after the timeout, and a late count is dropped', async t => {
  const waiting: Array<(reply: unknown) => void> = []
  const client: RedisClient = { evalsha: () => new Promise(resolve => { waiting.push(resolve) }), eval: async () => {} }
  const store = new (redisRateLimitStore(client, { timeout: 20 }))({})
  const called: unknown[][] = []
  for (const ask of [(callback: Callback) => store.incr('a', callback, 1000), (callback: Callback) => store.read('a', callback)]) {
    const start = performance.now()
    await new Promise<void>(resolve => ask((...values) => { called.push(values); resolve() }))
    t.ok(performance.now() - start >= 19)
  }
  t.match(called, [[{ message: 'redisRateLimitStore: Redis did not reply within 20 ms' }], [Error]])
  for (const reply of waiting) reply([1, 20])
  await sleep(1)
  t.equal(called.length, 2, 'each callback was called once')
})

t.test('a host\'s own limiter lets requests through or refuses them when Redis does not reply', async t => {
  const client: RedisClient = { evalsha: () => new Promise(() => {}), eval: async () => {} }
  for (const [skipOnError, expected] of [[true, 200], [false, 500]] as const) {
    const app = Fastify()
    await app.register(rateLimit, { max: 3, timeWindow: 1000, skipOnError, store: redisRateLimitStore(client, { timeout: 20 }) })
    app.get('/', async () => 'here')
    t.equal((await app.inject('/')).statusCode, expected)
  }
})

t.test('a wrong client, prefix or setting is a TypeError that names it', async t => {
  const client = { evalsha: async () => {}, eval: async () => {} }
  t.throws(() => redisRateLimitStore({} as RedisClient), { name: 'TypeError', message: /redisRateLimitStore: pass a client/ })
  t.throws(() => redisRateLimitStore(client, { prefix: '{a}' }), { name: 'TypeError', message: /RateLimitStore: option "prefix" must/ })
  for (const timeout of [0, -1, NaN, Infinity, '5']) {
    const message = /redisRateLimitStore: option "timeout" must/
    t.throws(() => redisRateLimitStore(client, { timeout: timeout as number }), { name: 'TypeError', message })
  }
  const Store = redisRateLimitStore(client)
  for (const name of ['continueExceeding', 'exponentialBackoff']) {
    const message = `redisRateLimitStore: option "${name}" must not be set: the windows never move`
    t.throws(() => new Store({ [name]: true }), { name: 'TypeError', message })
    t.throws(() => new Store({}).child({ [name]: true }), { name: 'TypeError', message })
  }
})
