import assert from 'node:assert/strict'

import type { Awaitable } from '../awaitable.ts'
import type { UserKey, UserStatus } from '../user-status-store.ts'
import type { Rule } from './rule.ts'
import { anna, facts, hostStates, login, parallel, present, rule, withoutVersion, write } from './user-status-probe.ts'
import type { MakeUserStatusStore, UserStatusFixture } from './user-status-probe.ts'

/** The promises of the optional `logOut`. They are among the `userStatusStoreRules`. */
export const userLogOutRules: ReadonlyArray<Rule<MakeUserStatusStore>> = [
  logOutRule('logOut of an unknown user is undefined and creates nobody', async ({ logOut, store }) => {
    assert.equal(await logOut(anna, 1000), undefined)
    assert.equal(await store.get(anna), undefined)
  }),

  logOutRule('logOut resolves the record as it was before', async ({ logOut, store, set }) => {
    await set(anna, 'logged_in')
    await write(store, anna, login(500))
    const before = await present(store, anna)
    assert.deepEqual(facts(await logOut(anna, 1000)), before)
    const after = await present(store, anna)
    assert.deepEqual(withoutVersion(after), { status: 'logged_out', loggedOutAt: 1000, lastSeenAt: 500 })
    assert.deepEqual(facts(await logOut(anna, 2000)), after)
  }),

  logOutRule('every logOut changes the version and moves the time of the last logout on', async ({ logOut, store, set }) => {
    await set(anna, 'logged_in')
    const versions = [(await present(store, anna)).version]
    for (const [at, expected] of [[1000, 1000], [3000, 3000], [2000, 3000]] as const) {
      await logOut(anna, at)
      const { version, loggedOutAt } = await present(store, anna)
      versions.push(version)
      assert.equal(loggedOutAt, expected)
    }
    assert.equal(new Set(versions).size, 4)
  }),

  logOutRule('an activity that began before logOut is refused', async ({ logOut, store, set }) => {
    await set(anna, 'logged_in')
    for (let turn = 0; turn < 2; turn++) {
      const { version } = await present(store, anna)
      await logOut(anna, 1000)
      assert.equal(await store.compareAndSet(anna, version, login(2000)), false)
      assert.equal((await present(store, anna)).status, 'logged_out')
    }
  }),

  logOutRule('logOut leaves a state of the host\'s own alone', async ({ logOut, store, set }) => {
    for (const status of hostStates) {
      await set(anna, status)
      const before = await present(store, anna)
      assert.deepEqual(facts(await logOut(anna, 1000)), before)
      assert.deepEqual(await present(store, anna), before)
    }
  }),

  logOutRule('of 50 parallel logOut exactly one sees the user logged in', async ({ logOut, set }) => {
    await set(anna, 'logged_in')
    const before = await parallel(50, i => logOut(anna, 1000 + i))
    assert.equal(before.filter(record => record?.status === 'logged_in').length, 1)
    assert.equal(before.filter(record => record?.status === 'logged_out').length, 49)
  }),

  logOutRule('logOut against logins loses no update', async ({ logOut, store, set }) => {
    await set(anna, 'logged_in')
    let logins = 1
    let logouts = 0
    await parallel(20, async worker => {
      for (let turn = 0; turn < 5; turn++) {
        if (worker % 2) {
          if ((await logOut(anna, 1000))?.status === 'logged_in') logouts += 1
          continue
        }
        const { status, version } = await present(store, anna)
        if (status === 'logged_out' && await store.compareAndSet(anna, version, login(1000))) logins += 1
      }
    })
    const { status } = await present(store, anna)
    assert.equal(logins - logouts, status === 'logged_in' ? 1 : 0)
  })
]

type LogOutFixture = UserStatusFixture & { logOut (user: UserKey, at: number): Awaitable<UserStatus | undefined> }

/** A rule for the optional `logOut`: a store that lacks it has nothing to break. */
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
