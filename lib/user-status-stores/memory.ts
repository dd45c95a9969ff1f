import type { Immediate } from '../awaitable.ts'
import type { StatusChange, UserKey, UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** How much {@link memoryUserStatusStore} may hold. */
export interface MemoryUserStatusStoreOptions {
  /**
   * The most users it takes in. One more is refused with an error: forgetting somebody instead could let a
   * suspended user come back as a new one.
   * @default 100000
   */
  readonly maxUsers?: number | undefined
}

/** {@link memoryUserStatusStore}. It answers with plain values, never with a promise. */
export interface MemoryUserStatusStore extends Immediate<Required<UserStatusStore> & UserRecords> {}

/**
 * Keeps the status of users in this process: for tests, and for hosts with one node that put their users in at start.
 * It holds no timers and never forgets a user by itself.
 *
 * @throws {TypeError} when `maxUsers` is no positive integer.
 */
export function memoryUserStatusStore (options: MemoryUserStatusStoreOptions = {}): MemoryUserStatusStore {
  const { maxUsers = 100_000 } = options
  if (!Number.isSafeInteger(maxUsers) || maxUsers < 1) {
    throw new TypeError('memoryUserStatusStore: maxUsers must be a positive integer')
  }
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
    get (user) {
      return users.get(keyOf(user))
    },

    compareAndSet (user, expected, change) {
      const key = keyOf(user)
      const before = users.get(key)
      if (before?.version !== expected || (before !== undefined && !isOurs(before))) return false
      write(key, before, changed(before, change))
      return true
    },

    logOut (user, { at, requestId }) {
      const key = keyOf(user)
      const before = users.get(key)
      if (before !== undefined && isOurs(before)) {
        write(key, before, changed(before, { status: 'logged_out', at, requestId }))
      }
      return before
    },

    set (user, status) {
      const key = keyOf(user)
      const before = users.get(key)
      write(key, before, { ...before, status })
    },

    remove (user) {
      users.delete(keyOf(user))
    }
  }
}

/** The length says where the tenant ends, whatever is in it. */
function keyOf ({ tenant, subject }: UserKey): string {
  return `${tenant.length}:${tenant}${subject}`
}

function isOurs ({ status }: UserStatus): boolean {
  return status === 'logged_in' || status === 'logged_out'
}

function changed (before: UserStatus | undefined, { status, at }: StatusChange): Omit<UserStatus, 'version'> {
  const { loggedOutAt, lastSeenAt } = before ?? {}
  return status === 'logged_out'
    ? { status, loggedOutAt: Math.max(loggedOutAt ?? at, at), lastSeenAt }
    : { status, loggedOutAt, lastSeenAt: Math.max(lastSeenAt ?? at, at) }
}
