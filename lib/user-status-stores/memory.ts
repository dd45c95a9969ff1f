import type { Immediate } from '../awaitable.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { userKeyOf } from '../internal/records/user-key.ts'
import type { StatusChange, UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** How much {@link memoryUserStatusStore} may hold. */
export interface MemoryUserStatusStoreOptions {
  /**
   * The most users. One more is refused with an error: forgetting somebody instead could let a suspended user come back
   * as a new one.
   * @default 100000
   */
  readonly maxUsers?: number | undefined
}

/** {@link memoryUserStatusStore}. It returns plain values, never a promise. */
export interface MemoryUserStatusStore extends Immediate<Required<UserStatusStore> & UserRecords> {}

/**
 * Keeps the status of users in this process: for tests, and for hosts with one process that put their users in at start.
 * It runs no timers and never forgets a user by itself.
 *
 * @throws {TypeError} when `maxUsers` is not a positive integer.
 * @example
 * ```ts
 * import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
 *
 * const users = memoryUserStatusStore({ maxUsers: 10_000 })
 * users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * users.get({ tenant: 'acme', subject: 'alice' })?.status // 'logged_in'
 * ```
 */
export function memoryUserStatusStore (options: MemoryUserStatusStoreOptions = {}): MemoryUserStatusStore {
  const users: Users = { most: resolveOptions(options).maxUsers, byKey: new Map(), writes: 0 }

  return {
    get: user => users.byKey.get(userKeyOf(user)),

    compareAndSet (user, expected, change) {
      const key = userKeyOf(user)
      const before = users.byKey.get(key)
      const after = changed(before, change)
      if (before?.version !== expected || !isOurs(before)) return false
      write(users, key, after)
      return true
    },

    logOut (user, change) {
      const key = userKeyOf(user)
      const before = users.byKey.get(key)
      const after = changed(before, loggedOut(change))
      if (before !== undefined && isOurs(before)) write(users, key, after)
      return before
    },

    set (user, status) {
      const key = userKeyOf(user)
      write(users, key, { ...users.byKey.get(key), status })
    },

    remove (user) {
      users.byKey.delete(userKeyOf(user))
    }
  }
}

function resolveOptions ({ maxUsers = 100_000 }: MemoryUserStatusStoreOptions) {
  if (!Number.isSafeInteger(maxUsers) || maxUsers < 1) {
    throw new TypeError('memoryUserStatusStore: option "maxUsers" must be a positive integer')
  }
  return { maxUsers }
}

interface Users {
  readonly most: number
  readonly byKey: Map<string, UserStatus>
  /** The next version: never one that was given before, whatever was removed. */
  writes: number
}

function write (users: Users, key: string, { status, loggedOutAt, lastSeenAt }: Omit<UserStatus, 'version'>): void {
  if (!users.byKey.has(key) && users.byKey.size >= users.most) {
    throw new Error(`memoryUserStatusStore is full (${users.most} users): raise maxUsers, or remove users`)
  }
  users.writes += 1
  users.byKey.set(key, Object.freeze({ status, version: users.writes, loggedOutAt, lastSeenAt }))
}

/** Whether the library may write the record: it is new, or its status is not one of the host's own. */
function isOurs (record: UserStatus | undefined): boolean {
  return record === undefined || record.status === 'logged_in' || record.status === 'logged_out'
}

function changed (before: UserStatus | undefined, change: StatusChange): Omit<UserStatus, 'version'> {
  const { at } = checkedChange(change)
  const { loggedOutAt, lastSeenAt } = before ?? {}
  return change.status === 'logged_out'
    ? { status: change.status, loggedOutAt: latest(loggedOutAt, at), lastSeenAt }
    : { status: change.status, loggedOutAt, lastSeenAt: latest(lastSeenAt, at) }
}

/** Members are written out: V8 gives an object that begins with a spread a new hidden class each time. */
function loggedOut ({ at, requestId }: Omit<StatusChange, 'status'>): StatusChange {
  return { status: 'logged_out', at, requestId }
}

function latest (known: number | undefined, at: number): number {
  return Math.max(known ?? at, at)
}
