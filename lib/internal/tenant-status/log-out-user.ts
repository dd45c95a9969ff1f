import { Outage, type Ask } from '../plugin/ask.ts'
import type { StatusChange, UserKey, UserStatus, UserStatusStore } from '../../user-status-store.ts'

/** How often to try when other writes to the record get in between. */
const attempts = 5

/**
 * Logs a user out, in one round trip where the store can: the record as it was before. A user who is neither logged in
 * nor logged out is left alone.
 *
 * @throws {Outage} when the store fails, and when other writes got in between too often
 */
export async function logOutUser (users: UserStatusStore, user: UserKey, change: Omit<StatusChange, 'status'>, ask: Ask): Promise<UserStatus | undefined> {
  const { at, requestId } = change
  if (users.logOut !== undefined) return ask('users.logOut', () => users.logOut?.(user, { at, requestId }))

  for (let attempt = 1; attempt <= attempts; attempt++) {
    const before = await ask('users.get', () => users.get(user))
    if (before?.status !== 'logged_in' && before?.status !== 'logged_out') return before
    if (before.status === 'logged_out' && attempt > 1) return before
    if (await ask('users.compareAndSet', () => users.compareAndSet(user, before.version, { status: 'logged_out', at, requestId }))) return before
  }
  throw new Outage('users.compareAndSet', new Error(`other writes got in between ${attempts} times`))
}
