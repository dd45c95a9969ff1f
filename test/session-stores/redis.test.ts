import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { IoredisLike, RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'
import { freshPrefix, newSession } from './redis-session.ts'
import { spread } from './spread.ts'

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisSessionStore(client, { prefix: freshPrefix() })
      for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    const prefix = freshPrefix()
    const store = spread(clients.named.map(([, client]) => redisSessionStore(client, { prefix })))
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  for (const cluster of [false, true]) {
    const way = cluster ? 'key by key' : 'in one script'
    await t.test(`200 parallel logOut from several clients: one saw the session active, ${way}`, async t => {
      const prefix = freshPrefix()
      const store = spread(clients.named.map(([, client]) => redisSessionStore(client, { prefix, cluster })))
      await store.create('token', newSession())
      const before = await Promise.all(Array.from({ length: 200 }, () => store.logOut('token')))
      t.equal(before.filter(found => found?.status === 'active').length, 1)
      t.equal(before.filter(found => found?.status === 'logged_out').length, 199)
    })
  }

  await t.test('two prefixes never see each other, whatever the ids', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(clients.nodeRedis, { prefix })
    const others = [':s', ':i', ':u', ':'].map(end => redisSessionStore(clients.nodeRedis, { prefix: prefix + end }))
    await store.create('token', newSession({ id: 'id' }))
    await store.create('hostile', newSession({ id: 'i:id', subject: 'u:alice' }))
    await store.logOutSubject({ subject: 'alice', except: 'id' })
    for (const other of others) {
      t.equal(await other.find('token'), undefined)
      t.equal(await other.logOut('token'), undefined)
      t.equal(await other.logOutById({ id: 'id' }), undefined)
      t.equal(await other.logOutSubject({ subject: 'alice', count: true }), 0)
      t.strictSame(await other.list({ subject: 'alice', limit: 9 }), [])
      await other.create('token', newSession({ id: 'id' }))
      await other.logOut('token')
    }
    for (const token of ['token', 'hostile']) t.equal((await store.find(token))?.status, 'active')
  })
}))

for (const cluster of [false, true]) {
  const way = cluster ? 'key by key' : 'in one script'
  t.test(`a full Redis refuses logins and still logs out, ${way}`, t => withPrivateRedis(t, async ({ url }) => {
    const { ioredis, end } = await connectRedisClients(url)
    t.teardown(end)
    const store = redisSessionStore(ioredis, { cluster })
    for (const token of ['one', 'two', 'three', 'four']) await store.create(token, newSession({ id: token }))
    await store.create('expired', newSession({ expiresAt: 1 }))
    await ioredis.config('SET', 'maxmemory', '1')

    await t.rejects(store.create('five', newSession()), /OOM/)
    t.equal((await store.list({ subject: 'alice', limit: 9 })).length, 4, 'a refusal changes nothing')
    t.equal((await store.logOut('one'))?.status, 'active')
    t.equal((await store.logOut('one'))?.status, 'logged_out')
    t.equal((await store.logOut('expired'))?.status, 'active')
    t.equal((await store.logOutById({ id: 'two' }))?.status, 'active')
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'four', count: true }), 1)
    t.equal((await store.find('four'))?.status, 'active')
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 1)
    t.equal((await store.find('four'))?.status, 'logged_out')

    await ioredis.config('SET', 'maxmemory', '0')
    await store.create('five', newSession())
    for (const token of ['one', 'two', 'three', 'four']) t.equal((await store.find(token))?.status, 'logged_out')
  }, { config: { 'maxmemory-policy': 'noeviction' } }))
}

t.test('a wrong client or option is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'redis://127.0.0.1']) {
    t.throws(() => redisSessionStore(client as unknown as RedisClient), { name: 'TypeError', message: /redisSessionStore: pass a client/ })
  }
  const client: IoredisLike = { eval: async () => null, evalsha: async () => null }
  for (const prefix of ['', 'a b', '{a}', 'a}', 'a*', 'ä', 1]) {
    const message = /redisSessionStore: option "prefix" must/
    t.throws(() => redisSessionStore(client, { prefix: prefix as string }), { name: 'TypeError', message })
  }
  for (const cluster of [null, 'yes', 1]) {
    const message = 'redisSessionStore: option "cluster" must be true or false'
    t.throws(() => redisSessionStore(client, { cluster: cluster as unknown as boolean }), { name: 'TypeError', message })
  }
})

t.test('a reply that cannot be read is a rejection, and never a session that is logged out or unknown', async t => {
  for (const reply of [undefined, '', 'text', [], [[]], [['{}']], [[null, 1]]]) {
    const client: IoredisLike = { eval: async () => reply, evalsha: async () => reply }
    for (const cluster of [false, true]) {
      const store = redisSessionStore(client, { cluster })
      await t.rejects(store.logOut('token'))
      await t.rejects(store.find('token'))
      await t.rejects(store.create('token', newSession()))
      await t.rejects(store.logOutSubject({ subject: 'alice' }))
    }
  }
})
