import { AssertionError } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import type { FeedPage, FollowableRevocationStore, Mark, RevocationFeed } from '../../lib/revocation-store.ts'
import { followableMemory } from '../revocation-stores/followable-memory.ts'

t.test('a store in memory keeps the rules', async t => {
  for (const rule of revocationFeedRules) await t.resolves(rule.check(followableMemory), rule.name)
})

t.test('a feed may give pages without marks at any time', async t => {
  const store = followableMemory()
  const hesitant: FollowableRevocationStore = {
    ...store,
    feed () {
      const feed = store.feed()
      let questions = 0
      return {
        ...feed,
        next: async (position, timeout) => position !== undefined && questions++ % 2 === 0
          ? { marks: [], position, complete: false }
          : feed.next(position, timeout)
      }
    }
  }
  for (const rule of revocationFeedRules) await t.resolves(rule.check(() => hesitant), rule.name)
})

type Break = (good: FollowableRevocationStore) => FollowableRevocationStore

/** A store whose feeds are made worse. */
const feeds = (worsen: (feed: RevocationFeed, good: FollowableRevocationStore) => Partial<RevocationFeed>): Break => good => ({
  ...good,
  feed () {
    const feed = good.feed()
    return { ...feed, ...worsen(feed, good) }
  }
})
const pages = (change: (page: FeedPage, position: string | undefined) => FeedPage) => feeds(feed => ({
  next: async (position, timeout) => change(await feed.next(position, timeout), position)
}))
const without = (isLost: (mark: Mark, position: string | undefined) => boolean) =>
  pages((page, position) => ({ ...page, marks: page.marks.filter(mark => !isLost(mark, position)) }))

const broken: Record<string, Break | readonly Break[]> = {
  'without a position every live mark is handed out': without(mark => 'subject' in mark && mark.except !== undefined),
  'behind a position everything is handed out that was added since':
    without((mark, position) => position !== undefined && 'sessionId' in mark),
  'the marks of revokeOnce are handed out, also those of a credential that was revoked before': [
    good => ({ ...good, revokeOnce: async () => true }),
    good => ({
      ...good,
      revokeOnce: async (credential, ...marks) => await good.check(credential) === 'live' && good.revokeOnce(credential, ...marks)
    })
  ],
  'a mark that is made to revoke more, or for longer, is handed out again': good => {
    const known = new Set<string>()
    const isKnown = (mark: Mark) => known.size === known.add(Object.values(mark)[0]).size
    return feeds(feed => ({
      async next (position, timeout) {
        const page = await feed.next(position, timeout)
        return { ...page, marks: page.marks.filter(mark => !isKnown(mark)) }
      }
    }))(good)
  },
  'marks that are added while a feed loads are handed out': feeds((feed, good) => {
    let end: Promise<FeedPage> | undefined
    return {
      async next (position, timeout) {
        // It remembers the end of the feed too late: when it has loaded, not when it begins.
        if (position === undefined) end = undefined
        end ??= good.feed().next(undefined, 1)
        const page = await feed.next(position, timeout)
        return position === undefined ? page : { ...page, marks: page.marks.filter(mark => !JSON.stringify(mark).includes('later')) }
      }
    }
  }),
  'a page is complete only if everything is handed out that was added before it was asked for': feeds(feed => {
    let held: FeedPage | undefined
    return {
      async next (position, timeout) {
        const page = held ?? await feed.next(position, timeout)
        held = held === undefined && page.marks.length > 0 ? { ...page, complete: false } : undefined
        return held === undefined ? page : { marks: [], position: page.position, complete: true }
      }
    }
  }),
  'a feed that was closed goes on where it was': feeds((feed, good) => {
    let current = feed
    let skip = false
    return {
      async next (position, timeout) {
        if (!skip) return current.next(position, timeout)
        skip = false
        return { ...await current.next(position, timeout), marks: [] }
      },
      close () {
        current.close()
        current = good.feed()
        skip = true
      }
    }
  }),
  'a question that waits settles when the feed is closed': feeds(() => ({ close () {} })),
  'a position that the feed cannot go on from begins anew': feeds((feed, good) => ({
    next: async (position, timeout) => position === undefined || /^[\w-]{36} /.test(position)
      ? feed.next(position, timeout)
      : { ...await good.feed().next(undefined, timeout), marks: [], complete: true }
  })),
  'two feeds of a store do not disturb each other': good => {
    const shared = good.feed()
    let position: string | undefined
    return {
      ...good,
      feed: () => ({
        async next (asked, timeout) {
          const page = await shared.next(asked === undefined ? asked : position, timeout)
          position = page.position
          return page
        },
        close: () => shared.close()
      })
    }
  },
  'a new mark wakes a question that waits': feeds(feed => ({
    async next (position, timeout) {
      await sleep(timeout, undefined, { ref: false })
      return feed.next(position, 1)
    }
  })),
  'without news a feed waits, and still gives a complete page in every span of the timeout': feeds(feed => {
    let questions = 0
    return {
      async next (position, timeout) {
        const page = await feed.next(position, timeout > 100 ? 1 : timeout)
        return timeout > 100 ? { ...page, complete: ++questions % 5 === 0 } : page
      }
    }
  }),
  'pages have the types of the contract, however the client converts replies': [
    pages(page => ({ ...page, marks: page.marks.map(mark => ({ ...mark, until: `${mark.until}` as unknown as number })) })),
    pages(page => ({ ...page, marks: page.marks.map(mark => 'cutoff' in mark ? { ...mark, cutoff: mark.cutoff + 0.5 } : mark) })),
    pages(page => ({ ...page, marks: page.marks.map(mark => 'tokenId' in mark ? { ...mark, issuer: '' } : mark) })),
    pages(page => ({ ...page, marks: page.marks.map(mark => ({ ...mark, digested: false as unknown as true })) })),
    pages(page => ({ ...page, complete: Number(page.complete) as unknown as boolean })),
    pages(page => ({ ...page, position: Buffer.from(page.position) as unknown as string })),
    pages(page => ({ ...page, now: `${Date.now()}` as unknown as number }))
  ],
  'ended marks and claims are not handed out': good => {
    const claims: Mark[] = []
    return {
      ...feeds(feed => ({
        async next (position, timeout) {
          const page = await feed.next(position, timeout)
          return { ...page, marks: [...page.marks, ...claims] }
        }
      }))(good),
      async claimOnce (key, until) {
        claims.push({ tokenId: key, until })
        return good.claimOnce(key, until)
      }
    }
  },
  'marks with any ids can be added again as they are handed out, and then add nothing': pages(page => ({
    ...page, marks: page.marks.map(mark => 'tokenId' in mark ? { ...mark, tokenId: mark.tokenId.slice(0, 200) } : mark)
  }))
}

t.test('each rule catches a feed that breaks its promise', async t => {
  for (const rule of revocationFeedRules) {
    const breakages = [broken[rule.name] ?? []].flat()
    t.ok(breakages.length > 0, `there is a broken feed for: ${rule.name}`)
    for (const [index, breakage] of breakages.entries()) {
      await t.rejects(rule.check(() => breakage(followableMemory())), AssertionError, `${rule.name} (${index})`)
    }
  }
})

t.test('a feed that never resolves, or is never complete, is caught and not waited for', async t => {
  // Ten seconds take ten milliseconds.
  const { setTimeout } = globalThis
  const { now } = performance
  t.teardown(() => Object.assign(globalThis, { setTimeout }))
  t.teardown(() => Object.assign(performance, { now }))
  const faster = (call: () => void, milliseconds: number, ...values: []) => setTimeout(call, milliseconds / 1000, ...values)
  Object.assign(globalThis, { setTimeout: faster })
  Object.assign(performance, { now: () => now.call(performance) * 1000 })

  const rule = revocationFeedRules.find(({ name }) => name.startsWith('without a position'))
  await t.rejects(async () => rule?.check(() => feeds(() => ({ next: () => new Promise(() => {}) }))(followableMemory())), /no page came/)
  await t.rejects(async () => rule?.check(() => pages(page => ({ ...page, complete: false }))(followableMemory())), /no page was complete/)
})
