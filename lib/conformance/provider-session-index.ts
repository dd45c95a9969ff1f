import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Awaitable } from '../awaitable.ts'
import { hostileIds } from '../internal/conformance/hostile-ids.ts'
import type { Rule } from '../internal/conformance/rule.ts'
import type { BoundSession, ProviderLogin, ProviderLogout, ProviderSessionIndex } from '../provider-session-index.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** Makes the index to be checked. It may hold other logins and be the same each time: the rules use an issuer of their own. */
export type MakeProviderSessionIndex = () => Awaitable<ProviderSessionIndex>

const second = 1000
const hour = 3_600_000

/**
 * The promises of {@link ProviderSessionIndex}, for any test runner.
 *
 * @example
 * ```ts
 * import { providerSessionIndexRules } from 'fastify-logout/conformance/provider-session-index'
 * import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
 * import test from 'node:test'
 *
 * for (const rule of providerSessionIndexRules) test(rule.name, () => rule.check(() => memoryProviderSessionIndex()))
 * ```
 */
export const providerSessionIndexRules: ReadonlyArray<Rule<MakeProviderSessionIndex>> = [
  rule('a login is live, and a logout that covers nobody resolves an empty list', async ({ bind, logOut }) => {
    deepEqual(await logOut({ sid: 'phone' }), [])
    deepEqual(await logOut({ subject: 'alice' }), [])
    deepEqual(await logOut({ subject: 'alice', sid: 'phone' }), [])
    equal(await bind('1', { subject: 'bob', sid: 'laptop' }), 'live')
  }),

  rule('a logout by sid resolves the sessions of that sid, again and again, and no others', async ({ bind, logOut }) => {
    equal(await bind('1', { sid: 'phone' }), 'live')
    equal(await bind('2', { sid: 'phone' }), 'live')
    equal(await bind('3', { sid: 'laptop' }), 'live')
    equal(await bind('4'), 'live')
    for (let round = 0; round < 3; round++) deepEqual(await logOut({ sid: 'phone' }), ['1', '2'])
  }),

  rule('a session comes back with the ids that it was bound with', async ({ index, issuer, now, until }) => {
    const session: BoundSession = { sessionId: 'a "quoted" \u{1f600} id', subject: 'al\'ice; --' }
    await index.bind({ issuer, subject: 'alice', sid: 'phone', issuedAt: now }, session, until)
    deepEqual(await index.logOut({ issuer, sid: 'phone', cutoff: now, until }), [session])
    deepEqual(await index.logOut({ issuer, subject: 'alice', cutoff: now, until }), [session])
  }),

  rule('a logout that comes before its login wins: the login is revoked', async ({ bind, logOut, now }) => {
    await logOut({ sid: 'phone' })
    equal(await bind('1', { sid: 'phone' }), 'revoked')
    equal(await bind('2', { sid: 'phone', issuedAt: now - hour }), 'revoked')
    equal(await bind('3', { sid: 'laptop' }), 'live')
    equal(await bind('4'), 'live')
    await logOut({ subject: 'bob' })
    equal(await bind('5', { subject: 'bob', sid: 'tablet' }), 'revoked')
    equal(await bind('6', { subject: 'bob' }), 'revoked')
    equal(await bind('7', { sid: 'laptop' }), 'live')
  }),

  rule('a login that was issued after the cutoff is live, in the same provider session too', async ({ bind, logOut, now }) => {
    await logOut({ sid: 'phone' })
    await logOut({ subject: 'alice' })
    await logOut({ sid: 'phone', subject: 'alice' })
    equal(await bind('1', { sid: 'phone', issuedAt: now }), 'revoked')
    equal(await bind('2', { sid: 'phone', issuedAt: now + 1 }), 'live')
    equal(await bind('3', { issuedAt: now + 1 }), 'live')
    deepEqual(without(await logOut({ sid: 'phone' }), '1'), [], 'a repeat does not reach the new session')
    deepEqual(without(await logOut({ subject: 'alice' }), '1'), [])
    deepEqual(await logOut({ sid: 'phone' }, { cutoff: now + 1 }).then(found => without(found, '1')), ['2'])
  }),

  rule('a logout by subject resolves all sessions of the subject until the cutoff, with and without sid', async ({ bind, logOut, now }) => {
    await bind('1', { sid: 'phone' })
    await bind('2', { sid: 'laptop', issuedAt: now - hour })
    await bind('3')
    await bind('4', { sid: 'tablet', issuedAt: now + 1 })
    await bind('5', { issuedAt: now + second })
    await bind('6', { subject: 'bob', sid: 'phone' })
    deepEqual(await logOut({ subject: 'alice' }), ['1', '2', '3'])
    deepEqual(await logOut({ subject: 'alice' }, { cutoff: now + second }), ['1', '2', '3', '4', '5'])
  }),

  rule('a logout by sid and subject does not reach another subject with the same sid', async ({ bind, logOut }) => {
    await bind('1', { sid: 'phone' })
    await bind('2', { sid: 'phone', subject: 'bob' })
    await bind('3', { sid: 'laptop' })
    deepEqual(await logOut({ sid: 'phone', subject: 'alice' }), ['1'])
    equal(await bind('4', { sid: 'phone', subject: 'bob' }), 'live')
    equal(await bind('5', { sid: 'laptop' }), 'live')
    equal(await bind('6', { sid: 'phone' }), 'revoked')
    deepEqual(without(await logOut({ sid: 'phone' }), '6'), ['1', '2', '4'])
  }),

  rule('a logout by sid and subject reaches sessions of the subject that were bound without a sid', async ({ bind, logOut }) => {
    await bind('1', { sid: 'phone' })
    await bind('2')
    await bind('3', { subject: 'bob' })
    deepEqual(await logOut({ sid: 'phone', subject: 'alice' }), ['1', '2'])
    equal(await bind('4'), 'revoked')
    equal(await bind('5', { subject: 'bob' }), 'live')
  }),

  rule('another issuer with the same sid and subject is not touched', async ({ index, bind, logOut, issuer, now, until }) => {
    const other = `${issuer}/`
    const elsewhere = { issuer: other, subject: 'alice', sid: 'phone', issuedAt: now }
    equal(await index.bind(elsewhere, { sessionId: '1', subject: 'alice' }, until), 'live')
    await bind('2', { sid: 'phone' })
    deepEqual(await logOut({ sid: 'phone' }), ['2'])
    deepEqual(await logOut({ subject: 'alice' }), ['2'])
    deepEqual(await logOut({ sid: 'phone', subject: 'alice' }), ['2'])
    equal(await index.bind(elsewhere, { sessionId: '3', subject: 'alice' }, until), 'live')
  }),

  rule('a session that two logins opened is resolved by the logout of either, and once', async ({ bind, logOut, now }) => {
    await bind('1', { sid: 'phone' })
    await bind('1', { subject: 'alice-at-work', sid: 'office' })
    await bind('1', { sid: 'tablet', issuedAt: now - second })
    deepEqual(await logOut({ sid: 'phone' }), ['1'])
    deepEqual(await logOut({ sid: 'office' }), ['1'])
    deepEqual(await logOut({ subject: 'alice-at-work' }), ['1'])
    deepEqual(await logOut({ subject: 'alice' }), ['1'])
  }),

  rule('a login that is bound twice stays bound for the longer time, whichever came first', async ({ bind, logOut, now }) => {
    const past = now - second
    await bind('1', { sid: 'phone' })
    await bind('1', { sid: 'phone' }, past)
    await bind('2', { sid: 'phone' }, past)
    await bind('2', { sid: 'phone' })
    deepEqual(await logOut({ sid: 'phone' }), ['1', '2'])
    deepEqual(await logOut({ subject: 'alice' }), ['1', '2'])
  }),

  rule('a later ID Token for the same session does not save it from the logout of an earlier one', async ({ bind, logOut, now }) => {
    await bind('1', { sid: 'phone', issuedAt: now })
    await bind('1', { sid: 'phone', issuedAt: now + hour })
    deepEqual(await logOut({ sid: 'phone' }), ['1'])
    deepEqual(await logOut({ subject: 'alice' }), ['1'])
  }),

  rule('cutoffs join: an older logout that comes last takes nothing back', async ({ bind, logOut, now, until }) => {
    const older = now - hour
    for (const target of [{ sid: 'phone' }, { subject: 'bob' }, { subject: 'carol', sid: 'laptop' }]) {
      const login = { subject: 'alice', sid: 'tablet', ...target }
      await bind('1', { ...login, issuedAt: now - second })
      deepEqual(await logOut(target), ['1'])
      deepEqual(await logOut(target, { cutoff: older, until: until - second }), ['1'], 'the joined cutoff counts')
      equal(await bind('2', { ...login, issuedAt: now }), 'revoked')
      equal(await bind('3', { ...login, issuedAt: now + 1 }), 'live')
    }
  }),

  rule('a logout whose time is over is forgotten, and a later one does not bring its cutoff back', async ({ bind, logOut, now }) => {
    const past = now - second
    for (const target of [{ sid: 'phone' }, { subject: 'bob' }, { subject: 'carol', sid: 'laptop' }]) {
      const login = { subject: 'alice', sid: 'tablet', ...target }
      await logOut(target, { until: past })
      equal(await bind('1', login), 'live')
      await logOut(target, { cutoff: now - hour })
      equal(await bind('2', login), 'live')
      equal(await bind('3', { ...login, issuedAt: now - hour }), 'revoked')
    }
  }),

  rule('a login whose time is over is not resolved any more', async ({ bind, logOut, now }) => {
    await bind('1', { sid: 'phone' }, now - second)
    await bind('2', { sid: 'phone' })
    deepEqual(await logOut({ sid: 'phone' }), ['2'])
    deepEqual(await logOut({ subject: 'alice' }), ['2'])
    deepEqual(await logOut({ subject: 'alice', sid: 'phone' }), ['2'])
  }),

  rule('of 50 logins and logouts at the same time, each login is revoked or in the list of a logout', async scene => {
    for (let round = 0; round < 5; round++) {
      await checkRace(scene, { sid: `phone ${round}` })
      await checkRace(scene, { subject: `bob ${round}` })
      await checkRace(scene, { subject: `carol ${round}`, sid: 'tablet' })
    }
  }),

  rule('a logout resolves a thousand sessions, each once', async ({ bind, logOut }) => {
    const ids = times(1000, index => `s${index}`)
    for (let from = 0; from < ids.length; from += 20) await Promise.all(ids.slice(from, from + 20).map(id => bind(id, { sid: id })))
    deepEqual(await logOut({ subject: 'alice' }), [...ids].sort())
    deepEqual(await logOut({ subject: 'alice', sid: 's7' }), ['s7'])
  }),

  rule('ids of the provider that look alike are different ids', async ({ bind, logOut }) => {
    const alike = ['a', 'A', 'a ', ' a', '\u00e4', 'a\u0308', '\uff41', 'a%', 'a*', 'a|b', 'a b', 'a:b', '["a"]', '__proto__',
      'constructor', 'a\0', 'a\0b', '\0', '\ud800', '\ud801', '\ufffd', 'a'.repeat(1024), 'a'.repeat(1023)]
    for (const [place, name] of alike.entries()) await bind(`sid ${place}`, { sid: name, subject: 'someone' })
    for (const [place, name] of alike.entries()) await bind(`subject ${place}`, { subject: name })
    for (const [place, name] of alike.entries()) {
      deepEqual(await logOut({ sid: name }), [`sid ${place}`], `the sid ${JSON.stringify(name).slice(0, 20)}`)
      deepEqual(await logOut({ subject: name }), [`subject ${place}`], `the subject ${JSON.stringify(name).slice(0, 20)}`)
    }
  }),

  rule('an issuer and an id that are split elsewhere are another pair', async ({ index, issuer, now, until }) => {
    const pairs = [['x', 'yz'], ['xy', 'z'], ['x"', 'y'], ['x', '"y'], ['x","', 'y'], ['x', '","y'], ['x|', 'y'], ['x', '|y']] as const
    for (const [place, [end, sid]] of pairs.entries()) {
      await index.bind({ issuer: issuer + end, subject: sid, sid, issuedAt: now }, { sessionId: `${place}`, subject: 'alice' }, until)
    }
    for (const [place, [end, sid]] of pairs.entries()) {
      const expected = [{ sessionId: `${place}`, subject: 'alice' }]
      deepEqual(await index.logOut({ issuer: issuer + end, sid, cutoff: now, until }), expected)
      deepEqual(await index.logOut({ issuer: issuer + end, subject: sid, cutoff: now, until }), expected)
    }
  }),

  rule('ids are never interpreted: each is refused, or kept as it is', async ({ index, issuer, bind, logOut, now, until }) => {
    await bind('innocent', { sid: 'innocent', subject: 'innocent' })
    for (const hostile of hostileIds) {
      const session = { sessionId: hostile, subject: hostile }
      const login = { issuer, subject: hostile, sid: hostile, issuedAt: now }
      const isBound = await attempt(() => index.bind(login, session, until))
      await attempt(() => index.bind({ ...login, sid: undefined }, { sessionId: 'x', subject: 'x' }, until))
      const found = await attempt(() => index.logOut({ issuer, sid: hostile, cutoff: now, until }))
      if (isBound !== undefined) deepEqual(found, [session])
    }
    deepEqual(await logOut({ sid: 'innocent' }), ['innocent'])
    deepEqual(await logOut({ subject: 'innocent' }), ['innocent'])
  }),

  rule('an empty id and a time that is not whole milliseconds are refused, and nothing is remembered', async scene => {
    const { index, issuer, bind, logOut, now, until } = scene
    const login: ProviderLogin = { issuer, subject: 'alice', sid: 'phone', issuedAt: now }
    const session: BoundSession = { sessionId: '1', subject: 'alice' }
    const wrongTimes = [NaN, Infinity, 1.5, 2 ** 53, undefined, null, `${now}`]
    const wrongIds = ['', undefined, null, 7, {}]
    const refused = async (call: () => unknown) => rejects(async () => call(), TypeError)

    for (const time of wrongTimes) {
      await refused(() => index.bind({ ...login, issuedAt: time as number }, session, until))
      await refused(() => index.bind(login, session, time as number))
      await refused(() => index.logOut({ issuer, sid: 'phone', cutoff: time as number, until }))
      await refused(() => index.logOut({ issuer, sid: 'phone', cutoff: now, until: time as number }))
    }
    for (const id of wrongIds) {
      for (const name of ['issuer', 'subject', ...id === undefined ? [] : ['sid']]) {
        await refused(() => index.bind({ ...login, [name]: id }, session, until))
      }
      for (const name of ['issuer', 'sid']) {
        await refused(() => index.logOut({ issuer, sid: 'phone', cutoff: now, until, [name]: id }))
      }
      await refused(() => index.logOut({ issuer, subject: id as string, cutoff: now, until }))
    }
    for (const id of ['', undefined, null, {}]) {
      await refused(() => index.bind(login, { ...session, sessionId: id as string }, until))
      await refused(() => index.bind(login, { ...session, subject: id as string }, until))
    }
    equal(await bind('2', { sid: 'phone' }), 'live')
    deepEqual(await logOut({ sid: 'phone' }), ['2'])
  }),

  rule('a number as an id of the host is refused, or is its text', async ({ index, issuer, now, until }) => {
    const login: ProviderLogin = { issuer, subject: 'alice', issuedAt: now }
    const bound = await attempt(() => index.bind(login, { sessionId: 7 as never, subject: 8 as never }, until))
    const found = await index.logOut({ issuer, subject: 'alice', cutoff: now, until })
    deepEqual(found, bound === undefined ? [] : [{ sessionId: '7', subject: '8' }])
  }),

  rule('what the caller does to a list or to what it has bound changes nothing in the index', async ({ index, issuer, now, until }) => {
    const session = { sessionId: '1', subject: 'alice' }
    const login = { issuer, subject: 'alice', sid: 'phone', issuedAt: now }
    await index.bind(login, session, until)
    Object.assign(session, { sessionId: '2' })
    Object.assign(login, { sid: 'laptop' })
    const logout = { issuer, sid: 'phone', cutoff: now, until }
    for (const found of await index.logOut(logout)) if (!Object.isFrozen(found)) Object.assign(found, { sessionId: '3' })
    deepEqual(await index.logOut(logout), [{ sessionId: '1', subject: 'alice' }])
  })
]

type Target = { readonly sid: string, readonly subject?: string } | { readonly subject: string, readonly sid?: undefined }

interface Scene {
  readonly index: ProviderSessionIndex
  /** Nobody else's. */
  readonly issuer: string
  readonly now: number
  /** In an hour. */
  readonly until: number
  /** Binds a session of alice, as a login without sid that was issued now, where the given members say nothing else. */
  readonly bind: (sessionId: string, login?: Partial<ProviderLogin>, until?: number) => Promise<'live' | 'revoked'>
  /** Logs out with now as the cutoff, and resolves the ids of the sessions in order. */
  readonly logOut: (target: Target, times?: Partial<Pick<ProviderLogout, 'cutoff' | 'until'>>) => Promise<string[]>
}

function rule (name: string, check: (scene: Scene) => Promise<void>): Rule<MakeProviderSessionIndex> {
  return {
    name,
    async check (make) {
      const index = await make()
      const issuer = `https://${randomUUID()}.example`
      const now = Date.now()
      const until = now + hour
      await check({
        index,
        issuer,
        now,
        until,
        bind: async (sessionId, login = {}, end = until) => {
          return index.bind({ issuer, subject: 'alice', issuedAt: now, ...login }, { sessionId, subject: 'alice' }, end)
        },
        logOut: async (target, times = {}) => {
          const found = await index.logOut({ issuer, cutoff: now, until, ...times, ...target })
          return found.map(({ sessionId }) => sessionId).sort()
        }
      })
    }
  }
}

/** Ten logins and a logout begin in the same turn. A login that both miss would stay live for ever. */
async function checkRace ({ bind, logOut }: Scene, target: Target): Promise<void> {
  const login = { subject: 'alice', ...target }
  const before = times(5, place => bind(`${place}`, login))
  const listed = logOut(target)
  const after = times(5, place => bind(`${5 + place}`, login))
  const [verdicts, found] = await Promise.all([Promise.all([...before, ...after]), listed])
  for (const [place, verdict] of verdicts.entries()) ok(verdict === 'revoked' || found.includes(`${place}`), 'a login is revoked or listed')
}

function times<T> (count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}

function without (ids: readonly string[], id: string): string[] {
  return ids.filter(one => one !== id)
}

/** What the call resolves; `undefined` when it is refused. */
async function attempt<T> (call: () => Awaitable<T>): Promise<T | undefined> {
  try {
    return await call()
  } catch {
    return undefined
  }
}
