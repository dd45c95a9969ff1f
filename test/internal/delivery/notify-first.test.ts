import t from 'tap'
import { notifyFirst, type SessionsEnd } from '../../../lib/index.ts'
import { memorySessionStore } from '../../../lib/session-stores/memory.ts'

const now = Date.now()
const session = (id: string) => ({ id, subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })

function withStore () {
  const store = memorySessionStore()
  const events: SessionsEnd[] = []
  const state = { isDown: false }
  const sessions = notifyFirst(store, async event => {
    if (state.isDown) throw new Error('planted')
    events.push(event)
  })
  return { store, sessions, events, state }
}

t.test('the queue has the message before the session ends; if it fails, nothing ends, and the retry notifies', async t => {
  const { store, sessions, events, state } = withStore()
  store.create('token', session('1'))
  state.isDown = true
  await t.rejects(async () => sessions.logOut('token'), { message: 'planted' })
  t.match(store.find('token'), { status: 'active' })
  state.isDown = false
  t.match(await sessions.logOut('token'), { id: '1', status: 'active' })
  t.match(events, [{ scope: 'session', session: { id: '1', subject: 'alice' } }])
  t.match(await sessions.logOut('token'), { status: 'logged_out' })
  t.equal(events.length, 2, 'a session that has ended already is notified of again')
  t.equal(await sessions.logOut('unknown'), undefined)
  t.equal(events.length, 2)
})

t.test('by id and by subject too', async t => {
  const { store, sessions, events, state } = withStore()
  for (const id of ['1', '2', '3', '4']) store.create(`token ${id}`, session(id))
  state.isDown = true
  await t.rejects(async () => sessions.logOutById({ id: '1', subject: 'alice' }), { message: 'planted' })
  await t.rejects(async () => sessions.logOutSubject({ subject: 'alice' }), { message: 'planted' })
  t.equal(store.list({ subject: 'alice', limit: 10 }).length, 4)
  state.isDown = false
  t.match(await sessions.logOutById({ id: '1', subject: 'alice' }), { id: '1' })
  t.match(await sessions.logOutById({ id: '2' }), { id: '2' })
  t.equal(await sessions.logOutSubject({ subject: 'alice', except: '3', count: true }), 1)
  await sessions.logOutSubject({ subject: 'alice' })
  t.strictSame(events, [
    { scope: 'session', session: { id: '1', subject: 'alice' } }, { scope: 'session', session: { id: '2' } },
    { scope: 'others', subject: 'alice' }, { scope: 'all', subject: 'alice' }
  ])
})

t.test('a source of the host keeps its other members and its this, and gets no methods that it lacks', async t => {
  class Source {
    readonly #sessions = new Map([['r1', { id: 7, subject: 'alice', tenant: 'acme' }]])
    readonly readsCookie = true
    forgotten = 0
    find (request: { readonly id: string }) { return this.#sessions.get(request.id) }
    logOut (request: { readonly id: string }) {
      const session = this.find(request)
      this.#sessions.delete(request.id)
      return session
    }

    forget () { this.forgotten += this.#sessions.size + 1 }
    logOutSubject (_query: { readonly subject: string, readonly tenant?: string }, request?: { readonly id: string }) { return request?.id }
  }
  const source = new Source()
  const events: SessionsEnd[] = []
  const wrapped = notifyFirst(source, event => { events.push(event) })
  t.match(await wrapped.logOut({ id: 'r1' }), { id: 7 })
  t.equal(await wrapped.logOut({ id: 'r1' }), undefined)
  wrapped.forget()
  t.equal(source.forgotten, 1)
  t.equal(wrapped.readsCookie, true)
  t.notOk('logOutById' in wrapped)
  t.equal(Object(wrapped)['logOutById'], undefined)
  t.equal(Object(wrapped)[Symbol.iterator], undefined)
  t.equal(await wrapped.logOutSubject({ subject: 'alice', tenant: 'acme' }, { id: 'r2' }), 'r2')
  t.strictSame(events, [
    { scope: 'session', session: { id: 7, subject: 'alice', tenant: 'acme' } }, { scope: 'all', subject: 'alice', tenant: 'acme' }
  ])
})

t.test('what cannot be wrapped is a TypeError', async t => {
  const message = 'notifyFirst: the sessions need the method "find"'
  for (const sessions of [undefined, {}, { logOut () {} }]) {
    t.throws(() => notifyFirst(sessions as never, () => {}), { name: 'TypeError', message })
  }
  t.throws(() => notifyFirst(memorySessionStore(), undefined as never), { name: 'TypeError', message: /second argument/ })
})
