import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import { memoryUserStatusStore } from '../../lib/user-status-stores/memory.ts'
import { keepsUserRecords } from './user-records.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const bob = { tenant: 'acme', subject: 'bob' }

for (const rule of userStatusStoreRules) {
  t.test(rule.name, () => rule.check(() => {
    const store = memoryUserStatusStore()
    return { store, set: store.set }
  }))
}

t.test('it returns plain values, never a promise', async t => {
  const store = memoryUserStatusStore()
  t.equal(store.set(alice, 'logged_in'), undefined)
  t.equal(store.get(alice)?.status, 'logged_in')
  t.equal(store.compareAndSet(alice, store.get(alice)?.version, { status: 'logged_in', at: 1, requestId: 'r' }), true)
  t.equal(store.logOut(alice, { at: 2, requestId: 'r' })?.status, 'logged_in')
})

t.test('a record cannot be changed from outside', async t => {
  const store = memoryUserStatusStore()
  store.set(alice, 'suspended')
  t.throws(() => Object.assign(store.get(alice) ?? {}, { status: 'logged_in' }), TypeError)
  t.equal(store.get(alice)?.status, 'suspended')
})

t.test('set keeps the times, remove forgets only its user, and an old version never fits a new record', async t => {
  await keepsUserRecords(t, memoryUserStatusStore())
})

t.test('when it is full it refuses a new user and keeps the others', async t => {
  const store = memoryUserStatusStore({ maxUsers: 1 })
  store.set(alice, 'suspended')
  t.throws(() => store.set(bob, 'logged_in'), /full \(1 users\): raise maxUsers/)
  t.throws(() => store.compareAndSet(bob, undefined, { status: 'logged_in', at: 1, requestId: 'r' }), /full/)
  store.set(alice, 'logged_in')
  t.equal(store.logOut(alice, { at: 1, requestId: 'r' })?.status, 'logged_in')
  t.equal(store.get(bob), undefined)
  store.remove(alice)
  store.set(bob, 'logged_in')
  t.equal(store.get(bob)?.status, 'logged_in')
})

t.test('it accepts 100,000 users by default', async t => {
  const store = memoryUserStatusStore()
  for (let i = 0; i < 100_000; i++) store.set({ tenant: 'acme', subject: `${i}` }, 'logged_in')
  t.throws(() => store.set(alice, 'logged_in'), /full/)
})

t.test('a wrong maxUsers is a TypeError that names it', async t => {
  for (const maxUsers of [0, -1, 1.5, NaN, Infinity, '10']) {
    t.throws(() => memoryUserStatusStore({ maxUsers: maxUsers as number }), { name: 'TypeError', message: /maxUsers/ })
  }
})
