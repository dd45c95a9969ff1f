import type { Awaitable } from '../../awaitable.ts'
import type { StatusChange, UserKey, UserStatus, UserStatusStore } from '../../user-status-store.ts'
import { Outage, type Ask } from '../plugin/ask.ts'

/** How often to try if other writes change the record in the meantime. */
const attempts = 5

/** A user to log out. */
export interface UserLogout extends UserKey, Omit<StatusChange, 'status'> {}

/**
 * Logs a user out, in one round trip if the store has `logOut`. Resolves to the record as it was before. A user in another
 * state than logged in or logged out is left alone.
 *
 * `finish` is called once with that record when the store confirms the logout, even if that is after the timeout.
 *
 * @throws {Outage} if the store fails, or if other writes changed the record on every attempt
 */
export async function logOutUser (
  { users, ask }: { readonly users: UserStatusStore, readonly ask: Ask },
  { tenant, subject, at, requestId }: UserLogout,
  finish: (before: UserStatus | undefined) => Awaitable<unknown>
): Promise<UserStatus | undefined> {
  if (users.logOut !== undefined) return ask('users.logOut', () => users.logOut?.({ tenant, subject }, { at, requestId }), finish)

  for (let attempt = 1; attempt <= attempts; attempt++) {
    const before = await ask('users.get', () => users.get({ tenant, subject }))
    if (!isKnown(before) || (before.status === 'logged_out' && attempt > 1)) {
      await finish(before)
      return before
    }
    const change: StatusChange = { status: 'logged_out', at, requestId }
    const write = () => users.compareAndSet({ tenant, subject }, before.version, change)
    if (await ask('users.compareAndSet', write, written => written ? finish(before) : undefined)) return before
  }
  throw new Outage('users.compareAndSet', new Error(`other writes changed the record during each of ${attempts} attempts`))
}

/** Whether the record is in a state that logging out may change. */
export function isKnown (record: UserStatus | undefined): record is UserStatus {
  return record?.status === 'logged_in' || record?.status === 'logged_out'
}
