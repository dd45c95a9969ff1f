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
  const { maxUsers } = resolveOptions(options)
  const users = new Map<string, UserStatus>()
  let writes = 0

  function write (key: string, before: UserStatus | undefined, after: Omit<UserStatus, 'version'>): void {
    if (before === undefined && users.size >= maxUsers) {
      throw new Error(`memoryUserStatusStore is full (${maxUsers} users): raise maxUsers, or remove users`)
    }
    writes += 1
    users.set(key, Object.freeze({ status: after.status, version: writes, loggedOutAt: after.loggedOutAt, lastSeenAt: after.lastSeenAt }))
  }

  return {
    get: user => users.get(userKeyOf(user)),

    compareAndSet (user, expected, change) {
      const key = userKeyOf(user)
      const before = users.get(key)
      const after = changed(before, change)
      if (before?.version !== expected || !isOurs(before)) return false
      write(key, before, after)
      return true
    },

    logOut (user, change) {
      const key = userKeyOf(user)
      const before = users.get(key)
      const after = changed(before, { ...change, status: 'logged_out' })
      if (before !== undefined && isOurs(before)) write(key, before, after)
      return before
    },

    set (user, status) {
      const key = userKeyOf(user)
      const before = users.get(key)
      write(key, before, { ...before, status })
    },

    remove (user) {
      users.delete(userKeyOf(user))
    }
  }
}

function resolveOptions ({ maxUsers = 100_000 }: MemoryUserStatusStoreOptions) {
  if (!Number.isSafeInteger(maxUsers) || maxUsers < 1) {
    throw new TypeError('memoryUserStatusStore: option "maxUsers" must be a positive integer')
  }
  return { maxUsers }
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

function latest (known: number | undefined, at: number): number {
  return Math.max(known ?? at, at)
}
