import fc from 'fast-check'
import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Mark, RevocationFeed, SubjectMark } from '../../lib/revocation-store.ts'
import { redisRevocationFeed, type RedisDuplicator } from '../../lib/revocation-stores/redis-feed.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { connectOddRedisClients, connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { everyMark, follows } from './follow.ts'

const hour = 3_600_000
const until = Date.now() + hour
let made = 0
const freshPrefix = () => `test-${made++}`

t.test('the rules, through clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const [name, client] of named) {
    const store = redisRevocationStore(client, { prefix: freshPrefix() })
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), `${name}: ${rule.name}`)
  }
}))

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisRevocationStore(client)
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })

    await t.test(`a replica follows, through ${name}`, async t => {
      const prefix = freshPrefix()
      await follows(t, redisRevocationStore(client, { prefix }), () => redisRevocationFeed(client as unknown as RedisDuplicator, { prefix, pageSize: 7 }))
    })
  }

  await t.test('the rules, through a replica', async t => {
    const prefix = freshPrefix()
    const replica = revocationReplica({ store: redisRevocationStore(ioredis, { prefix }), feed: redisRevocationFeed(ioredis, { prefix }) })
    t.teardown(() => replica.close())
    await replica.start()
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => replica), rule.name)
  })

  await t.test('any order and split of cutoffs over two stores, read back and merged, gives one verdict', async () => {
    const names = fc.constantFrom('a', 'b', 'c d')
    const mark = fc.record({ subject: fc.constant('u'), cutoff: fc.integer({ min: 0, max: 5 }), except: fc.option(names, { nil: undefined }), until: fc.constant(until) })
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(mark, fc.boolean()), { minLength: 1, maxLength: 6 }), async marks => {
      const merged = redisRevocationStore(ioredis, { prefix: freshPrefix() })
      for (const side of [true, false]) {
        const prefix = freshPrefix()
        for (const [mark] of marks.filter(mark => mark[1] === side)) await redisRevocationStore(ioredis, { prefix }).revoke(mark)
        await merged.revoke(...await everyMark(redisRevocationFeed(ioredis, { prefix })))
      }
      for (const sessionId of ['a', 'b', 'c d', undefined]) {
        for (let issuedAt = 0; issuedAt < 7; issuedAt++) {
          const dead = marks.some(([{ cutoff, except }]) => issuedAt <= cutoff && (except === undefined || except !== sessionId))
          if (await merged.check({ subject: 'u', sessionId, issuedAt }) !== (dead ? 'revoked' : 'live')) return false
        }
      }
      return true
    }), { numRuns: 40 })
  })

  await t.test('what ended a minute ago is forgotten with the next call, and everything with the last mark', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix })
    const past = Date.now() - 61_000
    const subject: SubjectMark = { subject: 'u', cutoff: 1, until: until - hour / 2 }
    await store.revoke({ tokenId: 't', until }, subject)
    for (const id of ['told', 'sold', 'uold']) {
      await ioredis.zadd(`{${prefix}}:ends`, `${past}`, id)
      await ioredis.hset(`{${prefix}}:marks`, id, '[]')
    }
    await store.revoke(subject)
    t.same(await ioredis.zrange(`{${prefix}}:ends`, '0', '-1'), ['uu', 'tt'])
    t.same((await ioredis.hkeys(`{${prefix}}:marks`)).sort(), ['tt', 'uu'])
    const keys = await ioredis.keys(`{${prefix}}*`)
    t.equal(keys.length, 3)
    for (const key of keys) t.equal(await ioredis.pexpiretime(key), until + 60_000, key)
    await store.claimOnce('k', until)
    t.equal(await ioredis.pexpiretime(`{${prefix}}:claim:k`), until + 60_000)
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
  })

  await t.test('a stream that was trimmed, lost or set back is a gap, and every mark is read again', async t => {
    for (const damage of ['trim', 'lose', 'set back'] as const) {
      const prefix = freshPrefix()
      const store = redisRevocationStore(ioredis, { prefix })
      const feed = redisRevocationFeed(ioredis, { prefix })
      t.teardown(() => feed.close())
      await store.revoke({ tokenId: 'first', until })
      const { position } = await readOn(feed, undefined)
      await store.revoke({ tokenId: 'second', until })
      await store.revoke({ tokenId: 'third', until })
      if (damage === 'trim') await ioredis.xtrim(`{${prefix}}:feed`, 'MAXLEN', 1)
      if (damage === 'lose') await ioredis.del(`{${prefix}}:feed`)
      if (damage === 'set back') {
        await ioredis.del(`{${prefix}}:feed`)
        await ioredis.xadd(`{${prefix}}:feed`, '1-1', 'behind', '0-0', 'marks', '[]')
      }
      t.same((await readOn(feed, position)).ids, ['first', 'second', 'third'], damage)
    }
  })

  await t.test('a long feed is read in pages, without waiting', async t => {
    const prefix = freshPrefix()
    const store = redisRevocationStore(ioredis, { prefix, feedLength: 1000 })
    const feed = redisRevocationFeed(ioredis, { prefix, pageSize: 3 })
    t.teardown(() => feed.close())
    const { position } = await readOn(feed, undefined)
    for (let index = 0; index < 8; index++) await store.revoke({ tokenId: `${index}`, until })
    t.same((await readOn(feed, position)).ids, ['0', '1', '2', '3', '4', '5', '6', '7'])
  })

  await t.test('more marks than Redis hands out at once are all there at the start', async t => {
    const prefix = freshPrefix()
    const numbers = Array.from({ length: 700 }, (_, index) => `${index}`)
    await redisRevocationStore(ioredis, { prefix }).revoke(
      ...numbers.map((tokenId): Mark => ({ tokenId, until })),
      ...numbers.map((subject): Mark => ({ subject, cutoff: 1, until }))
    )
    const feed = redisRevocationFeed(ioredis, { prefix, pageSize: 10 })
    t.teardown(() => feed.close())
    const { ids } = await readOn(feed, undefined)
    t.strictSame([...new Set(ids)].sort(), [...numbers, 'other'].sort())
    t.ok(ids.filter(id => id === 'other').length >= numbers.length)
  })
}))

t.test('a connection that has given up by itself is given up without a word', async t => {
  const connection = { on () {}, connect: async () => {}, sendCommand: async () => [], destroy () { throw new Error('the client is closed') } }
  const feed = redisRevocationFeed({ duplicate: () => connection })
  t.match(await feed.next(undefined, 1), { marks: [], complete: false })
  feed.close()
})

t.test('on a cluster of node-redis the server that has the keys is asked, and none that may lag behind it', async t => {
  const sent: unknown[] = []
  const connection = { on () {}, connect: async () => {}, nodeClient () {}, destroy () {}, sendCommand: async (...values: unknown[]) => { sent.push(values); return [] } }
  const feed = redisRevocationFeed({ duplicate: () => connection }, { prefix: 'p' })
  t.match(await feed.next(undefined, 1), { marks: [], complete: false })
  t.strictSame(sent, [['{p}:feed', false, ['XREVRANGE', '{p}:feed', '+', '-', 'COUNT', '1']]])
  feed.close()
})

t.test('misuse is a TypeError that names what is wrong', async t => {
  const client = { evalsha: async () => 1, eval: async () => 1, duplicate () { throw new Error('not now') } }
  t.throws(() => redisRevocationStore({} as RedisClient), { name: 'TypeError', message: /pass a client of ioredis/ })
  t.throws(() => redisRevocationStore(client, { prefix: 'a b' }), { name: 'TypeError', message: /redisRevocationStore: option "prefix" must/ })
  t.throws(() => redisRevocationStore(client, { feedLength: 0 }), { name: 'TypeError', message: /feedLength/ })
  t.throws(() => redisRevocationFeed({} as RedisDuplicator), { name: 'TypeError', message: /pass a client of ioredis/ })
  t.throws(() => redisRevocationFeed(client, { pageSize: 0.5 }), { name: 'TypeError', message: /pageSize/ })
})

/** Everything behind a position. */
async function readOn (feed: RevocationFeed, position: string | undefined): Promise<{ ids: string[], position: string }> {
  const ids: string[] = []
  for (;;) {
    const page = await feed.next(position, 1)
    ids.push(...page.marks.map(mark => 'tokenId' in mark ? mark.tokenId : 'other'))
    position = page.position
    if (page.complete) return { ids: ids.sort(), position }
  }
}
