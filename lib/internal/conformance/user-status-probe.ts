import assert from 'node:assert/strict'

import type { Awaitable } from '../../awaitable.ts'
import type { StatusChange, UserKey, UserStatus, UserStatusStore } from '../../user-status-store.ts'
import type { Rule } from './rule.ts'

/** A store under test, without users. */
export interface UserStatusFixture {
  readonly store: UserStatusStore
  /** Sets the status of a user, and creates the user if there is none, as a host does when it suspends a user. */
  set (user: UserKey, status: string): Awaitable<void>
}

/** Returns a new, empty store each time. */
export type MakeUserStatusStore = () => Awaitable<UserStatusFixture>

/** The user of most rules. */
export const alice: UserKey = { tenant: 'acme', subject: 'alice' }
/** Another user of the same tenant. */
export const bob: UserKey = { tenant: 'acme', subject: 'bob' }

/** States that belong to the host. Some look like those of this package. */
export const hostStates = ['suspended', 'terminated', 'blocked', 'pending', 'LOGGED_IN', 'logged_in ', 'logged_outs', 'constructor']

/** An activity at this time. */
export function login (at: number): StatusChange {
  return { status: 'logged_in', at, requestId: 'r' }
}

/** A logout at this time. */
export function logout (at: number): StatusChange {
  return { status: 'logged_out', at, requestId: 'r' }
}

/** The record of a user who must exist. */
export async function present (store: UserStatusStore, user: UserKey): Promise<UserStatus> {
  return facts(await store.get(user))
}

/** The record without other members that a store may return with it. */
export function facts (record: UserStatus | undefined): UserStatus {
  assert.ok(record, 'the user is there')
  const { status, version, loggedOutAt, lastSeenAt } = record
  return { status, version, loggedOutAt, lastSeenAt }
}

/** Writes a change that must succeed. */
export async function write (store: UserStatusStore, user: UserKey, change: StatusChange): Promise<void> {
  const { version } = await present(store, user)
  assert.equal(await store.compareAndSet(user, version, change), true)
}

/** The members that can be compared across writes. */
export function withoutVersion ({ status, loggedOutAt, lastSeenAt }: UserStatus) {
  return { status, loggedOutAt, lastSeenAt }
}

/** Starts all calls at once, and resolves to their results in order. */
export function parallel<T> (count: number, act: (index: number) => Awaitable<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, async (_, index) => act(index)))
}

/** A rule that is called with a new store. */
export function rule (name: string, check: (fixture: UserStatusFixture) => Promise<void>): Rule<MakeUserStatusStore> {
  return { name, check: async make => check(await make()) }
}
