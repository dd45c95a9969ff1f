import t from 'tap'

import { protectSessionStore, type ProtectableSessionStore } from '../../../lib/bridges/express-session.ts'
import { protectionOf, sessionMarkId } from '../../../lib/internal/revocation/protected-session-store.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const plain: ProtectableSessionStore = {
  get: (_id, callback) => callback(null, { user: 'alice' }),
  set: (_id, _session, callback) => callback(),
  destroy: (_id, callback) => callback()
}

t.test('a session source finds the protection of a protected store, and nothing on another store', async t => {
  const revocations = memoryRevocationStore()
  const credential = ({ user }: Record<string, unknown>) => ({ subject: String(user), issuedAt: 7 })
  const store = protectSessionStore(plain, revocations, { lifetime: 60_000, credential })
  const protection = protectionOf(store)
  t.equal(protection?.revocations, revocations)
  t.equal(protection?.lifetime, 60_000 + 3_600_000, 'an hour for requests that are still running')
  t.same(protection?.credentialOf('id', { user: 'alice' }), { subject: 'alice', issuedAt: 7, sessionId: sessionMarkId('id') })
  for (const other of [plain, {}, null, undefined, 'store', { ...store }]) t.equal(protectionOf(other), undefined)
})

t.test('the protection is not listed, cannot be changed, and is recognised by another copy of the package', async t => {
  const store = protectSessionStore(plain, memoryRevocationStore())
  t.notOk(Object.getOwnPropertySymbols(store).some(symbol => Object.prototype.propertyIsEnumerable.call(store, symbol)))
  t.throws(() => Object.assign(protectionOf(store) ?? {}, { lifetime: 1 }), TypeError)
  type Module = typeof import('../../../lib/internal/revocation/protected-session-store.ts')
  const copy = await t.mockImport<Module>('../../../lib/internal/revocation/protected-session-store.ts')
  t.ok(copy.protectionOf(store))
  t.equal(protectionOf(Object.create(store)), protectionOf(store), 'a store that inherits from it is protected')
})

t.test('removing a session from the store resolves, or rejects when the store fails', async t => {
  const removed: string[] = []
  const good = protectSessionStore({ ...plain, destroy: (id, callback) => { removed.push(id); callback() } }, memoryRevocationStore())
  await protectionOf(good)?.remove('id')
  t.same(removed, ['id'])
  const down: ProtectableSessionStore = { ...plain, destroy: (_id, callback) => setImmediate(callback, new Error('down')) }
  const faulty = protectSessionStore(down, memoryRevocationStore())
  const outage = { name: 'Outage', message: 'store.destroy failed', cause: { message: 'down' } }
  await t.rejects(Promise.resolve(protectionOf(faulty)?.remove('id')), outage)
})

t.test('in marks, a session is known by the digest of its id', async t => {
  t.equal(sessionMarkId('a secret id'), tokenDigest('a secret id'))
})
