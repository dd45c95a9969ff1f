import assert from 'node:assert/strict'

import type { Awaitable } from '../awaitable.ts'
import type { UserKey, UserStatusStore, Version } from '../user-status-store.ts'
import { hostileIds, lookAlikes } from './hostile-ids.ts'
import type { Rule } from './rule.ts'
import { userLogOutRules } from './user-log-out.ts'
import { anna, berta, facts, hostStates, login, logout, parallel, present, rule, withoutVersion, write } from './user-status-probe.ts'
import type { MakeUserStatusStore } from './user-status-probe.ts'

export type { MakeUserStatusStore, UserStatusFixture } from './user-status-probe.ts'

/**
 * The promises of {@link UserStatusStore}. Those about `logOut` hold for every store that lacks it.
 *
 * Versions are compared by what they are, times to the millisecond. Ids that a store cannot hold (NUL, a lone
 * surrogate, a megabyte) may be refused with a rejection; ids that it takes must be kept apart to the last character.
 */
export const userStatusStoreRules: ReadonlyArray<Rule<MakeUserStatusStore>> = [
  rule('a user who was never put in is undefined', async ({ store }) => {
    assert.equal(await store.get(anna), undefined)
  }),

  rule('compareAndSet without a version creates a record, once', async ({ store }) => {
    assert.equal(await store.compareAndSet(anna, undefined, login(1000)), true)
    const created = await present(store, anna)
    assert.equal(created.status, 'logged_in')
    assert.equal(created.lastSeenAt, 1000)
    assert.equal(await store.compareAndSet(anna, undefined, logout(2000)), false)
    assert.deepEqual(await present(store, anna), created)
  }),

  rule('of 50 parallel creations exactly one succeeds', async ({ store }) => {
    const answers = await parallel(50, i => store.compareAndSet(anna, undefined, login(1000 + i)))
    assert.equal(answers.filter(Boolean).length, 1)
    assert.equal((await present(store, anna)).lastSeenAt, 1000 + answers.indexOf(true))
  }),

  rule('compareAndSet with a version creates nobody', async ({ store, set }) => {
    await set(berta, 'logged_in')
    const { version } = await present(store, berta)
    assert.equal(await store.compareAndSet(anna, version, login(1000)), false)
    assert.equal(await store.get(anna), undefined)
  }),

  rule('compareAndSet with a version that is past changes nothing', async ({ store, set }) => {
    await set(anna, 'logged_in')
    const { version } = await present(store, anna)
    assert.equal(await store.compareAndSet(anna, version, logout(1000)), true)
    const after = await present(store, anna)
    assert.equal(await store.compareAndSet(anna, version, login(2000)), false)
    assert.deepEqual(await present(store, anna), after)
  }),

  rule('of 50 parallel compareAndSet of one version exactly one succeeds', async ({ store, set }) => {
    await set(anna, 'logged_in')
    const { version } = await present(store, anna)
    const answers = await parallel(50, i => store.compareAndSet(anna, version, i % 2 ? login(1000 + i) : logout(1000 + i)))
    assert.equal(answers.filter(Boolean).length, 1)
    const { lastSeenAt, loggedOutAt } = await present(store, anna)
    assert.equal(lastSeenAt ?? loggedOutAt, 1000 + answers.indexOf(true))
  }),

  rule('no version ever comes back', async ({ store, set }) => {
    await set(anna, 'logged_in')
    const seen = new Set<Version>()
    for (let turn = 0; turn < 6; turn++) {
      const { version } = await present(store, anna)
      assert.ok(!seen.has(version), 'a version came back')
      seen.add(version)
      assert.equal(await store.compareAndSet(anna, version, turn % 3 ? logout(1000) : login(1000)), true)
    }
  }),

  rule('a login keeps the time of the last logout, a logout the time of the last activity', async ({ store, set }) => {
    await set(anna, 'logged_in')
    await write(store, anna, login(1000))
    await write(store, anna, logout(2000))
    assert.deepEqual(withoutVersion(await present(store, anna)), { status: 'logged_out', loggedOutAt: 2000, lastSeenAt: 1000 })
    await write(store, anna, login(3000))
    assert.deepEqual(withoutVersion(await present(store, anna)), { status: 'logged_in', loggedOutAt: 2000, lastSeenAt: 3000 })
  }),

  rule('a node with a slow clock moves neither time back', async ({ store, set }) => {
    await set(anna, 'logged_in')
    for (const change of [login(1000), logout(1000), login(900), logout(900)]) await write(store, anna, change)
    assert.deepEqual(withoutVersion(await present(store, anna)), { status: 'logged_out', loggedOutAt: 1000, lastSeenAt: 1000 })
  }),

  rule('compareAndSet never overwrites a state of the host\'s own', async ({ store, set }) => {
    for (const status of hostStates) {
      await set(anna, status)
      const before = await present(store, anna)
      assert.equal(before.status, status)
      assert.equal(await store.compareAndSet(anna, before.version, login(1000)), false, status)
      assert.equal(await store.compareAndSet(anna, before.version, logout(1000)), false, status)
      assert.deepEqual(await present(store, anna), before)
    }
  }),

  rule('a write that began before the host changed the state is refused', async ({ store, set }) => {
    await set(anna, 'logged_in')
    const { version } = await present(store, anna)
    await set(anna, 'suspended')
    await set(anna, 'logged_out')
    assert.equal(await store.compareAndSet(anna, version, login(1000)), false)
    assert.equal((await present(store, anna)).status, 'logged_out')
  }),

  rule('what get gave stays as it was', async ({ store, set }) => {
    await set(anna, 'logged_in')
    const given = await store.get(anna)
    const copy = facts(given)
    await write(store, anna, logout(1000))
    assert.equal((await present(store, anna)).status, 'logged_out')
    assert.deepEqual(facts(given), copy)
  }),

  rule('two users are two users, however alike their ids look', async ({ store, set }) => {
    for (const user of lookAlikes) {
      assert.equal(await store.get(user), undefined, JSON.stringify(user))
      await set(user, 'logged_in')
    }
    await write(store, anna, logout(1000))
    const out = (store.logOut === undefined) ? [anna] : [anna, berta]
    await store.logOut?.(berta, { at: 1000, requestId: 'r' })
    for (const user of lookAlikes) {
      const expected = out.some(({ tenant, subject }) => user.tenant === tenant && user.subject === subject)
      assert.equal((await present(store, user)).status, expected ? 'logged_out' : 'logged_in', JSON.stringify(user))
    }
  }),

  rule('an id is refused or stored, never interpreted', async ({ store, set }) => {
    await set(anna, 'logged_in')
    await set({ tenant: '*', subject: '%' }, 'logged_in')
    const before = await present(store, anna)
    for (const id of hostileIds) {
      await refusedOrStored(store, { tenant: id, subject: anna.subject })
      await refusedOrStored(store, { tenant: anna.tenant, subject: id })
    }
    assert.deepEqual(await present(store, anna), before)
    assert.equal((await present(store, { tenant: '*', subject: '%' })).status, 'logged_in')
  }),

  ...userLogOutRules
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
