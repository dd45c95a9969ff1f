import fastifyCookie from '@fastify/cookie'
import fastifyHelmet from '@fastify/helmet'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { channel } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import { frontChannelLogout, type FrontChannelLogoutOptions } from '../../lib/flows/openid-front-channel.ts'
import { isLogoutScope } from '../../lib/internal/plugin/no-activity.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { withOption } from '../misuse.ts'
import { faults, setCookies, told, type Fault } from '../session-host.ts'
import { wire, type Answer } from '../wire.ts'

const issuer = 'https://login.example/realm'
const other = 'https://sts.example:8443'
const hour = 3_600_000
const until = Date.now() + hour

interface Setup {
  readonly server?: FastifyServerOptions
  /** Runs before the plugin is registered. */
  readonly before?: (app: FastifyInstance) => unknown
}

/** A host with a session store, and an index to which its logins are bound. */
async function host (t: Test, options: Partial<FrontChannelLogoutOptions> = {}, { server = {}, before }: Setup = {}) {
  const store = memorySessionStore()
  const known = memoryProviderSessionIndex()
  const { set: broken, run } = faults()
  const { events, onLogout } = told()
  const app = Fastify(server)
  t.teardown(() => app.close())
  const over = wire(app)
  await before?.(app)
  const sessions = {
    find: (token: string) => run('find', () => store.find(token)),
    logOutById: (query: Parameters<typeof store.logOutById>[0]) => run('logOutById', () => store.logOutById(query))
  }
  await app.register(frontChannelLogout, {
    issuers: [{ issuer }, { issuer: other }],
    index: { logOut: logout => run('index', () => known.logOut(logout)) },
    sessions,
    sessionLifetime: hour,
    onLogout,
    ...options
  })
  await app.ready()
  const ask = (query: string, headers: Record<string, string> = {}) => over.inject({ url: `/frontchannel-logout${query}`, headers })
  /** Logs a user in: the value of the session cookie. */
  const logIn = async (sid: string, { name = `${sid}-${Math.random()}`, from = issuer, issuedAt = Date.now() } = {}) => {
    await store.create(`token ${name}`, { id: name, subject: 'alice', createdAt: 1, expiresAt: until, keepUntil: until })
    t.equal(
      await known.bind({ issuer: from, subject: 'alice at the provider', sid, issuedAt }, { sessionId: name, subject: 'alice' }, until),
      'live'
    )
    return `token ${name}`
  }
  const isLive = async (token: string) => (await store.find(token))?.status === 'active'
  return { app, over, ask, logIn, isLive, broken, events, known, store, sessions }
}

const query = (parameters: Record<string, string>) => `?${new URLSearchParams(parameters)}`
const alices = query({ iss: issuer, sid: 's 1' })
const policy = "default-src 'none'; frame-ancestors https://login.example https://sts.example:8443"
const always = { 'cache-control': 'no-store', 'content-security-policy': policy, 'referrer-policy': 'no-referrer' }
const rateLimit = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']

const unlimited = ({ status, headers, body }: Answer): Answer => {
  return { status, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !rateLimit.includes(name))), body }
}
const page = '<!doctype html><title>Logged out</title>'
const done: Answer = {
  status: 200, headers: { ...always, 'content-type': 'text/html; charset=utf-8', 'content-length': String(page.length) }, body: page
}
const refusal = (status: number, error: string, description?: string, more = {}): Answer => {
  const body = JSON.stringify({ error, error_description: description })
  return {
    status, headers: { ...more, ...always, 'content-type': 'application/json; charset=utf-8', 'content-length': String(body.length) }, body
  }
}
const invalid = (fault: string) => refusal(400, 'invalid_request', `frontchannel logout: ${fault}`)
const same = (t: Test, answer: Answer, expected: Answer, message = '') => t.strictSame(unlimited(answer), expected, message)

t.test('F1: the sessions of a session at the provider end, and nothing else', async t => {
  const { ask, logIn, isLive, events } = await host(t)
  const [first, second] = [await logIn('s 1'), await logIn('s 1')]
  const rest = [await logIn('s 2'), await logIn('s 1', { from: other })]
  same(t, await ask(alices), done)
  t.strictSame([await isLive(first), await isLive(second)], [false, false])
  for (const token of rest) t.ok(await isLive(token))
  t.strictSame(events.map(event => event.scope === 'session' && event.session.subject), ['alice', 'alice'])
})

t.test('F1: the cutoff is a minute ahead of our clock, and remembered for the longest life of a session', async t => {
  const logouts: Array<Readonly<Record<string, unknown>>> = []
  const { ask, logIn, isLive } = await host(t)
  const [near, far] = [await logIn('near', { issuedAt: Date.now() + 50_000 }), await logIn('far', { issuedAt: Date.now() + 90_000 })]
  await ask(query({ iss: issuer, sid: 'near' }))
  await ask(query({ iss: issuer, sid: 'far' }))
  t.strictSame([await isLive(near), await isLive(far)], [false, true])

  const before = Date.now()
  const spying = await host(t, { index: { logOut: logout => { logouts.push({ ...logout }); return [] } } })
  await spying.ask(alices)
  const { cutoff, until, ...named } = logouts[0] ?? {}
  t.strictSame(named, { issuer, sid: 's 1' })
  t.ok(Number(cutoff) >= before + 60_000 && Number(cutoff) <= Date.now() + 60_000)
  t.equal(Number(until) - Number(cutoff), hour)
})

t.test('F1: a logout that arrives before its login is bound wins', async t => {
  const { ask, known } = await host(t)
  await ask(alices)
  const login = { issuer, subject: 'alice', sid: 's 1', issuedAt: Date.now() }
  t.equal(await known.bind(login, { sessionId: 'late', subject: 'alice' }, until), 'revoked')
})

t.test('F2: an unknown sid, and the same sid again, get the same answer, and nobody is told', async t => {
  const { ask, logIn, events } = await host(t)
  await logIn('s 1')
  for (let time = 0; time < 3; time++) same(t, await ask(alices), done)
  same(t, await ask(query({ iss: issuer, sid: 'unknown' })), done)
  t.equal(events.length, 1)
})

t.test('F3, F4: iss and sid are required; route.missingIssuer stands in for a missing iss', async t => {
  const { ask, logIn, isLive } = await host(t)
  const required = invalid('iss and sid are required')
  const token = await logIn('s 1')
  for (const parameters of [{ sid: 's 1' }, { iss: issuer }, {}, { Iss: issuer, SID: 's 1' }]) {
    same(t, await ask(query(parameters as never)), required)
  }
  same(t, await ask(''), required)
  t.ok(await isLive(token))

  const entra = await host(t, { route: { missingIssuer: other } })
  const [alice, bob] = [await entra.logIn('s 1', { from: other }), await entra.logIn('s 1')]
  same(t, await entra.ask(query({ sid: 's 1' })), done)
  t.strictSame([await entra.isLive(alice), await entra.isLive(bob)], [false, true])
  same(t, await entra.ask(query({ iss: other })), required)
  same(t, await entra.ask(alices), done, 'an iss still counts')
  t.notOk(await entra.isLive(bob))
})

t.test('F5: an unknown issuer, a repeated parameter, and a sid that is empty or too long are refused', async t => {
  const { ask, logIn, isLive } = await host(t)
  const token = await logIn('s 1')
  for (const iss of ['', 'https://login.example', `${issuer}/`, 'HTTPS://login.example/realm', 'https://evil.example']) {
    same(t, await ask(query({ iss, sid: 's 1' })), invalid('unknown issuer'), iss)
  }
  same(t, await ask(`${alices}&sid=s+1`), invalid('repeated'))
  same(t, await ask(`${alices}&iss=x`), invalid('repeated'))
  same(t, await ask(query({ iss: issuer, sid: '' })), invalid('sid'))
  same(t, await ask(query({ iss: issuer, sid: 'x'.repeat(1025) })), invalid('sid'))
  same(t, await ask(query({ iss: issuer, sid: 'x'.repeat(1024) })), done)
  t.ok(await isLive(token))
  same(t, await ask(`${alices}&state=1&state=2&id_token_hint=x`), done, 'unknown parameters are ignored')
})

t.test('F6, F7, F8: only a frame that is not prefetched logs out; without Sec-Fetch headers the rest decides', async t => {
  const { ask, logIn, isLive } = await host(t)
  const denied = refusal(403, 'access_denied')
  const token = await logIn('s 1')
  for (const destination of ['image', 'script', 'document', 'empty', 'style', 'object', 'embed', 'iframe, iframe', '']) {
    same(t, await ask(alices, { 'sec-fetch-dest': destination }), denied, destination)
  }
  for (const headers of [{ 'sec-purpose': 'prefetch' }, { purpose: 'prefetch', 'sec-fetch-dest': 'iframe' }, { 'x-moz': 'prefetch' }]) {
    same(t, await ask(alices, headers as never), denied, JSON.stringify(headers))
  }
  t.ok(await isLive(token))
  for (const headers of [{ 'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-dest': 'frame' }, {}]) {
    const sid = `frame ${JSON.stringify(headers)}`
    const token = await logIn(sid)
    same(t, await ask(query({ iss: issuer, sid }), headers as never), done)
    t.notOk(await isLive(token))
  }
})

t.test('F9: when the index or the store fails, the response is a 503, and a repeat finishes', async t => {
  const unavailable = refusal(503, 'temporarily_unavailable', undefined, { 'retry-after': '5' })
  for (const name of ['index', 'logOutById']) {
    for (const fault of ['throws', 'rejects', 'hangs'] satisfies Fault[]) {
      const lines: string[] = []
      const logger = { stream: { write: (line: string) => { lines.push(line) } } }
      const { ask, logIn, isLive, broken, events } = await host(t, { timeout: 50 }, { server: { logger } })
      const token = await logIn('s 1')
      broken.set(name, fault)
      same(t, await ask(alices), unavailable, `${name} ${fault}`)
      t.ok(await isLive(token))
      t.match(lines.join(), 'logout.outage')
      broken.clear()
      same(t, await ask(alices), done)
      t.strictSame([await isLive(token), events.length], [false, 1])
    }
  }
})

t.test('F10: the headers let the providers embed the page, also where helmet and hooks of the host say otherwise', async t => {
  const hostile = async (app: FastifyInstance) => {
    await app.register(fastifyHelmet, { frameguard: { action: 'deny' } })
    app.addHook('onRequest', async (_request, reply) => { reply.raw.setHeader('X-Frame-Options', 'DENY') })
    app.addHook('onSend', async (_request, reply) => {
      reply.headers({ 'x-frame-options': 'DENY', 'content-security-policy': "frame-ancestors 'none'" })
    })
  }
  const { ask, over } = await host(t, {}, { before: hostile })
  for (const answer of [await ask(alices), await ask(''), await ask(alices, { 'sec-fetch-dest': 'image' })]) {
    t.match(answer.headers, always)
    t.equal(answer.headers['x-frame-options'], undefined)
    t.match(answer.headers, { 'x-dns-prefetch-control': 'off' }, 'helmet did run')
  }
  const overSocket = await over.send(`GET /frontchannel-logout${alices}`)
  t.strictSame([overSocket.status, overSocket.headers['x-frame-options']], [200, undefined])
})

t.test('F10: route.frameAncestors replaces the origins of the issuers', async t => {
  const { ask } = await host(t, {
    route: { frameAncestors: ['https://*.login.example', 'http://localhost:4000', 'https://*.login.example'] }
  })
  t.equal(
    (await ask(alices)).headers['content-security-policy'],
    "default-src 'none'; frame-ancestors https://*.login.example http://localhost:4000"
  )
})

t.test('F11: the cookie of a session that the logout covers is removed, that of another session stays', async t => {
  for (const withPlugin of [false, true]) {
    const cookies = {
      cookie: {
        name: 'sid',
        secure: true,
        sameSite: 'none' as const,
        partitioned: true,
        sessions: { find: (token: string) => store.find(token) },
        clearCookies: [{ name: 'theme', path: '/app' }]
      }
    }
    const { ask, logIn, store } = await host(t, cookies, { before: async app => { if (withPlugin) await app.register(fastifyCookie) } })
    const [covered, rest] = [await logIn('s 1'), await logIn('s 2')]
    const header = (token: string) => ({ cookie: `a=b; sid=${encodeURIComponent(token)}` })
    t.strictSame(setCookies(await ask(alices, header(rest)) as never), [])
    for (let time = 0; time < 2; time++) {
      const [first, second, ...others] = setCookies(await ask(alices, header(covered)) as never)
      t.match(first, { name: 'sid', removed: true, attributes: { path: '/', secure: '', samesite: 'None', partitioned: '' } }, `${time}`)
      t.match(second, { name: 'theme', removed: true, attributes: { path: '/app' } })
      t.strictSame(others, [])
    }
    t.strictSame(setCookies(await ask(alices) as never), [])
    t.strictSame(setCookies(await ask(alices, header('unknown')) as never), [])
    const both = { cookie: `sid=${encodeURIComponent(rest)}; sid=${encodeURIComponent(covered)}` }
    t.equal(setCookies(await ask(alices, both) as never).length, 2, 'of several cookies of the name, one is enough')
  }
})

t.test('F11: when the session of the cookie cannot be found, the response is a 503', async t => {
  const cookie = { name: 'sid', sessions: { find: () => { throw new Error('down') } } }
  const { ask, logIn, isLive } = await host(t, { cookie })
  const token = await logIn('s 1')
  t.equal((await ask(alices, { cookie: 'sid=x' })).status, 503)
  t.notOk(await isLive(token))
})

t.test('F12: other methods are the host\'s 404', async t => {
  const { app, logIn, isLive } = await host(t)
  const token = await logIn('s 1')
  for (const method of ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const) {
    t.equal((await app.inject({ method, url: `/frontchannel-logout${alices}` })).statusCode, 404, method)
  }
  t.ok(await isLive(token))
})

t.test('a sid is in no log line and in no message', async t => {
  const lines: string[] = []
  const messages: unknown[] = []
  for (const name of ['logout', 'refusal', 'outage']) {
    const listen = (message: unknown) => { messages.push([name, message]) }
    channel(`fastify-logout:${name}`).subscribe(listen)
    t.teardown(() => channel(`fastify-logout:${name}`).unsubscribe(listen))
  }
  const logger = { level: 'info', stream: { write: (line: string) => { lines.push(line) } } }
  const { ask, app, logIn, broken } = await host(t, { onLogout: () => { throw new Error('the audit log is down') } }, {
    server: { logger }
  })
  const secret = query({ iss: issuer, sid: 'a-5ecret-sid' })
  await logIn('a-5ecret-sid', { name: 'public' })
  await ask(secret)
  await ask(secret, { 'sec-fetch-dest': 'image' })
  await app.inject({ method: 'HEAD', url: `/frontchannel-logout${secret}` })
  broken.set('index', 'rejects')
  await ask(secret)
  const plugin = 'frontChannelLogout'
  t.match(messages, [
    ['logout', { plugin, scope: 'session', subject: 'alice', sessionId: 'public' }], ['outage', { plugin, question: 'onLogout' }],
    ['refusal', { plugin, status: 403 }], ['refusal', { status: 404 }], ['outage', { plugin, question: 'index.logOut' }],
    ['refusal', { plugin, status: 503 }]
  ])
  t.equal(messages.length, 6)
  t.match(lines.map(line => JSON.parse(line).event), ['logout.hook-failed', 'logout.outage'])
  t.notMatch(JSON.stringify([lines, messages]), '5ecret')
})

t.test('an address may call 300 times a minute, or as often as rateLimit says', async t => {
  const { ask, broken } = await host(t, { route: { rateLimit: { max: 2 } } })
  t.strictSame([(await ask(alices)).status, (await ask('')).status], [200, 400])
  broken.set('index', 'rejects')
  const answer = await ask(alices)
  t.match(answer, { status: 429, headers: always, body: '{"error":"too_many_requests"}' })
  t.ok(Number(answer.headers['retry-after']) > 0)
  const usual = await host(t)
  t.match((await usual.ask(alices)).headers, { 'x-ratelimit-limit': '300', 'x-ratelimit-reset': '60' })
})

t.test('errors of the host\'s hooks keep their status', async t => {
  const before = (app: FastifyInstance) => app.addHook('onRequest', async () => {
    throw Object.assign(new Error('secret'), { statusCode: 418 })
  })
  const { ask } = await host(t, {}, { before })
  t.match(await ask(alices), { status: 418, headers: always, body: '{"error":"i_m_a_teapot"}' })
})

t.test('50 parallel frames of one session all succeed, and one is told', async t => {
  const { ask, logIn, events } = await host(t)
  await logIn('s 1')
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(alices)))
  for (const answer of answers) same(t, answer, done)
  t.equal(events.length, 1)
})

t.test('the route is a logout route, below the prefix, and described', async t => {
  const { sessions, known } = await host(t)
  const app = Fastify()
  t.teardown(() => app.close())
  const routes: unknown[] = []
  app.addHook('onRoute', ({ method, url, schema }) => {
    const { operationId, security, hide } = schema as { operationId?: string, security?: unknown, hide?: boolean }
    routes.push([`${String(method)} ${url}`, operationId ?? hide, security])
  })
  const scopes: boolean[] = []
  app.addHook('onRequest', async ({ server }) => { scopes.push(isLogoutScope(server)) })
  const options = { issuers: [{ issuer }], index: known, sessions, sessionLifetime: hour }
  const security = [{ nobody: [] }]
  await app.register(frontChannelLogout, { ...options, route: { security }, prefix: '/a' })
  await app.register(frontChannelLogout, { ...options, route: { path: '/bye', security } })
  t.strictSame(routes, [
    ['GET /a/frontchannel-logout', 'frontChannelLogoutA', security], ['HEAD /a/frontchannel-logout', true, undefined],
    ['GET /bye', 'frontChannelLogoutBye', security], ['HEAD /bye', true, undefined]
  ])
  const requests: InjectOptions[] = [{ url: '/a/frontchannel-logout' }, { url: '/bye' }]
  for (const request of requests) t.equal((await app.inject(request)).statusCode, 400)
  t.strictSame(scopes, [true, true])
})

t.test('an option that is missing or wrong is a TypeError that names it', async t => {
  const valid = { issuers: [{ issuer }], index: memoryProviderSessionIndex(), sessions: memorySessionStore(), sessionLifetime: hour }
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    issuers: [undefined, [], {}, issuer, [{ issuer }, { issuer }]],
    'issuers[0].issuer': [[null], [issuer], [{ issuer: '' }], [{ issuer: 5 }], [{}]],
    index: [undefined, null, {}, { bind: () => 'live' }],
    sessions: [undefined, null, {}, { logOut: () => undefined }],
    sessionLifetime: [undefined, 0, -1, '1', NaN],
    path: ['/x'],
    rateLimit: [{}],
    security: [[]],
    missingIssuer: [issuer],
    frameAncestors: [['https://login.example']],
    clearCookies: [[]],
    route: [null, 'x', []],
    'route.path': ['', 'x', 5],
    'route.missingIssuer': ['', 'https://evil.example', 5],
    'route.frameAncestors': [
      [], 'https://login.example', ['login.example'], ['https://login.example/x'], ["'self'"], ['https://a; script-src *'], [5]
    ],
    cookie: [null, 'sid', { name: 'sid' }, { name: 'sid', sessions: {} }, { name: 'a b', sessions: memorySessionStore() }],
    'cookie.clearCookies': [{}],
    onLogout: [5],
    timeout: [0, '5'],
    'route.rateLimit': [5, null]
  }
  for (const [option, values] of Object.entries(wrong)) {
    for (const value of values) {
      const app = Fastify()
      const options = withOption(valid, (option.split('[', 1)[0] ?? '').split('.'), value)
      await t.rejects(Promise.resolve(app.register(frontChannelLogout, options as never)), {
        name: 'TypeError', message: new RegExp(`^frontChannelLogout: option "${option.replace(/[[\].]/g, '\\$&')}" (must|is missing: )`)
      }, `${option}: ${JSON.stringify(value)}`)
    }
  }
  const app = Fastify()
  await t.rejects(Promise.resolve(app.register(frontChannelLogout, { ...valid, issuers: [{ issuer: 'login' }] })), {
    message: 'frontChannelLogout: option "route.frameAncestors" must be a list of origins, such as "https://login.example"'
  }, 'an issuer without an origin')
})
