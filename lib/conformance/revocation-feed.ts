import { deepEqual, equal, ok } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Awaitable } from '../awaitable.ts'
import type { Rule } from '../internal/conformance/rule.ts'
import type { FollowableRevocationStore, Mark, RevocationFeed } from '../revocation-store.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** Makes the store whose feeds are checked. It may hold other marks, and be the same one each time: the rules use ids of their own. */
export type MakeFollowableStore = () => Awaitable<FollowableRevocationStore>

const second = 1000
const hour = 3_600_000

/**
 * What the feeds of a store promise, so that a replica that follows it misses nothing and knows when it is complete.
 *
 * No rule can take servers away: that nothing is missed when a server restarts, fails over or is cut off, and that no page
 * is complete then, wants tests of its own.
 *
 * @example
 * ```ts
 * import { Redis } from 'ioredis'
 * import test from 'node:test'
 * import { revocationFeedRules } from 'fastify-logout/conformance/revocation-feed'
 * import { redisRevocationStore } from 'fastify-logout/revocation-stores/redis'
 *
 * const store = redisRevocationStore(new Redis())
 * for (const rule of revocationFeedRules) test(rule.name, () => rule.check(() => store))
 * ```
 */
export const revocationFeedRules: ReadonlyArray<Rule<MakeFollowableStore>> = [
  rule('without a position every live mark is handed out', async ({ store, read, id, until, now }) => {
    const marks: Mark[] = [
      { tokenId: id('t'), until }, { sessionId: id('s'), issuer: id('i'), until },
      { subject: id('u'), issuer: id('i'), tenant: id('v'), cutoff: now, except: id('own'), until },
      { subject: id('u'), cutoff: now - hour, until }
    ]
    await store.revoke(...marks)
    deepEqual(texts((await read()).marks), texts(marks))
  }),

  rule('behind a position everything is handed out that was added since', async ({ store, read, id, until }) => {
    await store.revoke({ tokenId: id('before'), until })
    const { position } = await read()
    const { marks } = await read(position)
    for (const name of ['a', 'b']) await store.revoke({ tokenId: id(name), until }, { sessionId: id(name), until })
    const later = [...marks, ...(await read(position)).marks]
    for (const name of ['a', 'b']) hasEach(later, [{ tokenId: id(name), until }, { sessionId: id(name), until }])
  }),

  rule('the marks of revokeOnce are handed out, also those of a credential that was revoked before', async ({ store, read, id, until }) => {
    const { position } = await read()
    for (const name of ['a', 'b']) await store.revokeOnce({ tokenId: id('t') }, { tokenId: id('t'), until }, { sessionId: id(name), until })
    hasEach((await read(position)).marks, [{ tokenId: id('t'), until }, { sessionId: id('a'), until }, { sessionId: id('b'), until }])
  }),

  rule('a mark that is made to revoke more, or for longer, is handed out again', async ({ store, read, id, until, now }) => {
    await store.revoke({ tokenId: id('t'), until }, { subject: id('u'), cutoff: now - hour, until })
    const { position } = await read()
    await store.revoke({ tokenId: id('t'), until: until + hour }, { subject: id('u'), cutoff: now, until })
    hasEach((await read(position)).marks, [{ tokenId: id('t'), until: until + hour }, { subject: id('u'), cutoff: now, until }])
  }),

  rule('marks that are added while a feed loads are handed out', async ({ store, feed, read, id, until }) => {
    await store.revoke(...Array.from({ length: 50 }, (_, index): Mark => ({ tokenId: id(`t${index}`), until })))
    const { position } = await feed.next(undefined, second)
    await store.revoke({ tokenId: id('later'), until })
    const { marks } = await read(position)
    hasEach(marks, [{ tokenId: id('later'), until }])
  }),

  rule('a page is complete only if everything is handed out that was added before it was asked for', async ({ store, feed, id, until }) => {
    const added = new Set<string>()
    const writers = Promise.all(Array.from({ length: 4 }, async (_, writer) => {
      for (let index = 0; index < 40; index++) {
        const tokenId = id(`${writer}.${index}`)
        await store.revoke({ tokenId, until }, { sessionId: id(`${index}`), until: until + index * 4 + writer })
        added.add(tokenId)
      }
    }))
    let writing = true
    writers.finally(() => { writing = false }).catch(() => {})
    const seen = new Set<unknown>()
    let position: string | undefined
    for (let last = false; !last;) {
      last = !writing
      const before = [...added]
      const page = await readPage(feed, position, 20)
      for (const mark of page.marks) seen.add('tokenId' in mark && mark.tokenId)
      position = page.position
      if (page.complete) deepEqual(before.filter(tokenId => !seen.has(tokenId)), [], 'marks that a complete page left out')
      last &&= page.complete
    }
    await writers
    equal([...added].filter(tokenId => seen.has(tokenId)).length, 4 * 40)
  }),

  rule('a feed that was closed goes on where it was', async ({ store, feed, read, id, until }) => {
    const { position } = await read()
    feed.close()
    await store.revoke({ tokenId: id('meanwhile'), until })
    hasEach((await read(position)).marks, [{ tokenId: id('meanwhile'), until }])
  }),

  rule('a question that waits settles when the feed is closed', async ({ feed, read }) => {
    const { position } = await read()
    const waiting = feed.next(position, 60 * second).then(() => true, () => true)
    feed.close()
    ok(await within(5, waiting), 'the question did not settle')
  }),

  rule('a position that the feed cannot go on from begins anew', async ({ store, read, id, until }) => {
    await store.revoke({ tokenId: id('t'), until })
    for (const position of ['', 'elsewhere', '{}', '["0"]', 'null', '{"entry":"1-1","name":"x"}']) {
      hasEach((await read(position)).marks, [{ tokenId: id('t'), until }])
    }
  }),

  rule('two feeds of a store do not disturb each other', async ({ store, read, id, until }) => {
    const other = store.feed()
    try {
      const { position } = await read()
      const { position: otherPosition } = await readToEnd(other)
      await store.revoke({ tokenId: id('t'), until })
      hasEach((await read(position)).marks, [{ tokenId: id('t'), until }])
      hasEach((await readToEnd(other, otherPosition)).marks, [{ tokenId: id('t'), until }])
    } finally {
      other.close()
    }
  }),

  rule('a new mark wakes a question that waits', async ({ store, feed, read, id, until }) => {
    const { position } = await read()
    const woken = (async () => {
      for (let at = position; ;) {
        const page = await feed.next(at, 60 * second)
        if (page.marks.some(mark => 'tokenId' in mark && mark.tokenId === id('news'))) return true
        at = page.position
      }
    })()
    await new Promise(resolve => setTimeout(resolve, 50))
    await store.revoke({ tokenId: id('news'), until })
    ok(await within(5, woken), 'the mark did not arrive')
  }),

  rule('without news a feed waits, and still gives a complete page in every span of the timeout', async ({ feed, read }) => {
    let { position } = await read()
    const timeout = 200
    const start = performance.now()
    let questions = 0
    for (let complete = 0; complete < 3;) {
      const page = await readPage(feed, position, timeout)
      position = page.position
      questions++
      if (page.complete) complete++
    }
    ok(questions <= 12, `${questions} questions for three complete pages: it does not wait`)
    ok(performance.now() - start < 10 * second, 'three complete pages took more than ten seconds')
  }),

  rule('pages have the types of the contract, however the client converts replies', async ({ store, feed, id, now, until }) => {
    const mark = { subject: id('1'), tenant: id('2'), issuer: id('3'), cutoff: now, except: id('4'), until }
    await store.revoke(mark, { tokenId: id('5'), until })
    let position: string | undefined
    for (let complete = false; !complete;) {
      const page = await readPage(feed, position, 50)
      equal(typeof page.position, 'string', 'the position')
      equal(typeof page.complete, 'boolean', '"complete"')
      ok(page.now === undefined || Number.isSafeInteger(page.now), '"now" is not in whole milliseconds')
      for (const mark of page.marks) assertTypes(mark)
      position = page.position
      complete = page.complete
    }
  }),

  rule('ended marks and claims are not handed out', async ({ store, read, id, now, until }) => {
    const { position } = await read()
    await store.revoke({ tokenId: id('ended'), until: now - second }, { subject: id('u'), cutoff: now, until: now - second })
    await store.claimOnce(id('claim'), until)
    for (const from of [undefined, position]) deepEqual((await read(from)).marks, [])
  }),

  rule('marks with any ids can be added again as they are handed out, and then add nothing', async ({ store, read, id, now, until }) => {
    const odd = ['ü', '"', '\'', '\\', '{}', '%', ':', '#', ' ', '\n', '\u0000', '😀', 'x'.repeat(5000)].map(text => id(text))
    const { position } = await read()
    await store.revoke(...odd.flatMap<Mark>(text => [
      { tokenId: text, issuer: text, until }, { sessionId: text, until },
      { subject: text, tenant: text, issuer: text, cutoff: now, except: text, until }
    ]))
    for (const from of [undefined, position]) {
      const handedOut = await read(from)
      const all = handedOut.all.filter(mark => mark.until === until)
      ok(all.length >= 3 * odd.length, `${all.length} of ${3 * odd.length} marks`)
      equal(await store.revoke(...all), false)
    }
  })
]

interface Bench {
  readonly store: FollowableRevocationStore
  readonly feed: RevocationFeed
  /** Reads the feed until a page is complete. */
  readonly read: (position?: string) => Promise<Reading>
  readonly id: (name: string) => string
  readonly now: number
  readonly until: number
}

interface Reading {
  /** The marks of this run, which have ids of its own. */
  readonly marks: readonly Mark[]
  readonly all: readonly Mark[]
  readonly position: string
}

function rule (name: string, check: (bench: Bench) => Promise<void>): Rule<MakeFollowableStore> {
  return {
    name,
    async check (make) {
      const run = randomUUID()
      const now = Date.now()
      const store = await make()
      const feed = store.feed()
      const read = async (position?: string) => {
        const reading = await readToEnd(feed, position)
        return { ...reading, all: reading.marks, marks: reading.marks.filter(mark => JSON.stringify(mark).includes(run)) }
      }
      try {
        await check({ store, feed, read, id: text => `${run}/${text}`, now, until: now + hour })
      } finally {
        feed.close()
      }
    }
  }
}

async function readToEnd (feed: RevocationFeed, position?: string): Promise<{ marks: Mark[], position: string }> {
  const marks: Mark[] = []
  const end = performance.now() + 30 * second
  for (;;) {
    const page = await readPage(feed, position, 50)
    marks.push(...page.marks)
    position = page.position
    if (page.complete) return { marks, position }
    ok(performance.now() < end, 'no page was complete in half a minute')
  }
}

async function readPage (feed: RevocationFeed, position: string | undefined, timeout: number) {
  const page = await within(20, feed.next(position, timeout))
  ok(page, 'no page came in twenty seconds')
  return page
}

/** What a promise resolves to, or `undefined` if that takes longer. */
async function within<T> (seconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => { timer = setTimeout(resolve, seconds * second, undefined) })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function texts (marks: readonly Mark[]): string[] {
  return [...new Set(marks.map(mark => JSON.stringify(Object.entries(mark).sort())))].sort()
}

/** Ids are texts, instants are whole numbers, and nothing else is in a mark. */
function assertTypes (mark: Mark): void {
  for (const [name, value] of Object.entries(mark)) {
    if (['until', 'cutoff'].includes(name)) ok(Number.isSafeInteger(value), `"${name}" of a mark`)
    else if (name === 'digested') equal(value, true, '"digested" of a mark')
    else ok(typeof value === 'string' && value !== '', `"${name}" of a mark`)
  }
}

function hasEach (marks: readonly Mark[], wanted: readonly Mark[]): void {
  const found = texts(marks)
  deepEqual(texts(wanted).filter(text => !found.includes(text)), [], 'marks that were not handed out')
}
