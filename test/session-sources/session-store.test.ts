import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { sessionLogout } from '../../lib/flows/session.ts'
import { logoutActions } from '../../lib/logout-actions.ts'
import { sessionStoreSource, type LogoutSessionStore, type SessionStoreSourceOptions } from '../../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { told } from '../session-host.ts'

/** A host whose sessions are in a store, with three of Alice's and one of Bob's; what the store was asked. */
async function host (t: Test, options: SessionStoreSourceOptions, before?: (app: FastifyInstance) => unknown) {
  const store = memorySessionStore()
  const now = Date.now()
  for (const [token, subject, expiresAt] of [['laptop', 'alice', now + 60_000], ['phone', 'alice', now + 60_000], ['old', 'alice',
    now - 1], ['bobs', 'bob', now + 60_000]] as const) {
    await store.create(token, { id: `id-of-${token}`, subject, createdAt: now - 1000, expiresAt, keepUntil: now + 120_000 })
  }
  const calls: string[] = []
  const watched = new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...values: unknown[]) => unknown
      return typeof method !== 'function' ? method : (...values: unknown[]) => { calls.push(String(name)); return method(...values) }
    }
  })
  const app = Fastify()
  t.teardown(() => app.close())
  await before?.(app)
  const { events, onLogout } = told()
  await app.register(sessionLogout, { sessions: sessionStoreSource(watched, options), onLogout })
  const logOut = async (headers: Record<string, string>, scope = 'current') => {
    const answer = await app.inject({ method: 'POST', url: '/logout', headers, payload: { scope } })
    return { status: answer.statusCode, cookie: answer.headers['set-cookie'], calls: calls.splice(0) }
  }
  const live = async () => {
    const found = await Promise.all(['laptop', 'phone', 'old',
      'bobs'].map(async token => (await store.find(token))?.status === 'active' ? token : []))
    return found.flat()
  }
  return { app, store, events, logOut, live }
}

const removed = 'sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax'

t.test('D1: current is one call to the store, and the edge is told once', async t => {
  const { logOut, live, events } = await host(t, { cookie: { name: 'sid' } })
  const answer = { status: 204, cookie: removed, calls: ['logOut'] }
  t.strictSame(await logOut({ cookie: 'sid=laptop' }), answer)
  t.strictSame(await logOut({ cookie: 'sid=laptop' }), answer, 'again')
  t.strictSame(await logOut({ cookie: 'sid=unknown' }), answer)
  t.strictSame(await logOut({ cookie: 'sid=old' }), answer, 'expired')
  t.strictSame(await logOut({}), { ...answer, calls: [] })
  t.strictSame(await live(), ['phone', 'bobs'], 'an expired session is ended too')
  t.match(events, [{ scope: 'session', session: { id: 'id-of-laptop', subject: 'alice', status: 'active' } }])
  t.equal(events.length, 1)
})

t.test('D2: others and all', async t => {
  const { logOut, live, events } = await host(t, { cookie: { name: 'sid' } })
  t.strictSame(await logOut({ cookie: 'sid=laptop' }, 'others'), { status: 204, cookie: undefined, calls: ['find', 'logOutSubject'] })
  t.strictSame(await live(), ['laptop', 'bobs'])
  t.strictSame(await logOut({ cookie: 'sid=laptop' }, 'all'), { status: 204, cookie: removed, calls: ['find', 'logOutSubject', 'logOut'] })
  t.strictSame(await live(), ['bobs'])
  t.strictSame(events, [{ scope: 'others', subject: 'alice', except: 'id-of-laptop' }, { scope: 'all', subject: 'alice' }])
  for (const cookie of ['sid=laptop', 'sid=old', '']) {
    t.match(await logOut({ cookie }, 'others'), { status: 401, cookie: undefined })
    t.match(await logOut({ cookie }, 'all'), { status: 401, cookie: removed })
  }
})

t.test('D3: a store without logOutSubject can log out the current session only', async t => {
  const { find, logOut } = memorySessionStore()
  const sessions = sessionStoreSource({ find, logOut }, { header: 'x-session' })
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout, { sessions })
  t.match((await app.inject({ method: 'POST', url: '/logout', payload: { scope: 'all' } })).json(), { code: 'LOGOUT_SCOPE' })
  await t.rejects(async () => Fastify().register(sessionLogout, { sessions, scopes: { allowed: ['current', 'all'] } }), {
    name: 'TypeError',
    message: 'sessionLogout: option "scopes.allowed" must be ["current"] with these sessions: "others" and "all" need the methods '
  })
})

t.test('the token is found in a cookie, in a header, as a bearer token, or by a function', async t => {
  for (const [options, headers] of [
    [{ cookie: { name: 'sid' } }, { cookie: 'a=b; sid=laptop' }],
    [{ header: 'X-Session' }, { 'x-session': 'laptop' }],
    [{ header: 'Authorization' }, { authorization: 'Bearer laptop' }],
    [{ token: request => request.headers['x-any']?.toString() }, { 'x-any': 'laptop' }]
  ] satisfies ReadonlyArray<readonly [SessionStoreSourceOptions, Record<string, string>]>) {
    const { logOut, live } = await host(t, options)
    const { status, cookie } = await logOut(headers as Record<string, string>)
    t.strictSame([status, cookie !== undefined], [204, 'cookie' in options])
    t.notOk((await live()).includes('laptop'), Object.keys(options)[0] ?? '')
    t.equal((await logOut({ 'x-other': 'x' })).status, 204, 'without it')
    t.strictSame((await logOut({ 'x-session': '', authorization: 'Basic x', 'x-any': '' })).calls, [], 'an empty one is not looked up')
  }
})

t.test('of several cookies of the name, every session is logged out, and the first live one is told', async t => {
  const { logOut, live, events } = await host(t, { cookie: { name: 'sid' } })
  t.strictSame(await logOut({ cookie: 'sid=unknown; sid=old; sid=laptop; sid=phone; sid=laptop' }), {
    status: 204, cookie: removed, calls: ['logOut', 'logOut', 'logOut', 'logOut']
  })
  t.strictSame(await live(), ['bobs'])
  t.match(events, [{ scope: 'session', session: { id: 'id-of-laptop' } }])
})

t.test('a store that returns plain values needs no promise for the one token of a request', async t => {
  const { store } = await host(t, { header: 'x-session' })
  const source = sessionStoreSource(store, { header: 'x-session' })
  const request = (token?: string) => ({ headers: token === undefined ? {} : { 'x-session': token } }) as unknown as FastifyRequest
  t.match(source.find?.(request('laptop')), { id: 'id-of-laptop', status: 'active' })
  t.match(source.logOut(request('laptop')), { id: 'id-of-laptop', status: 'active' })
  for (const token of ['laptop', 'old', 'unknown', undefined]) {
    t.equal(source.find?.(request(token)), undefined, `find: ${token}`)
    t.equal(source.logOut(request(token)), undefined, `logOut: ${token}`)
  }
})

t.test('signed cookies', async t => {
  const { app, logOut, live } = await host(t, { cookie: { name: 'sid', signed: true, path: '/app' } }, app => app.register(fastifyCookie,
    { secret: 'a secret' }))
  t.match(await logOut({ cookie: 'sid=laptop' }), { status: 204, calls: [] }, 'without a signature')
  t.ok((await live()).includes('laptop'))
  const { cookie } = await logOut({ cookie: `sid=${encodeURIComponent(app.signCookie('laptop'))}` })
  t.match(cookie, /^sid=; Max-Age=0; Path=\/app; Expires=/)
  t.notOk((await live()).includes('laptop'))
})

t.test('signed cookies without @fastify/cookie are reported, and nothing is done', async t => {
  const { logOut, live } = await host(t, { cookie: { name: 'sid', signed: true } })
  t.match(await logOut({ cookie: 'sid=laptop' }), { status: 500, cookie: undefined, calls: [] })
  t.ok((await live()).includes('laptop'))
  const source = sessionStoreSource(memorySessionStore(), { cookie: { name: 'sid', signed: true } })
  await t.rejects(async () => source.logOut({ server: {}, headers: {} } as FastifyRequest), {
    code: 'LOGOUT_MISCONFIGURED', cause: { name: 'TypeError', message: /^sessionStoreSource: option "cookie" is signed, which needs/ }
  })
})

t.test('the cross-site check cannot be turned off for cookies', async t => {
  const store = memorySessionStore()
  t.equal(sessionStoreSource(store, { cookie: { name: 'sid' } }).readsCookie, true)
  t.equal(sessionStoreSource(store, { header: 'authorization' }).readsCookie, false)
  await t.rejects(async () => Fastify().register(sessionLogout, {
    sessions: sessionStoreSource(store, { cookie: { name: 'sid' } }),
    csrf: 'off'
  }), { message: /csrf/ })
})

t.test('a tenant is refused: a session store has none', async t => {
  const { logOutSubject } = logoutActions({ sessions: sessionStoreSource(memorySessionStore(), { header: 'authorization' }) })
  await t.rejects(logOutSubject({ subject: 'alice', tenant: 'acme' }), {
    code: 'LOGOUT_MISCONFIGURED',
    cause: { message: 'sessionStoreSource: a SessionStore has no tenants: give each tenant a store of its own' }
  })
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const store = memorySessionStore()
  const wrong = (sessions: unknown, options: unknown, message: string) => {
    t.throws(() => sessionStoreSource(sessions as LogoutSessionStore, options as SessionStoreSourceOptions), {
      name: 'TypeError', message: `sessionStoreSource: option ${message}`
    }, message)
  }
  for (const sessions of [undefined, {}, { find: store.find }, { logOut: store.logOut }]) {
    wrong(sessions, { header: 'x' },
      '"sessions" is missing')
  }
  wrong({ ...store, logOutSubject: 5 }, { header: 'x' }, '"logOutSubject" must be a function')
  for (const options of [undefined, {}, { header: 'x', cookie: { name: 'sid' } }, { header: 'x', token: () => 'x' }]) {
    wrong(store, options, '"cookie" or "header" or "token" must be given, and only one of them')
  }
  for (const header of ['', 'a b', 5]) wrong(store, { header }, '"header" must be the name of a header')
  wrong(store, { token: 'x' }, '"token" must be a function')
  wrong(store, { cookie: { name: '' } }, '"cookie" must have a name')
})
