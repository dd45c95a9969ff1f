import type { UserStatusStore } from '../../lib/user-status-store.ts'

/** Each call through the next client: the parallel calls of a rule come from several nodes. */
export function spread (stores: readonly UserStatusStore[]): UserStatusStore {
  let calls = 0
  const next = () => stores[calls++ % stores.length] as Required<UserStatusStore>
  return {
    get: user => next().get(user),
    compareAndSet: (...args) => next().compareAndSet(...args),
    logOut: (...args) => next().logOut(...args)
  }
}
