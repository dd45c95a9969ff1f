import type { Test } from 'tap'
import type { UserRecords, UserStatusStore } from '../../lib/user-status-store.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const others = [{ tenant: 'acme', subject: 'bob' }, { tenant: 'umbrella', subject: 'alice' }]

/** How a store treats the records that a host writes: they are one user's only, and an old version never fits a new record. */
export async function keepsUserRecords (t: Test, store: UserStatusStore & UserRecords): Promise<void> {
  for (const user of others) await store.set(user, 'logged_in')
  await store.compareAndSet(alice, undefined, { status: 'logged_in', at: 1000, requestId: 'r-1' })
  await store.logOut?.(alice, { at: 2000, requestId: 'r-2' })
  await store.set(alice, 'suspended')
  t.match(await store.get(alice), { status: 'suspended', lastSeenAt: 1000, loggedOutAt: 2000 }, 'set keeps the times')
  const version = (await store.get(alice))?.version

  await store.remove(alice)
  await store.remove(alice)
  t.equal(await store.get(alice), undefined, 'remove forgets the user')
  for (const user of others) t.match(await store.get(user), { status: 'logged_in' }, 'and nobody else')

  await store.set(alice, 'logged_in')
  t.equal(await store.compareAndSet(alice, version, { status: 'logged_out', at: 3000, requestId: 'r-3' }), false)
  const anew = await store.get(alice)
  t.strictSame([anew?.status, anew?.lastSeenAt, anew?.loggedOutAt], ['logged_in', undefined, undefined], 'a new record is empty')
}
