import type { FastifyReply } from 'fastify'
import t from 'tap'
import { logOutById, logOutByToken } from '../../../lib/internal/kratos/log-out.ts'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import type { LogoutEvent } from '../../../lib/logout-event.ts'
import type { Session } from '../../../lib/session-store.ts'

const in2100 = Date.UTC(2100, 0)
const live: Session = { id: 's1', subject: 'alice', status: 'active', createdAt: 5, expiresAt: in2100, keepUntil: in2100 }
const reply = {} as FastifyReply

/** A store with these sessions by their ids, which are their tokens, too. */
function storeOf (...stored: readonly Session[]) {
  const calls: unknown[] = []
  const events: LogoutEvent[] = []
  const found = (id: string) => stored.find(session => session.id === id)
  return {
    calls,
    events,
    ask: askWithin(100, 'aPlugin'),
    sessions: {
      logOut: async (token: string) => { calls.push(token); return found(token) },
      logOutById: async (query: { readonly id: string }) => { calls.push(query); return found(query.id) }
    },
    notify: (event: LogoutEvent) => { events.push(event) }
  }
}

t.test('a live session is logged out and the host is notified, once', async t => {
  const store = storeOf(live)
  t.equal(await logOutByToken(store, 's1', reply), true)
  t.equal(await logOutById(store, { spellings: ['s1'] }, reply), true)
  t.strictSame(store.calls, ['s1', { id: 's1' }])
  t.strictSame(store.events, [{ scope: 'session', session: live }, { scope: 'session', session: live }])
})

t.test('the host is not notified of a session that was logged out or expired before', async t => {
  for (const session of [{ ...live, status: 'logged_out' as const }, { ...live, expiresAt: 1 }]) {
    const store = storeOf(session)
    t.equal(await logOutByToken(store, 's1', reply), true)
    t.equal(await logOutById(store, { spellings: ['s1'] }, reply), true)
    t.strictSame(store.events, [])
  }
})

t.test('an unknown session is false', async t => {
  const store = storeOf()
  t.equal(await logOutByToken(store, 's1', reply), false)
  t.equal(await logOutById(store, { spellings: ['s1', 'S1'] }, reply), false)
  t.strictSame(store.calls, ['s1', { id: 's1' }, { id: 'S1' }])
  t.strictSame(store.events, [])
})

t.test('the spellings of an id are tried in order until one is found, for the subject only', async t => {
  const store = storeOf(live)
  t.equal(await logOutById(store, { spellings: ['S1', 's1', '{s1}'], subject: 'alice' }, reply), true)
  t.strictSame(store.calls, [{ id: 'S1', subject: 'alice' }, { id: 's1', subject: 'alice' }])
  t.equal(store.events.length, 1)
})
