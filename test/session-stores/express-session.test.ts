import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { kratosLogout } from '../../lib/flows/kratos-native.ts'
import { expressSessionStore, type ExpressSessionStore, type ExpressSessionStoreOptions } from '../../lib/session-stores/express-session.ts'
import { tokenDigest } from '../../lib/token-digest.ts'
import { withRedis } from '../servers/redis.ts'

interface HostStore extends ExpressSessionStore {
  set (sessionId: string, session: unknown, callback: (error?: unknown) => void): void
}

declare module 'fastify' {
  interface Session {
    user?: string
  }
}

const { MemoryStore }: { MemoryStore: new () => HostStore } = createRequire(import.meta.url)('express-session')
const ofUser: ExpressSessionStoreOptions = { sessionOf: ({ user }) => typeof user === 'string' ? { subject: user } : undefined }
const in2100 = Date.UTC(2100, 0)
const cookie = { originalMaxAge: 1000, expires: new Date(in2100).toISOString() }

/** A session id with a name in it, as long as those of express-session and @fastify/session. */
const token = (name: string) => name.padEnd(32, '-')

async function logOutNatively (host: FastifyInstance, sessionToken: string): Promise<number> {
  const payload = { session_token: sessionToken }
  return (await host.inject({ method: 'DELETE', url: '/self-service/logout/api', payload })).statusCode
}

async function behaves (t: Test, store: HostStore) {
  const set = (name: string, session: unknown) => new Promise<void>((resolve, reject) => {
    store.set(token(name), session, error => error ? reject(error) : resolve())
  })
  const sessions = expressSessionStore(store, ofUser)
  const whole = (name: string, given = {}) => ({
    id: tokenDigest(token(name)), subject: 'alice', status: 'active', createdAt: 0, expiresAt: in2100, keepUntil: in2100, ...given
  })

  await set('one', { cookie, user: 'alice' })
  t.strictSame(await sessions.find(token('one')), whole('one'))
  t.strictSame(await sessions.logOut(token('one')), whole('one'))
  t.equal(await sessions.find(token('one')), undefined)
  t.equal(await sessions.logOut(token('one')), undefined, 'it is forgotten')

  await set('two', { cookie, user: 'alice' })
  const before = await Promise.all(Array.from({ length: 50 }, () => sessions.logOut(token('two'))))
  t.strictSame(before, [whole('two'), ...Array.from({ length: 49 }, () => whole('two', { status: 'logged_out' }))])

  await set('nobody', { cookie })
  t.equal(await sessions.logOut(token('nobody')), undefined)
  const kept = await new Promise(resolve => { store.get(token('nobody'), (_error, stored) => resolve(stored)) })
  t.not(kept, undefined, 'a session without a user stays')
}

t.test('the store of express-session', t => behaves(t, new MemoryStore()))

t.test('the store of @fastify/session', t => behaves(t, new (fastifySession.MemoryStore as unknown as new () => HostStore)()))

t.test('connect-redis', t => withRedis(t, async ({ url }) => {
  const client = await createClient({ url }).connect()
  t.teardown(() => client.destroy())
  await behaves(t, new RedisStore({ client, prefix: `test-${process.pid}-${Date.now()}:` }))
}))

t.test('a host with @fastify/session is logged out, on its own routes too', async t => {
  const store = new (fastifySession.MemoryStore as unknown as new () => HostStore & fastifySession.SessionStore)()
  const host = Fastify()
  await host.register(fastifyCookie)
  await host.register(fastifySession, { store, secret: 's'.repeat(32), cookie: { secure: false }, saveUninitialized: false })
  await host.register(kratosLogout, { sessions: expressSessionStore(store, ofUser) })
  host.post('/login', async request => {
    request.session.user = 'alice'
    return { token: request.session.sessionId }
  })
  host.get('/me', async request => ({ user: request.session.user ?? null }))

  const login = await host.inject({ method: 'POST', url: '/login' })
  const { sessionId } = Object.fromEntries(login.cookies.map(({ name, value }) => [name, value]))
  const me = async () => (await host.inject({ url: '/me', cookies: { sessionId: sessionId ?? '' } })).json()
  const logOut = () => logOutNatively(host, login.json().token)
  t.strictSame(await me(), { user: 'alice' })
  t.equal(await logOut(), 204)
  t.strictSame(await me(), { user: null })
  t.equal(await logOut(), 403)
})

t.test('the fields that sessionOf returns replace the defaults', async t => {
  const store = new MemoryStore()
  store.set(token('one'), { cookie: {}, login: { by: 'alice', at: 5 } }, () => {})
  const find = (known: object) => expressSessionStore(store, { sessionOf: () => ({ subject: 'alice', ...known }) }).find(token('one'))
  t.match(await find({}), { createdAt: 0, expiresAt: 8.64e15, keepUntil: 8.64e15 })
  const known = { id: 'id', createdAt: 5, expiresAt: 9, device: { ipAddress: '192.0.2.1' }, data: { role: 'reader' } }
  t.strictSame(await find(known), { subject: 'alice', status: 'active', keepUntil: 9, ...known })
})

t.test('the expiry of the cookie, however it is kept', async t => {
  const expiry = async (stored: object) => {
    const store: ExpressSessionStore = { get: (_id, done) => done(null, { user: 'alice', ...stored }), destroy: () => {} }
    return (await expressSessionStore(store, ofUser).find(token('one')))?.expiresAt
  }
  t.equal(await expiry({ cookie: { expires: new Date(5) } }), 5)
  t.equal(await expiry({ cookie: { expires: '1970-01-01T00:00:00.005Z' } }), 5)
  for (const cookie of [undefined, null, 'cookie', {}, { expires: null }, { expires: false }, { expires: 'soon' }]) {
    t.equal(await expiry({ cookie }), 8.64e15)
  }
})

t.test('a store that calls back with anything but an object has no such session', async t => {
  for (const stored of [undefined, null, '', 'text', 7, true, () => {}]) {
    const store: ExpressSessionStore = { get: (_id, done) => done(null, stored), destroy: (_id, done) => done(new Error('not asked')) }
    const sessions = expressSessionStore(store, { sessionOf: () => ({ subject: 'alice' }) })
    t.strictSame([await sessions.find(token('one')), await sessions.logOut(token('one'))], [undefined, undefined], String(stored))
  }
})

t.test('a store that fails is a rejection, for all that wait, and the next logout tries again', async t => {
  let failing = true
  const store: ExpressSessionStore = {
    get: (_id, done) => done(null, { user: 'alice' }),
    destroy: (_id, done) => done(failing ? new Error('down') : undefined)
  }
  const sessions = expressSessionStore(store, ofUser)
  const [first, second] = await Promise.allSettled([sessions.logOut(token('one')), sessions.logOut(token('one'))])
  t.match([first, second], [{ status: 'rejected', reason: { message: 'down' } }, { status: 'rejected', reason: { message: 'down' } }])
  failing = false
  t.equal((await sessions.logOut(token('one')))?.status, 'active')

  const unreadable = (error: unknown) => expressSessionStore({ ...store, get: (_id, done) => done(error) }, ofUser)
  await t.rejects(async () => unreadable(new Error('down')).find(token('one')), { message: 'down' })
  t.equal(await Promise.resolve(unreadable('down').logOut(token('one'))).catch(reason => reason), 'down')
  const throwing = expressSessionStore({ ...store, get: () => { throw new Error('down') } }, ofUser)
  await t.rejects(async () => throwing.logOut(token('one')), { message: 'down' })
})

t.test('a store that rejects instead of calling back is a rejection, and ENOENT an unknown session', async t => {
  const noFile = () => Object.assign(new Error('no such file'), { code: 'ENOENT' })
  const get: ExpressSessionStore['get'] = (_id, done) => done(null, { user: 'alice' })
  const destroy: ExpressSessionStore['destroy'] = (_id, done) => done()
  const logOut = async (store: Partial<ExpressSessionStore>) => expressSessionStore({ get, destroy, ...store }, ofUser).logOut(token('one'))

  await t.rejects(logOut({ get: async () => { throw new Error('down') } }), { message: 'down' })
  await t.rejects(logOut({ destroy: async () => { throw new Error('down') } }), { message: 'down' })
  const refused = Object.assign(new Error('down'), { code: 'ECONNREFUSED' })
  await t.rejects(logOut({ get: async () => { throw refused } }), { code: 'ECONNREFUSED' }, 'whatever its code')
  await t.rejects(logOut({ destroy: (_id, done) => done(refused) }), { code: 'ECONNREFUSED' })
  const withoutReason = () => Promise.reject() // eslint-disable-line prefer-promise-reject-errors
  t.equal(await logOut({ get: withoutReason }).then(() => 'resolved', reason => reason), undefined, 'a rejection without a reason too')
  for (const fail of [(_id: string, done: (error: unknown) => void) => done(noFile()), async () => { throw noFile() }]) {
    t.equal(await logOut({ get: fail }), undefined)
    t.match(await logOut({ destroy: fail }), { status: 'active' }, 'whose file is gone is logged out')
  }
  t.match(await logOut({ get: async (_id, done) => { done(null, { user: 'alice' }); return 'ignored' } }), { subject: 'alice' })
})

t.test('a logout that finds nothing resolves to nothing for all that wait', async t => {
  const sessions = expressSessionStore(new MemoryStore(), ofUser)
  t.strictSame(await Promise.all([sessions.logOut(token('one')), sessions.logOut(token('one'))]), [undefined, undefined])
})

/** A store that answers on demand, and the calls that it has not answered. */
function heldStore () {
  const held: Array<() => void> = []
  let session: object | undefined = { user: 'alice' }
  const store: ExpressSessionStore = {
    get: (_id, done) => held.push(() => done(null, session)),
    destroy: (_id, done) => held.push(() => {
      session = undefined
      done()
    })
  }
  return { store, held }
}

const turn = () => new Promise(resolve => setImmediate(resolve))
const later = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

t.test('a lost callback holds up the logouts of its session only until the timeout', async t => {
  const { store, held } = heldStore()
  const sessions = expressSessionStore(store, { ...ofUser, timeout: 20 })
  let answered = false
  for (let logouts = 0; logouts < 2; logouts++) Promise.resolve(sessions.logOut(token('one'))).then(() => { answered = true })
  await turn()
  t.equal(held.length, 1, 'the store is asked once')
  held.length = 0

  const another = Promise.resolve(sessions.logOut(token('two')))
  t.equal(held.length, 1, 'other sessions are not held up')
  await later(30)
  const retry = Promise.resolve(sessions.logOut(token('one')))
  t.equal(held.length, 2, 'the store is asked again')
  while (held.length > 0) {
    held.pop()?.()
    await turn()
  }
  t.equal((await retry)?.status, 'active')
  t.equal(await another, undefined, 'the store had one session')
  t.notOk(answered)
})

t.test('of logouts whose store answers after the timeout, one resolves the session as active', async t => {
  for (const order of [[0, 1], [1, 0]] as const) {
    const { store, held } = heldStore()
    const sessions = expressSessionStore(store, { ...ofUser, timeout: 5 })
    const logouts = [Promise.resolve(sessions.logOut(token('one')))]
    await later(10)
    logouts.push(Promise.resolve(sessions.logOut(token('one'))))
    const gets = held.splice(0)
    for (const index of order) gets[index]?.()
    await turn()
    for (const destroy of held.splice(0)) destroy()
    const statuses = (await Promise.all(logouts)).map(session => session?.status)
    t.strictSame(order.map(index => statuses[index]), ['active', 'logged_out'])
    const next = Promise.race([sessions.logOut(token('one')), turn().then(() => 'asked again')])
    t.equal(await next, 'asked again', 'nothing is pending any more')
  }
})

t.test('a logout that was given up does not let others past the one that followed it', async t => {
  const { store, held } = heldStore()
  const sessions = expressSessionStore(store, { ...ofUser, timeout: 1000 })
  const clock = performance.now.bind(performance)
  t.teardown(() => { performance.now = clock })
  let now = 0
  performance.now = () => now
  const first = Promise.resolve(sessions.logOut(token('one')))
  now += 1000
  const second = Promise.resolve(sessions.logOut(token('one')))
  t.equal(held.length, 2)
  for (let step = 0; step < 2; step++) {
    held.splice(0, 1)[0]?.()
    await turn()
    if (step === 0) held.reverse()
  }
  t.equal((await first)?.status, 'active')
  const third = Promise.resolve(sessions.logOut(token('one')))
  t.equal(held.length, 1, 'the third waits for the second')
  held.shift()?.()
  t.strictSame([(await second)?.status, (await third)?.status], ['logged_out', 'logged_out'])
})

t.test('a retry that finds the session gone resolves it as logged out, if the first logout has answered meanwhile', async t => {
  const { store, held } = heldStore()
  const sessions = expressSessionStore(store, { ...ofUser, timeout: 5 })
  const first = Promise.resolve(sessions.logOut(token('one')))
  await later(10)
  held.shift()?.()
  await turn()
  const retry = Promise.resolve(sessions.logOut(token('one')))
  t.equal(held.length, 2, 'the first is about to delete, the second to read')
  held.shift()?.()
  t.equal((await first)?.status, 'active')
  held.shift()?.()
  t.equal((await retry)?.status, 'logged_out')
})

t.test('logouts that are never answered are forgotten a minute after their timeout', async t => {
  const { store, held } = heldStore()
  const sessions = expressSessionStore(store, { ...ofUser, timeout: 5 })
  const clock = performance.now.bind(performance)
  t.teardown(() => { performance.now = clock })
  const start = 1_000_000
  let now = start
  performance.now = () => now
  const logOut = (name: string) => Promise.resolve(sessions.logOut(token(name)))
  const ones = [logOut('one')]
  const twos = [logOut('two')]
  now = start + 60_004
  ones.push(logOut('one'))
  now = start + 60_005
  twos.push(logOut('two'))
  now = start + 60_004 + 60_005
  ones.push(logOut('one'))
  for (let step = 0; step < 3; step++) {
    for (const answer of held.splice(0)) answer()
    await turn()
  }
  const statuses = async (logouts: typeof ones) => (await Promise.all(logouts)).map(session => session?.status)
  t.strictSame(await statuses(ones), ['active', 'logged_out', 'active'], 'the third does not know of the others')
  t.strictSame(await statuses(twos), ['active', 'active'], 'and is forgotten, however often another one was asked again')
})

t.test('ids that the host\'s generator cannot have made are unknown, and the store is not asked', async t => {
  const asked: string[] = []
  const store: ExpressSessionStore = {
    get: (id, done) => { asked.push(id); done(null, { user: 'alice' }) },
    destroy: (_id, done) => done()
  }
  const known = async (id: string, options = {}) => {
    const sessions = expressSessionStore(store, { ...ofUser, ...options })
    const found = [await sessions.find(id), await sessions.logOut(id)].map(session => session !== undefined)
    t.equal(found[0], found[1], id)
    return found[0]
  }
  const as = (length: number) => 'a'.repeat(length)
  const paths = [`../other/${as(23)}`, `..\\other\\${as(23)}`, '/etc/passwd', '..', '.', '', 'a/b', 'a\\b', 'a\0b', `${as(31)}/`]
  for (const id of [...paths, 'short', as(31), as(33), `${as(31)}.`, `${as(32)}\n`, `s:${as(30)}`]) {
    t.notOk(await known(id), JSON.stringify(id))
  }
  for (const id of paths) t.notOk(await known(id, { idPattern: /[^]*/ }), `${JSON.stringify(id)}, whatever the pattern`)
  for (const id of ['short', 'a1b2', 'aa']) t.notOk(await known(id, { idPattern: /[a-f]|a1|a+?/ }), `${id}, of which a part matches`)
  t.strictSame(asked, [])

  t.ok(await known('a_B-9'.padEnd(32, 'x')))
  t.ok(await known('6b9b8f0e-7a5c-4f0e-9a2b-0d7f6f1b2c3d', { idPattern: /[\da-f-]{36}/ }))
  t.ok(await known('tenant:alice.1', { idPattern: /^tenant:.+$/ }))
  t.equal(asked.length, 6)
})

t.test('the ids that express-session and @fastify/session make are known', async t => {
  const load = createRequire(import.meta.url)
  const uid: { sync (bytes: number): string } = load('uid-safe')
  const generate: () => string = load('@fastify/session/lib/idGenerator')()
  const sessions = expressSessionStore({ get: (_id, done) => done(null, { user: 'alice' }), destroy: (_id, done) => done() }, ofUser)
  for (let count = 0; count < 1000; count++) {
    for (const id of [uid.sync(24), generate()]) if (await sessions.find(id) === undefined) t.fail(id)
  }
  t.pass('all of them')
})

t.test('a store of files never leaves its folder', async t => {
  const folder = t.testdir({ sessions: {}, other: { 'profile.json': '{"user":"alice"}' } })
  const store: ExpressSessionStore = {
    get: (id, done) => { readFile(join(folder, 'sessions', `${id}.json`), 'utf8').then(text => done(null, JSON.parse(text)), done) },
    destroy: (id, done) => { rm(join(folder, 'sessions', `${id}.json`)).then(() => done(), done) }
  }
  const host = Fastify()
  t.teardown(() => host.close())
  await host.register(kratosLogout, { sessions: expressSessionStore(store, ofUser) })
  const logOut = (token: string) => logOutNatively(host, token)
  t.equal(await logOut('../other/profile'), 403)
  t.ok(existsSync(join(folder, 'other', 'profile.json')))
  await writeFile(join(folder, 'sessions', `${token('one')}.json`), '{"user":"alice"}')
  t.equal(await logOut(token('one')), 204)
  t.notOk(existsSync(join(folder, 'sessions', `${token('one')}.json`)))
})

t.test('a wrong store or option is a TypeError that names it', async t => {
  for (const store of [undefined, {}, { get: () => {} }]) {
    t.throws(() => expressSessionStore(store as unknown as ExpressSessionStore, ofUser), {
      name: 'TypeError', message: /^expressSessionStore: option "store" must have get and destroy/
    })
  }
  for (const [options, message] of [
    [undefined, /option "sessionOf" is missing/],
    [{}, /option "sessionOf" is missing/],
    [{ sessionOf: 'user' }, /option "sessionOf" must be a function/],
    [{ ...ofUser, idPattern: '[a-z]' }, /option "idPattern" must be a regular expression/],
    [{ ...ofUser, idPattern: /a/g }, /option "idPattern" must be/],
    [{ ...ofUser, idPattern: /a/y }, /option "idPattern" must be/],
    [{ ...ofUser, timeout: 0 }, /option "timeout" must be a positive number/]
  ] as const) {
    t.throws(() => expressSessionStore(new MemoryStore(), options as unknown as ExpressSessionStoreOptions), { name: 'TypeError', message })
  }
})
