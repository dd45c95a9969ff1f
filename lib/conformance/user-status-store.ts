import assert from 'node:assert/strict'

import type { Awaitable } from '../awaitable.ts'
import type { UserKey, UserStatus, UserStatusStore, Version } from '../user-status-store.ts'
import { hostileIds, lookAlikes } from '../internal/conformance/hostile-ids.ts'
import type { Rule } from '../internal/conformance/rule.ts'
import {
  alice, bob, facts, hostStates, login, logout, parallel, present, rule, withoutVersion, write,
  type MakeUserStatusStore, type UserStatusFixture
} from '../internal/conformance/user-status-probe.ts'

export type { Rule } from '../internal/conformance/rule.ts'
export type { MakeUserStatusStore, UserStatusFixture } from '../internal/conformance/user-status-probe.ts'

/**
 * The promises of {@link UserStatusStore}, for any test runner. The rules about `logOut` pass for a store without it.
 *
 * A store may refuse ids that it cannot hold (NUL, a lone surrogate, a megabyte) with a rejection. Ids that it accepts must
 * be distinguished to the last character.
 *
 * @example
 * ```ts
 * import { userStatusStoreRules } from 'fastify-logout/conformance/user-status-store'
 * import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
 * import test from 'node:test'
 *
 * for (const rule of userStatusStoreRules) {
 *   test(rule.name, () => rule.check(() => {
 *     const store = memoryUserStatusStore()
 *     return { store, set: store.set }
 *   }))
 * }
 * ```
 */
export const userStatusStoreRules: ReadonlyArray<Rule<MakeUserStatusStore>> = [
  rule('an unknown user is undefined', async ({ store }) => {
    assert.equal(await store.get(alice), undefined)
  }),

  rule('compareAndSet without a version creates a record, once', async ({ store }) => {
    assert.equal(await store.compareAndSet(alice, undefined, login(1000)), true)
    const created = await present(store, alice)
    assert.equal(created.status, 'logged_in')
    assert.equal(created.lastSeenAt, 1000)
    assert.equal(await store.compareAndSet(alice, undefined, logout(2000)), false)
    assert.deepEqual(await present(store, alice), created)
  }),

  rule('of 50 parallel creations exactly one succeeds', async ({ store }) => {
    const answers = await parallel(50, i => store.compareAndSet(alice, undefined, login(1000 + i)))
    assert.equal(answers.filter(Boolean).length, 1)
    assert.equal((await present(store, alice)).lastSeenAt, 1000 + answers.indexOf(true))
  }),

  rule('compareAndSet with a version does not create a record', async ({ store, set }) => {
    await set(bob, 'logged_in')
    const { version } = await present(store, bob)
    assert.equal(await store.compareAndSet(alice, version, login(1000)), false)
    assert.equal(await store.get(alice), undefined)
  }),

  rule('compareAndSet with an old version changes nothing', async ({ store, set }) => {
    await set(alice, 'logged_in')
    const { version } = await present(store, alice)
    assert.equal(await store.compareAndSet(alice, version, logout(1000)), true)
    const after = await present(store, alice)
    assert.equal(await store.compareAndSet(alice, version, login(2000)), false)
    assert.deepEqual(await present(store, alice), after)
  }),

  rule('of 50 parallel compareAndSet of one version exactly one succeeds', async ({ store, set }) => {
    await set(alice, 'logged_in')
    const { version } = await present(store, alice)
    const answers = await parallel(50, i => store.compareAndSet(alice, version, i % 2 ? login(1000 + i) : logout(1000 + i)))
    assert.equal(answers.filter(Boolean).length, 1)
    const { lastSeenAt, loggedOutAt } = await present(store, alice)
    assert.equal(lastSeenAt ?? loggedOutAt, 1000 + answers.indexOf(true))
  }),

  rule('no version is used twice', async ({ store, set }) => {
    await set(alice, 'logged_in')
    const seen = new Set<Version>()
    for (let turn = 0; turn < 6; turn++) {
      const { version } = await present(store, alice)
      assert.ok(!seen.has(version), 'a version came back')
      seen.add(version)
      assert.equal(await store.compareAndSet(alice, version, turn % 3 ? logout(1000) : login(1000)), true)
    }
  }),

  rule('a login keeps the time of the last logout, a logout the time of the last activity', async ({ store, set }) => {
    await set(alice, 'logged_in')
    await write(store, alice, login(1000))
    await write(store, alice, logout(2000))
    assert.deepEqual(withoutVersion(await present(store, alice)), { status: 'logged_out', loggedOutAt: 2000, lastSeenAt: 1000 })
    await write(store, alice, login(3000))
    assert.deepEqual(withoutVersion(await present(store, alice)), { status: 'logged_in', loggedOutAt: 2000, lastSeenAt: 3000 })
  }),

  rule('a node with a slow clock moves neither time back', async ({ store, set }) => {
    await set(alice, 'logged_in')
    for (const change of [login(1000), logout(1000), login(900), logout(900)]) await write(store, alice, change)
    assert.deepEqual(withoutVersion(await present(store, alice)), { status: 'logged_out', loggedOutAt: 1000, lastSeenAt: 1000 })
  }),

  rule('compareAndSet never overwrites a state of the host\'s own', async ({ store, set }) => {
    for (const status of hostStates) {
      await set(alice, status)
      const before = await present(store, alice)
      assert.equal(before.status, status)
      assert.equal(await store.compareAndSet(alice, before.version, login(1000)), false, status)
      assert.equal(await store.compareAndSet(alice, before.version, logout(1000)), false, status)
      assert.deepEqual(await present(store, alice), before)
    }
  }),

  rule('a write that began before the host changed the state is refused', async ({ store, set }) => {
    await set(alice, 'logged_in')
    const { version } = await present(store, alice)
    await set(alice, 'suspended')
    await set(alice, 'logged_out')
    assert.equal(await store.compareAndSet(alice, version, login(1000)), false)
    assert.equal((await present(store, alice)).status, 'logged_out')
  }),

  rule('a record that get returned does not change afterwards', async ({ store, set }) => {
    await set(alice, 'logged_in')
    const given = await store.get(alice)
    const copy = facts(given)
    await write(store, alice, logout(1000))
    assert.equal((await present(store, alice)).status, 'logged_out')
    assert.deepEqual(facts(given), copy)
  }),

  rule('users with similar ids are different users', async ({ store, set }) => {
    for (const user of lookAlikes) {
      assert.equal(await store.get(user), undefined, JSON.stringify(user))
      await set(user, 'logged_in')
    }
    await write(store, alice, logout(1000))
    const out = (store.logOut === undefined) ? [alice] : [alice, bob]
    await store.logOut?.(bob, { at: 1000, requestId: 'r' })
    for (const user of lookAlikes) {
      const expected = out.some(({ tenant, subject }) => user.tenant === tenant && user.subject === subject)
      assert.equal((await present(store, user)).status, expected ? 'logged_out' : 'logged_in', JSON.stringify(user))
    }
  }),

  rule('a number as an id is refused, or stands for its text', async ({ store, set }) => {
    const [numeric, other] = [{ tenant: 1, subject: 23 }, { tenant: 12, subject: 3 }] as never as [UserKey, UserKey]
    const created = await outcome(() => store.compareAndSet(numeric, undefined, login(1000)))
    if (created !== 'refused') {
      assert.equal((await present(store, { tenant: '1', subject: '23' })).lastSeenAt, 1000)
      assert.equal(await store.get(other), undefined)
    }
    await set({ tenant: '12', subject: '3' }, 'logged_in')
    const { version } = await present(store, { tenant: '12', subject: '3' })
    const written = await outcome(() => store.compareAndSet(other, version, logout(2000)))
    assert.equal((await present(store, { tenant: '12', subject: '3' })).status, written === 'refused' ? 'logged_in' : 'logged_out')
  }),

  rule('an id is refused or stored, never interpreted', async ({ store, set }) => {
    await set(alice, 'logged_in')
    await set({ tenant: '*', subject: '%' }, 'logged_in')
    const before = await present(store, alice)
    for (const id of hostileIds) {
      await refusedOrStored(store, { tenant: id, subject: alice.subject })
      await refusedOrStored(store, { tenant: alice.tenant, subject: id })
    }
    assert.deepEqual(await present(store, alice), before)
    assert.equal((await present(store, { tenant: '*', subject: '%' })).status, 'logged_in')
  }),

  logOutRule('logOut of an unknown user is undefined and does not create a record', async ({ logOut, store }) => {
    assert.equal(await logOut(alice, 1000), undefined)
    assert.equal(await store.get(alice), undefined)
  }),

  logOutRule('logOut resolves the record as it was before', async ({ logOut, store, set }) => {
    await set(alice, 'logged_in')
    await write(store, alice, login(500))
    const before = await present(store, alice)
    assert.deepEqual(facts(await logOut(alice, 1000)), before)
    const after = await present(store, alice)
    assert.deepEqual(withoutVersion(after), { status: 'logged_out', loggedOutAt: 1000, lastSeenAt: 500 })
    assert.deepEqual(facts(await logOut(alice, 2000)), after)
  }),

  logOutRule('every logOut changes the version, and none moves the time of the last logout back', async ({ logOut, store, set }) => {
    await set(alice, 'logged_in')
    const versions = [(await present(store, alice)).version]
    for (const [at, expected] of [[1000, 1000], [3000, 3000], [2000, 3000]] as const) {
      await logOut(alice, at)
      const { version, loggedOutAt } = await present(store, alice)
      versions.push(version)
      assert.equal(loggedOutAt, expected)
    }
    assert.equal(new Set(versions).size, 4)
  }),

  logOutRule('an activity that began before logOut is refused', async ({ logOut, store, set }) => {
    await set(alice, 'logged_in')
    for (let turn = 0; turn < 2; turn++) {
      const { version } = await present(store, alice)
      await logOut(alice, 1000)
      assert.equal(await store.compareAndSet(alice, version, login(2000)), false)
      assert.equal((await present(store, alice)).status, 'logged_out')
    }
  }),

  logOutRule('logOut leaves a state of the host\'s own alone', async ({ logOut, store, set }) => {
    for (const status of hostStates) {
      await set(alice, status)
      const before = await present(store, alice)
      assert.deepEqual(facts(await logOut(alice, 1000)), before)
      assert.deepEqual(await present(store, alice), before)
    }
  }),

  logOutRule('a logout whose time is not whole milliseconds does not make other logouts fail', async ({ logOut, set }) => {
    const users = Array.from({ length: 20 }, (_, index) => ({ tenant: 'acme', subject: `user ${index}` }))
    for (const user of users) await set(user, 'logged_in')
    const fractional = outcome(() => logOut(alice, 1000.5))
    const others = await Promise.allSettled(users.map(async user => logOut(user, 1000)))
    await fractional
    assert.deepEqual(others.map(({ status }) => status), users.map(() => 'fulfilled'))
  }),

  logOutRule('of 50 parallel logOut exactly one sees the user logged in', async ({ logOut, set }) => {
    await set(alice, 'logged_in')
    const before = await parallel(50, i => logOut(alice, 1000 + i))
    assert.equal(before.filter(record => record?.status === 'logged_in').length, 1)
    assert.equal(before.filter(record => record?.status === 'logged_out').length, 49)
  }),

  logOutRule('concurrent logouts and logins lose no update', async ({ logOut, store, set }) => {
    await set(alice, 'logged_in')
    let logins = 1
    let logouts = 0
    const out = async () => {
      if ((await logOut(alice, 1000))?.status === 'logged_in') logouts += 1
    }
    const back = async () => {
      const { status, version } = await present(store, alice)
      if (status === 'logged_out' && await store.compareAndSet(alice, version, login(1000))) logins += 1
    }
    await parallel(20, async worker => {
      for (let turn = 0; turn < 5; turn++) await (worker % 2 ? out() : back())
    })
    const { status } = await present(store, alice)
    assert.equal(logins - logouts, status === 'logged_in' ? 1 : 0)
  })
]

async function refusedOrStored (store: UserStatusStore, user: UserKey): Promise<void> {
  const name = JSON.stringify(user).slice(0, 80)
  const created = await outcome(() => store.compareAndSet(user, undefined, login(1000)))
  const found = await outcome(() => store.get(user))
  if (created === 'refused') {
    assert.ok(found === 'refused' || found === undefined, `${name} was refused, yet it is there`)
    return
  }
  assert.equal(created, true, name)
  assert.ok(found !== 'refused' && found?.lastSeenAt === 1000, `${name} was taken, yet it is not there`)
  assert.equal((await store.logOut?.(user, { at: 2000, requestId: 'r' }) ?? found).version, found.version)
}

async function outcome<T> (act: () => Awaitable<T>): Promise<T | 'refused'> {
  try {
    return await act()
  } catch {
    return 'refused'
  }
}

type LogOutFixture = UserStatusFixture & { logOut (user: UserKey, at: number): Awaitable<UserStatus | undefined> }

/** A rule for the optional `logOut`. It passes for a store without that method. */
function logOutRule (name: string, check: (fixture: LogOutFixture) => Promise<void>): Rule<MakeUserStatusStore> {
  return rule(name, async fixture => {
    const { store } = fixture
    if (store.logOut === undefined) return
    await check({
      store,
      set: (user, status) => fixture.set(user, status),
      logOut: (user, at) => store.logOut?.(user, { at, requestId: 'r' })
    })
  })
}
