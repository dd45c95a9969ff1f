import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import fc from 'fast-check'
import fastify, { type FastifyRequest } from 'fastify'
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createServer, get, type IncomingMessage } from 'node:http'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { protectSessionStore, type ProtectableSessionStore } from '../../lib/bridges/express-session.ts'
import type { Mark, RevocationStore, Verdict } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { tokenDigest } from '../../lib/token-digest.ts'
import { withRedis } from '../servers/redis.ts'

interface WithMap { readonly store: Map<string, unknown> }
interface WithEvents { on (event: string, listener: () => void): unknown, emit (event: string): unknown }

const { MemoryStore } = createRequire(import.meta.url)('@fastify/session') as { MemoryStore: new () => ProtectableSessionStore & WithMap }
const expressSession = createRequire(import.meta.url)('express-session') as {
  (options: object): (request: unknown, response: unknown, next: () => void) => void
  readonly MemoryStore: new () => ProtectableSessionStore & WithEvents
}
type Session = Record<string, unknown> & { sessionId: string, destroy (): Promise<void> }
const sessionOf = (request: FastifyRequest) => (request as unknown as { session: Session }).session

/** A host with the defaults of @fastify/session, and a route that is slow until told to end. */
async function host (t: Test, store: unknown) {
  const app = fastify()
  t.teardown(() => app.close())
  let finish = () => {}
  let begun = () => {}
  await app.register(fastifyCookie)
  await app.register(fastifySession, { secret: 'a secret of 32 characters at least', cookie: { secure: false }, store: store as never })
  app.post('/login', async request => {
    Object.assign(sessionOf(request), { user: 'alice', loggedInAt: Date.now() })
    return 'in'
  })
  app.post('/logout', async request => {
    await sessionOf(request).destroy()
    return 'out'
  })
  app.get('/slow', async request => {
    begun()
    await new Promise<void>(resolve => { finish = resolve })
    return sessionOf(request)['user']
  })
  app.get('/me', async request => sessionOf(request)['user'] ?? 'nobody')

  const login = async () => {
    const { cookies: [cookie] } = await app.inject({ method: 'POST', url: '/login' })
    return { cookie: `${cookie?.name}=${cookie?.value}` }
  }
  return {
    app,
    login,
    me: async (headers: { cookie: string }) => (await app.inject({ url: '/me', headers })).body,
    /** Logs out while another request of the session is running, which ends only afterwards. */
    async logOutDuringRequest (headers: { cookie: string }) {
      const started = new Promise<void>(resolve => { begun = resolve })
      const slow = app.inject({ url: '/slow', headers })
      await started
      const { statusCode } = await app.inject({ method: 'POST', url: '/logout', headers })
      finish()
      await slow
      return statusCode
    }
  }
}

t.test('@fastify/session without protection: a request in flight brings a logged-out session back', async t => {
  const { login, logOutDuringRequest, me } = await host(t, new MemoryStore())
  const alice = await login()
  t.equal(await logOutDuringRequest(alice), 200)
  t.equal(await me(alice), 'alice', 'when this fails the bug is fixed there: say so in the documentation')
})

t.test('with protection the session stays logged out', async t => {
  const store = new MemoryStore()
  const { login, logOutDuringRequest, me } = await host(t, protectSessionStore(store, memoryRevocationStore()))
  const [alice, other] = [await login(), await login()]
  t.equal(await me(alice), 'alice')
  t.equal(await logOutDuringRequest(alice), 200)
  const held = store.store.size
  t.equal(await me(alice), 'nobody')
  t.equal(await me(alice), 'nobody')
  t.equal(await me(other), 'alice', 'another session is another session')
  t.equal(held, 1, 'what the late request saved is gone from the store')
  const again = await login()
  t.equal(await me(again), 'alice', 'a new login works')
})

t.test('connect-redis without and with protection', t => withRedis(t, async ({ url }) => {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.destroy())
  const prefix = `test-${process.pid}-${Date.now()}:`

  const bare = await host(t, new RedisStore({ client, prefix }))
  const alice = await bare.login()
  t.equal(await bare.logOutDuringRequest(alice), 200)
  t.equal(await bare.me(alice), 'alice', 'when this fails the bug is fixed there: say so in the documentation')

  const revocations = redisRevocationStore(client, { prefix })
  const safe = await host(t, protectSessionStore(new RedisStore({ client, prefix }), revocations))
  const other = await safe.login()
  t.equal(await safe.me(other), 'alice')
  t.equal(await safe.logOutDuringRequest(other), 200)
  t.equal(await safe.me(other), 'nobody')
}))

t.test('one mark of a user revokes all earlier sessions, and later ones are live', async t => {
  const revocations = memoryRevocationStore()
  const { login, me } = await host(t, protectSessionStore(new MemoryStore(), revocations, {
    credential: ({ user, loggedInAt }) => ({ subject: user as string | undefined, issuedAt: loggedInAt as number | undefined })
  }))
  const [one, two] = [await login(), await login()]
  const kept = decodeURIComponent(two.cookie).replace(/^sessionId=([^.]*).*$/, '$1')
  const until = Date.now() + 3_600_000
  revocations.revoke({ subject: 'alice', cutoff: Date.now(), except: tokenDigest(kept), until })
  t.equal(await me(one), 'nobody')
  t.equal(await me(two), 'alice', 'the session that the mark excepts')
  await new Promise(resolve => setTimeout(resolve, 5))
  const three = await login()
  t.equal(await me(three), 'alice')
})

t.test('while the marks cannot be read or written, a session is neither found nor destroyed: the error has status 503', async t => {
  let down = false
  const good = memoryRevocationStore()
  const revocations: RevocationStore = {
    ...good,
    check: facts => { if (down) throw new Error('secret detail'); return good.check(facts) },
    revoke: (...marks) => down ? new Promise(() => {}) : good.revoke(...marks)
  }
  const store = new MemoryStore()
  const safe = protectSessionStore(store, revocations, { timeout: 20 })
  const { app, login, me } = await host(t, safe)
  const alice = await login()
  const [id = ''] = store.store.keys()
  down = true
  const refused = await app.inject({ url: '/me', headers: alice })
  t.equal(refused.statusCode, 503)
  t.notMatch(refused.body, 'secret')
  t.match(await new Promise(resolve => safe.destroy(id, resolve)), { statusCode: 503 })
  t.ok(store.store.has(id))
  t.equal((await app.inject({ url: '/me' })).statusCode, 200, 'a new session needs no marks')
  down = false
  t.equal(await me(alice), 'alice')
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: alice })).statusCode, 200)
  t.equal(await me(alice), 'nobody')
})

t.test('errors of the session store are passed on', async t => {
  const failure = new Error('the store is down')
  const down: ProtectableSessionStore = {
    get: (_id, callback) => callback(failure),
    set: (_id, _session, callback) => callback(failure),
    destroy: (_id, callback) => callback(failure)
  }
  const store = protectSessionStore(down, memoryRevocationStore())
  t.equal(await new Promise(resolve => store.get('id', resolve)), failure)
  t.equal(await new Promise(resolve => store.set('id', {} as never, resolve)), failure)
})

t.test('it works with express-session, and keeps regenerate and events', async t => {
  const inner = new expressSession.MemoryStore()
  const store = protectSessionStore(inner, memoryRevocationStore())
  const middleware = expressSession({ secret: 'x', resave: true, saveUninitialized: true, store })
  const server = createServer((request, response) => {
    middleware(request, response, () => {
      const { session } = request as IncomingMessage & { session: Record<string, unknown> & { regenerate (done: () => void): void } }
      const answer = () => response.end(String(session['user'] ?? 'nobody'))
      if (request.url === '/login') session['user'] = 'alice'
      if (request.url === '/regenerate') session.regenerate(answer)
      else answer()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const ask = (path: string, cookie = '') => new Promise<{ body: string, cookie: string }>((resolve, reject) => {
    const address = server.address() as { port: number }
    get({ host: '127.0.0.1', port: address.port, path, headers: { cookie }, agent: false }, response => {
      let body = ''
      response.on('data', chunk => { body += chunk })
      response.on('end', () => resolve({ body, cookie: response.headers['set-cookie']?.[0]?.split(';')[0] ?? cookie }))
    }).on('error', reject)
  })
  const { cookie } = await ask('/login')
  t.equal((await ask('/', cookie)).body, 'alice')
  const { cookie: fresh } = await ask('/regenerate', cookie)
  t.not(fresh, cookie)
  t.equal((await ask('/', cookie)).body, 'nobody')
  t.equal(typeof store.on, 'function')
})

interface CalledBack { readonly error: unknown, readonly value: unknown, readonly isSync: boolean }

/** Calls a method of a store and resolves what it calls back with, and whether that was synchronous. */
function called (call: (callback: (...values: unknown[]) => void) => unknown): Promise<CalledBack> {
  let isSync = true
  return new Promise(resolve => {
    call((error, value) => resolve({ error, value, isSync }))
    isSync = false
  })
}

t.test('callbacks are called synchronously where both stores answer synchronously, and later where one does not', async t => {
  const marks = memoryRevocationStore()
  const later: RevocationStore = {
    ...marks,
    check: async credential => marks.check(credential),
    revoke: async (...added) => marks.revoke(...added)
  }
  const rows = [
    [new MemoryStore(), marks, true],
    [new MemoryStore(), later, false],
    [new expressSession.MemoryStore(), marks, false],
    [new expressSession.MemoryStore(), later, false]
  ] as const
  for (const [index, [inner, revocations, isSync]] of rows.entries()) {
    const id = `row ${index}`
    const store = protectSessionStore<ProtectableSessionStore>(inner, revocations)
    const session = { user: 'alice', cookie: {} } as never
    t.match(await called(callback => store.set(id, session, callback)), { error: null, isSync })
    t.match(await called(callback => store.get(id, callback)), { error: null, value: { user: 'alice' }, isSync })
    t.match(await called(callback => store.destroy(id, callback)), { error: null, isSync })
    t.match(await called(callback => store.set(id, session, callback)), { error: null, isSync }, 'saved back')
    t.notOk((await called(callback => store.get(id, callback))).value)
  }
})

t.test('in whatever order the stores do their work, a session is not found once its logout has succeeded', async t => {
  await fc.assert(fc.asyncProperty(fc.scheduler(), fc.boolean(), async (scheduler, isKnown) => {
    const sessions = new Map<string, unknown>(isKnown ? [['id', { user: 'alice' }]] : [])
    const marks = memoryRevocationStore()
    const turn = (work: () => unknown) => scheduler.schedule(Promise.resolve()).then(work)
    const store = protectSessionStore<ProtectableSessionStore>({
      get: (id, callback) => turn(() => callback(null, sessions.get(id))),
      set: (id, session, callback) => turn(() => sessions.set(id, session)).then(() => turn(() => callback())),
      destroy: (id, callback) => turn(() => sessions.delete(id)).then(() => turn(() => callback()))
    }, {
      check: async credential => await turn(() => marks.check(credential)) as Verdict,
      revoke: async (...added) => await turn(() => marks.revoke(...added)) as never,
      revokeOnce: marks.revokeOnce
    })
    const saving = store.set('id', { user: 'alice' })
    const found = store.destroy('id').then(() => store.get('id'))
    await scheduler.waitFor(Promise.all([saving, found]))
    assert.ok(!await found)
    assert.equal(sessions.size, 0, 'and what was saved back is removed')
  }), { numRuns: 200 })
})

t.test('errors are passed to callbacks synchronously, too', async t => {
  const failure = new Error('down')
  const thrown = () => { throw failure }
  const store = protectSessionStore(new MemoryStore(), { check: thrown, revoke: thrown, revokeOnce: thrown })
  await store.set('id', {})
  t.match(await called(callback => store.get('id', callback)), { error: { statusCode: 503, cause: { cause: failure } }, isSync: true })
  t.match(await called(callback => store.destroy('id', callback)), { error: { statusCode: 503, cause: { cause: failure } }, isSync: true })
  const faulty = protectSessionStore<ProtectableSessionStore>({ get: thrown, set: thrown, destroy: thrown }, memoryRevocationStore())
  t.match(await called(callback => faulty.get('id', callback)), { error: failure, isSync: true })
  t.match(await called(callback => faulty.set('id', {} as never, callback)), { error: failure, isSync: true })
})

t.test('a host whose hook sends a response without "return reply" works as it does over the bare store', async t => {
  for (const store of [new MemoryStore(), protectSessionStore(new MemoryStore(), memoryRevocationStore())]) {
    const app = fastify()
    t.teardown(() => app.close())
    await app.register(fastifyCookie)
    await app.register(fastifySession, { secret: 'a secret of 32 characters at least', cookie: { secure: false }, store: store as never })
    let handled = 0
    app.addHook('onRequest', async (request, reply) => {
      if (sessionOf(request)['user'] === undefined) reply.code(401).send('log in first')
    })
    app.get('/', async () => { handled++; return 'in' })
    const { statusCode, body } = await app.inject('/')
    t.same([statusCode, body, handled], [401, 'log in first', 0])
  }
})

t.test('a cookie that outlives the marks is refused, by maxAge, expires and originalExpires', async t => {
  const inner = Object.assign(new MemoryStore(), { touch: (_id: string, _session: unknown, callback: () => void) => callback() })
  const store = protectSessionStore(inner, memoryRevocationStore(), { lifetime: 60_000 })
  const at = (milliseconds: number) => new Date(Date.now() + milliseconds)
  const tooLong = [
    { originalMaxAge: 60_001 }, { expires: at(90_000) }, { expires: at(90_000).toJSON() }, { originalMaxAge: 1000, expires: at(90_000) },
    { originalMaxAge: 1000, originalExpires: at(90_000), expires: at(1000) }
  ]
  for (const cookie of tooLong) {
    for (const method of ['set', 'touch'] as const) {
      const { error } = await called(callback => store[method]('id', { cookie } as never, callback))
      t.match(error, { name: 'TypeError', message: /option "lifetime" must not be shorter/ }, `${method} ${JSON.stringify(cookie)}`)
    }
  }
  t.equal(inner.store.size, 0)
  const good = [
    undefined, {}, { originalMaxAge: 60_000, expires: at(60_000) }, { originalMaxAge: null, expires: null },
    { expires: at(-1) }, { expires: 'never' }, { expires: false }
  ]
  for (const cookie of good) {
    for (const method of ['set', 'touch'] as const) {
      const { error } = await called(callback => store[method]('id', { cookie } as never, callback))
      t.equal(error, null, `${method} ${JSON.stringify(cookie)}`)
    }
  }
})

t.test('cookies of 30 days work with @fastify/session, by maxAge and by expires', async t => {
  const days = 30 * 86_400_000
  for (const cookie of [{ maxAge: days }, { expires: new Date(Date.now() + days) }]) {
    const app = fastify()
    t.teardown(() => app.close())
    const store = protectSessionStore(new MemoryStore(), memoryRevocationStore(), { lifetime: days })
    await app.register(fastifyCookie)
    const secret = 'a secret of 32 characters at least'
    await app.register(fastifySession, { secret, cookie: { secure: false, ...cookie }, store: store as never })
    app.get('/', async request => { sessionOf(request)['user'] = 'alice'; return 'in' })
    const first = await app.inject('/')
    const [set] = first.cookies
    t.equal(first.statusCode, 200)
    t.equal((await app.inject({ url: '/', cookies: { sessionId: String(set?.value) } })).statusCode, 200)
  }
})

t.test('the error names the option credential when it throws or returns something else than a credential', async t => {
  const inner = new MemoryStore()
  inner.store.set('id', { cookie: {} })
  const revocations = memoryRevocationStore()
  const failure = new TypeError("Cannot read properties of undefined (reading 'id')")
  const fix = 'undefined for a session without a user'
  const rows: ReadonlyArray<[() => unknown, string]> = [
    [() => { throw failure }, `threw an error. It must return ${fix}`],
    [async () => ({ subject: 'alice' }), `must return an object such as { subject, loggedInAt }, or ${fix}`],
    [() => 'alice', `must return an object such as { subject, loggedInAt }, or ${fix}`]
  ]
  for (const [credential, says] of rows) {
    const store = protectSessionStore(inner, revocations, { credential: credential as never })
    const error = { name: 'TypeError', message: `protectSessionStore: option "credential" ${says}` }
    t.match(await called(callback => store.get('id', callback)), { error })
    t.match(await called(callback => store.set('new', {} as never, callback)), { error })
    t.notOk(inner.store.has('new'), 'nothing is saved')
  }
  const throwing = protectSessionStore(inner, revocations, { credential: () => { throw failure } })
  t.equal((await called(callback => throwing.get('id', callback)).then(({ error }) => error as Error)).cause, failure)
})

t.test('a session without a user needs no credential: anonymous requests are served, and their sessions can be ended', async t => {
  for (const nothing of [undefined, null, {}]) {
    const { app, me } = await host(t, protectSessionStore(new MemoryStore(), memoryRevocationStore(), { credential: () => nothing }))
    const { cookies: [cookie] } = await app.inject('/me')
    const headers = { cookie: `${cookie?.name}=${cookie?.value}` }
    t.equal(await me(headers), 'nobody')
    t.equal((await app.inject({ method: 'POST', url: '/logout', headers })).statusCode, 200)
  }
})

t.test('once the mark is written, destroy succeeds: a store that fails to remove the session, or hangs, is reported', async t => {
  const faults: ReadonlyArray<[string, ProtectableSessionStore['destroy']]> = [
    ['fails', (_id, callback) => callback(new Error('down'))],
    ['throws', () => { throw new Error('down') }],
    ['hangs', () => {}]
  ]
  for (const [name, destroy] of faults) {
    const reports: unknown[] = []
    const listener = (message: unknown) => reports.push(message)
    subscribe('fastify-logout:outage', listener)
    const inner = new MemoryStore()
    inner.store.set('id', { user: 'alice' })
    const store = protectSessionStore(Object.assign(inner, { destroy }), memoryRevocationStore())
    const begun = performance.now()
    t.match(await called(callback => store.destroy('id', callback)), { error: null }, name)
    t.ok(performance.now() - begun < 20_000, name)
    t.notOk(await store.get('id'), `${name}: the session is revoked all the same`)
    t.match(await called(callback => store.set('id', { user: 'alice' } as never, callback)), { error: null }, `${name}: saved back`)
    t.notOk(await store.get('id'))
    unsubscribe('fastify-logout:outage', listener)
    t.match(reports, [1, 2].map(() => ({ plugin: 'protectSessionStore', question: 'store.destroy' })), name)
  }
})

t.test('destroy waits for a store that removes sessions slowly', async t => {
  const reports: unknown[] = []
  const listener = (message: unknown) => reports.push(message)
  subscribe('fastify-logout:outage', listener)
  t.teardown(() => unsubscribe('fastify-logout:outage', listener))
  const inner = new MemoryStore()
  const destroy: ProtectableSessionStore['destroy'] = (id, callback) => setTimeout(() => { inner.store.delete(id); callback() }, 50)
  const store = protectSessionStore(Object.assign(inner, { destroy }), memoryRevocationStore())
  await store.set('id', { user: 'alice' })
  await store.destroy('id')
  t.equal(inner.store.size, 0)
  t.same(reports, [])
})

t.test('the mark of a session lasts for its lifetime, by default a day, and an hour for requests in flight', async t => {
  const marks: Mark[] = []
  const revoke = (...added: readonly Mark[]) => marks.push(...added) > 0
  const revocations = { check: () => 'live' as const, revoke, revokeOnce: () => true }
  const hour = 3_600_000
  for (const [lifetime, until] of [[undefined, 25 * hour], [60_000, hour + 60_000]] as const) {
    const store = protectSessionStore(new MemoryStore(), revocations, { lifetime })
    const now = Date.now()
    await store.destroy('id')
    const mark = marks.pop()
    t.match(mark, { sessionId: tokenDigest('id') })
    t.ok(Number(mark?.until) >= now + until && Number(mark?.until) <= Date.now() + until)
    await store.set('id', { cookie: { originalMaxAge: until - hour } })
    await t.rejects(store.set('id', { cookie: { originalMaxAge: until - hour + 1 } }), { message: /"lifetime"/ })
  }
})

t.test('a save that cannot be checked succeeds, and the session is found again only if it is live', async t => {
  let isDown = false
  const marks = memoryRevocationStore()
  const check: RevocationStore['check'] = credential => {
    if (isDown) throw new Error('down')
    return marks.check(credential)
  }
  const store = protectSessionStore(new MemoryStore(), { ...marks, check })
  await store.destroy('revoked')
  isDown = true
  for (const id of ['live', 'revoked']) {
    t.match(await called(callback => store.set(id, { user: 'alice' } as never, callback)), { error: null })
  }
  isDown = false
  t.match(await store.get('live'), { user: 'alice' })
  t.notOk(await store.get('revoked'))
})

t.test('a wrong option throws a TypeError that names it', async t => {
  const store = new MemoryStore()
  const revocations = memoryRevocationStore()
  const rows: ReadonlyArray<[unknown[], RegExp]> = [
    [[undefined, revocations], /"store" must be the session store/],
    [[null, revocations], /"store" must be the session store/],
    [['store', revocations], /"store" must be the session store/],
    [[{ ...store, get: 1 }, revocations], /"store" must have a method "get"/],
    [[{ get () {}, destroy () {} }, revocations], /"store" must have a method "set"/],
    [[{ get () {}, set () {} }, revocations], /"store" must have a method "destroy"/],
    [[store], /"revocations" must be a revocation store/],
    [[store, null], /"revocations" must be a revocation store/],
    [[store, { check () {} }], /"revocations" must be a revocation store/],
    [[store, { revoke () {} }], /"revocations" must be a revocation store/],
    [[store, { check () {}, revoke () {} }], /"revocations" must be a revocation store/],
    [[store, revocations, { lifetime: NaN }], /"lifetime" must be a positive number/],
    [[store, revocations, { timeout: 0 }], /"timeout"/],
    [[store, revocations, { credential: {} }], /"credential" must be a function/]
  ]
  for (const [values, message] of rows) {
    t.throws(() => Reflect.apply(protectSessionStore, undefined, values), { name: 'TypeError', message }, String(message))
    t.throws(() => Reflect.apply(protectSessionStore, undefined, values), { message: /^protectSessionStore: option "/ })
  }
})

t.test('a store with private fields works with all its methods', async t => {
  class PrivateStore extends expressSession.MemoryStore {
    #calls = 0
    get calls () { return this.#calls }
    touch (_id: string, _session: unknown, callback: () => void) { this.#calls++; callback() }
    all (callback: (error: null, all: string) => void) { this.#calls++; callback(null, 'all') }
    ids (callback: (error: null, ids: string) => void) { this.#calls++; callback(null, 'ids') }
    length (callback: (error: null, length: string) => void) { this.#calls++; callback(null, 'length') }
    clear (callback: () => void) { this.#calls++; callback() }
    override get (id: string, callback: never) { this.#calls++; return super.get(id, callback) }
    override set (id: string, session: never, callback: never) { this.#calls++; return super.set(id, session, callback) }
    override destroy (id: string, callback: never) { this.#calls++; return super.destroy(id, callback) }
  }
  const inner = new PrivateStore()
  const store = protectSessionStore(inner, memoryRevocationStore())
  for (const method of ['all', 'ids', 'length'] as const) {
    t.equal(await new Promise(resolve => store[method]((_error: null, answer: string) => resolve(answer))), method)
  }
  await new Promise<void>(resolve => store.touch('id', {}, resolve))
  await new Promise<void>(resolve => store.clear(resolve))
  t.equal(inner.calls, 5)
  t.equal(await store.set('id', { user: 'alice', cookie: {} }), undefined)
  t.match(await store.get('id'), { user: 'alice' })
  await store.destroy('id')
  t.equal(await store.get('id'), undefined)
  t.equal(inner.calls, 9)
  const heard: string[] = []
  store.on('connect', () => heard.push('connect'))
  inner.emit('connect')
  t.same(heard, ['connect'])
  t.ok(store instanceof PrivateStore)
  const plain = protectSessionStore(new MemoryStore(), memoryRevocationStore())
  for (const method of ['touch', 'all', 'ids', 'length', 'clear']) t.notOk(method in plain, `a store without ${method} gets none`)
})

t.test('a method without a callback returns a promise that rejects in an outage, which need not be handled', async t => {
  const unhandled: unknown[] = []
  const listener = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', listener)
  t.teardown(() => process.off('unhandledRejection', listener))
  const down = () => { throw new Error('secret detail') }
  const inner = new MemoryStore()
  inner.store.set('id', {})
  const store = protectSessionStore(inner, { check: down, revoke: down, revokeOnce: down })
  store.destroy('id')
  await t.rejects(store.destroy('id'), { statusCode: 503, message: /could not be revoked/ })
  await t.rejects(store.get('id'), { statusCode: 503, message: /it is unknown whether the credential is revoked/ })
  t.ok(inner.store.has('id'))
  await new Promise(resolve => setTimeout(resolve, 5))
  t.same(unhandled, [])
})

t.test('a session can be destroyed without a callback, as express-session does', async t => {
  const store = new MemoryStore()
  const protectedStore = protectSessionStore(store, memoryRevocationStore()) as unknown as { destroy (id: string): void }
  store.store.set('id', {})
  protectedStore.destroy('id')
  while (store.store.has('id')) await new Promise(resolve => setImmediate(resolve))
  await new Promise(resolve => setImmediate(resolve))
  t.notOk(store.store.has('id'))
})
