import fastifySecureSession, { type SecureSessionPluginOptions } from '@fastify/secure-session'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { sessionLogout, type SessionLogoutOptions } from '../../lib/flows/session.ts'
import { revocationGuard } from '../../lib/guards/revocation.ts'
import type { Credential, Mark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { secureSessionSource, type SecureSession, type SecureSessionSourceOptions } from '../../lib/session-sources/secure-session.ts'
import { newDevice, setCookies, told } from '../session-host.ts'

const hour = 3_600_000

interface Setup {
  readonly plugin?: object
  readonly source?: Partial<SecureSessionSourceOptions<SecureSession>>
  readonly options?: Partial<SessionLogoutOptions>
  readonly guarded?: boolean
  readonly before?: (app: FastifyInstance) => unknown
}

interface Data { get (name: string): unknown, set (name: string, value: unknown): void, regenerate (): void, options (given: object): void }

/** A host with `@fastify/secure-session`, and everything that can be seen of it. */
async function host (t: Test, { plugin, source, options, guarded = true, before }: Setup = {}) {
  const marks: Mark[] = []
  const memory = memoryRevocationStore()
  const revocations = {
    check: (credential: Credential) => memory.check(credential),
    revoke: (...added: Mark[]) => { marks.push(...added); return memory.revoke(...added) },
    revokeOnce: (credential: Credential, ...added: Mark[]) => { marks.push(...added); return memory.revokeOnce(credential, ...added) }
  }
  const sessions = secureSessionSource<SecureSession>({
    revocations,
    lifetime: 24 * hour,
    sessionOf: ({ user, ...rest }) => user === undefined ? undefined : { subject: user, ...rest } as unknown as SecureSession,
    ...source
  })
  const lines: string[] = []
  const app = Fastify({ trustProxy: true, logger: { stream: { write: line => { lines.push(line) } } } })
  t.teardown(() => app.close())
  const given: object = { key: Buffer.alloc(32, 7), cookie: { path: '/' }, ...plugin }
  await app.register(fastifySecureSession, given as SecureSessionPluginOptions)
  await before?.(app)
  if (guarded) await app.register(revocationGuard, { revocations, credential: sessions.credential })
  const dataOf = (request: FastifyRequest) => (request as unknown as Record<string, Data>)[source?.sessionName ?? 'session'] as Data
  const unguarded: object = { revocation: false }
  app.post<{ Body: Record<string, unknown> }>('/login', { config: unguarded }, async request => {
    const data = dataOf(request)
    data.regenerate()
    for (const [name, value] of Object.entries(request.body)) data.set(name, value)
  })
  app.get('/me', async request => ({ user: dataOf(request).get('user') ?? null }))
  app.post('/touch', async request => { dataOf(request).set('touched', 1) })
  const { events, onLogout } = told()
  await app.register(sessionLogout, { sessions, onLogout, ...options } as SessionLogoutOptions)
  await app.ready()

  const device = () => newDevice(app)
  const logIn = async (data: object = { id: 's1', user: 'alice', issuedAt: Date.now() }) => {
    const own = device()
    await own.send({ method: 'POST', url: '/login', payload: data })
    return own
  }
  const me = async (own: ReturnType<typeof device>) => {
    const response = await own.copy().send({ url: '/me' })
    return response.statusCode === 200 ? response.json().user : response.statusCode
  }
  const logged = () => lines.map(line => JSON.parse(line)).filter(line => line.event !== undefined)
  return { app, sessions, memory, marks, events, device, logIn, me, logged }
}

const logOut = { method: 'POST', url: '/logout' } as const

t.test('Y1, K3: current marks the session and the plugin sends the clearing cookie', async t => {
  for (const [plugin, attributes] of [
    [{}, { path: '/', httponly: '', samesite: 'Lax' }],
    [{ cookie: { path: '/', secure: true, sameSite: 'strict', domain: 'app.example' } }, {
      path: '/',
      secure: '',
      httponly: '',
      samesite: 'Strict',
      domain: 'app.example'
    }],
    [{ cookieName: 'other', cookie: { path: '/', httpOnly: false } }, { path: '/', samesite: 'Lax' }]
  ] as const) {
    const { logIn, marks, events, me } = await host(t, { plugin })
    const own = await logIn()
    const before = own.copy()
    const response = await own.send(logOut)
    t.equal(response.statusCode, 204)
    const [clearing, ...rest] = setCookies(response)
    const { expires, 'max-age': maxAge, ...others } = clearing?.attributes ?? {}
    t.strictSame([clearing?.name, clearing?.removed, maxAge, others, rest], ['cookieName' in plugin ? plugin.cookieName : 'session', true,
      '0', attributes, []])
    t.ok(Date.parse(expires ?? '') < Date.now())
    t.match(marks, [{ sessionId: 's1' }])
    t.ok((marks[0]?.until ?? 0) >= Date.now() + 25 * hour - 60_000, 'as long as the cookie is good, and an hour for requests in flight')
    t.strictSame(await me(before), 401)
    t.match(events, [{ scope: 'session', session: { id: 's1', subject: 'alice', issuedAt: Number } }])
  }
})

t.test('Y2: an older copy of the cookie, and one that a request in flight sets again, are refused', async t => {
  const { logIn, me } = await host(t)
  const own = await logIn()
  const older = own.copy()
  await own.send({ method: 'POST', url: '/touch' })
  t.not(own.cookies.get('session'), older.cookies.get('session'), 'each change makes another cookie')
  const newest = own.copy()
  await own.send(logOut)
  t.strictSame([await me(older), await me(newest)], [401, 401])
  t.equal((await newest.copy().send({ method: 'POST', url: '/touch' })).statusCode, 401)
})

t.test('Y3: a session without an id is a 500 that names the fix, and nothing is done', async t => {
  for (const wrong of [{ user: 'alice' }, { id: '', user: 'alice' }, { id: null, user: 'alice' }, { id: {}, user: 'alice' }, {
    id: 's1',
    user: ''
  }, { id: 's1', user: null }]) {
    const { logIn, marks, logged, events } = await host(t, { guarded: false })
    const own = await logIn(wrong)
    for (const scope of ['current', 'others', 'all']) {
      const response = await own.send({ ...logOut, payload: { scope } })
      t.strictSame([response.statusCode, response.json().code, response.headers['set-cookie']], [500, 'LOGOUT_MISCONFIGURED', undefined],
        JSON.stringify(wrong))
    }
    t.strictSame([marks, events], [[], []])
    t.match(logged()[0].err.message, 'option "sessionOf" must return { id, subject }, or undefined for a session without a user')
  }
})

t.test('Y4: when the marks cannot be read or written the session is not deleted', async t => {
  for (const [method, scope] of [['revokeOnce', 'current'], ['revokeOnce', 'all'], ['check', 'others'], ['revoke', 'all']] as const) {
    const { logIn, memory, me, events } = await host(t)
    const own = await logIn()
    const working = memory[method] as never
    Object.assign(memory, { [method]: () => Promise.reject(new Error('down')) })
    const response = await own.send({ ...logOut, payload: { scope } })
    t.strictSame([response.statusCode, response.headers['set-cookie']], [503, undefined])
    Object.assign(memory, { [method]: working })
    t.equal(await me(own), 'alice')
    t.equal((await own.send({ ...logOut, payload: { scope } })).statusCode, 204)
    t.equal(events.length, 1)
  }
})

t.test('a session without a user is deleted, without a mark', async t => {
  const { logIn, marks, events, device } = await host(t)
  for (const own of [await logIn({ cart: [1] }), device()]) {
    const response = await own.send(logOut)
    t.equal(response.statusCode, 204)
    t.match(setCookies(response), [{ name: 'session', removed: true }])
  }
  const forged = await device().send({ ...logOut, headers: { cookie: 'session=AAAA;BBBB' } })
  t.equal(forged.statusCode, 204)
  t.strictSame([marks, events], [[], []])
})

t.test('Y6: others and all with a revoked session are a 401, although the route is not guarded', async t => {
  const { logIn, marks } = await host(t)
  const own = await logIn()
  const before = own.copy()
  await own.send(logOut)
  for (const scope of ['others', 'all']) t.equal((await before.copy().send({ ...logOut, payload: { scope } })).statusCode, 401)
  t.notOk(marks.some(mark => 'subject' in mark))
})

t.test('Y7: the login route is not guarded, so a browser that kept a revoked cookie can log in', async t => {
  const { logIn, me } = await host(t)
  const own = await logIn()
  const kept = own.copy()
  await own.send(logOut)
  t.equal(await me(kept), 401)
  t.equal((await kept.send({ method: 'POST', url: '/login', payload: { id: 's2', user: 'alice', issuedAt: Date.now() } })).statusCode, 200)
  t.equal(await me(kept), 'alice')
})

t.test('M3, M4: a subject mark ends sessions by their login time; one without a login time is always ended', async t => {
  const { logIn, marks, me } = await host(t)
  const now = Date.now()
  const [caller, early, untimed] = [
    await logIn({ id: 'a', user: 'alice', tenant: 'acme', issuedAt: now - 1000 }), await logIn({
      id: 'b',
      user: 'alice',
      tenant: 'acme',
      issuedAt: now - 1000
    }),
    await logIn({ id: 'c', user: 'alice', tenant: 'acme' })
  ]
  const [later, laterUntimed, other] = [
    await logIn({ id: 'd', user: 'alice', tenant: 'acme', issuedAt: now + 60_000 }), await logIn({
      id: 'e',
      user: 'alice',
      tenant: 'acme'
    }),
    await logIn({ id: 'f', user: 'alice', tenant: 'umbrella', issuedAt: now - 1000 })
  ]
  t.equal((await caller.send({ ...logOut, payload: { scope: 'others' } })).statusCode, 204)
  t.match(marks, [{ subject: 'alice', tenant: 'acme', except: 'a', cutoff: Number, until: Number }])
  t.equal(marks.length, 1, 'one mark, whatever the number of sessions')
  t.strictSame(await Promise.all([caller, early, untimed, later, laterUntimed, other].map(me)), ['alice', 401, 401, 'alice', 401, 'alice'])

  marks.length = 0
  t.equal((await caller.send({ ...logOut, payload: { scope: 'all' } })).statusCode, 204)
  t.match(marks, [{ subject: 'alice', tenant: 'acme', except: 'a' }, { sessionId: 'a' }])
})

t.test('M4: a session without a login time is a warning that names the option, once', async t => {
  const { logIn, logged } = await host(t)
  await (await logIn()).send({ ...logOut, payload: { scope: 'others' } })
  t.strictSame(logged(), [])
  for (const id of ['s2', 's3']) await (await logIn({ id, user: 'bob' })).send({ ...logOut, payload: { scope: 'others' } })
  t.match(logged(), [{ level: 40, event: 'logout.no-login-time', msg: /Return "issuedAt" from the option "sessionOf"/ }])
  t.equal(logged().length, 1)
})

t.test('M11: numbers are their text in marks', async t => {
  const { logIn, marks, events, me } = await host(t)
  const [own, other] = [await logIn({ id: 1, user: 7, issuedAt: Date.now() - 1 }), await logIn({
    id: 2,
    user: 7,
    issuedAt: Date.now() - 1
  })]
  await own.send({ ...logOut, payload: { scope: 'all' } })
  t.match(marks, [{ subject: '7', except: '1' }, { sessionId: '1' }])
  t.strictSame(events, [{ scope: 'all', subject: '7' }])
  t.equal(await me(other), 401)
})

t.test('another name of the session', async t => {
  const { logIn, marks, sessions } = await host(t, { plugin: { sessionName: 'user', cookieName: 'u' }, source: { sessionName: 'user' } })
  const own = await logIn()
  const response = await own.send(logOut)
  t.match(setCookies(response), [{ name: 'u', removed: true }])
  t.equal(marks.length, 1)
  await t.rejects(async () => sessions.logOut({} as FastifyRequest), {
    code: 'LOGOUT_MISCONFIGURED',
    cause: { message: 'secureSessionSource: register @fastify/secure-session with the sessionName "user" before the logout' }
  })
})

t.test('a null of sessionOf is nothing', async t => {
  const { logIn, marks } = await host(t, { source: { sessionOf: () => null } })
  t.equal((await (await logIn()).send(logOut)).statusCode, 204)
  t.strictSame(marks, [])
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const good = { revocations: memoryRevocationStore(), lifetime: 1000, sessionOf: () => undefined }
  const wrong = (options: unknown, message: RegExp) => {
    t.throws(() => secureSessionSource(options as SecureSessionSourceOptions<SecureSession>), { name: 'TypeError', message })
  }
  wrong(undefined, /secureSessionSource: option "revocations" is missing/)
  wrong({ ...good, revocations: { check: () => 'live' } }, /"revocations" is missing/)
  wrong({ ...good, revocations: { revoke: () => true } }, /"revocations" is missing/)
  wrong({ ...good, lifetime: undefined }, /"lifetime" is missing/)
  wrong({ ...good, lifetime: 0 }, /"lifetime" must be/)
  wrong({ ...good, sessionOf: undefined }, /"sessionOf" is missing/)
  wrong({ ...good, sessionOf: 5 }, /"sessionOf" must be a function/)
  for (const sessionName of ['', 5]) wrong({ ...good, sessionName }, /"sessionName" must be the sessionName/)
})

t.test('a session that a node with a clock ahead has opened ends with all others, within the tolerance', async t => {
  for (const [clockTolerance, isLive] of [[5000, false], [undefined, true]] as const) {
    const { logIn, me } = await host(t, { source: { clockTolerance } })
    const ahead = await logIn({ id: 'ahead', user: 'alice', issuedAt: Date.now() + 3000 })
    const own = await logIn({ id: 'own', user: 'alice', issuedAt: Date.now() - 1000 })
    t.equal((await own.send({ ...logOut, payload: { scope: 'others' } })).statusCode, 204)
    t.equal(await me(ahead) === 'alice', isLive, `${clockTolerance}`)
  }
  for (const clockTolerance of [-1, NaN, Infinity, '1' as never]) {
    const rest = { revocations: memoryRevocationStore(), lifetime: 1000, sessionOf: () => undefined }
    t.throws(() => secureSessionSource({ ...rest, clockTolerance }), {
      name: 'TypeError', message: 'secureSessionSource: option "clockTolerance" must be a number of milliseconds, 0 or more'
    })
  }
})
