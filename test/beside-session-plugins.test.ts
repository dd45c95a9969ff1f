import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify, { type FastifyInstance, type FastifyPluginCallback, type InjectOptions } from 'fastify'
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { protectSessionStore } from '../lib/bridges/express-session.ts'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { kratosLogout } from '../lib/flows/kratos-native.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import { signingHubLogout } from '../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../lib/flows/tenant-status.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import type { SessionStore } from '../lib/session-store.ts'
import { expressSessionStore } from '../lib/session-stores/express-session.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { tokenDigest } from '../lib/token-digest.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'

// Both plugins declare the type of request.session, and TypeScript takes the first: here that of @fastify/session.
const secureSession: FastifyPluginCallback<{ key: Buffer }> = createRequire(import.meta.url)('@fastify/secure-session')

// A host whose sessions are those of @fastify/session

declare module 'fastify' {
  interface Session {
    user?: string
    visits?: number
  }
}

type Options = Omit<fastifySession.FastifySessionOptions, 'secret' | 'store'>
type Stored = Readonly<Record<string, unknown>>

const secret = 'a secret of the host, of 32 characters or more'
const https = { 'x-forwarded-proto': 'https' }
const MemoryStore = fastifySession.MemoryStore as unknown as new (map: Map<string, unknown>) => fastifySession.SessionStore

/** The session store that a host writes over the sessions of @fastify/session: two verbs are ours, three are its own. */
function hostSessions (stored: Map<string, unknown>, store: fastifySession.SessionStore): Omit<SessionStore, 'create'> {
  const sessions = expressSessionStore(store, { sessionOf: ({ user }) => typeof user === 'string' ? { subject: user } : undefined })
  const tokensOf = (wanted: (stored: Stored, id: string) => boolean) => Array.from(stored.keys())
    .filter(token => wanted(stored.get(token) as Stored, tokenDigest(token)))
  return {
    ...sessions,
    logOutById: async ({ id, subject }) => {
      const [token] = tokensOf((stored, digest) => digest === id && (subject === undefined || stored.user === subject))
      return token === undefined ? undefined : sessions.logOut(token)
    },
    logOutSubject: async ({ subject, except }) => {
      const tokens = tokensOf((stored, digest) => stored.user === subject && digest !== except)
      for (const token of tokens) await sessions.logOut(token)
      return tokens.length
    },
    list: async () => []
  }
}

interface HostOptions {
  readonly session?: Options
  readonly order?: 'session first' | 'flow first'
  /** Marks on top of the store, as the README shows. */
  readonly protect?: boolean
  /** In front of each call of the flow to its store. */
  readonly before?: () => Promise<void>
}

async function sessionHost (
  { register, destroysItself = false }: Pick<Flow, 'register' | 'destroysItself'>,
  { session = {}, order = 'session first', protect = false, before = async () => {} }: HostOptions = {}
) {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  const stored = new Map<string, unknown>()
  const inner = new MemoryStore(stored)
  const store = protect ? protectSessionStore(inner, memoryRevocationStore()) : inner
  const plain = hostSessions(stored, store)
  const sessions = new Proxy(plain, {
    get: (target, verb: keyof typeof plain) => async (query: never) => {
      await before()
      return target[verb](query)
    }
  })

  await app.register(fastifyCookie, { secret })
  const plugins = [
    () => app.register(fastifySession, { ...session, cookie: { ...session.cookie }, secret, store }),
    () => register(app, sessions)
  ]
  for (const plugin of order === 'flow first' ? plugins.reverse() : plugins) await plugin()

  // What hosts do in hooks with the sessions of all requests.
  for (const hook of ['preHandler', 'onSend', 'onResponse'] as const) {
    app.addHook(hook as 'preHandler', async request => {
      if (request.session === null && destroysItself) return
      request.session.set('visits', (request.session.get('visits') ?? 0) + 1)
      request.session.touch()
    })
  }
  app.post('/login', async request => {
    request.session.user = 'alice'
    return { token: request.session.sessionId }
  })
  app.get('/me', async request => ({ user: request.session.user ?? null }))
  await app.ready()

  const send = (request: InjectOptions, cookie?: string) => app.inject({
    ...request, headers: { ...https, ...request.headers, ...cookie !== undefined && { cookie } }
  })
  return {
    app,
    stored,
    send,
    login: async (): Promise<Browser> => {
      const response = await send({ method: 'POST', url: '/login' })
      const [{ name, value }] = response.cookies as [{ name: string, value: string }]
      return { cookie: `${name}=${encodeURIComponent(value)}`, token: response.json().token }
    },
    me: async (browser: Browser) => (await send({ url: '/me' }, browser.cookie)).json().user
  }
}

interface Browser {
  readonly cookie: string
  /** The id of the session, without the signature in the cookie. */
  readonly token: string
}

type Host = Awaited<ReturnType<typeof sessionHost>>

// The flows

interface Flow {
  readonly register: (app: FastifyInstance, sessions: Omit<SessionStore, 'create'>) => PromiseLike<unknown>
  /** A request with the cookie of this browser, which ends the session of that cookie. */
  readonly logOut: (browser: Browser, other: Browser, host: Host) => Promise<InjectOptions> | InjectOptions
  readonly status: number
  /** What a second request with the same cookie is answered. */
  readonly again: number
  readonly setCookie: readonly string[]
  /** Whether the host calls `request.session.destroy()`, which leaves null to its hooks. */
  readonly destroysItself?: boolean
}

const publicUrl = 'https://app.example'
const cookie = { name: 'sessionId', signed: true }
const removal = 'sessionId=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax'
const admin = { authorize: () => true, ids: 'any' } as const
const body = (value: unknown) => ({ headers: { 'content-type': 'application/json' }, payload: JSON.stringify(value) })

const flows: Readonly<Record<string, Flow>> = {
  'kratosLogout, by the token of the request\'s own session': {
    register: (app, sessions) => app.register(kratosLogout, { sessions }),
    logOut: ({ token }) => ({ method: 'DELETE', url: '/self-service/logout/api', ...body({ session_token: token }) }),
    status: 204,
    again: 403,
    setCookie: []
  },
  kratosBrowserLogout: {
    register: (app, sessions) => app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: publicUrl }, cookie }),
    logOut: async (browser, _other, { send }) => {
      const { logout_url: url } = (await send({ url: '/self-service/logout/browser' }, browser.cookie)).json()
      return { url: url.slice(publicUrl.length) }
    },
    status: 303,
    again: 401,
    setCookie: [removal]
  },
  'kratosSessions, which ends the other sessions': {
    register: (app, sessions) => app.register(kratosSessions, { sessions, cookie, ids: 'any' }),
    logOut: (_browser, other) => ({ method: 'DELETE', url: '/sessions', headers: { 'x-session-token': other.token } }),
    status: 200,
    again: 200,
    setCookie: []
  },
  'kratosSessions, which ends one of the other sessions': {
    register: (app, sessions) => app.register(kratosSessions, { sessions, cookie, ids: 'any' }),
    logOut: (browser, other) => ({
      method: 'DELETE', url: `/sessions/${tokenDigest(browser.token)}`, headers: { 'x-session-token': other.token }
    }),
    status: 204,
    again: 204,
    setCookie: []
  },
  'kratosAdmin, which ends a session': {
    register: (app, sessions) => app.register(kratosAdmin, { sessions, ...admin }),
    logOut: browser => ({ method: 'DELETE', url: `/admin/sessions/${tokenDigest(browser.token)}` }),
    status: 204,
    again: 404,
    setCookie: []
  },
  'kratosAdmin, which ends every session of a subject': {
    register: (app, sessions) => app.register(kratosAdmin, { sessions, ...admin }),
    logOut: () => ({ method: 'DELETE', url: '/admin/identities/alice/sessions' }),
    status: 204,
    again: 404,
    setCookie: []
  },
  'signingHubLogout, where onLogout destroys the session': {
    register: app => app.register(signingHubLogout, {
      verifyToken: () => ({ sub: 'alice' }),
      onLogout: (_activity, request) => request.session.destroy()
    }),
    logOut: () => ({ method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer token' } }),
    status: 200,
    again: 200,
    setCookie: [],
    destroysItself: true
  },
  'tenantStatusLogout, where onLogout destroys the session': {
    register: app => {
      const users = memoryUserStatusStore()
      users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
      return app.register(tenantStatusLogout, {
        users,
        verifyToken: () => ({ sub: 'alice', tenant: 'acme' }),
        authenticateTenant: () => 'acme',
        onLogout: (_user, request) => request.session.destroy()
      })
    },
    logOut: () => ({ url: '/auth/logout', headers: { 'x-tenant-token': 'tenant', 'x-token': 'user' } }),
    status: 200,
    again: 200,
    setCookie: [],
    destroysItself: true
  }
}

/** Those that end sessions themselves, by asking a session store. */
const sessionFlows = Object.entries(flows).filter(([name]) => name.startsWith('kratos'))

const settings: ReadonlyArray<readonly [name: string, options: HostOptions]> = [
  ['its default options', {}],
  ['its default options, registered after the flow', { order: 'flow first' }],
  ['its default options and a protected store', { protect: true }],
  ['rolling: false', { session: { rolling: false } }],
  ['saveUninitialized: false', { session: { saveUninitialized: false } }],
  ['rolling: false and saveUninitialized: false, registered after the flow', {
    session: { rolling: false, saveUninitialized: false }, order: 'flow first'
  }],
  ['a maxAge', { session: { cookie: { maxAge: 3_600_000 } } }]
]

t.test('a logout ends the session of @fastify/session, and removes its cookie at most once', async t => {
  for (const [name, flow] of Object.entries(flows)) {
    const { logOut, status, again, setCookie } = flow
    for (const [setting, options] of settings) {
      const host = await sessionHost(flow, options)
      const [browser, other] = [await host.login(), await host.login()]
      t.equal(await host.me(browser), 'alice')
      const request = await logOut(browser, other, host)
      const response = await host.send(request, browser.cookie)
      t.equal(response.statusCode, status, `${name} beside @fastify/session with ${setting}`)
      t.strictSame([response.headers['set-cookie'] ?? []].flat(), setCookie, `${name}, ${setting}: cookies`)
      t.notOk(host.stored.has(browser.token), `${name}, ${setting}: the store`)
      t.equal(await host.me(browser), null, `${name}, ${setting}: the old cookie`)
      t.equal((await host.send(request, browser.cookie)).statusCode, again, `${name}, ${setting}: again`)
      t.equal(await host.me(browser), null)
    }
  }
})

t.test('two concurrent logouts with one cookie end the session, whichever comes first', async t => {
  for (const [name, flow] of sessionFlows) {
    for (const delays of [[0, 0], [0, 1], [1, 0], [0, 5], [5, 0]]) {
      const pending = [...delays]
      const host = await sessionHost(flow, { before: async () => { await sleep(pending.shift() ?? 0) } })
      const [browser, other] = [await host.login(), await host.login()]
      const request = await flow.logOut(browser, other, host)
      pending.splice(0, Infinity, ...delays)
      await Promise.all([host.send(request, browser.cookie), host.send(request, browser.cookie)])
      t.equal(await host.me(browser), null, `${name}, ${String(delays)}`)
    }
  }
})

t.test('a request to another logout route that overlaps with a logout does not bring the session back', async t => {
  const register: Flow['register'] = async (app, sessions) => {
    await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: publicUrl }, cookie })
    await app.register(kratosSessions, { sessions, cookie, ids: 'any' })
  }
  for (const url of ['/sessions/whoami', '/sessions', '/self-service/logout/browser']) {
    let reached = () => {}
    let wait = async () => {}
    const host = await sessionHost({ register }, { before: () => wait() })
    const browser = await host.login()
    const waiting = new Promise<void>(resolve => { reached = resolve })
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    wait = () => {
      reached()
      return held
    }
    const overlapping = host.send({ url }, browser.cookie)
    await waiting
    host.stored.delete(browser.token)
    release()
    t.equal((await overlapping).statusCode, 401, url)
    t.equal(await host.me(browser), null, url)
  }
})

t.test('a logout that fails keeps the cookie, does not save the session, and can be repeated', async t => {
  for (const [name, flow] of sessionFlows) {
    let down = false
    const saved: string[] = []
    const host = await sessionHost(flow, { before: async () => { if (down) throw new Error('the store is down') } })
    const [browser, other] = [await host.login(), await host.login()]
    const request = await flow.logOut(browser, other, host)
    const set = host.stored.set.bind(host.stored)
    host.stored.set = (id, session) => {
      saved.push(id)
      return set(id, session)
    }
    down = true
    const failed = await host.send(request, browser.cookie)
    t.equal(failed.statusCode, 500, name)
    t.notMatch(String(failed.headers['set-cookie'] ?? ''), 'Max-Age=0', name)
    down = false
    t.equal(await host.me(browser), 'alice', `${name}: still logged in`)
    t.equal((await host.send(request, browser.cookie)).statusCode, flow.status, name)
    t.equal(await host.me(browser), null, name)
  }
})

t.test('a logout that the store reports too late is not undone by the response', async t => {
  for (const [name, { logOut }] of Object.entries(flows).slice(0, 2)) {
    let release = () => {}
    let reached = () => {}
    const ended = new Promise<void>(resolve => { reached = resolve })
    const host = await sessionHost({
      register: (app, sessions) => {
      // The session is deleted at once. That it was, is not heard of before the timeout.
        const slow = {
          ...sessions,
          find: sessions.find,
          logOut: async (token: string) => {
            const before = await sessions.logOut(token)
            reached()
            await new Promise<void>(resolve => { release = resolve })
            return before
          }
        }
        return name === 'kratosBrowserLogout'
          ? app.register(kratosBrowserLogout, { sessions: slow, publicUrl, returnUrls: { default: publicUrl }, cookie, timeout: 20 })
          : app.register(kratosLogout, { sessions: slow, timeout: 20 })
      }
    })
    const [browser, other] = [await host.login(), await host.login()]
    const answer = host.send(await logOut(browser, other, host), browser.cookie)
    await ended
    const response = await answer
    t.equal(response.statusCode, 500, name)
    t.equal(response.headers['set-cookie'], undefined, name)
    t.equal(await host.me(browser), null, name)
    release()
  }
})

t.test('a session that a logout leaves alone keeps its cookie', async t => {
  const flow = flows['kratosSessions, which ends the other sessions'] as Flow
  for (const [setting, options] of settings) {
    const host = await sessionHost(flow, options)
    const [browser, other] = [await host.login(), await host.login()]
    const response = await host.send({ method: 'DELETE', url: '/sessions' }, browser.cookie)
    t.equal(response.body, '{"count":1}', setting)
    t.strictSame([await host.me(browser), await host.me(other)], ['alice', null], setting)
    t.ok((host.stored.get(browser.token) as Stored).visits, 'what hooks put into it is saved')
  }
})

t.test('an anonymous session keeps what hooks wrote into it after a 401', async t => {
  const host = await sessionHost({ register: (app, sessions) => app.register(kratosSessions, { sessions, cookie }) })
  const response = await host.send({ url: '/me' })
  const value = response.cookies[0]?.value ?? ''
  const anonymous = `sessionId=${encodeURIComponent(value)}`
  const visits = () => [...host.stored.values()].map(session => (session as Stored).visits)
  t.equal(host.stored.size, 1)
  const [before] = visits() as [number]
  t.equal((await host.send({ url: '/sessions/whoami' }, anonymous)).statusCode, 401)
  t.equal(host.stored.size, 1)
  t.ok((visits() as [number])[0] > before)
  const unknown = await host.send({ url: '/sessions/whoami', headers: { 'x-session-token': 'unknown' } })
  t.equal(unknown.statusCode, 401)
  t.equal(unknown.cookies.length, 1, 'a new session is saved and sent, as on the host\'s own routes')
})

// A host whose sessions are ours, and whose own data are in @fastify/secure-session

const uuid = randomUUID()
const other = randomUUID()
const now = Date.now()

async function secureHost (withPlugin: boolean) {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  const sessions = memorySessionStore()
  for (const [token, id] of [['laptop', uuid], ['phone', other]] as const) {
    await sessions.create(token, { id, subject: 'alice', createdAt: now, expiresAt: now + 3_600_000, keepUntil: now + 3_600_000 })
  }
  if (withPlugin) {
    await app.register(secureSession, { key: Buffer.alloc(32, 1) })
    app.post('/cart', async request => {
      const session = request.session as unknown as { set (key: string, value: unknown): void }
      session.set('sessionId', 'laptop')
      return 'saved'
    })
    app.get('/cart', async request => (request.session as unknown as { get (key: string): unknown }).get('sessionId') ?? 'nothing')
  }
  const users = memoryUserStatusStore()
  users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
  await app.register(kratosLogout, { sessions })
  await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: publicUrl } })
  await app.register(kratosSessions, { sessions })
  await app.register(kratosAdmin, { sessions, ...admin })
  await app.register(signingHubLogout, { verifyToken: () => ({ sub: 'alice' }) })
  await app.register(tenantStatusLogout, { users, verifyToken: () => ({ sub: 'alice', tenant: 'acme' }), authenticateTenant: () => 'acme' })
  return app
}

t.test('every flow has the same responses beside @fastify/secure-session, and does not change that session', async t => {
  const [alone, beside] = [await secureHost(false), await secureHost(true)]
  const saved = await beside.inject({ method: 'POST', url: '/cart', headers: https })
  const [{ name, value }] = saved.cookies as [{ name: string, value: string }]
  const theirs = `${name}=${encodeURIComponent(value)}`
  const laptop = 'ory_kratos_session=laptop'
  const { logout_token: token } = (await alone.inject({ url: '/self-service/logout/browser', headers: { cookie: laptop } })).json()

  const requests: readonly InjectOptions[] = [
    { url: '/sessions/whoami' },
    { url: '/sessions' },
    { method: 'DELETE', url: '/sessions' },
    { method: 'DELETE', url: `/sessions/${randomUUID()}` },
    { url: '/self-service/logout/browser' },
    { url: '/admin/identities/alice/sessions' },
    { method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer token' } },
    { method: 'POST', url: '/v4/logout', headers: { authorization: 'Bearer token' } },
    { url: '/auth/logout?', headers: { 'x-tenant-token': 'tenant', 'x-token': 'user' } },
    { url: `/self-service/logout?token=${token}` },
    { url: `/self-service/logout?token=${token}` },
    { method: 'DELETE', url: '/self-service/logout/api', ...body({ session_token: 'laptop' }) },
    { method: 'DELETE', url: `/admin/sessions/${uuid}` },
    { method: 'DELETE', url: '/admin/identities/alice/sessions' }
  ]
  const ask = async (app: FastifyInstance, request: InjectOptions) => {
    const cookie = `${laptop}; ${theirs}`
    const { statusCode, headers, body } = await app.inject({ ...request, headers: { ...https, ...request.headers, cookie } })
    // Where a host has @fastify/cookie, that writes the cookie, in its own order.
    const cookies = [headers['set-cookie'] ?? []].flat().map(line => line.split('; ').filter(part => !part.startsWith('Expires')).sort())
    return { statusCode, cookies, body: body.replace(/"requestId":"[^"]*","timestamp":"[^"]*"/, '') }
  }
  for (const request of requests) {
    t.strictSame(await ask(beside, request), await ask(alone, request), `${request.method ?? 'GET'} ${String(request.url)}`)
    t.equal((await beside.inject({ url: '/cart', headers: { ...https, cookie: theirs } })).body, 'laptop')
  }
})
