import fastifyCookie from '@fastify/cookie'
import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { protectSessionStore } from '../../lib/bridges/express-session.ts'
import { sessionLogout, type SessionLogoutOptions } from '../../lib/flows/session.ts'
import { logoutActions, type LogoutActions } from '../../lib/logout-actions.ts'
import type { Credential, Mark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { fastifySessionSource, type FastifySessionSourceOptions } from '../../lib/session-sources/fastify-session.ts'
import { tokenDigest } from '../../lib/token-digest.ts'
import { newDevice, setCookies, told } from '../session-host.ts'

const secret = 'a secret with at least 32 characters in it'

interface Setup {
  readonly plugin?: Partial<FastifySessionOptions>
  readonly source?: FastifySessionSourceOptions
  readonly credential?: (session: Stored) => Credential | undefined
  readonly options?: Partial<SessionLogoutOptions>
  readonly before?: (app: FastifyInstance) => unknown
  readonly unprotected?: boolean
}

const userOfSession = ({ user, tenant, loggedInAt }: Stored): Credential | undefined => {
  return user === undefined ? undefined : { subject: user, tenant, issuedAt: loggedInAt ?? undefined }
}

interface Stored { readonly user?: string, readonly tenant?: string, readonly loggedInAt?: number | null }

/** A host with `@fastify/session` over a map, and everything that can be seen of it. */
async function host (t: Test, { plugin, source = {}, credential = userOfSession, options, before, unprotected = false }: Setup = {}) {
  const kept = new Map<string, unknown>()
  const marks: Mark[] = []
  const memory = memoryRevocationStore()
  const revocations = {
    check: (credential: Credential) => memory.check(credential),
    revoke: (...added: Mark[]) => { marks.push(...added); return memory.revoke(...added) },
    revokeOnce: (credential: Credential, ...added: Mark[]) => { marks.push(...added); return memory.revokeOnce(credential, ...added) }
  }
  const inner = new (fastifySession.MemoryStore as unknown as new (map: object) => fastifySession.SessionStore)(kept)
  const store = protectSessionStore(inner as never, revocations, {
    credential: (session: Stored) => credential(session)
  })
  const lines: string[] = []
  const app = Fastify({ trustProxy: true, logger: { stream: { write: line => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await app.register(fastifySession, { secret, ...plugin, store: unprotected ? inner : store as never })
  await before?.(app)
  app.post<{ Body: Stored }>('/login', async request => { Object.assign(request.session, { loggedInAt: Date.now() }, request.body) })
  app.get('/me', async ({ session }) => ({ user: session.user ?? null }))
  const { events, onLogout } = told()
  await app.register(sessionLogout, { sessions: fastifySessionSource(store, source), onLogout, ...options } as SessionLogoutOptions)
  await app.ready()

  const device = () => newDevice(app)
  const logIn = async (data: object = { user: 'alice' }, protocol = 'https') => {
    const own = device()
    own.headers['x-forwarded-proto'] = protocol
    await own.send({ method: 'POST', url: '/login', payload: data })
    return own
  }
  const userOf = async (own: ReturnType<typeof device>) => (await own.copy().send({ url: '/me' })).json().user
  const logged = () => lines.map(line => JSON.parse(line)).filter(line => line.event !== undefined)
  return { app, store, inner, kept, marks, memory, events, device, logIn, userOf, logged }
}

const logOut = { method: 'POST', url: '/logout' } as const

for (const rolling of [undefined, true, false]) {
  for (const saveUninitialized of [undefined, true, false]) {
    const plugin = { ...(rolling !== undefined && { rolling }), ...(saveUninitialized !== undefined && { saveUninitialized }) }
    t.test(`F1: the session is gone and one cookie clears it: ${JSON.stringify(plugin)}`, async t => {
      const { logIn, userOf, kept, events } = await host(t, { plugin })
      const own = await logIn()
      const before = own.copy()
      t.equal(kept.size, 1)
      const response = await own.send(logOut)
      t.equal(response.statusCode, 204)
      const [clearing, ...others] = setCookies(response)
      t.match(clearing, { name: 'sessionId', removed: true, attributes: { path: '/', secure: '', httponly: '' } })
      t.strictSame(others, [])
      t.equal(kept.size, 0, 'gone from the store')
      t.strictSame([await userOf(before), await userOf(own)], [null, null])
      t.equal(events.length, 1)
    })
  }
}

t.test('F2: hooks of the host that read request.session after the logout find an empty one', async t => {
  const seen: unknown[] = []
  const look = (name: string) => async (request: FastifyRequest, _reply: FastifyReply) => {
    if (request.url !== '/logout') return
    const { session } = request
    session.set('saves', 1)
    seen.push([name, session.user, session.get('user'), session.get('saves'), (session as { sessionId?: string }).sessionId])
  }
  const { logIn, kept } = await host(t, {
    before: app => { app.addHook('onSend', look('onSend')); app.addHook('onResponse', look('onResponse')) }
  })
  const own = await logIn()
  t.equal((await own.send(logOut)).statusCode, 204)
  t.strictSame(seen, [['onSend', undefined, undefined, 1, undefined], ['onResponse', undefined, undefined, 1, undefined]])
  t.equal(kept.size, 0)
})

t.test('F3: when the mark cannot be written, it is a 503 without any Set-Cookie, and a retry ends the session', async t => {
  for (const how of ['rejects', 'hangs']) {
    const { logIn, memory, marks, kept, userOf, events } = await host(t, { options: { timeout: 50 } })
    const own = await logIn()
    const before = own.copy()
    const { revokeOnce } = memory
    let broken = true
    const fail = () => how === 'hangs' ? new Promise(() => {}) : Promise.reject(new Error('down'))
    Object.assign(memory, {
      revokeOnce: (credential: Credential, ...added: Mark[]) => broken ? fail() : revokeOnce(credential, ...added)
    })
    const start = performance.now()
    const response = await own.send(logOut)
    t.strictSame([response.statusCode, response.headers['set-cookie']], [503, undefined], how)
    t.ok(performance.now() - start < 20_000, 'the plugin does not save to a store that waits for the marks')
    broken = false
    t.equal(await userOf(before), 'alice', 'still logged in')
    t.equal((await own.send(logOut)).statusCode, 204)
    t.strictSame([kept.size, marks.length, events.length, await userOf(before)], [0, 2, 1, null])
  }
})

t.test('F3: a logout of the others does not wait for a save either', async t => {
  const { logIn, memory, userOf } = await host(t, { options: { timeout: 50 } })
  const own = await logIn()
  const { revoke, check } = memory
  for (const method of ['revoke', 'check'] as const) {
    let allowed = 1
    Object.assign(memory, {
      revoke,
      check,
      [method]: (...added: never[]) => {
        return method === 'check' && allowed-- > 0 ? (check as (...values: never[]) => unknown)(...added) : new Promise(() => {})
      }
    })
    const start = performance.now()
    const response = await own.send({ ...logOut, payload: { scope: 'others' } })
    t.strictSame([response.statusCode, response.headers['set-cookie']], [503, undefined], method)
    t.ok(performance.now() - start < 20_000, method)
    Object.assign(memory, { revoke, check })
    t.equal(await userOf(own), 'alice')
  }
})

t.test('F4: an anonymous request writes neither a session nor a mark', async t => {
  const { device, kept, marks, events } = await host(t)
  for (const scope of ['current', 'all']) {
    const response = await device().send({ ...logOut, payload: { scope } })
    t.equal(response.statusCode, scope === 'all' ? 401 : 204)
    t.match(setCookies(response), [{ name: 'sessionId', removed: true }])
  }
  const stale = await device().send({ ...logOut, headers: { cookie: `sessionId=${'a'.repeat(32)}.${'b'.repeat(43)}` } })
  t.equal(stale.statusCode, 204)
  t.strictSame([kept.size, marks, events], [0, [], []])
})

t.test('F5: a session without a user is ended and cleared, and nobody is told', async t => {
  const { logIn, kept, marks, events } = await host(t)
  const own = await logIn({ saves: 1 })
  t.equal(kept.size, 1)
  t.equal((await own.copy().send({ ...logOut, payload: { scope: 'others' } })).statusCode, 401, 'nobody is logged in')
  const response = await own.send(logOut)
  t.equal(response.statusCode, 204)
  t.match(setCookies(response), [{ name: 'sessionId', removed: true }])
  t.strictSame([kept.size, marks.length, events], [0, 1, []])
})

t.test('F7: what is set up wrongly is a 500 that names the fix in the log, and nothing is done', async t => {
  const wrong: ReadonlyArray<readonly [setup: Setup, hint: string]> = [
    [{ plugin: { cookieName: 'sid' } }, 'option "cookieName" must be "sid", as in the options of @fastify/session'],
    [{ plugin: { cookieName: 'sid', cookiePrefix: 's:' } }, 'option "cookieName" must be "sid", as in the options of @fastify/session'],
    [{ unprotected: true }, 'give @fastify/session the same store: what protectSessionStore returned'],
    [{ plugin: { cookie: { path: '/app' } } },
      'request.session has no id: the route of the logout must be within the path of the session cookie']
  ]
  for (const [setup, hint] of wrong) {
    const { logIn, marks, kept, logged } = await host(t, setup)
    const own = await logIn()
    const before = kept.size
    for (const scope of ['current', 'others', 'all']) {
      const response = await own.copy().send({ ...logOut, payload: { scope } })
      t.strictSame([response.statusCode, response.json().code], [500, 'LOGOUT_MISCONFIGURED'], hint)
      t.notOk(setCookies(response).some(({ removed }) => removed))
      t.notOk(response.body.includes(hint))
    }
    t.strictSame([marks, kept.size], [[], before])
    t.match(logged().map(({ event, err }) => [event, err.message]), Array(3).fill([
      'logout.misconfigured', `The logout is not set up correctly.: fastifySessionSource: ${hint}`
    ]))
  }
})

t.test('F7: a credential that throws is a 500 that names it, and nothing is done', async t => {
  let broken = false
  const { logIn, marks, userOf, logged } = await host(t, {
    credential: session => {
      if (broken) throw new Error('no user')
      return userOfSession(session)
    },
    before: app => {
      app.addHook('preHandler', async ({ url }) => { broken = url === '/logout' })
      app.addHook('onError', async () => { broken = false })
    }
  })
  const own = await logIn()
  for (const scope of ['current', 'others', 'all']) {
    const response = await own.copy().send({ ...logOut, payload: { scope } })
    t.strictSame([response.statusCode, response.json().code], [500, 'LOGOUT_MISCONFIGURED'])
  }
  t.match(logged()[0].err.message, /option "credential" threw an error\. It must return undefined for a session without a user/)
  t.strictSame([marks, await userOf(own)], [[], 'alice'])
})

t.test('F7, F10: without the plugin, or with express-session in its place, it is a 500 that says so', async t => {
  const store = protectSessionStore(new fastifySession.MemoryStore() as never, memoryRevocationStore())
  const sessions = fastifySessionSource(store)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout, { sessions })
  t.match((await app.inject(logOut)).json(), { statusCode: 500, code: 'LOGOUT_MISCONFIGURED' })
  await t.rejects(async () => sessions.logOut({ headers: {} } as FastifyRequest), {
    cause: { message: 'fastifySessionSource: register @fastify/session before the logout' }
  })
})

t.test('F8: when the session cannot be removed from its store, the logout succeeds, within a second or so, and is logged', async t => {
  for (const destroy of [(_id: string, done: (error: unknown) => void) => done(new Error('down')), () => {}]) {
    const { logIn, inner, userOf, kept, logged, events } = await host(t)
    const own = await logIn()
    const before = own.copy()
    Object.assign(inner, { destroy })
    const start = performance.now()
    t.equal((await own.send(logOut)).statusCode, 204)
    t.ok(performance.now() - start < 4000)
    t.strictSame([kept.size, events.length, await userOf(before)], [1, 1, null], 'refused, although it is still there')
    t.match(logged().filter(({ event }) => event === 'logout.cleanup-failed'), [{
      level: 40,
      msg: 'a revoked session could not be removed from its store'
    }])
  }
})

t.test('M2, M3, M4: one mark for this session, or for all of its user until now; it lasts as long as sessions do', async t => {
  const { logIn, userOf, marks } = await host(t)
  const now = Date.now()
  const logInAt = (loggedInAt?: number) => logIn({ user: 'alice', tenant: 'acme', loggedInAt: loggedInAt ?? null })
  const [caller, early] = [await logInAt(now - 2000), await logInAt(now - 1000)]
  const [untimed, later] = [await logInAt(), await logInAt(now + 60_000)]
  t.equal((await caller.send({ ...logOut, payload: { scope: 'others' } })).statusCode, 204)
  const [mark, ...rest] = marks
  t.match(mark, { subject: 'alice', tenant: 'acme', except: /^[\w-]{43}$/, cutoff: Number, until: Number })
  t.strictSame(rest, [], 'one mark, whatever the number of sessions')
  // A day, and an hour for requests that are still running.
  t.ok(mark !== undefined && 'cutoff' in mark && mark.until === mark.cutoff + 25 * 3_600_000)
  t.strictSame(await Promise.all([caller, early, untimed, later].map(userOf)), ['alice', null, null, 'alice'])

  marks.length = 0
  t.equal((await caller.send(logOut)).statusCode, 204)
  t.match(marks, [{ sessionId: /^[\w-]{43}$/ }])
  t.ok((marks[0]?.until ?? 0) > now + 25 * 3_600_000 - 1)
})

t.test('M4: a session without a login time is a warning that names the option, once', async t => {
  const { device, logIn, logged } = await host(t)
  t.equal((await device().send({ ...logOut, payload: { scope: 'others' } })).statusCode, 401)
  t.equal((await (await logIn({ saves: 1 })).send({ ...logOut, payload: { scope: 'others' } })).statusCode, 401)
  t.strictSame(logged(), [], 'a session without a user needs none')
  const untimed = { user: 'bob', loggedInAt: null }
  const [timed, first, second] = [await logIn(), await logIn(untimed), await logIn(untimed)]
  await timed.send({ ...logOut, payload: { scope: 'others' } })
  t.strictSame(logged(), [])
  for (const own of [first, second]) await own.send({ ...logOut, payload: { scope: 'others' } })
  t.match(logged(), [{ level: 40, event: 'logout.no-login-time', msg: /"loggedInAt" from the option "credential" of protectSessionStore/ }])
  t.equal(logged().length, 1)
  t.notMatch(JSON.stringify(logged()), 'bob')
})

t.test('F9: the public id is the digest of the session id', async t => {
  const { logIn, kept, events, marks } = await host(t)
  const own = await logIn({ user: 'alice', tenant: 'acme' })
  const [sessionId = ''] = kept.keys()
  await own.send(logOut)
  t.strictSame(events, [{ scope: 'session', session: { id: tokenDigest(sessionId), subject: 'alice', tenant: 'acme' } }])
  t.match(marks, [{ sessionId: tokenDigest(sessionId) }])
  t.notMatch(JSON.stringify([events, marks]), sessionId)
})

t.test('K3: the clearing cookie has the attributes of this session, also those that the host changed for it', async t => {
  for (const [cookie, https, expected] of [
    [{ path: '/', domain: 'app.example', sameSite: 'strict' }, true, {
      path: '/',
      domain: 'app.example',
      samesite: 'Strict',
      secure: '',
      httponly: ''
    }],
    [{ path: '/', secure: 'auto', sameSite: 'none' }, true, { path: '/', samesite: 'None', secure: '', httponly: '' }],
    [{ path: '/', secure: 'auto', sameSite: 'none' }, false, { path: '/', samesite: 'Lax', httponly: '' }],
    [{ path: '/', secure: false, httpOnly: false }, false, { path: '/' }],
    [{ path: '/', partitioned: true, sameSite: 'none' }, true, { path: '/', samesite: 'None', secure: '', httponly: '', partitioned: '' }]
  ] as const) {
    const { logIn } = await host(t, { plugin: { cookie: cookie as never } })
    const own = await logIn({ user: 'alice' }, https ? 'https' : 'http')
    const response = await own.send(logOut)
    const { expires, 'max-age': maxAge, ...attributes } = setCookies(response)[0]?.attributes ?? {}
    t.strictSame([attributes, maxAge, Date.parse(expires ?? '') < Date.now()], [expected, '0', true], JSON.stringify(cookie))
  }

  const { logIn } = await host(t, {
    before: app => app.addHook('preHandler', async ({ url, session }) => {
      if (url === '/login') session.options({ path: '/', domain: 'one.app.example', sameSite: 'none' })
    })
  })
  const own = await logIn()
  t.match(setCookies(await own.send(logOut)), [{ removed: true, attributes: { domain: 'one.app.example', samesite: 'None', path: '/' } }])
})

t.test('a cookie that was signed with an older secret is known', async t => {
  const { logIn, kept, events } = await host(t, { plugin: { secret: ['another secret with at least 32 characters', secret] } })
  const own = await logIn()
  const [sessionId = ''] = kept.keys()
  const older = new (await import('@fastify/cookie')).Signer(secret).sign(sessionId)
  t.not(older, decodeURIComponent(own.cookies.get('sessionId') ?? ''))
  const response = await own.send({ ...logOut, headers: { cookie: `sessionId=${encodeURIComponent(older)}` } })
  t.strictSame([response.statusCode, kept.size, events.length], [204, 0, 1])
})

t.test('a session without a user is known by a cookie that was signed with an older secret', async t => {
  const { logIn, device, kept } = await host(t, { plugin: { secret: ['another secret with at least 32 characters', secret] } })
  await logIn({ saves: 1 })
  const [sessionId = ''] = kept.keys()
  const older = new (await import('@fastify/cookie')).Signer(secret).sign(sessionId)
  t.equal((await device().send({ ...logOut, headers: { cookie: `sessionId=${encodeURIComponent(older)}` } })).statusCode, 204)
  t.equal(kept.size, 0)
})

t.test('a signer that hides the id is known by what it signs, or by the user of the session', async t => {
  let salt = 0
  const hide = (value: string) => Buffer.from(value).toString('hex')
  for (const isRandom of [false, true]) {
    const signer = {
      sign: (value: string) => `${hide(value)}-${isRandom ? salt++ : 0}`,
      unsign: (value: string) => ({ valid: true, renew: false, value: Buffer.from(value.split('-')[0] ?? '', 'hex').toString() })
    }
    const { logIn, kept, events } = await host(t, { plugin: { secret: signer as never } })
    const own = await logIn()
    t.equal((await own.send(logOut)).statusCode, 204)
    t.strictSame([kept.size, events.length], [0, 1])
  }
})

t.test('A4: a session that the host has destroyed or made anew while it handles the request', async t => {
  const own: { actions?: LogoutActions } = {}
  const { store, logIn, device, userOf } = await host(t, {
    before: app => {
      app.post('/destroyed', async (request, reply) => {
        await request.session.destroy()
        return { ended: await own.actions?.logOut(request, reply) ?? null }
      })
      app.post('/password', async (request, reply) => {
        await request.session.regenerate(['user', 'loggedInAt'])
        await own.actions?.logOutOthers(request, reply)
      })
      app.post('/only-here', async (request, reply) => {
        await request.session.regenerate()
        Object.assign(request.session, { user: 'alice', loggedInAt: Date.now() })
        await own.actions?.logOutOthers(request, reply)
      })
      app.post('/others-then-all', async (request, reply) => {
        await own.actions?.logOutOthers(request, reply)
        const { sessionId } = request.session
        await request.session.regenerate(['user', 'loggedInAt'])
        if ('anew' in Object(request.query)) Object.assign(request.session, { loggedInAt: Date.now() + 1 })
        const ended = await own.actions?.logOut(request, reply)
        return { isAnother: request.session.sessionId !== sessionId, ended: ended !== undefined && ended.id !== tokenDigest(sessionId) }
      })
      app.post('/twice', async (request, reply) => {
        await own.actions?.logOut(request, reply)
        return { again: await own.actions?.logOut(request, reply) ?? null }
      })
    }
  })
  own.actions = logoutActions({ sessions: fastifySessionSource(store) })

  const desk = await logIn()
  const destroyed = await desk.send({ method: 'POST', url: '/destroyed' })
  t.strictSame([destroyed.statusCode, destroyed.json()], [200, { ended: null }])
  t.match(setCookies(destroyed), [{ name: 'sessionId', removed: true }])

  const [laptop, phone] = [await logIn(), await logIn()]
  const stolen = laptop.copy()
  t.equal((await laptop.send({ method: 'POST', url: '/password' })).statusCode, 200)
  t.strictSame(await Promise.all([laptop, stolen, phone].map(userOf)), ['alice', null, null], 'a stolen copy of the old id is refused')

  const tablet = device()
  t.equal((await tablet.send({ method: 'POST', url: '/only-here' })).statusCode, 200)
  t.strictSame(await Promise.all([laptop, tablet].map(userOf)), [null, 'alice'], 'also for a session that this request has opened')

  const again = await laptop.send({ method: 'POST', url: '/only-here' })
  t.equal(again.statusCode, 200)
  const anew = await laptop.send({ method: 'POST', url: '/others-then-all?anew' })
  t.strictSame(anew.json(), { isAnother: true, ended: true }, 'the session that it has now is the one that ends')
  const back = await laptop.send({ method: 'POST', url: '/only-here' })
  t.equal(back.statusCode, 200)
  await new Promise(resolve => setTimeout(resolve, 5))
  await tablet.send({ method: 'POST', url: '/only-here' })
  const old = await tablet.send({ method: 'POST', url: '/others-then-all' })
  t.strictSame(old.json(), { isAnother: true, ended: false }, 'with the old login time, the cutoff has ended it already')
  await tablet.send({ method: 'POST', url: '/only-here' })

  const twice = await tablet.send({ method: 'POST', url: '/twice' })
  t.strictSame(twice.json(), { again: null })
  t.match(setCookies(twice), [{ name: 'sessionId', removed: true }])
})

t.test('A4: the sessions of a user are ended without a request, and by a request outside the plugin', async t => {
  const { store, logIn, userOf, marks } = await host(t)
  const { logOutSubject } = logoutActions({ sessions: fastifySessionSource(store) })
  const own = await logIn({ user: 'alice', tenant: 'acme' })
  await logOutSubject({ subject: 'alice', tenant: 'umbrella' })
  t.equal(await userOf(own), 'alice')
  await logOutSubject({ subject: 'alice', tenant: 'acme', except: 'another' })
  t.equal(await userOf(own), null)
  const other = Fastify()
  t.teardown(() => other.close())
  other.delete('/alice', async request => { await logOutSubject({ subject: 'alice' }, request) })
  t.equal((await other.inject({ method: 'DELETE', url: '/alice' })).statusCode, 200)
  t.match(marks, [{ tenant: 'umbrella' }, { tenant: 'acme', except: 'another' }, { subject: 'alice' }])
})

t.test('what a request puts into its session while the others are logged out is not lost', async t => {
  const replaced: unknown[] = []
  const own: { actions?: LogoutActions } = {}
  const { store, logIn, userOf } = await host(t, {
    before: app => app.post('/others', async (request, reply) => {
      const { session } = request
      await own.actions?.logOutOthers(request, reply)
      replaced.push(request.session === session)
      request.session.user = 'renamed'
    })
  })
  own.actions = logoutActions({ sessions: fastifySessionSource(store) })
  const device = await logIn()
  t.equal((await device.send({ method: 'POST', url: '/others' })).statusCode, 200)
  t.strictSame([replaced, await userOf(device)], [[true], 'renamed'])
})

t.test('a session that the host sets while the others are logged out stays', async t => {
  const own: { actions?: LogoutActions } = {}
  let seen: unknown
  const { store, memory, logIn } = await host(t, {
    before: app => app.post('/others', async (request, reply) => {
      const ended = own.actions?.logOutOthers(request, reply)
      await revoking
      Object.assign(request, { session: null })
      release()
      await ended
      seen = request.session
    })
  })
  let begin = () => {}
  let release = () => {}
  const revoking = new Promise<void>(resolve => { begin = resolve })
  const gate = new Promise<void>(resolve => { release = resolve })
  const { revoke } = memory
  Object.assign(memory, { revoke: async (...marks: Mark[]) => { begin(); await gate; return revoke(...marks) } })
  own.actions = logoutActions({ sessions: fastifySessionSource(store) })
  await (await logIn()).send({ method: 'POST', url: '/others' })
  t.equal(seen, null)
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const protectedStore = protectSessionStore(new fastifySession.MemoryStore() as never, memoryRevocationStore())
  for (const store of [undefined, null, {}, new fastifySession.MemoryStore(), 5]) {
    t.throws(() => fastifySessionSource(store as object), {
      name: 'TypeError',
      message: 'fastifySessionSource: option "store" must be what protectSessionStore returned, and what @fastify/session was given'
    })
  }
  for (const cookieName of ['', 5, null]) {
    t.throws(() => fastifySessionSource(protectedStore, { cookieName: cookieName as string }), {
      name: 'TypeError',
      message: /"cookieName" must be/
    })
  }
})

t.test('a session that a node with a clock ahead has opened ends with all others, within the tolerance', async t => {
  for (const [clockTolerance, user] of [[5000, null], [undefined, 'alice']] as const) {
    const { logIn, userOf } = await host(t, { source: { clockTolerance } })
    const ahead = await logIn({ user: 'alice', loggedInAt: Date.now() + 3000 })
    const own = await logIn({ user: 'alice', loggedInAt: Date.now() - 1000 })
    t.equal((await own.send({ ...logOut, payload: { scope: 'others' } })).statusCode, 204)
    t.equal(await userOf(ahead), user, `${clockTolerance}`)
  }
  const store = protectSessionStore(new fastifySession.MemoryStore() as never, memoryRevocationStore())
  for (const clockTolerance of [-1, NaN, Infinity, '1' as never]) {
    t.throws(() => fastifySessionSource(store, { clockTolerance }), {
      name: 'TypeError', message: 'fastifySessionSource: option "clockTolerance" must be a number of milliseconds, 0 or more'
    })
  }
})
