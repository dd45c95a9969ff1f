import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { randomInt, randomUUID } from 'node:crypto'
import type { Awaitable } from '../awaitable.ts'
import { isLive, type NewSession, type Session, type SessionStore } from '../session-store.ts'
import { hostileIds } from '../internal/conformance/hostile-ids.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** Returns the store to check. It may hold other sessions, and may be the same each time: the rules use ids of their own. */
export type MakeSessionStore = () => Awaitable<SessionStore>

const hour = 3_600_000

/**
 * The promises of {@link SessionStore}, for any test runner.
 *
 * @example
 * ```ts
 * import { sessionStoreRules } from 'fastify-logout/conformance/session-store'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 * import test from 'node:test'
 *
 * for (const rule of sessionStoreRules) test(rule.name, () => rule.check(() => memorySessionStore()))
 * ```
 */
export const sessionStoreRules: ReadonlyArray<Rule<MakeSessionStore>> = [
  rule('a session is found by its token, active and with all of its members', async ({ store, open, subject }) => {
    const created = await open({
      device: { ipAddress: '192.0.2.1', userAgent: 'Mozilla "😀"', location: 'Praha' },
      data: { nested: { list: [1, null, 'two', { three: true }] }, quoted: '\'";--', __proto: '', nul: '\0' }
    })
    deepEqual(await store.find(created.token), { ...created.session, status: 'active' })
    const plain = await open()
    const { id, createdAt, expiresAt, keepUntil } = plain.session
    deepEqual(await store.find(plain.token), { id, subject, createdAt, expiresAt, keepUntil, status: 'active' })
  }),

  rule('an unknown session is undefined, not null and not an error', async ({ store, subject }) => {
    equal(await store.find(randomUUID()), undefined)
    equal(await store.logOut(randomUUID()), undefined)
    equal(await store.logOutById({ id: randomUUID() }), undefined)
    equal(await store.logOutById({ id: randomUUID(), subject }), undefined)
    equal(await store.logOutSubject({ subject }), undefined)
    equal(await store.logOutSubject({ subject, except: randomUUID(), count: true }), 0)
    deepEqual(await store.list({ subject, limit: 10 }), [])
  }),

  rule('a token or an id that is taken is refused, also after a logout, and the first session stays as it is', async ({ store, open }) => {
    const first = await open()
    const refused = async (token: string, id: string) => {
      await rejects(async () => store.create(token, { ...first.session, id, subject: randomUUID() }))
    }
    await refused(first.token, randomUUID())
    await refused(randomUUID(), first.session.id)
    deepEqual(await store.find(first.token), { ...first.session, status: 'active' })
    await store.logOut(first.token)
    await refused(first.token, randomUUID())
    await refused(randomUUID(), first.session.id)
    equal(await statusOf(store, first.token), 'logged_out')
  }),

  rule('of 20 concurrent creations with one token exactly one is stored', async ({ store, open }) => {
    const token = randomUUID()
    const outcomes = await Promise.allSettled(times(20, () => open({}, token)))
    const stored = outcomes.flatMap(outcome => outcome.status === 'fulfilled' ? [outcome.value.session.id] : [])
    deepEqual(stored, [(await store.find(token))?.id])
  }),

  rule('a logout resolves to the session as it was before: active once, then logged out', async ({ store, open }) => {
    const { token, session } = await open({ data: { keeps: 'its data' } })
    deepEqual(await store.logOut(token), { ...session, status: 'active' })
    deepEqual(await store.logOut(token), { ...session, status: 'logged_out' })
    deepEqual(await store.find(token), { ...session, status: 'logged_out' })
    deepEqual(await store.logOutById({ id: session.id }), { ...session, status: 'logged_out' })
  }),

  rule('of 50 concurrent logouts of one session exactly one sees it active', async ({ store, open }) => {
    const { token } = await open()
    const seen = await Promise.all(times(50, async () => store.logOut(token)))
    deepEqual(seen.map(session => session?.status).sort(), ['active', ...times(49, () => 'logged_out')])
  }),

  rule('of 50 concurrent logouts by token and by id exactly one sees it active', async ({ store, open, subject }) => {
    const { token, session } = await open()
    const logOut = async (index: number) => index % 2 === 0 ? store.logOut(token) : store.logOutById({ id: session.id, subject })
    const seen = await Promise.all(times(50, logOut))
    equal(seen.filter(before => before?.status === 'active').length, 1)
  }),

  rule('an expired session is returned as it is, and can be logged out', async ({ store, open }) => {
    const { token, session } = await open({ expiresAt: Date.now() - 1000 })
    deepEqual(await store.find(token), { ...session, status: 'active' })
    deepEqual(await store.logOut(token), { ...session, status: 'active' })
    equal(await statusOf(store, token), 'logged_out')
  }),

  rule('a session is forgotten after its keepUntil, and its token and id are free again', async ({ store, open, subject }) => {
    const past = Date.now() - 1000
    const { token, session } = await open({ expiresAt: past, keepUntil: past })
    equal(await store.find(token), undefined)
    equal(await store.logOut(token), undefined)
    equal(await store.logOutById({ id: session.id, subject }), undefined)
    equal(await store.logOutSubject({ subject, count: true }), 0)
    const other = await open({ expiresAt: past, keepUntil: past })
    await open({ id: other.session.id }, token)
    equal(await statusOf(store, token), 'active')
    await open({ id: session.id }, other.token)
    equal(await statusOf(store, other.token), 'active')
  }),

  rule('a logout by id reaches that session only, and with a subject only if it is theirs', async ({ store, open, subject }) => {
    const [one, other] = [await open(), await open()]
    equal(await store.logOutById({ id: one.session.id, subject: `${subject}x` }), undefined)
    equal(await statusOf(store, one.token), 'active')
    deepEqual(await store.logOutById({ id: one.session.id, subject }), { ...one.session, status: 'active' })
    equal((await store.logOutById({ id: one.session.id }))?.status, 'logged_out')
    equal(await statusOf(store, one.token), 'logged_out')
    equal((await store.logOutById({ id: other.session.id }))?.status, 'active')
    equal(await statusOf(store, other.token), 'logged_out')
  }),

  rule('logging out a subject ends all of its sessions, and no others', async ({ store, open, subject }) => {
    const sessions = await Promise.all(times(30, () => open()))
    const foreign = await open({ subject: `${subject}x` })
    equal(await store.logOutSubject({ subject }), undefined)
    for (const { token, session } of sessions) {
      equal(await statusOf(store, token), 'logged_out')
      equal((await store.logOut(token))?.status, 'logged_out')
      equal((await store.logOutById({ id: session.id, subject }))?.status, 'logged_out')
    }
    deepEqual(await store.list({ subject, limit: 100 }), [])
    equal(await statusOf(store, foreign.token), 'active')
  }),

  rule('a session opened after its subject was logged out is live, and the old ones stay logged out', async ({ store, open, subject }) => {
    const before = await open()
    await store.logOutSubject({ subject })
    const after = await open({ createdAt: before.session.createdAt - hour })
    await store.logOutSubject({ subject: `${subject}x` })
    equal(await statusOf(store, before.token), 'logged_out')
    equal(await statusOf(store, after.token), 'active')
    deepEqual((await store.list({ subject, limit: 10 })).map(({ id }) => id), [after.session.id])
    equal((await store.logOut(after.token))?.status, 'active')
  }),

  rule('"except" leaves this one session alone, again and again, until it is logged out itself', async ({ store, open, subject }) => {
    const [kept, ended] = [await open(), await open()]
    for (let round = 0; round < 3; round++) {
      await store.logOutSubject({ subject, except: kept.session.id })
      deepEqual([await statusOf(store, kept.token), await statusOf(store, ended.token)], ['active', 'logged_out'])
      deepEqual((await store.list({ subject, limit: 10 })).map(({ id }) => id), [kept.session.id])
    }
    equal((await store.logOut(kept.token))?.status, 'active')
    equal(await statusOf(store, kept.token), 'logged_out')
  }),

  rule('"except" does not bring back a session that was logged out with its subject', async ({ store, open, subject }) => {
    const { token, session } = await open()
    await store.logOutSubject({ subject, except: session.id })
    await store.logOutSubject({ subject })
    equal(await statusOf(store, token), 'logged_out')
  }),

  rule('"except" does not bring back a logged-out session, and does not affect other subjects', async ({ store, open, subject }) => {
    const [alone, withAll, foreign] = [await open(), await open(), await open({ subject: `${subject}x` })]
    await store.logOut(alone.token)
    await store.logOutSubject({ subject, except: alone.session.id })
    await open()
    await store.logOutSubject({ subject, except: withAll.session.id })
    await store.logOutSubject({ subject: `${subject}x` })
    await store.logOutSubject({ subject, except: foreign.session.id })
    await store.logOutSubject({ subject: `${subject}x`, except: foreign.session.id })
    for (const { token } of [alone, withAll, foreign]) equal(await statusOf(store, token), 'logged_out')
    deepEqual(await store.list({ subject, limit: 10 }), [])
  }),

  rule('two concurrent logouts of a subject with different exceptions end both sessions', async ({ store, open, subject }) => {
    const [one, other] = [await open(), await open()]
    await Promise.all([one, other].map(async ({ session }) => store.logOutSubject({ subject, except: session.id })))
    deepEqual([await statusOf(store, one.token), await statusOf(store, other.token)], ['logged_out', 'logged_out'])
  }),

  rule('ten concurrent logouts of a subject with the same exception leave that session alone', async ({ store, open, subject }) => {
    const [kept, ended] = [await open(), await open()]
    await Promise.all(times(10, async () => store.logOutSubject({ subject, except: kept.session.id })))
    deepEqual([await statusOf(store, kept.token), await statusOf(store, ended.token)], ['active', 'logged_out'])
  }),

  rule('the count is the number of live sessions that were ended, without excepted, expired and logged-out ones', async scene => {
    const { store, open, subject } = scene
    const sessions = await Promise.all(times(5, () => open()))
    await open({ subject: `${subject}x` })
    await store.logOut((await open()).token)
    await open({ expiresAt: Date.now() - 1000 })
    equal(await store.logOutSubject({ subject, except: sessions[0]?.session.id, count: true }), 4)
    equal(await store.logOutSubject({ subject, except: sessions[0]?.session.id, count: true }), 0)
    equal(await store.logOutSubject({ subject, count: true }), 1)
    equal(await store.logOutSubject({ subject, count: true }), 0)
    await open()
    const ranOut = await open({ expiresAt: Date.now() - 1000 })
    equal(await store.logOutSubject({ subject, except: ranOut.session.id, count: true }), 1)
  }),

  rule('concurrent logouts of sessions and of their subject end each session once', async ({ store, open, subject }) => {
    const sessions = await Promise.all(times(20, () => open()))
    const [counted, ...before] = await Promise.all([
      store.logOutSubject({ subject, count: true }),
      ...sessions.map(async ({ token }) => store.logOut(token))
    ])
    equal(Number(counted) + before.filter(session => session?.status === 'active').length, sessions.length)
  }),

  rule('after concurrent logins and logouts of a subject, all methods agree on which sessions are active', async scene => {
    const { store, open, subject } = scene
    const before = await open()
    const during = await Promise.all(times(20, async index => {
      if (index % 4 === 0) await store.logOutSubject({ subject })
      return open()
    }))
    equal(await statusOf(store, before.token), 'logged_out')
    const listed = new Set((await store.list({ subject, limit: 100 })).map(({ id }) => id))
    for (const { token, session } of during) {
      equal(await statusOf(store, token), listed.has(session.id) ? 'active' : 'logged_out')
    }
    await store.logOutSubject({ subject })
    for (const { token } of during) equal(await statusOf(store, token), 'logged_out')
  }),

  rule('the list has live sessions only, newest first, and without the excepted one', async ({ store, open, subject }) => {
    const now = Date.now()
    const [oldest, middle, newest] = [
      await open({ createdAt: now - 3000 }), await open({ createdAt: now - 2000 }), await open({ createdAt: now - 1000 })
    ]
    await open({ expiresAt: now - 1 })
    await open({ subject: `${subject}x` })
    await store.logOut((await open()).token)
    deepEqual(await store.list({ subject, limit: 10 }), [newest, middle, oldest].map(({ session }) => ({ ...session, status: 'active' })))
    const others = await store.list({ subject, except: middle.session.id, limit: 2 })
    deepEqual(others.map(({ id }) => id), [newest.session.id, oldest.session.id])
  }),

  rule('pages of a list have each session once, even if all are of one instant and the last of a page is logged out', async scene => {
    const { store, open, subject } = scene
    const createdAt = Date.now()
    const prefix = randomUUID()
    const ids = ['a', 'b', '\u00e9', '\uffee', '😀', 'c', '~'].map(end => `${prefix}${end}`)
    for (const id of ids) await open({ id, createdAt })
    const inOrder = ['😀', '\uffee', '\u00e9', '~', 'c', 'b', 'a'].map(end => `${prefix}${end}`)
    deepEqual(await idsOfPages(store, subject, async () => {}), inOrder)
    deepEqual(await idsOfPages(store, subject, async ({ id }) => { await store.logOutById({ id }) }), inOrder)
  }),

  rule('ids, subjects and tokens are never interpreted: each is refused, or stored as it is', async ({ store, open, subject }) => {
    const innocent = await open()
    for (const hostile of hostileIds) {
      const stored = await open({ id: hostile + randomUUID(), subject: subject + hostile }, randomUUID() + hostile).catch(() => undefined)
      if (stored !== undefined) await checkItself(store, stored)
      await store.logOutSubject({ subject: hostile })
      await store.logOutSubject({ subject: hostile, except: hostile, count: true })
      await store.logOutById({ id: hostile })
      await store.logOut(hostile)
      await store.find(hostile)
      await store.list({ subject: hostile, except: hostile, limit: 1 })
      deepEqual(await store.list({ subject, except: hostile, after: { id: hostile, createdAt: 0 }, limit: 1 }), [])
      await store.logOutSubject({ subject, except: innocent.session.id })
      deepEqual(await store.find(innocent.token), { ...innocent.session, status: 'active' })
    }
  }),

  rule('a number as an id or a subject is refused, or stands for its text', async ({ store, open }) => {
    for (const logOut of [numericLogOutSubject, numericLogOutById]) {
      const [id, subject] = [randomInt(2 ** 47), randomInt(2 ** 47)]
      const { token } = await open({ id: `${id}`, subject: `${subject}` })
      const done = await Promise.resolve(logOut(store, id, subject)).then(() => true, () => false)
      equal(await statusOf(store, token), done ? 'logged_out' : 'active', 'a logout that resolves has happened')
    }
    const [id, subject] = [randomInt(2 ** 47), randomInt(2 ** 47)]
    const opened = await open({ id: id as never, subject: subject as never }).catch(() => undefined)
    if (opened === undefined) return
    const found = await store.find(opened.token)
    deepEqual([found?.id, found?.subject], [`${id}`, `${subject}`])
    equal((await store.logOutById({ id: `${id}`, subject: `${subject}` }))?.status, 'active')
  }),

  rule('subjects that look alike are different subjects', async ({ store, open, subject }) => {
    const alike = await Promise.all(['a', 'A', 'a ', 'ä', 'a\u0308', 'ａ', 'a%', 'a*', 'a:a'].map(end => open({ subject: subject + end })))
    for (const [index, one] of alike.entries()) {
      await store.logOutSubject({ subject: one.session.subject })
      const statuses = await Promise.all(alike.map(({ token }) => statusOf(store, token)))
      deepEqual(statuses, alike.map((_, other) => other <= index ? 'logged_out' : 'active'))
    }
  }),

  rule('the store is not affected when the caller changes a session afterwards', async ({ store, open }) => {
    const data = { role: 'reader' }
    const { token, session } = await open({ data })
    const found = await store.find(token)
    for (const reachable of [data, found?.data, found]) {
      if (reachable !== undefined && !Object.isFrozen(reachable)) Object.assign(reachable, { role: 'admin', subject: 'root' })
    }
    deepEqual(await store.find(token), { ...session, data: { role: 'reader' }, status: 'active' })
  })
]

interface Scene {
  readonly store: SessionStore
  /** A subject that no other rule uses. */
  readonly subject: string
  /** Creates a live session of the subject, with the given members. */
  readonly open: (session?: Partial<NewSession>, token?: string) => Promise<{ token: string, session: NewSession }>
}

function rule (name: string, check: (scene: Scene) => Promise<void>): Rule<MakeSessionStore> {
  return {
    name,
    async check (make) {
      const store = await make()
      const subject = randomUUID()
      await check({
        store,
        subject,
        async open (given = {}, token = randomUUID()) {
          const now = Date.now()
          const session = { id: randomUUID(), subject, createdAt: now, expiresAt: now + hour, keepUntil: now + 2 * hour, ...given }
          await store.create(token, session)
          return { token, session }
        }
      })
    }
  }
}

/** Values that a host in plain JavaScript may pass. */
async function numericLogOutSubject (store: SessionStore, _: number, subject: number): Promise<void> {
  await store.logOutSubject({ subject: subject as never })
}

async function numericLogOutById (store: SessionStore, id: number, subject: number): Promise<void> {
  await store.logOutById({ id: id as never, subject: subject as never })
}

async function statusOf (store: SessionStore, token: string): Promise<Session['status'] | undefined> {
  return (await store.find(token))?.status
}

async function checkItself (store: SessionStore, { token, session }: { token: string, session: NewSession }): Promise<void> {
  deepEqual(await store.find(token), { ...session, status: 'active' })
  const listed = await store.list({ subject: session.subject, limit: 2 })
  deepEqual(listed, [{ ...session, status: 'active' }])
  ok(listed.every(found => isLive(found, Date.now())))
  equal((await store.logOutById({ id: session.id, subject: session.subject }))?.status, 'active')
  equal((await store.logOut(token))?.status, 'logged_out')
}

/** Reads a list in pages of two, and calls `then` with the last session of each. */
async function idsOfPages (store: SessionStore, subject: string, then: (last: Session) => Promise<void>): Promise<string[]> {
  const ids: string[] = []
  let after: Session | undefined
  do {
    const page: Session[] = await store.list({ subject, after, limit: 2 })
    ok(page.length <= 2, 'a page has at most as many sessions as its limit')
    ids.push(...page.map(({ id }) => id))
    after = page.at(-1)
    if (after !== undefined) await then(after)
  } while (after !== undefined && ids.length < 100)
  return ids
}

function times<T> (count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}
