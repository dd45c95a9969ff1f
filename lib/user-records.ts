import type { Awaitable } from './awaitable.ts'
import type { UserKey } from './user-status-store.ts'

/**
 * What a host does to the users in a store that owns its records. No flow calls it.
 *
 * A write here is unconditional and changes the version: an activity or a logout that began before it is refused.
 */
export interface UserRecords {
  /**
   * Puts a user in, or moves them to any state (`suspended`, `terminated`, back to `logged_out`, ...), whatever the
   * present one is. The times of the last logout and the last activity stay.
   */
  set (user: UserKey, status: string): Awaitable<void>

  /** Forgets the user. A user who is not there is no error. */
  remove (user: UserKey): Awaitable<void>
}
