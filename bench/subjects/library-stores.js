// The library's own stores, opened at the same servers as the hand-written tables.
import { hash } from 'node:crypto'
import { openClient } from './clients.js'

const many = 100_000_000

/** Opens the library's session store of this kind. */
export async function sessionStore (store) {
  return open(`../../dist/session-stores/${store.kind}.js`, `${store.kind}SessionStore`, store, { maxSessions: many })
}

/** Opens the library's user-status store of this kind. */
export async function userStatusStore (store) {
  return open(`../../dist/user-status-stores/${store.kind}.js`, `${store.kind}UserStatusStore`, store, { maxUsers: many })
}

/** Opens the library's revocation store of this kind. */
export async function revocationStore (store) {
  return open(`../../dist/revocation-stores/${store.kind}.js`, `${store.kind}RevocationStore`, store)
}

async function open (file, name, store, memoryOptions) {
  const { [name]: make } = await import(file)
  if (store.kind === 'memory') return make(memoryOptions)
  const client = await openClient(store)
  const made = store.named ? make(naming(client), { batch: true }) : make(client)
  await made.migrate?.()
  return made
}

/** Names each statement, for connections that are the server's own. */
function naming (pool) {
  return { query: (text, values) => pool.query({ name: hash('sha1', text), text, ...values && { values } }) }
}
