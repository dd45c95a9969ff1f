import assert from 'node:assert/strict'

import type { Awaitable } from '../../awaitable.ts'
import type { StatusChange, UserKey, UserStatus, UserStatusStore } from '../../user-status-store.ts'
import type { Rule } from './rule.ts'

/** A store under test, without any user in it. */
export interface UserStatusFixture {
  readonly store: UserStatusStore
  /** Puts the user in with this status, or changes it: what the host itself does when it suspends somebody. */
  set (user: UserKey, status: string): Awaitable<void>
}

/** Gives a fresh, empty store each time it is called. */
export type MakeUserStatusStore = () => Awaitable<UserStatusFixture>

/** The user whom most rules are about. */
export const alice: UserKey = { tenant: 'acme', subject: 'alice' }
/** Another user of the same tenant. */
export const bob: UserKey = { tenant: 'acme', subject: 'bob' }

/** States that are the host's own, look-alikes of ours included. */
export const hostStates = ['suspended', 'terminated', 'blocked', 'pending', 'LOGGED_IN', 'logged_in ', 'logged_outs', 'constructor']

/** Activity at this time. */
export function login (at: number): StatusChange {
  return { status: 'logged_in', at, requestId: 'r' }
}

/** A logout at this time. */
export function logout (at: number): StatusChange {
  return { status: 'logged_out', at, requestId: 'r' }
}

/** The facts of a user who must be there. */
export async function present (store: UserStatusStore, user: UserKey): Promise<UserStatus> {
  return facts(await store.get(user))
}

/** The record without anything else that a store may hand out with it. */
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

/** What can be compared across writes. */
export function withoutVersion ({ status, loggedOutAt, lastSeenAt }: UserStatus) {
  return { status, loggedOutAt, lastSeenAt }
}

/** Starts all at once, and resolves their answers in order. */
export function parallel<T> (count: number, act: (index: number) => Awaitable<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, async (_, index) => act(index)))
}

/** A rule that gets a fresh store. */
export function rule (name: string, check: (fixture: UserStatusFixture) => Promise<void>): Rule<MakeUserStatusStore> {
  return { name, check: async make => check(await make()) }
}
