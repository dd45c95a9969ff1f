import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { redisFeed, type RedisFeedSizes } from '../../../lib/internal/feeds/redis.ts'
import { revocationKeys } from '../../../lib/internal/marks/redis.ts'
import type { Mark, RevocationFeed } from '../../../lib/revocation-store.ts'
import { redisRevocationStore } from '../../../lib/revocation-stores/redis.ts'
import { withPrivateRedis } from '../../servers/redis.ts'

const until = Date.now() + 3_600_000

t.test('on a server', t => withPrivateRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  let made = 0
  const fresh = (t: Test, sizes: RedisFeedSizes = {}) => {
    const prefix = `test-${made++}`
    const feed = redisFeed(redis, revocationKeys(prefix, 'test'), 'test', sizes)
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
        t.same((await readOn(feed, position)).ids, damage === 'everything lost' ? ['fourth'] : ['first', 'second', 'third'], damage)
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
      const there = redisFeed(copy, revocationKeys(prefix, 'test'), 'test', { ids: 10 })
      t.teardown(() => there.close())
      for (const id of (await readOn(there, position)).ids) seen.add(id)
      t.equal(seen.size, 60)
    })
  })

  await t.test('no page is complete while what the store writes does not arrive', async t => {
    const elsewhere = new Redis(url, { db: 1 })
    t.teardown(() => elsewhere.disconnect())
    const split = { evalsha: redis.evalsha.bind(redis), eval: redis.eval.bind(redis), duplicate: () => elsewhere.duplicate() }
    const feed = redisFeed(split, revocationKeys('test-split', 'test'), 'test')
    t.teardown(() => feed.close())
    await t.rejects(readOn(feed, undefined), { message: /reads from a server that does not have what the store has just written/ })
  })

  await t.test('a connection that is lost rejects, and the next question opens another one', async t => {
    const { feed, store } = fresh(t)
    const { position } = await readOn(feed, undefined)
    const waiting = feed.next(position, 60_000)
    const lost = t.rejects(waiting)
    await t.resolves(killWaiting(redis))
    await lost
    await t.rejects(feed.next(position, 1))
    feed.close()
    await store.revoke({ tokenId: 't', until })
    t.same((await readOn(feed, position)).ids, ['t'])
  })

  await t.test('its heartbeats end by themselves', async t => {
    const { prefix, feed } = fresh(t)
    await readOn(feed, undefined)
    const [key = ''] = await redis.keys(`{${prefix}}:heartbeat:*`)
    const life = await redis.pttl(key)
    t.ok(life > 0 && life <= 60_000, `${life} ms`)
  })
}))

async function killWaiting (redis: Redis): Promise<void> {
  for (let killed = 0; killed === 0;) {
    const clients = String(await redis.client('LIST')).split('\n').filter(line => line.includes('cmd=xread'))
    for (const line of clients) killed += Number(await redis.client('KILL', 'ID', /id=(\d+)/.exec(line)?.[1] ?? ''))
  }
}

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
