import type { Awaitable } from './awaitable.ts'

/** A user of a tenant: the same subject in another tenant is somebody else. */
export interface UserKey {
  readonly tenant: string
  readonly subject: string
}

/** Changes with every write to the record; compared, never interpreted. */
export type Version = string | number

/** What a store knows about a user. Times are epoch milliseconds. */
export interface UserStatus {
  /**
   * `logged_in`, `logged_out`, or a state of the host's own (`suspended`, `terminated`, ...), which the library never
   * overwrites.
   */
  readonly status: string
  readonly version: Version
  /** The last logout. It stays after a later login: tokens issued before it may be refused. */
  readonly loggedOutAt?: number | undefined
  /** The last recorded activity. */
  readonly lastSeenAt?: number | undefined
}

/** A change of status. */
export interface StatusChange {
  readonly status: 'logged_in' | 'logged_out'
  /** When, in whole epoch milliseconds. Becomes `loggedOutAt` of a logout, `lastSeenAt` of a login. */
  readonly at: number
  /** The request that caused it, for the host's own records. */
  readonly requestId: string
}

/**
 * Where the status of users lives. A rejection means "could not tell", or misuse.
 *
 * An id that a host in plain JavaScript gives as a number is refused with a `TypeError`, or taken for its text: tenant 1
 * with user 23 is never tenant 12 with user 3.
 *
 * @see `userStatusStoreRules` of `fastify-logout/conformance/user-status-store`: these promises as tests.
 * @example
 * ```ts
 * import type { UserKey, UserStatus, UserStatusStore } from 'fastify-logout'
 *
 * // A table of the host's own, here in memory.
 * const rows = new Map<string, UserStatus & { version: number }>()
 * const keyOf = ({ tenant, subject }: UserKey) => JSON.stringify([`${tenant}`, `${subject}`])
 *
 * export const users: UserStatusStore = {
 *   get: user => rows.get(keyOf(user)),
 *   compareAndSet (user, expected, { status, at }) {
 *     const before = rows.get(keyOf(user))
 *     const isOurs = before === undefined || before.status === 'logged_in' || before.status === 'logged_out'
 *     if (before?.version !== expected || !isOurs) return false
 *     const time = status === 'logged_out' ? 'loggedOutAt' : 'lastSeenAt'
 *     const version = (before?.version ?? 0) + 1
 *     rows.set(keyOf(user), { ...before, status, version, [time]: Math.max(before?.[time] ?? at, at) })
 *     return true
 *   }
 * }
 * ```
 */
export interface UserStatusStore {
  /** The record of this user, or `undefined` (not `null`) if there is none. */
  get (user: UserKey): Awaitable<UserStatus | undefined>

  /**
   * Writes the change if the record still has the expected version. `expected: undefined` creates a record that must not
   * exist yet. Resolves to `false` on a conflict. Of many concurrent calls with one version exactly one resolves to `true`.
   */
  compareAndSet (user: UserKey, expected: Version | undefined, change: StatusChange): Awaitable<boolean>

  /**
   * Optional, for one round trip per logout: atomically moves `logged_in` or `logged_out` to `logged_out`, leaves every
   * other state alone, and resolves to the record **as it was before** (`undefined`: no such user). The version changes with
   * every logout, also of a user who is logged out already. Without it, the flow uses `get` and `compareAndSet`.
   */
  logOut? (user: UserKey, change: Omit<StatusChange, 'status'>): Awaitable<UserStatus | undefined>
}

/**
 * What a host does to the users in a store that owns its records. No flow calls these methods.
 *
 * A write here is unconditional and changes the version: an activity or a logout that began before it is refused.
 *
 * @example
 * ```ts
 * import type { UserRecords } from 'fastify-logout'
 * import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
 *
 * const users: UserRecords = memoryUserStatusStore()
 * await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * await users.set({ tenant: 'acme', subject: 'mallory' }, 'suspended')
 * await users.remove({ tenant: 'acme', subject: 'bob' })
 * ```
 */
export interface UserRecords {
  /**
   * Stores a user, or moves a user to any state (`suspended`, `terminated`, back to `logged_out`, ...), whatever the
   * current one is. The times of the last logout and the last activity stay.
   */
  set (user: UserKey, status: string): Awaitable<void>

  /** Deletes the user. Deleting an unknown user is not an error. */
  remove (user: UserKey): Awaitable<void>
}
