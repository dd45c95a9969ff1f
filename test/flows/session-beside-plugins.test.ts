import fastifyCookie from '@fastify/cookie'
import fastifyCsrf from '@fastify/csrf-protection'
import { Authenticator } from '@fastify/passport'
import fastifySecureSession, { type SecureSessionPluginOptions } from '@fastify/secure-session'
import fastifySession from '@fastify/session'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type preHandlerHookHandler } from 'fastify'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { protectSessionStore } from '../../lib/bridges/express-session.ts'
import { sessionLogout, type SessionLogoutOptions } from '../../lib/flows/session.ts'
import { revocationGuard } from '../../lib/guards/revocation.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import type { SessionSource } from '../../lib/session-source.ts'
import { fastifySessionSource } from '../../lib/session-sources/fastify-session.ts'
import { secureSessionSource } from '../../lib/session-sources/secure-session.ts'
import { ownSessions } from '../own-sessions.ts'
import { newDevice, setCookies, told, type Device } from '../session-host.ts'

const secret = 'a secret with at least 32 characters in it'
const hour = 3_600_000

type Base = 'session' | 'secure-session'

/** What passport keeps in a session, and what hosts put beside it. */
interface Data { readonly passport?: unknown, readonly user?: string, readonly id?: string, readonly loggedInAt?: number }

function userOf ({ passport, user }: Data): string | undefined {
  return typeof passport === 'string' ? passport : user
}

/** Registers a session plugin, its guard, and returns the source over it. */
async function sessionsOn (app: FastifyInstance, base: Base): Promise<SessionSource<never>> {
  const revocations = memoryRevocationStore()
  if (base === 'session') {
    const store = protectSessionStore(new fastifySession.MemoryStore() as never, revocations, {
      credential: (session: Data) => {
        const subject = userOf(session)
        return subject === undefined ? undefined : { subject, issuedAt: session.loggedInAt }
      }
    })
    await app.register(fastifyCookie)
    await app.register(fastifySession, { secret, store: store as never })
    return fastifySessionSource(store) as never
  }
  const sessions = secureSessionSource({
    revocations,
    lifetime: 24 * hour,
    sessionOf: (data: Data) => {
      const subject = userOf(data)
      return subject === undefined ? undefined : { id: String(data.id), subject, issuedAt: data.loggedInAt }
    }
  })
  await app.register(fastifySecureSession, { key: Buffer.alloc(32, 7), cookie: { path: '/', secure: true } } as SecureSessionPluginOptions)
  await app.register(revocationGuard, { revocations, credential: sessions.credential })
  return sessions as never
}

const setData = ({ session }: FastifyRequest, data: object) => {
  for (const [name, value] of Object.entries(data)) session.set(name as never, value as never)
}

// @fastify/csrf-protection

/** A host with `@fastify/csrf-protection`, whose hook protects the logout. */
async function csrfHost (t: Test, base: Base, options: Partial<SessionLogoutOptions> = {}) {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  const sessions = await sessionsOn(app, base)
  await app.register(fastifyCsrf, { sessionPlugin: base === 'session' ? '@fastify/session' : '@fastify/secure-session' })
  const unguarded: object = { revocation: false }
  app.post('/login', { config: unguarded }, async (request, reply) => {
    setData(request, { user: 'alice', id: randomUUID(), loggedInAt: Date.now() })
    return { token: reply.generateCsrf() }
  })
  app.get('/me', async ({ session }) => ({ user: session.get('user') ?? null }))
  const { events, onLogout } = told()
  await app.register(sessionLogout, {
    sessions,
    csrf: app.csrfProtection as preHandlerHookHandler,
    onLogout,
    ...options
  } as SessionLogoutOptions)
  await app.ready()
  const logIn = async () => {
    const device = newDevice(app)
    const { token } = (await device.send({ method: 'POST', url: '/login' })).json()
    return { device, token: String(token) }
  }
  return { app, logIn, events }
}

const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

for (const base of ['session', 'secure-session'] as const) {
  t.test(`C10: with a live session the hook alone decides, after the body is parsed: @fastify/${base}`, async t => {
    const { logIn, events } = await csrfHost(t, base)
    for (const [headers, payload] of [
      [{}, undefined], [{ 'sec-fetch-site': 'same-origin' }, undefined], [{ 'csrf-token': 'forged' }, undefined], [form, '_csrf=forged'],
      [{ 'content-type': 'application/json' }, '{"_csrf":"forged"}']
    ] as const) {
      const { device } = await logIn()
      const response = await device.send({
        method: 'POST',
        url: '/logout',
        headers: { ...headers },
        ...(payload !== undefined && { payload })
      })
      t.strictSame([response.statusCode, response.json().code], [403, 'FST_CSRF_INVALID_TOKEN'])
      t.equal((await device.send({ url: '/me' })).json().user, 'alice')
    }
    t.strictSame(events, [])

    for (const place of ['header', 'form', 'json'] as const) {
      const { device, token } = await logIn()
      const response = await device.send({
        method: 'POST',
        url: '/logout',
        headers: { ...crossSite, ...(place === 'header' && { 'csrf-token': token }), ...(place === 'form' && form) },
        ...(place === 'form' && { payload: new URLSearchParams({ _csrf: token, scope: 'current' }).toString() }),
        ...(place === 'json' && { payload: { _csrf: token } })
      })
      t.equal(response.statusCode, 204, `${place}: the other checks do not decide`)
      t.equal((await device.send({ url: '/me' })).json().user, null)
    }
    t.equal(events.length, 3)
  })

  t.test(`C11: without a live session the hook is not called, so a retry succeeds: @fastify/${base}`, async t => {
    const { app, logIn, events } = await csrfHost(t, base)
    const { device, token } = await logIn()
    const before = device.copy()
    const request = { method: 'POST', url: '/logout', headers: { 'csrf-token': token } } as const
    for (const again of [device, device, before.copy(), newDevice(app)]) t.equal((await again.send(request)).statusCode, 204)
    t.equal(events.length, 1)
    for (const again of [device, before.copy(), newDevice(app)]) {
      const response = await again.send({ ...request, headers: { ...request.headers, ...crossSite } })
      t.strictSame([response.statusCode, response.json().code], [403, 'LOGOUT_CROSS_SITE'])
      t.equal((await again.send({ ...request, headers: { 'sec-fetch-site': 'same-origin' } })).statusCode, 204)
    }
    const others = await before.send({ ...request, payload: { scope: 'others' } })
    t.equal(others.statusCode, 401)
  })
}

t.test('C10: steps before the hook come first, and nothing is asked for them', async t => {
  const { logIn } = await csrfHost(t, 'session')
  const { device } = await logIn()
  for (const [request, code] of [
    [{ headers: { purpose: 'prefetch' } }, 'LOGOUT_PREFETCH'], [{ payload: { scope: 'x' } }, 'LOGOUT_SCOPE'],
    [{ payload: { return_to: '//evil.example' } }, 'LOGOUT_RETURN_TO'],
    [{ headers: { 'content-type': 'application/json' }, payload: '{' }, 'LOGOUT_BODY']
  ] as const) t.equal((await device.send({ method: 'POST', url: '/logout', ...request as object })).json().code, code)
})

/** A host with plain functions and a hook. */
async function hookHost (t: Test, csrf: SessionLogoutOptions['csrf'], more: object = {}) {
  const own = ownSessions()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout, { sessions: own.sessions, csrf, onLogout: own.onLogout, ...more } as SessionLogoutOptions)
  const send = async (cookie: string, headers: Record<string, string> = {}, payload?: object) => {
    const response = await app.inject({
      method: 'POST',
      url: '/logout',
      headers: { cookie, ...headers },
      ...(payload !== undefined && { payload })
    })
    return [response.statusCode, response.body === '' ? undefined : response.json().code ?? response.json()]
  }
  return { ...own, app, send }
}

t.test('C10: hooks of every style', async t => {
  const refused = Object.assign(new Error('no token'), { statusCode: 418, code: 'HOST' })
  const hooks: ReadonlyArray<readonly [name: string, hook: unknown, expected: unknown]> = [
    ['a callback', (_request: FastifyRequest, _reply: FastifyReply, done: () => void) => { done() }, [204, undefined]],
    ['a callback later', (_request: FastifyRequest, _reply: FastifyReply, done: () => void) => { setImmediate(done) }, [204, undefined]],
    ['a callback with an error', (_request: FastifyRequest, _reply: FastifyReply, done: (error: Error) => void) => { done(refused) },
      [418, 'HOST']],
    ['a callback that throws', (_request: FastifyRequest, _reply: FastifyReply, _done: () => void) => { throw refused }, [418, 'HOST']],
    ['a callback that sends', (_request: FastifyRequest, reply: FastifyReply,
      _done: () => void) => { reply.code(418).send({ sent: true }) }, [418, { sent: true }]],
    ['a promise', async () => {}, [204, undefined]],
    ['a rejection', async () => { throw refused }, [418, 'HOST']],
    ['a promise that sends', async (_request: FastifyRequest, reply: FastifyReply) => reply.code(418).send({ sent: true }), [418,
      { sent: true }]]
  ]
  for (const [name, hook, expected] of hooks) {
    for (const csrf of [hook, { hook }]) {
      const { send, logIn, isLive, calls } = await hookHost(t, csrf as never)
      const cookie = logIn(1)
      t.strictSame(await send(cookie), expected, name)
      t.equal(isLive(cookie), (expected as number[])[0] !== 204, name)
      t.strictSame(calls.includes('logOut'), !isLive(cookie))
    }
  }
})

t.test('C10: the hook is called on the server, with the parsed body', async t => {
  const seen: unknown[] = []
  const { send, logIn, app } = await hookHost(t, function (this: FastifyInstance, { body }: FastifyRequest, _reply: FastifyReply,
    done: () => void) {
    seen.push([typeof this.inject, body])
    done()
  })
  await send(logIn(1), {}, { scope: 'current', _csrf: 'x' })
  t.strictSame(seen, [['function', { scope: 'current', _csrf: 'x' }]])
  t.ok(app)
})

t.test('C11: the other options count for requests without a live session', async t => {
  const { send, logIn } = await hookHost(t, {
    hook: async () => { throw new Error('no') },
    trustedOrigins: ['https://www.example'],
    trustSameSite: true
  })
  t.strictSame(await send('', { 'sec-fetch-site': 'cross-site', origin: 'https://www.example' }), [204, undefined])
  t.strictSame(await send('', { 'sec-fetch-site': 'same-site' }), [204, undefined])
  t.strictSame(await send('', { 'sec-fetch-site': 'cross-site' }), [403, 'LOGOUT_CROSS_SITE'])
  t.equal((await send(logIn(1), { 'sec-fetch-site': 'same-origin' }))[0], 500, 'with one, the hook decides')
})

t.test('C10: the session is looked up once, also for others and all', async t => {
  for (const [scope, expected] of [['current', ['find', 'logOut']], ['others', ['find', 'logOutSubject']], ['all', ['find',
    'logOutSubject', 'logOut']]] as const) {
    const { send, logIn, calls } = await hookHost(t, async () => {})
    await send(logIn(1), {}, { scope })
    t.strictSame(calls, expected)
  }
})

t.test('C10: when the session cannot be looked up it is a 503, and the hook is not called', async t => {
  let called = 0
  const { send, logIn, broken, isLive } = await hookHost(t, async () => { called++ }, { timeout: 50 })
  const cookie = logIn(1)
  for (const fault of ['throws', 'rejects', 'hangs'] as const) {
    broken.set('find', fault)
    t.strictSame(await send(cookie), [503, 'LOGOUT_UNAVAILABLE'])
  }
  t.strictSame([called, isLive(cookie)], [0, true])
})

t.test('C10: a hook without find, and a csrf that is none of it, are a TypeError', async t => {
  const { sessions: { logOut } } = ownSessions()
  const register = async (options: object) => Fastify().register(sessionLogout, options as SessionLogoutOptions)
  for (const [csrf, message] of [
    [async () => {}, 'csrf" is a hook, which needs "sessions" with the method "find"'],
    [{ hook: async () => {} }, 'csrf" is a hook, which needs "sessions" with the method "find"'],
    ...['on', '', 5, true, null].map(csrf => [csrf, 'csrf" must be "same-origin", "off", a hook']),
    [{ hook: 5 }, 'hook" must be a function'],
    [{ trustedOrigins: ['x'] }, 'csrf.trustedOrigins" has the entry "x"']
  ]) await t.rejects(register({ sessions: { logOut }, csrf }), { name: 'TypeError', message: String(message) }, String(message))
})

// @fastify/passport

for (const base of ['session', 'secure-session'] as const) {
  t.test(`P1: @fastify/passport over @fastify/${base}`, async t => {
    const app = Fastify({ trustProxy: true })
    t.teardown(() => app.close())
    const sessions = await sessionsOn(app, base)
    const passport = new Authenticator()
    await app.register(passport.initialize())
    await app.register(passport.secureSession())
    passport.registerUserSerializer(async (user: { readonly name: string }) => user.name)
    passport.registerUserDeserializer(async (name: string) => ({ name }))
    const unguarded: object = { revocation: false }
    app.post<{ Body: { name: string } }>('/login', { config: unguarded }, async request => {
      await request.logIn({ name: request.body.name } as never)
      setData(request, { id: randomUUID(), loggedInAt: Date.now() })
    })
    app.get('/me', async request => ({ authenticated: request.isAuthenticated(), user: request.user ?? null }))
    const { events, onLogout } = told()
    await app.register(sessionLogout, { sessions, onLogout } as SessionLogoutOptions)
    await app.ready()

    const logIn = async () => {
      const device = newDevice(app)
      await device.send({ method: 'POST', url: '/login', payload: { name: 'alice' } })
      return device
    }
    const isAuthenticated = async (device: Device) => (await device.copy().send({ url: '/me' })).json().authenticated === true
    const [laptop, phone, tablet] = [await logIn(), await logIn(), await logIn()]
    t.strictSame(await Promise.all([laptop, phone, tablet].map(isAuthenticated)), [true, true, true])
    const before = laptop.copy()

    const response = await laptop.send({ method: 'POST', url: '/logout' })
    t.equal(response.statusCode, 204)
    t.strictSame(setCookies(response).map(({ name, removed }) => [name, removed]), [[base === 'session' ? 'sessionId' : 'session', true]])
    t.strictSame(await Promise.all([before, laptop, phone].map(isAuthenticated)), [false, false, true], 'the old cookie opens nothing')
    t.match(events, [{ scope: 'session', session: { subject: 'alice' } }])

    t.equal((await phone.send({ method: 'POST', url: '/logout', payload: { scope: 'others' } })).statusCode, 204)
    t.strictSame(await Promise.all([phone, tablet].map(isAuthenticated)), [true, false])
    t.equal((await laptop.send({ method: 'POST', url: '/login', payload: { name: 'alice' } })).statusCode, 200)
    t.ok(await isAuthenticated(laptop), 'a new login works')
  })
}

t.test('P1: the decorators of passport are still passport\'s', async t => {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  const sessions = await sessionsOn(app, 'session')
  await app.register(sessionLogout, { sessions } as SessionLogoutOptions)
  const passport = new Authenticator()
  await app.register(passport.initialize())
  await app.register(passport.secureSession())
  passport.registerUserSerializer(async (user: { readonly name: string }) => user.name)
  passport.registerUserDeserializer(async (name: string) => ({ name }))
  app.post('/all', async request => {
    await request.logIn({ name: 'alice' } as never)
    const during = request.isAuthenticated()
    await request.logOut()
    return { during, after: request.isAuthenticated() }
  })
  const response = await newDevice(app).send({ method: 'POST', url: '/all' })
  t.strictSame([response.statusCode, response.json()], [200, { during: true, after: false }])
})
