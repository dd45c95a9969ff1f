import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisFeed, type RedisFeedSource } from '../../../lib/internal/feeds/redis.ts'
import { revocationKeys } from '../../../lib/internal/marks/redis.ts'
import type { Mark, RevocationFeed } from '../../../lib/revocation-store.ts'
import { redisRevocationStore } from '../../../lib/revocation-stores/redis.ts'
import { withPrivateRedis } from '../../servers/redis.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  let made = 0
  const fresh = (t: Test, sizes: Pick<RedisFeedSource, 'ids' | 'entries'> = {}) => {
    const prefix = `test-${made++}`
    const feed = redisFeed(redis, { keys: revocationKeys(prefix, 'test'), caller: 'test', ...sizes })
    t.teardown(() => feed.close())
    return { prefix, feed, store: redisRevocationStore(redis, { prefix }) }
  }

  await t.test('a stream that was trimmed, lost or replaced is a gap, and every mark is loaded again', async t => {
    for (const damage of ['trimmed', 'lost', 'replaced', 'everything lost'] as const) {
      for (const wakes of [true, false]) {
        const { prefix, feed, store } = fresh(t)
        await store.revoke({ tokenId: 'first', until })
        const { position } = await readOn(feed, undefined)
        await store.revoke({ tokenId: 'second', until })
        await store.revoke({ tokenId: 'third', until })
        if (damage === 'trimmed') await redis.xtrim(`{${prefix}}:feed`, 'MAXLEN', 1)
        if (damage === 'lost' || damage === 'replaced') await redis.del(`{${prefix}}:feed`)
        if (damage === 'replaced') await redis.xadd(`{${prefix}}:feed`, '1-1', 'behind', '', 'name', 'x', 'marks', '[]')
        if (damage === 'everything lost') await redis.del(`{${prefix}}:feed`, `{${prefix}}:marks`, `{${prefix}}:ends`)
        if (damage === 'everything lost') await store.revoke({ tokenId: 'fourth', until })
        if (!wakes) feed.close()
        const { ids } = await readOn(feed, position)
        if (wakes) t.ok([damage === 'everything lost' ? 'fourth' : 'third'].every(id => ids.includes(id)), `${damage}: ${ids}`)
        else t.same(ids, damage === 'everything lost' ? ['fourth'] : ['first', 'second', 'third'], damage)
      }
    }
  })

  await t.test('many entries are read some at a time, without waiting', async t => {
    const { feed, store } = fresh(t, { entries: 3 })
    const { position } = await readOn(feed, undefined)
    for (let index = 0; index < 8; index++) await store.revoke({ tokenId: `${index}`, until })
    const { ids, pages } = await readOn(feed, position)
    t.same(ids, ['0', '1', '2', '3', '4', '5', '6', '7'])
    t.ok(pages <= 4, `${pages} pages`)

    feed.close()
    let place = position
    for (const expected of [['0', '1', '2'], ['3', '4', '5'], ['6', '7']]) {
      const page = await feed.next(place, 60_000)
      t.same(page.marks.map(mark => 'tokenId' in mark && mark.tokenId), expected)
      t.equal(page.complete, expected.length < 3)
      place = page.position
    }
  })

  await t.test('many marks are loaded some at a time: those that end together, those that are extended or removed meanwhile', async t => {
    const { prefix, feed, store } = fresh(t, { ids: 7 })
    const numbers = Array.from({ length: 100 }, (_, index) => `${index}`)
    const marks = numbers.map((tokenId, index): Mark => ({ tokenId, until: until + Math.floor(index / 50) }))
    await store.revoke(...marks, { sessionId: 'no text', until })
    await redis.hdel(`{${prefix}}:marks`, 'sno text')
    const seen = new Set<unknown>()
    let position: string | undefined
    for (let page = 0, complete = false; !complete; page++) {
      const next = await feed.next(position, 1)
      for (const mark of next.marks) seen.add(Object.values(mark)[0])
      position = next.position
      complete = next.complete
      const { loaded } = JSON.parse(position)
      if (page === 3) await store.revoke({ tokenId: loaded.id.slice(1), until: until + 10 })
      if (page === 5) await redis.zrem(`{${prefix}}:ends`, loaded.id)
    }
    t.same([...seen].sort(), numbers.sort())
  })

  await t.test('a place in the loading means the same on another server', async t => {
    const { prefix, feed, store } = fresh(t, { ids: 10 })
    await store.revoke(...Array.from({ length: 60 }, (_, index): Mark => ({ tokenId: `${index}`, until })))
    let { position } = await feed.next(undefined, 1)
    const seen = new Set<unknown>()
    for (let page = 0; page < 2; page++) {
      const next = await feed.next(position, 1)
      for (const mark of next.marks) seen.add(Object.values(mark)[0])
      position = next.position
    }
    await withPrivateRedis(t, async other => {
      const [copy] = [new Redis(other.url)]
      t.teardown(() => copy.disconnect())
      for (const key of ['ends', 'marks', 'feed']) {
        await copy.restore(`{${prefix}}:${key}`, 0, await redis.dumpBuffer(`{${prefix}}:${key}`) ?? '')
      }
      const there = redisFeed(copy, { keys: revocationKeys(prefix, 'test'), caller: 'test', ids: 10 })
      t.teardown(() => there.close())
      for (const id of (await readOn(there, position)).ids) seen.add(id)
      t.equal(seen.size, 60)
    })
  })

  await t.test('no page is complete while what the store writes does not arrive', async t => {
    const elsewhere = new Redis(url, { db: 1 })
    t.teardown(() => elsewhere.disconnect())
    const split = { evalsha: redis.evalsha.bind(redis), eval: redis.eval.bind(redis), duplicate: () => elsewhere.duplicate() }
    const feed = redisFeed(split, { keys: revocationKeys('test-split', 'test'), caller: 'test' })
    t.teardown(() => feed.close())
    await t.rejects(readOn(feed, undefined), { message: /reads from a server that does not have what the store has just written/ })
  })

  await t.test('a connection that is lost rejects, and the next question opens another one', async t => {
    for (const [type, timeout] of [['pubsub', 60_000], ['normal', 200]] as const) {
      const { feed, store } = fresh(t)
      const { position } = await readOn(feed, undefined)
      const lost = t.rejects(feed.next(position, timeout).then(({ position }) => feed.next(position, 1)))
      await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
      await lost
      await t.rejects(feed.next(position, timeout))
      feed.close()
      await store.revoke({ tokenId: 't', until })
      t.same((await readOn(feed, position)).ids, ['t'])
    }
  })

  await t.test('a message brings marks at once, and one that does not follow on what is known makes the stream be read', async t => {
    const { prefix, feed, store } = fresh(t)
    const { position } = await readOn(feed, undefined)
    const first = feed.next(position, 60_000)
    await store.revoke({ tokenId: 'first', until })
    const page = await first
    t.same([page.marks, page.complete], [[{ tokenId: 'first', until }], false])

    const channel = `{${prefix}}:feed`
    const [, [id = '']] = (await redis.xrevrange(channel, '+', '-'))[0] as unknown as [string, string[]]
    for (const message of ['rubbish', `${Date.now() + 1000}-0 behind name []`, `${id} 1 2 []`]) {
      const next = feed.next(page.position, 60_000)
      await redis.publish(channel, message)
      t.same(await next.then(({ marks, position }) => [marks, position]), [[], page.position], message)
    }
  })

  await t.test('a message that cannot be read makes the stream be read at once, which proves nothing', async t => {
    const channel = `another channel ${made}`
    const hardOfHearing = {
      evalsha: redis.evalsha.bind(redis),
      eval: redis.eval.bind(redis),
      duplicate: () => {
        const connection = redis.duplicate()
        const subscribe = connection.subscribe.bind(connection)
        return Object.assign(connection, { subscribe: async () => subscribe(channel) })
      }
    }
    const { prefix, store } = fresh(t)
    const feed = redisFeed(hardOfHearing, { keys: revocationKeys(prefix, 'test'), caller: 'test' })
    t.teardown(() => feed.close())
    const { position } = await readOn(feed, undefined)
    const next = feed.next(position, 60_000)
    await store.revoke({ tokenId: 'unheard', until })
    await redis.publish(channel, 'rubbish')
    t.match(await next, { marks: [{ tokenId: 'unheard' }], complete: false })
  })

  await t.test('what was added before it listened needs no message', async t => {
    const { feed, store } = fresh(t)
    const { position } = await readOn(feed, undefined)
    feed.close()
    await store.revoke({ tokenId: 'meanwhile', until })
    const read = await readOn(feed, position)
    t.same(read.ids, ['meanwhile'])
    await sleep(1050)
    t.same((await readOn(feed, read.position)).ids, [])
  })

  await t.test('messages that were read before are not taken for a gap', async t => {
    const { feed, store } = fresh(t)
    const { position } = await readOn(feed, undefined)
    const commands = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
    for (let index = 0; index < 5; index++) await store.revoke({ tokenId: `${index}`, until })
    const read = await readOn(feed, position)
    t.same(read.ids, ['0', '1', '2', '3', '4'])
    const before = await commands()
    const { marks, position: same } = await feed.next(read.position, 60_000)
    t.same([marks, same], [[], read.position])
    t.equal(await commands(), before, 'nothing was read again')
  })

  await t.test('messages that do not arrive within a second are noticed', async t => {
    const deaf = {
      evalsha: redis.evalsha.bind(redis),
      eval: redis.eval.bind(redis),
      duplicate: () => Object.assign(redis.duplicate(), { subscribe: async () => 1 })
    }
    const { prefix, store } = fresh(t)
    const feed = redisFeed(deaf, { keys: revocationKeys(prefix, 'test'), caller: 'test' })
    t.teardown(() => feed.close())
    await store.revoke({ tokenId: 'before', until })
    const { position } = await readOn(feed, undefined)
    await sleep(2)
    await store.revoke({ tokenId: 'next', until })
    const read = await readOn(feed, position)
    t.same(read.ids, ['next'], 'the proof reads it')
    t.same((await readOn(feed, read.position)).ids, [], 'it may still arrive')
    await store.revoke({ tokenId: 'third', until })
    t.same((await readOn(feed, read.position)).ids, ['third'])
    await sleep(1050)
    await t.rejects(readOn(feed, read.position), { message: 'what is published does not arrive' })
    feed.close()
    t.same((await readOn(feed, read.position)).ids, ['third'], 'another connection gets another chance')
  })

  await t.test('its heartbeats end by themselves', async t => {
    const { prefix, feed } = fresh(t)
    await readOn(feed, undefined)
    const [key = ''] = await redis.keys(`{${prefix}}:heartbeat:*`)
    const life = await redis.pttl(key)
    t.ok(life > 0 && life <= 60_000, `${life} ms`)
  })
}))

/** Everything behind a position. */
async function readOn (feed: RevocationFeed, position: string | undefined): Promise<{ ids: string[], position: string, pages: number }> {
  const ids: string[] = []
  for (let pages = 1; ; pages++) {
    const page = await feed.next(position, 1)
    ids.push(...page.marks.map(mark => 'tokenId' in mark ? mark.tokenId : 'other'))
    position = page.position
    if (page.complete) return { ids: ids.sort(), position, pages }
  }
}
