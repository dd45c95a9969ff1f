import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { kratosLogout } from '../../lib/flows/kratos-native.ts'
import { redisRateLimitStore } from '../../lib/rate-limit-stores/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { create, tokenOf } from './session-survival.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const megabyte = 1 << 20

/** How much the heap and the buffers grow while this runs. */
async function growthOf (work: () => Promise<void>): Promise<number> {
  const used = () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  await work()
  return used() - before
}

t.test('a frozen Redis does not fill the memory of the host', t => withPrivateRedis(t, async server => {
  const clients = await connectRedisClients(server.url)
  t.teardown(clients.end)
  for (const [name, client] of clients.named) {
    await t.test(`through ${name}`, async t => {
      const store = redisSessionStore(client, { prefix: name })
      await create(store, 'survivor')
      const app = Fastify()
      await app.register(kratosLogout, { sessions: store, timeout: 50 })
      const logOut = async (id: string) =>
        (await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: tokenOf(id) } })).statusCode
      server.freeze()
      const statuses = new Set<number>()
      const logOutOften = async (rounds: number) => {
        for (let round = 0; round < rounds; round++) {
          const ids = Array.from({ length: 500 }, (_, index) => `${round}-${index}`)
          for (const status of await Promise.all(ids.map(logOut))) statuses.add(status)
        }
      }
      const filled = await growthOf(() => logOutOften(16))
      const grown = await growthOf(() => logOutOften(30))
      server.thaw()
      t.strictSame([...statuses], [500])
      const [first, more] = [filled, grown].map(bytes => `${Math.round(bytes / megabyte)} MB`)
      t.ok(grown < 40 * megabyte, `8,000 refused logouts keep ${first}, and 15,000 more ${more}`)
      await becomes(t, 204, () => logOut('survivor'))
    })
  }
}))

t.test('a host\'s own limiter over a frozen Redis gets an error, and its memory is bounded', t => withPrivateRedis(t, async server => {
  const clients = await connectRedisClients(server.url)
  t.teardown(clients.end)
  for (const [name, client] of clients.named) {
    await t.test(`through ${name}`, async t => {
      const store = redisRateLimitStore(client, { prefix: name, timeout: 300 })
      const [open, closed] = await Promise.all([true, false].map(skipOnError => limited({ store, skipOnError })))
      t.strictSame([await open?.(), await closed?.()], [200, 200])
      server.freeze()
      const start = performance.now()
      t.strictSame(await Promise.all([open?.(), closed?.()]), [200, 500])
      t.ok(performance.now() - start >= 299)
      server.thaw()
      await becomes(t, 200, () => closed?.() ?? 0)
    })
  }

  await t.test('its memory is bounded', async t => {
    const { ioredis } = clients
    const store = new (redisRateLimitStore(ioredis, { prefix: 'many', timeout: 50 }))({})
    const count = (key: string) => new Promise<Error | null>(resolve => store.incr(key, resolve, 60_000))
    server.freeze()
    const countOften = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        const errors = await Promise.all(Array.from({ length: 500 }, (_, key) => count(`${round}-${key}`)))
        if (errors.includes(null)) throw new Error('a frozen server replied')
      }
    }
    const filled = await growthOf(() => countOften(30))
    const grown = await growthOf(() => countOften(50))
    server.thaw()
    t.ok(grown < filled / 2, `15,000 hits keep ${Math.round(filled / megabyte)} MB, and 25,000 more ${Math.round(grown / megabyte)} MB`)
    await becomes(t, null, () => count('last'))
  })
}))

async function limited ({ store, skipOnError }: { store: ReturnType<typeof redisRateLimitStore>, skipOnError: boolean }) {
  const app = Fastify()
  await app.register(rateLimit, { max: 1000, timeWindow: 60_000, skipOnError, store })
  app.get('/', async () => 'here')
  return async () => (await app.inject('/')).statusCode
}

/** Asks until this is the answer, for some seconds. */
async function becomes<T> (t: Test, expected: T, ask: () => T | Promise<T>): Promise<void> {
  let answer = await ask()
  for (const end = performance.now() + 20_000; answer !== expected && performance.now() < end;) answer = await ask()
  t.equal(answer, expected, 'and afterwards it works again')
}
