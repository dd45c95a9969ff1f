import type { SessionStore } from '../../lib/session-store.ts'

/** Each call through the next client: the parallel calls of a rule come from several nodes. */
export function spread (stores: readonly SessionStore[]): SessionStore {
  let calls = 0
  const next = () => stores[calls++ % stores.length] as SessionStore
  return {
    create: (...args) => next().create(...args),
    find: token => next().find(token),
    logOut: token => next().logOut(token),
    logOutById: query => next().logOutById(query),
    logOutSubject: query => next().logOutSubject(query),
    list: page => next().list(page)
  }
}
