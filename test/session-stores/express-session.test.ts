import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import Fastify from 'fastify'
import { createRequire } from 'node:module'
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
const cookie = { originalMaxAge: 1000, expires: '2100-01-01T00:00:00.000Z' }

async function behaves (t: Test, store: HostStore, prefix = '') {
  const set = (token: string, session: unknown) => new Promise<void>((resolve, reject) => {
    store.set(`${prefix}${token}`, session, error => error ? reject(error) : resolve())
  })
  const sessions = expressSessionStore(store, ofUser)
  const token = (name: string) => `${prefix}${name}`
  const whole = (name: string, given = {}) => ({
    id: tokenDigest(token(name)), subject: 'alice', status: 'active', createdAt: 0, expiresAt: 4102444800000, keepUntil: 4102444800000, ...given
  })

  await set('one', { cookie, user: 'alice' })
  t.strictSame(await sessions.find(token('one')), whole('one'))
  t.strictSame(await sessions.logOut(token('one')), whole('one'))
  t.equal(await sessions.find(token('one')), undefined)
  t.equal(await sessions.logOut(token('one')), undefined, 'it is forgotten')

  await set('two', { cookie, user: 'alice' })
  const before = await Promise.all(Array.from({ length: 50 }, () => sessions.logOut(token('two'))))
  t.strictSame(before.map(session => session?.status), ['active', ...Array.from({ length: 49 }, () => 'logged_out')])

  await set('nobody', { cookie })
  t.equal(await sessions.logOut(token('nobody')), undefined)
  t.not(await new Promise(resolve => { store.get(token('nobody'), (_error, stored) => resolve(stored)) }), undefined, 'a session of nobody stays')
}

t.test('the store of express-session', t => behaves(t, new MemoryStore()))

t.test('the store of @fastify/session', t => behaves(t, new (fastifySession.MemoryStore as unknown as new () => HostStore)()))

t.test('connect-redis', t => withRedis(t, async ({ url }) => {
  const client = await createClient({ url }).connect()
  t.teardown(() => client.destroy())
  await behaves(t, new RedisStore({ client }), `test-${process.pid}-${Date.now()}-`)
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
  const logOut = async () => (await host.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: login.json().token } })).statusCode
  t.strictSame(await me(), { user: 'alice' })
  t.equal(await logOut(), 204)
  t.strictSame(await me(), { user: null })
  t.equal(await logOut(), 403)
})

t.test('what the host knows of a session is told', async t => {
  const store = new MemoryStore()
  store.set('token', { cookie: {}, login: { by: 'alice', at: 5 } }, () => {})
  const find = (known: object) => expressSessionStore(store, { sessionOf: () => ({ subject: 'alice', ...known }) }).find('token')
  t.match(await find({}), { createdAt: 0, expiresAt: 8.64e15, keepUntil: 8.64e15 })
  const known = { id: 'id', createdAt: 5, expiresAt: 9, device: { ipAddress: '192.0.2.1' }, data: { role: 'reader' } }
  t.strictSame(await find(known), { subject: 'alice', status: 'active', keepUntil: 9, ...known })
})

t.test('the expiry of the cookie, however it is kept', async t => {
  const expiry = async (stored: object) => {
    const store: ExpressSessionStore = { get: (_id, done) => done(null, { user: 'alice', ...stored }), destroy: () => {} }
    return (await expressSessionStore(store, ofUser).find('token'))?.expiresAt
  }
  t.equal(await expiry({ cookie: { expires: new Date(5) } }), 5)
  t.equal(await expiry({ cookie: { expires: '1970-01-01T00:00:00.005Z' } }), 5)
  for (const cookie of [undefined, null, 'cookie', {}, { expires: null }, { expires: false }, { expires: 'soon' }]) t.equal(await expiry({ cookie }), 8.64e15)
})

t.test('a store that fails is a rejection, for all that wait, and the next logout tries again', async t => {
  let failing = true
  const store: ExpressSessionStore = {
    get: (_id, done) => done(null, { user: 'alice' }),
    destroy: (_id, done) => done(failing ? new Error('down') : undefined)
  }
  const sessions = expressSessionStore(store, ofUser)
  const [first, second] = await Promise.allSettled([sessions.logOut('token'), sessions.logOut('token')])
  t.match([first, second], [{ status: 'rejected', reason: { message: 'down' } }, { status: 'rejected', reason: { message: 'down' } }])
  failing = false
  t.equal((await sessions.logOut('token'))?.status, 'active')

  const unreadable = (error: unknown) => expressSessionStore({ ...store, get: (_id, done) => done(error) }, ofUser)
  await t.rejects(async () => unreadable(new Error('down')).find('token'), { message: 'down' })
  t.equal(await Promise.resolve(unreadable('down').logOut('token')).catch(reason => reason), 'down')
  t.equal(await unreadable(Object.assign(new Error('no file'), { code: 'ENOENT' })).find('token'), undefined)
  const throwing = expressSessionStore({ ...store, get: () => { throw new Error('down') } }, ofUser)
  await t.rejects(async () => throwing.logOut('token'), { message: 'down' })
})

t.test('a logout that finds nothing tells so to all that wait', async t => {
  const sessions = expressSessionStore(new MemoryStore(), ofUser)
  t.strictSame(await Promise.all([sessions.logOut('token'), sessions.logOut('token')]), [undefined, undefined])
})

t.test('a wrong store or option is a TypeError that names it', async t => {
  for (const store of [undefined, {}, { get: () => {} }]) {
    t.throws(() => expressSessionStore(store as unknown as ExpressSessionStore, ofUser), { name: 'TypeError', message: /pass a store with get and destroy/ })
  }
  for (const options of [undefined, {}, { sessionOf: 'user' }]) {
    t.throws(() => expressSessionStore(new MemoryStore(), options as unknown as ExpressSessionStoreOptions), { name: 'TypeError', message: /sessionOf must be a function/ })
  }
})
