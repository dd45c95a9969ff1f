import fastifyCookie from '@fastify/cookie'
import fastifyCsrf from '@fastify/csrf-protection'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest, type preHandlerHookHandler } from 'fastify'
import t, { type Test } from 'tap'
import { sessionLogout, type SessionLogoutOptions } from '../../lib/flows/session.ts'
import { logoutActions } from '../../lib/logout-actions.ts'
import { credentialOf } from '../../lib/internal/revocation/logout-marks.ts'
import type { Credential, Mark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { jwtSource, type JwtSourceOptions, type TokenPlace } from '../../lib/session-sources/jwt.ts'
import { rejected, type Claims } from '../../lib/token-verifier.ts'
import { newDevice, setCookies, told } from '../session-host.ts'
import { jwtHost } from '../source-hosts.ts'

const secret = 'a secret with at least 32 characters in it'
const lifetime = 30 * 24 * 3_600_000
const everywhere: TokenPlace[] = ['bearer', { name: 'access' }, { name: 'refresh', path: '/auth', sameSite: 'strict' }]

interface Setup {
  readonly source?: Partial<JwtSourceOptions<Claims>>
  readonly options?: Partial<SessionLogoutOptions>
  readonly before?: (app: FastifyInstance) => unknown
}

/** A host with `@fastify/jwt`, and everything that can be seen of it. */
async function host (t: Test, { source, options, before }: Setup = {}) {
  const marks: Mark[] = []
  const memory = memoryRevocationStore()
  const revocations = {
    check: (credential: Credential) => memory.check(credential),
    revoke: (...added: Mark[]) => { marks.push(...added); return memory.revoke(...added) },
    revokeOnce: (credential: Credential, ...added: Mark[]) => { marks.push(...added); return memory.revokeOnce(credential, ...added) }
  }
  const lines: string[] = []
  const app = Fastify({ trustProxy: true, logger: { stream: { write: line => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(fastifyCookie, { secret })
  await app.register(fastifyJwt, { secret })
  await before?.(app)
  const verified: string[] = []
  const sessions = jwtSource<Claims>({
    verify: token => {
      verified.push(token)
      return app.jwt.verify<Record<string, unknown>>(token, { ignoreExpiration: true })
    },
    revocations,
    lifetime,
    from: everywhere,
    ...source
  })
  const { events, onLogout } = told()
  await app.register(sessionLogout, { sessions, onLogout, ...options } as SessionLogoutOptions)
  await app.ready()

  const sign = (claims: object, expiresIn: string | number = '5m') => app.jwt.sign({ sub: 'alice', ...claims }, { expiresIn })
  const logOut = async ({ bearer, cookie, scope }: { bearer?: string, cookie?: string, scope?: string } = {}) => {
    const response = await app.inject({
      method: 'POST',
      url: '/logout',
      headers: { ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }), ...(cookie !== undefined && { cookie }) },
      ...(scope !== undefined && { payload: { scope } })
    })
    const cleared = setCookies(response).filter(({ removed }) => removed).map(({ name }) => name)
    return { status: response.statusCode, cleared, code: response.body === '' ? undefined : response.json().code }
  }
  const isLive = async (token: string) => await memory.check(credentialOf(app.jwt.decode<Claims>(token) ?? {}, token)) === 'live'
  const logged = () => lines.map(line => JSON.parse(line)).filter(line => line.event !== undefined)
  return { app, sessions, memory, marks, events, verified, sign, logOut, isLive, logged }
}

const done = { status: 204, cleared: ['access', 'refresh'], code: undefined }
const hoursAgo = (hours: number) => Math.floor(Date.now() / 1000) - hours * 3600

t.test('J1, M2: access and refresh token of one session are ended by one mark, and every cookie is cleared', async t => {
  for (const place of ['header', 'cookie']) {
    const { sign, logOut, marks, events, isLive } = await host(t)
    const [access, refresh, unsent, other] = [sign({ sid: 's1', jti: 'a' }), sign({ sid: 's1', jti: 'r' }, '30d'), sign({
      sid: 's1',
      jti: 'x'
    }), sign({ sid: 's2' })]
    const answer = await logOut(place === 'header'
      ? {
          bearer: access,
          cookie: `refresh=${refresh}`
        }
      : { cookie: `access=${access}; refresh=${refresh}` })
    t.strictSame(answer, done)
    t.match(marks, [{ sessionId: 's1' }])
    t.equal(marks.length, 1)
    t.ok((marks[0]?.until ?? 0) >= Date.now() + lifetime - 60_000)
    t.strictSame(await Promise.all([access, refresh, unsent, other].map(isLive)), [false, false, false, true])
    t.match(events, [{ scope: 'session', session: { id: 's1', subject: 'alice', claims: { sid: 's1', jti: 'a' } } }])
    t.equal(events.length, 1)
  }
})

t.test('J1: the clearing cookies have the attributes of the cookies', async t => {
  const { app } = await host(t)
  const response = await app.inject({ method: 'POST', url: '/logout' })
  const [access, refresh] = setCookies(response)
  t.match([access, refresh], [
    { name: 'access', removed: true, attributes: { path: '/', samesite: 'Lax', secure: '', httponly: '' } },
    { name: 'refresh', removed: true, attributes: { path: '/auth', samesite: 'Strict', secure: '', httponly: '' } }
  ])
})

for (const accessIn of ['header', 'cookie'] as const) {
  t.test(`J1, M7: a logout with the access token alone ends the refresh token too, also while it is used: ${accessIn}`, async t => {
    const host = await jwtHost('JWTs', { accessIn }).make(t)
    const device = await host.logIn('alice')
    const refreshing = await host.save(device)
    const alone = newDevice(host.app, new Map(device.cookies), { ...device.headers })
    alone.keep({ headers: { 'set-cookie': 'refresh=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT' } })
    t.equal((await alone.send({ method: 'POST', url: '/logout' })).statusCode, 204)
    const refreshed = await refreshing.finish()
    t.notSame([...refreshed.cookies.values()], [...device.cookies.values()], 'the refresh was answered with new tokens')
    t.strictSame([await host.isLive(device), await host.isLive(refreshed)], [false, false])
    await t.rejects(host.save(device), /refused before it could save/, 'the old refresh token')
    await t.rejects(host.save(refreshed), /refused before it could save/, 'the new one')
    t.equal(host.events.length, 1)
  })
}

t.test('A5: tokens that are issued together with a logout everywhere are live, if it leaves their session alone', async t => {
  const { sessions, sign, isLive } = await host(t)
  const { logOutSubject } = logoutActions({ sessions })
  const [before, current] = [sign({ sid: 's1' }), sign({ sid: 's2' })]
  await logOutSubject({ subject: 'alice', except: 's2' })
  t.strictSame([await isLive(before), await isLive(current), await isLive(sign({ sid: 's2' }, '30d'))], [false, true, true])
})

t.test('C10, C11: beside @fastify/csrf-protection with its secret in a cookie', async t => {
  const csrf: { hook?: preHandlerHookHandler } = {}
  const { app, sign, events } = await host(t, {
    before: async app => {
      await app.register(fastifyCsrf)
      csrf.hook = app.csrfProtection as preHandlerHookHandler
      app.get('/form', async (_request, reply) => ({ token: reply.generateCsrf() }))
    },
    options: { csrf: (request, reply, done) => csrf.hook?.call(app, request, reply, done) }
  })
  const device = newDevice(app)
  device.keep({ headers: { 'set-cookie': `access=${sign({ sid: 's1' })}` } })
  const { token } = (await device.send({ url: '/form' })).json()
  const send = (headers: Record<string, string>) => device.send({ method: 'POST', url: '/logout', headers })
  t.equal((await send({ 'sec-fetch-site': 'same-origin' })).json().code, 'FST_CSRF_INVALID_TOKEN')
  t.equal((await send({ 'csrf-token': token })).statusCode, 204)
  t.equal((await send({ 'csrf-token': token })).statusCode, 204)
  t.equal((await send({})).statusCode, 204, 'without a session there is nothing to protect')
  t.equal((await send({ 'sec-fetch-site': 'cross-site' })).json().code, 'LOGOUT_CROSS_SITE')
  t.equal(events.length, 1)
})

t.test('J2: an expired access token alone ends its session, and is told', async t => {
  const { sign, logOut, isLive, events, app } = await host(t)
  const refresh = sign({ sid: 's1' }, '30d')
  const expired = app.jwt.sign({ sub: 'alice', sid: 's1', iat: hoursAgo(2), exp: hoursAgo(1) })
  t.strictSame(await logOut({ bearer: expired }), done)
  t.notOk(await isLive(refresh), 'the refresh token, which was not sent')
  t.equal(events.length, 1)
  t.strictSame(await logOut({ bearer: expired }), done)
  t.equal(events.length, 1)
})

t.test('J2: a token whose lifetime has passed belongs to no session any more: nobody is told', async t => {
  const { app, logOut, events } = await host(t)
  const tooOld = app.jwt.sign({ sub: 'alice', sid: 's1', iat: hoursAgo(24 * 31), exp: hoursAgo(24 * 31 - 1) })
  t.strictSame(await logOut({ bearer: tooOld }), done)
  t.strictSame(events, [])
  const untimed = app.jwt.sign({ sub: 'alice', sid: 's2' }, { noTimestamp: true } as never)
  t.strictSame(await logOut({ bearer: untimed }), done)
  t.equal(events.length, 1, 'a token without a time may be live')
})

t.test('J2: the tolerance for clocks is added to the lifetime of a token', async t => {
  const hours = (count: number) => count * 3_600_000
  const { app, logOut, events } = await host(t, { source: { lifetime: hours(2), clockTolerance: hours(1) } })
  for (const [age, told] of [[4, 0], [2.5, 1]] as const) {
    const iat = Math.floor(Date.now() / 1000 - age * 3600)
    t.strictSame(await logOut({ bearer: app.jwt.sign({ sub: 'alice', sid: `s${age}`, iat, exp: iat + 60 }) }), done)
    t.equal(events.length, told, `${age} hours old`)
  }
})

t.test('J3: with a forged access token, the refresh token is ended', async t => {
  const { sign, logOut, marks, isLive } = await host(t)
  const refresh = sign({ sid: 's1' }, '30d')
  const good = sign({ sid: 's2' })
  for (const bearer of ['x', 'a.b.c', `${good.slice(0, -6)}aaaaaa`, good.replace(/^[^.]+/,
    Buffer.from('{"alg":"none"}').toString('base64url'))]) {
    marks.length = 0
    t.strictSame(await logOut({ bearer, cookie: `refresh=${refresh}` }), done, bearer)
    t.match(marks, [{ sessionId: 's1' }])
    t.equal(marks.length, 1)
  }
  t.ok(await isLive(good))
})

t.test('J4: tokens of different sessions are all ended, and the first live one is told', async t => {
  const { sign, logOut, isLive, events } = await host(t)
  const [first, second, third] = [sign({ sid: 's1' }), sign({ sid: 's2' }), sign({ sid: 's3', sub: 'bob' })]
  await logOut({ bearer: first })
  events.length = 0
  t.strictSame(await logOut({ bearer: first, cookie: `access=${second}; refresh=${third}` }), done)
  t.strictSame(await Promise.all([first, second, third].map(isLive)), [false, false, false])
  t.match(events, [{ scope: 'session', session: { id: 's2' } }])
  t.equal(events.length, 1)
})

t.test('J5: errors of the token are not ours; errors of the keys, and all others, are a 503', async t => {
  const codes = [
    'FAST_JWT_MALFORMED', 'FAST_JWT_INVALID_SIGNATURE', 'FAST_JWT_INVALID_ALGORITHM', 'FAST_JWT_INACTIVE', 'FAST_JWT_MISSING_KEY',
    'FAST_JWT_VERIFY_ERROR',
    'FST_JWT_AUTHORIZATION_TOKEN_INVALID', 'FST_JWT_NO_AUTHORIZATION_IN_HEADER', 'FST_JWT_BAD_REQUEST'
  ]
  for (const error of [...codes.map(code => Object.assign(new Error('no'), { code })), rejected('untrusted', 'no'), rejected('expired',
    'no')]) {
    for (const verify of [() => { throw error }, async () => { throw error }]) {
      const { logOut, marks } = await host(t, { source: { verify } })
      t.strictSame(await logOut({ bearer: 'x' }), done, error.message)
      t.strictSame(marks, [])
    }
  }
  for (const verify of [() => undefined, async () => null]) {
    t.strictSame(await (await host(t,
      { source: { verify } })).logOut({ bearer: 'x' }), done)
  }

  const outages = ['FAST_JWT_KEY_FETCHING_ERROR', 'FAST_JWT_INVALID_KEY', 'FAST_JWT_INVALID_OPTION', 'ECONNREFUSED',
    'XFAST_JWT_MALFORMED', undefined, 5]
  for (const error of [...outages.map(code => Object.assign(new Error('down'), { code })), 'down', undefined, null]) {
    const { logOut } = await host(t, { source: { verify: () => { throw error } } })
    t.strictSame(await logOut({ bearer: 'x', cookie: 'refresh=y' }), { status: 503, cleared: [], code: 'LOGOUT_UNAVAILABLE' },
      String(error))
  }
})

t.test('J5: claims that are not an object are a 500 that names verify', async t => {
  for (const claims of ['alice', 5, true]) {
    const { logOut, logged, marks } = await host(t, { source: { verify: () => claims as never } })
    t.strictSame(await logOut({ bearer: 'x' }), { status: 500, cleared: [], code: 'LOGOUT_MISCONFIGURED' })
    t.match(logged()[0].err.message, 'option "verify" must resolve the claims of a token, or undefined')
    t.strictSame(marks, [])
  }
})

t.test('J6: others and all with an expired or revoked token only are a 401', async t => {
  const { app, sign, logOut, isLive, marks } = await host(t)
  const expired = app.jwt.sign({ sub: 'alice', sid: 's1', iat: hoursAgo(2), exp: hoursAgo(1) })
  const revoked = sign({ sid: 's2' })
  await logOut({ bearer: revoked })
  marks.length = 0
  const other = sign({ sid: 's3' })
  for (const bearer of [expired, revoked]) {
    t.strictSame(await logOut({ bearer, scope: 'others' }), { status: 401, cleared: [], code: 'LOGOUT_NOT_LOGGED_IN' })
    t.strictSame(await logOut({ bearer, scope: 'all' }), { status: 401, cleared: ['access', 'refresh'], code: 'LOGOUT_NOT_LOGGED_IN' })
  }
  t.notOk(marks.some(mark => 'subject' in mark))
  t.ok(await isLive(other))
  t.strictSame((await logOut({ bearer: expired, cookie: `refresh=${other}`, scope: 'others' })).status, 204,
    'a live token beside an expired one')
})

t.test('J6: the tolerance for clocks counts', async t => {
  const { app, logOut, marks } = await host(t, { source: { clockTolerance: 60_000 } })
  const justExpired = app.jwt.sign({ sub: 'alice', sid: 's1', iat: hoursAgo(1), exp: Math.floor(Date.now() / 1000) - 10 })
  const before = Date.now()
  t.equal((await logOut({ bearer: justExpired, scope: 'others' })).status, 204)
  t.match(marks, [{ subject: 'alice', except: 's1' }])
  t.ok('cutoff' in marks[0]! && marks[0].cutoff >= before + 60_000)
})

t.test('J7: of a token without a sid, only itself can be ended', async t => {
  const { app, sign, logOut, marks, isLive, logged } = await host(t)
  const [first, second, other] = [sign({ jti: 'j1' }), sign({}), sign({ jti: 'j3' })]
  for (const scope of ['others', 'all']) {
    t.strictSame(await logOut({ bearer: first, scope }), { status: 500, cleared: [], code: 'LOGOUT_MISCONFIGURED' }, scope)
  }
  t.strictSame(marks, [], 'nothing is done')
  t.match(logged()[0].err.message, 'the token has no "sid": to log out other sessions, give all tokens of a session the same "sid"')
  t.strictSame(await logOut({ bearer: first, cookie: `refresh=${second}` }), done)
  t.match(marks, [{ tokenId: 'j1' }, { tokenId: /^[\w-]{43}$/ }])
  t.strictSame(await Promise.all([first, second, other].map(isLive)), [false, false, true])

  const { logOutSubject } = logoutActions({
    sessions: jwtSource({
      verify: () => undefined,
      revocations: {
        check: () => 'live',
        revoke: (...added) => { marks.push(...added); return true },
        revokeOnce: () => true
      },
      lifetime
    })
  })
  marks.length = 0
  await logOutSubject({ subject: 'alice', except: 'j1' })
  t.match(marks, [{ subject: 'alice', except: 'j1' }], 'A4 works')
  t.ok(app)
})

t.test('J9: a token without a sub can be ended, and nobody is told', async t => {
  const { app, logOut, marks, events } = await host(t)
  const token = app.jwt.sign({ sid: 's1' }, { expiresIn: '5m' })
  t.strictSame(await logOut({ bearer: token }), done)
  t.match([marks, events], [[{ sessionId: 's1' }], []])
  t.strictSame(await logOut({ bearer: app.jwt.sign({ sid: 's2' }, { expiresIn: '5m' }), scope: 'others' }), {
    status: 401,
    cleared: [],
    code: 'LOGOUT_NOT_LOGGED_IN'
  })
})

t.test('J10: only values that look like tokens are verified, each of two cookies of one name too', async t => {
  const { app, sign, verified, isLive } = await host(t)
  const long = `${'a'.repeat(16_384)}x`
  for (const headers of [{ authorization: 'Basic YTpi' }, { authorization: 'Bearer' }, { authorization: 'Bearer a b' },
    { authorization: `Bearer ${long}` }, { cookie: 'refresh=' }, { cookie: 'refresh' }]) {
    t.equal((await app.inject({ method: 'POST', url: '/logout', headers })).statusCode, 204)
  }
  t.strictSame(verified, [])
  await app.inject({ method: 'POST', url: '/logout', headers: { authorization: `Bearer ${'a'.repeat(16_384)}` } })
  t.equal(verified.length, 1, 'as long as a token may be')
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: { cookie: 'refresh=%zz; refresh=%E0%A4%A' } })).statusCode, 204,
    'broken percent encoding')
  const [first, second] = [sign({ sid: 's1' }), sign({ sid: 's2' })]
  verified.length = 0
  t.equal((await app.inject({
    method: 'POST',
    url: '/logout',
    headers: { cookie: `refresh=${first}; refresh=x; refresh=${second}; refresh=${first}` }
  })).statusCode, 204)
  t.strictSame([await isLive(first), await isLive(second), verified.length], [false, false, 3])
})

t.test('J11: when the marks fail or hang it is a 503, without any Set-Cookie', async t => {
  for (const [method, scope] of [['revokeOnce', 'current'], ['revokeOnce', 'all'], ['check', 'others'], ['revoke', 'all']] as const) {
    for (const fails of [() => Promise.reject(new Error('down')), () => new Promise(() => {}), () => { throw new Error('down') }]) {
      const { sign, logOut, memory, events } = await host(t, { options: { timeout: 50 } })
      const working = memory[method] as never
      Object.assign(memory, { [method]: fails })
      const bearer = sign({ sid: 's1' })
      t.strictSame(await logOut({ bearer, scope }), { status: 503, cleared: [], code: 'LOGOUT_UNAVAILABLE' }, `${method}, ${scope}`)
      Object.assign(memory, { [method]: working })
      t.strictSame((await logOut({ bearer, scope })).status, 204)
      t.equal(events.length, 1)
    }
  }
  const { logOut } = await host(t, { options: { timeout: 50 }, source: { verify: () => new Promise(() => {}) } })
  t.strictSame(await logOut({ bearer: 'x' }), { status: 503, cleared: [], code: 'LOGOUT_UNAVAILABLE' })
})

t.test('M5: a login in the same second as the cutoff is live with a login time in milliseconds, and not with iat alone', async t => {
  const { app, memory } = await host(t)
  const credential = (claims: Claims, token?: string): Credential => ({
    ...credentialOf(claims, token),
    loggedInAt: Number(claims['login'])
  })
  const { logOutSubject } = logoutActions({ sessions: jwtSource({ verify: () => undefined, revocations: memory, lifetime }) })
  while (Date.now() % 1000 > 900) await new Promise(resolve => setTimeout(resolve, 10))
  await logOutSubject({ subject: 'alice' })
  const cutoff = Date.now()
  while (Date.now() === cutoff) await new Promise(resolve => setTimeout(resolve, 1))
  const claims = app.jwt.decode<Claims>(app.jwt.sign({ sub: 'alice', sid: 's1', login: Date.now() })) ?? {}
  t.strictSame([await memory.check(credential(claims)), await memory.check(credentialOf(claims))], ['live', 'revoked'])
})

t.test('M4: a token without a login time is a warning that names the option, once', async t => {
  const { app, sign, logOut, logged } = await host(t)
  await logOut({ bearer: sign({ sid: 's1' }), scope: 'others' })
  t.strictSame(logged(), [])
  for (const sid of ['s2', 's3']) await logOut({ bearer: app.jwt.sign({ sub: 'bob', sid }, { noTimestamp: true }), scope: 'others' })
  t.match(logged(), [{ level: 40, event: 'logout.no-login-time', msg: /Give tokens an "iat"/ }])
  t.equal(logged().length, 1)
})

t.test('M8: whether a session was live is judged by its newest token', async t => {
  const { app, memory, logOut, events } = await host(t, { source: { from: ['bearer', { name: 'refresh' }] } })
  const tokens = [hoursAgo(2), hoursAgo(1), undefined].map((iat, index) => {
    const claims = { sub: 'alice', sid: 's1', jti: `${index}`, ...(iat !== undefined && { iat }) }
    return app.jwt.sign(claims, { noTimestamp: iat === undefined } as never)
  })
  await memory.revoke({ subject: 'alice', cutoff: Date.now() - 5_400_000, until: Date.now() + 60_000 })
  const [older = '', newer = '', untimed = ''] = tokens
  await logOut({ bearer: older, cookie: `refresh=${newer}; refresh=${untimed}` })
  t.match(events, [{ session: { id: 's1', claims: { jti: '0' } } }], 'live by the newer one, told with the first one')
})

t.test('signed cookies', async t => {
  const { app, sign, isLive } = await host(t, { source: { from: [{ name: 'refresh', signed: true }] } })
  const token = sign({ sid: 's1' })
  await app.inject({ method: 'POST', url: '/logout', headers: { cookie: `refresh=${token}` } })
  t.ok(await isLive(token), 'without a signature')
  await app.inject({ method: 'POST', url: '/logout', headers: { cookie: `refresh=${encodeURIComponent(app.signCookie(token))}` } })
  t.notOk(await isLive(token))
})

t.test('a credential of the host', async t => {
  const { sign, logOut, marks, events, logged } = await host(t, {
    source: {
      credential: ({ sub, device }, token) => ({
        subject: `user-${sub}`,
        tenant: 'acme',
        sessionId: device === undefined ? undefined : `${device}`,
        tokenId: device === undefined ? '' : token
      })
    }
  })
  await logOut({ bearer: sign({ device: 'phone' }) })
  t.match([marks, events], [[{ sessionId: 'phone' }], [{
    session: {
      id: 'phone',
      subject: 'user-alice',
      tenant: 'acme',
      claims: { device: 'phone' }
    }
  }]])
  t.strictSame(await logOut({ bearer: sign({}) }), { status: 500, cleared: [], code: 'LOGOUT_MISCONFIGURED' })
  t.match(logged()[0].err.message, 'option "credential" must return a "sessionId" or a "tokenId"')
})

t.test('C9: csrf can be off only without cookies', async t => {
  const { sign, logOut } = await host(t, { source: { from: ['bearer'] }, options: { csrf: 'off' } })
  t.strictSame(await logOut({ bearer: sign({ sid: 's1' }) }), { ...done, cleared: [] })
  await t.rejects(host(t, { options: { csrf: 'off' } }), { message: /"csrf" must not be "off"/ })
})

t.test('by default tokens are looked for in the Authorization header', async t => {
  const { sessions } = await host(t, { source: { from: undefined } })
  t.equal(sessions.readsCookie, false)
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const good = { verify: () => undefined, revocations: memoryRevocationStore(), lifetime: 1000 }
  const wrong = (options: unknown, message: RegExp) => {
    t.throws(() => jwtSource(options as JwtSourceOptions<Claims>), { name: 'TypeError', message })
  }
  wrong(undefined, /jwtSource: option "verify" is missing/)
  wrong({ ...good, verify: 5 }, /"verify" must be a function/)
  wrong({ ...good, credential: 5 }, /"credential" must be a function/)
  wrong({ ...good, revocations: {} }, /"revocations" is missing/)
  wrong({ ...good, lifetime: undefined }, /"lifetime" is missing/)
  wrong({ ...good, lifetime: -1 }, /"lifetime" must be/)
  for (const clockTolerance of [-1, NaN, '5']) wrong({ ...good, clockTolerance }, /"clockTolerance" must be a number/)
  for (const from of ['bearer', [], ['header'], [null], [5], ['bearer', 5], [{ name: 'access' }, null]]) {
    wrong({ ...good, from }, /"from" must be a list of places/)
  }
  wrong({ ...good, from: [{ name: '' }] }, /"from" must have a name/)
})

/** A source whose tokens stand for these claims, and a request with some of them. */
function sourceOf (tokens: Readonly<Record<string, Claims>>, options: Partial<JwtSourceOptions<Claims>> = {}) {
  const memory = memoryRevocationStore()
  const marks: Mark[] = []
  const revocations = {
    ...memory,
    revoke: (...added: Mark[]) => { marks.push(...added); return memory.revoke(...added) },
    revokeOnce: (credential: Credential, ...added: Mark[]) => { marks.push(...added); return memory.revokeOnce(credential, ...added) }
  }
  const from: TokenPlace[] = ['bearer', { name: 'refresh' }]
  const source = jwtSource<Claims>({ verify: token => tokens[token], revocations, lifetime, from, ...options })
  const requestWith = (bearer: string, refresh = '') => ({
    server: {}, headers: { authorization: `Bearer ${bearer}`, cookie: `refresh=${refresh}` }, log: { warn () {} }
  }) as unknown as FastifyRequest
  return { source, marks, memory, requestWith }
}

const now = 1_790_000_000_000
const seconds = now / 1000

/** Runs at an instant, as if the clock stood still. */
async function at<T> (instant: number, act: () => PromiseLike<T> | T): Promise<T> {
  const { now: clock } = Date
  Date.now = () => instant
  try {
    return await act()
  } finally {
    Date.now = clock
  }
}

t.test('a token without a user is passed over: the session of the next one is found', async t => {
  const { source, requestWith } = sourceOf({ cart: { jti: 'cart' }, access: { sid: 's1', sub: 'alice', iat: seconds } })
  t.match(await at(now, () => source.find?.(requestWith('cart', 'access'))), { id: 's1', subject: 'alice' })
  t.match(await at(now, () => source.find?.(requestWith('access', 'cart'))), { id: 's1', subject: 'alice' })
  t.equal(await at(now, () => source.find?.(requestWith('cart'))), undefined)
})

t.test('of several tokens of one session, that with the latest login decides whether it was live', async t => {
  const claims = { sid: 's1', sub: 'alice' }
  const tokens = {
    refreshed: { ...claims, iat: seconds, auth_time: seconds - 100 },
    stepUp: { ...claims, iat: seconds - 50, auth_time: seconds - 10 },
    plain: { ...claims, iat: seconds - 10 },
    untimed: claims
  }
  for (const pair of [['refreshed', 'stepUp'], ['refreshed', 'plain'], ['untimed', 'stepUp'], ['untimed', 'plain']] as const) {
    for (const [first, second] of [pair, [pair[1], pair[0]]] as const) {
      for (const [cutoff, expected] of [[now - 50_000, { id: 's1' }], [now - 5000, undefined]] as const) {
        const { source, memory, marks, requestWith } = sourceOf(tokens)
        await at(now, () => memory.revoke({ subject: 'alice', cutoff, until: now + lifetime }))
        t.match({ ended: await at(now, () => source.logOut(requestWith(first, second))) }, { ended: expected }, `${first}, ${second}`)
        t.match(marks, [{ sessionId: 's1' }], 'one mark in any case')
      }
    }
  }
})

t.test('A4: the sessions of a user are ended in a request, also of one with tokens of another user', async t => {
  const { source, marks, requestWith } = sourceOf({ admin: { sid: 's1', sub: 'root' }, bare: { jti: 'j1', sub: 'root' } })
  for (const token of ['admin', 'bare']) {
    const request = requestWith(token)
    await source.find?.(request)
    await source.logOutSubject?.({ subject: 'alice' }, request)
    await source.logOutSubject?.({ subject: 'alice', except: 's9' }, request)
  }
  t.match(marks, [{ subject: 'alice' }, { subject: 'alice', except: 's9' }, { subject: 'alice' }, { subject: 'alice', except: 's9' }])
  t.equal(marks.length, 4)
})

t.test('every mark lasts for the lifetime of tokens, and the tolerance of both clocks', async t => {
  const clockTolerance = 2000
  const { source, marks, requestWith } = sourceOf({ access: { sid: 's1', sub: 'alice', iat: seconds } }, { clockTolerance })
  await at(now, () => source.logOut(requestWith('access')))
  await at(now, () => source.logOutById({ id: 's2', subject: 'alice' }))
  await at(now, () => source.logOutSubject?.({ subject: 'alice' }))
  const until = now + lifetime + 2 * clockTolerance
  t.strictSame(marks, [{ sessionId: 's1', until }, { sessionId: 's2', until }, { subject: 'alice', cutoff: now + clockTolerance, until }])
})

t.test('J2, J6: a token is found until it expires, and its session counts as live until nothing of it can be', async t => {
  const claims = { sid: 's1', sub: 'alice', iat: seconds - 60, exp: seconds }
  for (const clockTolerance of [0, 100]) {
    for (const [instant, isFound] of [[now - 1, true], [now, false]] as const) {
      const { source, requestWith } = sourceOf({ access: claims }, { clockTolerance })
      const found = await at(instant + clockTolerance, () => source.find?.(requestWith('access')))
      t.equal(found !== undefined, isFound, `expiry, ${instant - now}, ${clockTolerance}`)
    }
    const end = now - 60_000 + lifetime + clockTolerance
    for (const [instant, isEnded] of [[end - 1, true], [end, false]] as const) {
      const { source, marks, requestWith } = sourceOf({ access: claims }, { clockTolerance })
      const ended = await at(instant, () => source.logOut(requestWith('access')))
      t.equal(ended !== undefined, isEnded, `lifetime, ${instant - end}, ${clockTolerance}`)
      t.equal(marks.length, 1)
    }
  }
})
