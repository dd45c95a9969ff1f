import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { NewSession } from '../../lib/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'

for (const rule of sessionStoreRules) {
  t.test(rule.name, () => rule.check(() => memorySessionStore()))
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const hour = 3_600_000

function session (given: Partial<NewSession> = {}): NewSession {
  const now = Date.now()
  return { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour, ...given }
}

t.test('a full store refuses, and ends nobody\'s session to make room, logged out or not', async t => {
  const store = memorySessionStore({ maxSessions: 2 })
  store.create('one', session())
  store.create('two', session())
  store.logOut('two')
  t.throws(() => store.create('three', session()), { message: 'the session store is full: maxSessions is 2' })
  t.equal((await store.find('one'))?.status, 'active')
  t.equal((await store.find('two'))?.status, 'logged_out')
  t.equal(store.find('three'), undefined)
})

t.test('a full store replaces sessions that it may forget with new ones', async t => {
  const past = Date.now() - 10
  const store = memorySessionStore({ maxSessions: 50 })
  store.create('kept', session())
  for (let index = 0; index < 1000; index++) store.create(`${index}`, session({ expiresAt: 0, keepUntil: past - (index * 7) % 100 }))
  store.create('live', session())
  t.equal((await store.find('kept'))?.status, 'active')
  t.equal((await store.find('live'))?.status, 'active')
})

t.test('each creation removes a few forgotten sessions, and more when its token or id is in use', async t => {
  const soon = Date.now() + 500
  const store = memorySessionStore({ maxSessions: 200 })
  for (let index = 0; index < 200; index++) store.create(`${index}`, session({ expiresAt: 0, keepUntil: soon }))
  t.throws(() => store.create('early', session()), /full/)
  await sleep(510)
  t.equal(store.find('100'), undefined)
  for (const token of ['late', '50', '100', '150']) {
    store.create(token, session())
    t.equal((await store.find(token))?.status, 'active')
  }
})

/** What a store holds, as a plain list: every call looks at all sessions. */
function plainStore () {
  let sessions: Array<NewSession & { token: string, isActive: boolean }> = []
  const kept = () => { sessions = sessions.filter(each => each.keepUntil > Date.now()) }
  const liveOf = (subject: string, except?: string) =>
    sessions.filter(each => each.subject === subject && each.isActive && each.expiresAt > Date.now() && each.id !== except)
  return {
    create (token: string, created: NewSession) {
      kept()
      if (sessions.some(each => each.token === token || each.id === created.id)) throw new Error('taken')
      sessions.push({ ...created, token, isActive: true })
    },
    logOut (by: { token?: string, id?: string }) {
      kept()
      const found = sessions.find(each => each.token === by.token || each.id === by.id)
      const status = found && (found.isActive ? 'active' : 'logged_out')
      if (found !== undefined) found.isActive = false
      return status
    },
    logOutSubject (subject: string, except: string | undefined) {
      kept()
      const count = liveOf(subject, except).length
      for (const each of sessions) if (each.subject === subject && each.id !== except) each.isActive = false
      return count
    },
    list (subject: string, limit: number) {
      kept()
      return liveOf(subject).sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1)).slice(0, limit).map(({ id }) => id)
    }
  }
}

t.test('after any calls it holds what a plain list would hold', async t => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  let [time, random] = [now(), 1]
  const below = (count: number) => {
    random = random * 48_271 % 2_147_483_647
    return random % count
  }
  Date.now = () => time
  const [store, plain] = [memorySessionStore(), plainStore()]
  const outcome = (act: () => unknown) => { try { return act() } catch { return 'refused' } }
  for (let step = 0; step < 20_000; step++) {
    time += below(4)
    const [name, subject, except] = [`${below(12)}`, `subject ${below(3)}`, [undefined, `id ${below(12)}`][below(2)]]
    const created = { id: `id ${name}`, subject, createdAt: time, expiresAt: time + below(60), keepUntil: time + 60 + below(60) }
    const [ours, theirs] = [
      () => [outcome(() => store.create(name, created)), outcome(() => plain.create(name, created))],
      () => [store.logOut(name)?.status, plain.logOut({ token: name })],
      () => [store.logOutById({ id: `id ${name}` })?.status, plain.logOut({ id: `id ${name}` })],
      () => [store.logOutSubject({ subject, except, count: true }), plain.logOutSubject(subject, except)],
      () => [store.list({ subject, limit: 3 }).map(({ id }) => id), plain.list(subject, 3)]
    ][below(20) < 10 ? 0 : 1 + below(4)]?.() ?? []
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) t.strictSame(ours, theirs, `step ${step}`)
  }
  t.pass('20,000 calls')
})

t.test('forgotten sessions leave nothing behind, whether they were logged out, expired, or ended with their subject', async t => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  let time = now()
  Date.now = () => time
  const store = memorySessionStore()
  const ends = [() => {}, (token: string) => store.logOut(token), (_: string, subject: string) => store.logOutSubject({ subject })]
  const logInOften = (count: number) => {
    for (let index = 0; index < count; index++) {
      const subject = index % 2 === 0 ? 'alice' : `subject ${index}`
      store.create(`${index}`, { id: `${index}`, subject, createdAt: time, expiresAt: time + 1, keepUntil: time + 1 })
      ends[index % 3]?.(`${index}`, subject)
      time += 2
    }
  }
  const used = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  logInOften(1000)
  const before = used()
  logInOften(60_000)
  const grown = used() - before
  t.ok(grown < 1.5e6, `${grown} bytes`)
})

t.test('it returns plain values, never a promise', async t => {
  const store = memorySessionStore()
  t.equal(store.create('token', session({ id: 'id' })), undefined)
  const answers = [store.find('token'), store.logOutById({ id: 'id' }), store.logOut('token'), store.list({ subject: 'alice', limit: 1 })]
  for (const answer of answers) t.notMatch(answer, { then: Function })
  t.equal(store.logOutSubject({ subject: 'alice', count: true }), 0)
})

t.test('a maxSessions that is not a positive integer is refused', async t => {
  for (const maxSessions of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => memorySessionStore({ maxSessions }), {
      name: 'TypeError', message: 'memorySessionStore: option "maxSessions" must be a positive integer'
    })
  }
})
