import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { IoredisLike, RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'
import { freshPrefix, resending, unreliable } from '../session-stores/redis-session.ts'
import { spread } from './spread.ts'
import { checkTimes } from './times.ts'

const hour = 3_600_000
const issuer = 'https://login.example'
const session = (sessionId: string) => ({ sessionId, subject: 'alice' })
const login = (sid?: string) => ({ issuer, subject: 'alice', sid, issuedAt: 1000 })

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      const index = redisProviderSessionIndex(client, { prefix: freshPrefix() })
      for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => index), rule.name)
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    const prefix = freshPrefix()
    const index = spread(clients.named.map(([, client]) => redisProviderSessionIndex(client, { prefix })))
    for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => index), rule.name)
  })

  await t.test('of two times of a login or a logout the later one counts, and what is over is not found', t => {
    return checkTimes(t, redisProviderSessionIndex(clients.ioredis, { prefix: freshPrefix() }))
  })

  await t.test('two prefixes never see each other', async t => {
    const prefix = freshPrefix()
    const until = Date.now() + hour
    const [one, other] = [prefix, `${prefix}:x`].map(prefix => redisProviderSessionIndex(clients.ioredis, { prefix }))
    await one?.bind(login('phone'), session('1'), until)
    t.strictSame(await other?.logOut({ issuer, subject: 'alice', cutoff: 1000, until }), [])
    t.equal(await one?.bind(login('phone'), session('2'), until), 'live')
  })

  await t.test('a command that a client sends twice does the same once', async t => {
    const index = redisProviderSessionIndex(resending(clients.ioredis), { prefix: freshPrefix() })
    const until = Date.now() + hour
    t.equal(await index.bind(login('phone'), session('1'), until), 'live')
    t.strictSame(await index.logOut({ issuer, sid: 'phone', cutoff: 1000, until }), [session('1')])
    t.equal(await index.bind(login('phone'), session('2'), until), 'revoked')
  })

  await t.test('a bind of which one half is lost rejects, and can be repeated', async t => {
    const { client, faults } = unreliable(clients.ioredis)
    const index = redisProviderSessionIndex(client, { prefix: freshPrefix() })
    const until = Date.now() + hour
    await index.bind(login('warm'), session('warm'), until)
    for (const lost of [{ unsent: [0] }, { unsent: [1] }, { unanswered: [0] }, { unanswered: [1] }]) {
      Object.assign(faults, { sent: 0, unsent: [], unanswered: [], ...lost })
      await t.rejects(index.bind(login('phone'), session('1'), until), /not sent|no reply/)
    }
    Object.assign(faults, { unsent: [], unanswered: [] })
    t.equal(await index.bind(login('phone'), session('1'), until), 'live')
    t.strictSame(await index.logOut({ issuer, sid: 'phone', cutoff: 1000, until }), [session('1')])
  })
}))

t.test('everything expires at its time, and what the provider said stands nowhere in clear', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const index = redisProviderSessionIndex(ioredis)
  const until = Date.now() + hour
  await index.bind({ issuer, subject: 'alice-at-the-provider', sid: 'the-phone', issuedAt: 1000 }, session('1'), until)
  await index.logOut({ issuer, sid: 'the-phone', cutoff: 1000, until })
  await index.logOut({ issuer, subject: 'alice-at-the-provider', sid: 'the-phone', cutoff: 1000, until })
  const keys = await ioredis.keys('*')
  t.equal(keys.length, 5)
  t.ok(keys.every(key => key.startsWith('logout-provider-session:{')))
  const dump = JSON.stringify([keys, await Promise.all(keys.map(key => ioredis.dumpBuffer(key).then(String)))])
  t.notMatch(dump, /the-phone|at-the-provider|login\.example/)
  for (const key of keys) {
    const ends = Date.now() + await ioredis.pttl(key)
    t.ok(ends > until - 60_000 && ends <= until + 1000, 'Redis removes it at its time')
  }
}))

t.test('a login that is bound again and again leaves nothing behind that is over', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const index = redisProviderSessionIndex(ioredis)
  for (let day = 0; day < 20; day++) await index.bind(login(), session(`${day}`), Date.now() + 20)
  await index.bind(login(), session('last'), Date.now() + hour)
  await sleep(40)
  await index.bind(login(), session('now'), Date.now() + hour)
  const [key = ''] = await ioredis.keys('*')
  t.equal(await ioredis.zcard(key), 2)
  t.ok(await ioredis.pttl(key) > hour - 10_000, 'the key stays for the longest of its logins')
}))

t.test('a full Redis refuses logins, and still logs out', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const index = redisProviderSessionIndex(ioredis)
  const until = Date.now() + hour
  await index.bind(login('phone'), session('1'), until)
  await ioredis.config('SET', 'maxmemory', '1')
  await t.rejects(index.bind(login('laptop'), session('2'), until), /OOM/)
  t.strictSame(await index.logOut({ issuer, sid: 'phone', cutoff: 1000, until }), [session('1')])
  await ioredis.config('SET', 'maxmemory', '0')
  t.equal(await index.bind(login('phone'), session('2'), until), 'revoked')
  t.equal(await index.bind(login('laptop'), session('2'), until), 'live')
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('a replica is refused', t => withPrivateRedis(t, async ({ url, port }) => withPrivateRedis(t, async replica => {
  const [primary, behind] = [await connectRedisClients(url), await connectRedisClients(replica.url)]
  t.teardown(primary.end)
  t.teardown(behind.end)
  await behind.ioredis.replicaof('127.0.0.1', port)
  const index = redisProviderSessionIndex(behind.iovalkey)
  const until = Date.now() + hour
  await t.rejects(index.bind(login('phone'), session('1'), until), /READONLY/)
  await t.rejects(index.bind(login('phone'), session('1'), 1), /READONLY/)
  await t.rejects(index.logOut({ issuer, sid: 'phone', cutoff: 1000, until }), /READONLY/)
  await t.rejects(index.logOut({ issuer, sid: 'phone', cutoff: 1000, until: 1 }), /READONLY/)
})))

t.test('a wrong client or prefix is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'redis://127.0.0.1']) {
    const make = () => redisProviderSessionIndex(client as unknown as RedisClient)
    t.throws(make, { name: 'TypeError', message: /redisProviderSessionIndex: pass a client/ })
  }
  const client: IoredisLike = { eval: async () => null, evalsha: async () => null }
  for (const prefix of ['', 'a b', '{a}', 'ä', 1]) {
    const make = () => redisProviderSessionIndex(client, { prefix: prefix as string })
    t.throws(make, { name: 'TypeError', message: /redisProviderSessionIndex: option "prefix" must/ })
  }
})

t.test('a reply that cannot be read is a rejection, and never "live" or an empty list', async t => {
  for (const reply of [undefined, null, '', 'text', [], [[]], [['1']], [['x'], []], [['1'], null], [['1'], [null]]]) {
    const client: IoredisLike = { eval: async () => reply, evalsha: async () => reply }
    const index = redisProviderSessionIndex(client)
    await t.rejects(index.bind(login(), session('1'), Date.now() + hour), JSON.stringify(reply))
    await t.rejects(index.logOut({ issuer, sid: 'phone', cutoff: 1000, until: Date.now() + hour }), JSON.stringify(reply))
  }
})

t.test('a login and a logout are one script for each group, and no other command', async t => {
  const sent: string[] = []
  const client: IoredisLike = {
    eval: async () => { throw new Error('not asked for') },
    evalsha: async (digest, count, ...keys) => {
      sent.push(digest)
      return keys.length === count + 3 ? '0' : [Array.from({ length: count - 1 }, () => '1000'), []]
    }
  }
  const index = redisProviderSessionIndex(client)
  const until = Date.now() + hour
  t.equal(await index.bind(login('phone'), session('1'), until), 'live')
  t.equal(sent.splice(0).length, 2, 'for the subject and for the sid, at once')
  t.equal(await index.bind(login(), session('1'), until), 'live')
  t.equal(sent.splice(0).length, 1)
  for (const target of [{ sid: 'phone' }, { subject: 'alice' }, { subject: 'alice', sid: 'phone' }]) {
    t.strictSame(await index.logOut({ issuer, cutoff: 1000, until, ...target }), [])
    t.equal(sent.splice(0).length, 1)
  }
})
