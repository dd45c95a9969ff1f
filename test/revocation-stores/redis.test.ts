import fc from 'fast-check'
import { Redis } from 'ioredis'
import { rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { everyMark, follows } from './follow.ts'

const minute = 60_000
const hour = 60 * minute
const until = Date.now() + hour
let made = 0
const freshPrefix = () => `test-${made++}`

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisRevocationStore(client)
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
      const followed = redisRevocationStore(client, { prefix: freshPrefix() })
      for (const rule of revocationFeedRules) await t.resolves(rule.check(() => followed), rule.name)
    })

    await t.test(`a replica follows, through ${name}`, async t => {
      await follows(t, redisRevocationStore(client, { prefix: freshPrefix() }))
    })
  }

  await t.test('the rules, through a replica', async t => {
    const replica = revocationReplica(redisRevocationStore(ioredis, { prefix: freshPrefix() }))
    t.teardown(() => replica.close())
    await replica.start()
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => replica), rule.name)
  })

  await t.test('cutoffs in any order, split over two stores, read back and added to a third give one verdict', async () => {
    const names = fc.constantFrom('a', 'b', 'c d')
    const [cutoff, except] = [fc.integer({ min: 0, max: 5 }), fc.option(names, { nil: undefined })]
    const mark = fc.record({ subject: fc.constant('u'), cutoff, except, until: fc.constant(until) })
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(mark, fc.boolean()), { minLength: 1, maxLength: 6 }), async marks => {
      const merged = redisRevocationStore(ioredis, { prefix: freshPrefix() })
      for (const side of [true, false]) {
        const store = redisRevocationStore(ioredis, { prefix: freshPrefix() })
        for (const [mark] of marks.filter(mark => mark[1] === side)) await store.revoke(mark)
        await merged.revoke(...await everyMark(store))
      }
      for (const sessionId of ['a', 'b', 'c d', undefined]) {
        for (let issuedAt = 0; issuedAt < 7; issuedAt++) {
          const revoked = marks.some(([{ cutoff, except }]) => issuedAt <= cutoff && (except === undefined || except !== sessionId))
          if (await merged.check({ subject: 'u', sessionId, issuedAt }) !== (revoked ? 'revoked' : 'live')) return false
        }
      }
      return true
    }), { numRuns: 40 })
  })

  await t.test('marks that ended a minute ago are forgotten with the next call, and everything with the last mark', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    const past = Date.now() - 61_000
    await store.revoke({ tokenId: 't', until }, { subject: 'u', cutoff: 1, until: until - hour / 2 })
    for (const id of ['told', 'sold', 'uold']) {
      await ioredis.zadd(`{${prefix}}:ends`, `${past}`, id)
      await ioredis.hset(`{${prefix}}:marks`, id, '[]')
    }
    await store.revoke({ subject: 'u', cutoff: 1, until: until - hour / 2 })
    t.same(await ioredis.zrange(`{${prefix}}:ends`, '0', '-1'), ['uu', 'tt'])
    t.same((await ioredis.hkeys(`{${prefix}}:marks`)).sort(), ['', 'tt', 'uu'])
    const keys = await ioredis.keys(`{${prefix}}*`)
    t.equal(keys.length, 3)
    for (const key of keys) t.equal(await ioredis.pexpiretime(key), until + minute, key)
    await store.claimOnce('k', until)
    t.equal(await ioredis.pexpiretime(`${prefix}:claim:k`), until + minute)
  })

  await t.test('a mark that ends within a minute, or ended less than a minute ago, is not forgotten yet', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    const now = Date.now()
    await store.revoke({ tokenId: 'soon', until: now + minute / 2 })
    await ioredis.zadd(`{${prefix}}:ends`, `${now - minute / 2}`, 'tended')
    for (const tokenId of ['a', 'b']) await store.revoke({ tokenId, until })
    t.equal(await store.check({ tokenId: 'soon' }), 'revoked')
    t.same(await ioredis.zrange(`{${prefix}}:ends`, '0', '-1'), ['tended', 'tsoon', 'ta', 'tb'])
  })

  await t.test('an id is forgotten after the last of its marks, in whatever order they are made', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    await store.revoke({ subject: 'u', cutoff: 1, until })
    await store.revoke({ subject: 'u', cutoff: 2, until: until - hour / 2 })
    await store.revoke({ subject: 'u', cutoff: 3, except: 's', until: until - hour / 3 })
    t.equal(await ioredis.zscore(`{${prefix}}:ends`, 'uu'), `${until}`)
  })

  await t.test('a mark that has ended takes no part in one that is made later', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    await store.revoke({ subject: 'u', cutoff: 1, until })
    await ioredis.hset(`{${prefix}}:marks`, 'uu', JSON.stringify([['', '', '', '1000', `${Date.now() - 1}`]]))
    t.equal(await store.revoke({ subject: 'u', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'u', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ subject: 'v', cutoff: 1000, until: 1 }, { subject: 'v', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'v', issuedAt: 11 }), 'live')
  })

  await t.test('every call is one round trip, and a claim that the client sends twice is one claim', async t => {
    let commands = 0
    const counting = new Proxy(ioredis, {
      get (target, name) {
        if (name !== 'evalsha' && name !== 'eval') return Reflect.get(target, name)
        return async (...args: never[]) => {
          commands++
          await Reflect.apply(target[name], target, args)
          return Reflect.apply(target[name], target, args)
        }
      }
    }) as RedisClient
    const store = redisRevocationStore(counting, { prefix: freshPrefix() })
    await store.revoke({ tokenId: 't', until }, { sessionId: 's', until }, { subject: 'u', tenant: 'v', cutoff: 1, until })
    t.equal(await store.check({ tokenId: 'x', sessionId: 'x', subject: 'u', tenant: 'v', issuedAt: 1 }), 'revoked')
    t.equal(await store.claimOnce('k', until), true)
    t.equal(await store.claimOnce('k', until), false)
    t.equal(commands, 4)
    t.equal(await store.revokeOnce({ sessionId: 'x', subject: 'u', tenant: 'v', issuedAt: 1 }, { sessionId: 'x', until }), false)
    t.equal(commands, 5)
  })

  await t.test('ten thousand marks and one in one call are all made, and resolve true once', async t => {
    const store = redisRevocationStore(ioredis, { prefix: freshPrefix() })
    const marks = Array.from({ length: 10_001 }, (_, index): Mark => ({ tokenId: `t${index}`, until }))
    t.equal(await store.revoke(...marks), true)
    t.equal(await store.revoke(...marks), false)
    t.equal((await everyMark(store)).length, marks.length)
    for (const index of [0, 199, 200, 9999, 10_000]) t.equal(await store.check({ tokenId: `t${index}` }), 'revoked')
    t.equal(await store.revoke(...marks, { tokenId: 'one more', until }), true)
  })

  await t.test('a repeated mark is not added to the stream again', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    for (let time = 0; time < 3; time++) await store.revoke({ tokenId: 't', until }, { subject: 'u', cutoff: 1, except: 'own', until })
    t.equal(await ioredis.xlen(`{${prefix}}:feed`), 1)
    await store.revoke({ tokenId: 't', until: until + 1 })
    t.equal(await ioredis.xlen(`{${prefix}}:feed`), 2)
  })

  await t.test('a node whose clock is ten minutes ahead or behind ends no mark early and keeps none from working', async t => {
    const { now } = Date
    t.teardown(() => Object.assign(Date, { now }))
    for (const error of [10 * minute, -10 * minute]) {
      const prefix = freshPrefix()
      const store = redisRevocationStore(ioredis, { prefix })
      await store.revoke({ tokenId: 'short', until: now() + 5 * minute })
      Date.now = () => now() + error
      t.equal(await store.revoke({ tokenId: 'own', until: now() + 5 * minute }), true)
      for (const tokenId of ['short', 'own']) t.equal(await store.check({ tokenId }), 'revoked', tokenId)
      t.equal(await store.check({ tokenId: 'other' }), 'live')
      t.equal(await store.claimOnce('k', now() + 5 * minute), true)
      t.equal(await store.claimOnce('k', now() + 5 * minute), false)
      t.same((await everyMark(store)).length, 2)
      Object.assign(Date, { now })
      t.equal(await store.check({ tokenId: 'short' }), 'revoked')
    }
  })

  await t.test('a claim may end at a fraction of a millisecond, and must end at an instant', async t => {
    const store = redisRevocationStore(ioredis, { prefix: freshPrefix() })
    t.equal(await store.claimOnce('k', until + 0.5), true)
    t.equal(await store.claimOnce('k', until), false)
    for (const time of [NaN, Infinity, '2030-01-01' as unknown as number]) {
      await t.rejects(store.claimOnce('x', time), { name: 'TypeError', message: /"until" must be an instant/ })
    }
    t.equal(await store.claimOnce('x', until), true)
  })

  await t.test('claims are spread over the slots of a cluster, marks are not', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    await store.revoke({ tokenId: 't', until })
    for (let index = 0; index < 20; index++) await store.claimOnce(`k${index}`, until)
    t.equal(new Set((await ioredis.keys(`${prefix}*`)).map(slotKey)).size, 20)
    t.equal(new Set((await ioredis.keys(`{${prefix}}*`)).map(slotKey)).size, 1)
  })
}))

t.test('a server that takes no writes is not asked whether something is revoked', t => withPrivateRedis(t, async ({ url, port }) => {
  await withPrivateRedis(t, async second => {
    const [primary, replica] = [client(t, url), client(t, second.url)]
    const prefix = freshPrefix()
    await redisRevocationStore(primary, { prefix }).revoke({ tokenId: 't', until })
    await replica.call('REPLICAOF', '127.0.0.1', `${port}`)
    while (!(await replica.info('replication')).includes('master_link_status:up'));
    await t.rejects(redisRevocationStore(replica, { prefix }).check({ tokenId: 't' }), /READONLY/)
    await t.rejects(redisRevocationStore(replica, { prefix }).revoke({ tokenId: 'u', until }), /READONLY/)

    await primary.call('CONFIG', 'SET', 'min-replicas-to-write', '2')
    await t.rejects(redisRevocationStore(primary, { prefix }).check({ tokenId: 't' }), /NOREPLICAS/)
    await primary.call('CONFIG', 'SET', 'min-replicas-to-write', '0')
    t.equal(await redisRevocationStore(primary, { prefix }).check({ tokenId: 't' }), 'revoked')
  })
}))

t.test('a server that cannot save to its disk is still asked: it has every mark', t => withPrivateRedis(t, async ({ url, directory }) => {
  const redis = client(t, url)
  const store = redisRevocationStore(redis)
  await store.revoke({ tokenId: 't', until })
  await redis.call('CONFIG', 'SET', 'save', '3600 1')
  rmSync(directory, { recursive: true })
  await redis.call('BGSAVE')
  while (!(await redis.info('persistence')).includes('rdb_last_bgsave_status:err'));
  await t.rejects(store.revoke({ tokenId: 'late', until }), /MISCONF/)
  t.equal(await store.check({ tokenId: 't' }), 'revoked')
  t.equal(await store.check({ tokenId: 'late' }), 'live')
}))

t.test('a user without the channel can revoke and check, and a feed says what is missing', t => withPrivateRedis(t, async server => {
  const { url, port } = server
  const admin = client(t, url)
  const prefix = freshPrefix()
  const user = async (name: string, ...channels: string[]) => {
    await admin.call('ACL', 'SETUSER', name, 'on', '>secret', '~*', '+@all', 'resetchannels', ...channels)
    return redisRevocationStore(client(t, `redis://${name}:secret@127.0.0.1:${port}`), { prefix })
  }
  const limited = await user('limited')
  t.equal(await limited.revoke({ tokenId: 't', until }), true)
  t.equal(await limited.check({ tokenId: 't' }), 'revoked')
  const feed = limited.feed()
  t.teardown(() => feed.close())
  await t.rejects(feed.next(undefined, 1), /NOPERM.*channel/)

  const allowed = await user('allowed', `&{${prefix}}:feed`)
  await follows(t, allowed)
}))

t.test('misuse is a TypeError that names what is wrong', async t => {
  const client = { evalsha: async () => 1, eval: async () => 1 }
  t.throws(() => redisRevocationStore({} as RedisClient), { name: 'TypeError', message: /pass a client of ioredis/ })
  t.throws(() => redisRevocationStore(client, { prefix: 'a b' }), {
    name: 'TypeError', message: /redisRevocationStore: option "prefix" must/
  })
  t.throws(() => redisRevocationStore(client, { feedLength: 0 }), { name: 'TypeError', message: /option "feedLength" must/ })
  t.throws(() => redisRevocationStore(client).feed(), {
    name: 'TypeError', message: /redisRevocationStore: feed\(\) needs a client that has duplicate\(\)/
  })
})

function client (t: Test, url: string): Redis {
  const redis = new Redis(url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return redis
}

function slotKey (key: string): string {
  return /\{(.+?)\}/.exec(key)?.[1] ?? key
}
