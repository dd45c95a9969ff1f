import cookie from '@fastify/cookie'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { kratosSessions, type KratosSessionsOptions } from '../../lib/flows/kratos-sessions.ts'
import type { Session } from '../../lib/session-store.ts'
import { sendHttp2 } from '../http2-request.ts'
import { alice, empty, failing, failure, host, id, json, people } from '../kratos-host.ts'
import { wire, type Answer } from '../wire.ts'

const nobody = failure(401, { reason: 'No valid session credentials found in the request.' })
const noSession = failure(401, { reason: 'No valid session cookie found.' })
const own = failure(400, { message: 'cannot revoke current session' })
const badPage = failure(400, { reason: 'The page cannot be read. Follow the Link header of the previous page.' })
const internal = failure(500)

async function serve (t: Test, options: KratosSessionsOptions, server: FastifyServerOptions = {}, prefix = '') {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(kratosSessions, { ...options, prefix })
  const ask = (method: Method, path: string, person?: { readonly token: string }, headers: Record<string, string> = {}) => inject({
    method, url: prefix + path, headers: { ...(person !== undefined && { cookie: `ory_kratos_session=${person.token}` }), ...headers }
  })
  return { app, send, ask }
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD' | 'OPTIONS'

function shown (session: Session | undefined) {
  if (session === undefined) throw new Error('no such session')
  const { subject, device, createdAt, expiresAt } = session
  const shownDevice = { id: session.id, ip_address: device?.ipAddress, user_agent: device?.userAgent, location: device?.location }
  return {
    id: session.id,
    active: true,
    expires_at: new Date(expiresAt).toISOString(),
    authenticated_at: new Date(createdAt).toISOString(),
    issued_at: new Date(createdAt).toISOString(),
    identity: { id: subject, schema_id: 'default', schema_url: '', traits: {} },
    devices: device === undefined ? [] : [shownDevice]
  }
}

for (const prefix of ['', '/auth']) {
  t.test(`whoami shows the session, whatever the method and the credential, at ${prefix || 'the root'}`, async t => {
    const { sessions } = await host()
    const { ask, send } = await serve(t, { sessions }, {}, prefix)
    const expected = json(shown(await sessions.find(people.laptop.token)), { 'x-kratos-authenticated-identity-id': alice })
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      const sent = (answer: Answer) => method === 'HEAD' ? { ...answer, body: '' } : answer
      t.strictSame(await ask(method, '/sessions/whoami', people.laptop), sent(expected), method)
      const byHeader = { 'x-session-token': people.laptop.token }
      t.strictSame(await ask(method, '/sessions/whoami?tokenize_as=x', undefined, byHeader), sent(expected))
      t.strictSame(await ask(method, '/sessions/whoami', undefined, { authorization: `Bearer ${people.laptop.token}` }), sent(expected))
      t.strictSame(await ask(method, '/sessions/whoami'), sent(nobody), `${method} without a session`)
      t.strictSame(await send(`${method} ${prefix}/sessions/whoami`, [['X-Session-Token', people.laptop.token]]), sent(expected))
    }
    for (const type of ['application/json', 'text/plain', 'rubbish', '']) {
      const headers = [['Content-Type', type], ['Content-Length', '1'], ['X-Session-Token', people.laptop.token]] as const
      t.strictSame(await send(`POST ${prefix}/sessions/whoami`, headers, '{'), expected, `a body of type ${type} is not read`)
    }
  })
}

t.test('bodies are ignored, also over HTTP/2 without a length', async t => {
  const { sessions, isLive } = await host()
  const app = Fastify({ http2: true } as FastifyServerOptions)
  t.teardown(() => app.close())
  await app.register(kratosSessions, { sessions })
  const headers = { 'x-session-token': people.laptop.token }
  for (const body of [undefined, [], ['{'], ['x'.repeat(200_000)]]) {
    for (const type of [undefined, 'application/json', 'rubbish']) {
      const sent = { headers: { ...headers, ...type !== undefined && { 'content-type': type } }, ...body !== undefined && { body } }
      t.equal((await sendHttp2(app, { method: 'POST', path: '/sessions/whoami', ...sent })).status, 200)
      t.strictSame(await sendHttp2(app, { method: 'DELETE', path: `/sessions/${people.tablet.id}`, ...sent }), empty())
    }
  }
  t.notOk(await isLive(people.tablet))
  t.strictSame(await sendHttp2(app, { method: 'DELETE', path: '/sessions', headers, body: ['{}'] }), json({ count: 1 }))
})

t.test('only whoami is served to every method', async t => {
  const { sessions, isLive } = await host()
  const { ask } = await serve(t, { sessions })
  for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'OPTIONS'] as const) {
    t.equal((await ask(method, '/sessions', people.laptop)).status, 404, method)
    t.equal((await ask(method, `/sessions/${people.phone.id}`, people.laptop)).status, 404, method)
  }
  t.ok(await isLive(people.phone))
})

t.test('a CORS preflight gets the response of the host, if the host has one', async t => {
  const { sessions } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  // As @fastify/cors does it.
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method']) return reply.code(204).send()
  })
  app.options('*', (_request, reply) => { reply.code(404).send() })
  await app.register(kratosSessions, { sessions })
  const preflight = { origin: 'https://app.example', 'access-control-request-method': 'DELETE' }
  for (const url of ['/sessions/whoami', '/sessions', `/sessions/${people.phone.id}`]) {
    t.equal((await app.inject({ method: 'OPTIONS', url, headers: preflight })).statusCode, 204, url)
  }
  t.equal((await app.inject({ method: 'OPTIONS', url: '/sessions/whoami' })).statusCode, 401, 'what is not a preflight is asked of whoami')
})

t.test('the data that the host stores with a session is not sent', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  for (const path of ['/sessions/whoami', '/sessions']) {
    const { body } = await ask('GET', path, people.phone)
    for (const secret of ['provider', 'secret', 'ory_st_', 'keep']) t.notOk(body.includes(secret), secret)
  }
})

t.test('an unknown, expired or logged-out session is a 401 on every route', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  for (const person of [undefined, people.expired, people.loggedOut, { token: 'unknown' }, { token: '__proto__' }]) {
    t.strictSame(await ask('GET', '/sessions/whoami', person), nobody)
    t.strictSame(await ask('GET', '/sessions', person), noSession)
    t.strictSame(await ask('DELETE', '/sessions', person), noSession)
    t.strictSame(await ask('DELETE', `/sessions/${people.tablet.id}`, person), noSession)
    t.strictSame(await ask('DELETE', '/sessions/no-id', person), noSession, 'the session comes before the id')
    t.strictSame(await ask('GET', '/sessions?page_token=no-token', person), noSession, 'and before the page')
  }
})

t.test('if isActive refuses a session, whoami is a 401 and the other routes work', async t => {
  const { sessions, isLive } = await host()
  const asked: string[] = []
  const { ask } = await serve(t, { sessions, isActive: async session => { asked.push(session.id); return false } })
  t.strictSame(await ask('GET', '/sessions/whoami', people.laptop), nobody)
  t.strictSame(asked, [people.laptop.id])
  t.equal((await ask('GET', '/sessions', people.laptop)).status, 200)
  t.strictSame(await ask('DELETE', '/sessions', people.laptop), json({ count: 2 }))
  t.notOk(await isLive(people.phone))
  t.equal(asked.length, 1)
})

t.test('the option "identity" returns the identity that is shown', async t => {
  const { sessions } = await host()
  const identity = async (subject: string) => ({ id: subject, traits: { email: 'alice@example.com' } })
  const { ask } = await serve(t, { sessions, identity })
  const expected = await identity(alice)
  t.match(JSON.parse((await ask('GET', '/sessions/whoami', people.laptop)).body), { identity: expected })
  t.match(JSON.parse((await ask('GET', '/sessions', people.laptop)).body), [{ identity: expected }, { identity: expected }])
  const none = await serve(t, { sessions, identity: () => null })
  t.match(JSON.parse((await none.ask('GET', '/sessions/whoami', people.laptop)).body), { identity: null })
})

t.test('subjects that a header cannot contain and times beyond RFC 3339 work', async t => {
  const { sessions } = await host()
  const never = Number.MAX_SAFE_INTEGER
  const subject = 'zo\u00eb\r\nSet-Cookie: a=b'
  await sessions.create('odd', { id: id('0dd'), subject, createdAt: 0, expiresAt: never, keepUntil: never })
  const { ask } = await serve(t, { sessions })
  const { status, headers, body } = await ask('GET', '/sessions/whoami', { token: 'odd' })
  t.equal(status, 200)
  t.notOk('x-kratos-authenticated-identity-id' in headers)
  t.match(JSON.parse(body), { expires_at: '9999-12-31T23:59:59.999Z', issued_at: '1970-01-01T00:00:00.000Z' })
})

t.test('the other live sessions are listed, newest first, without the current one', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  const others = [shown(await sessions.find(people.laptop.token)), shown(await sessions.find(people.tablet.token))]
  const expected = json(others, { link: '</sessions?page_size=250>; rel="first"' })
  t.strictSame(await ask('GET', '/sessions', people.phone), expected)
  t.strictSame(await ask('GET', '/sessions', people.phone), expected, 'again')
  t.strictSame(await ask('GET', '/sessions', people.bobs), json([], { link: '</sessions?page_size=250>; rel="first"' }))
})

t.test('following the Link header shows each session once, while sessions are created and logged out', async t => {
  const { sessions } = await host()
  const now = Date.now()
  const made = Array.from({ length: 25 }, (_, index) => id(`c${String(index).padStart(2, '0')}`))
  for (const [index, session] of made.entries()) {
    const createdAt = now - Math.floor(index / 5)
    await sessions.create(session, { id: session, subject: 'paging', createdAt, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  }
  const { ask } = await serve(t, { sessions }, {}, '/auth')
  const seen: string[] = []
  let url: string | undefined = '/sessions?page_size=7'
  for (let page = 0; url !== undefined; page++) {
    const { body, headers } = await ask('GET', url, { token: String(made[3]) })
    const ids = (JSON.parse(body) as Array<{ id: string }>).map(session => session.id)
    seen.push(...ids)
    t.match(headers['link'], /^<\/auth\/sessions\?page_size=7>; rel="first"/)
    if (page === 0) {
      const createdAt = now + 1
      await sessions.create('new', { id: id('e'), subject: 'paging', createdAt, expiresAt: now + 60_000, keepUntil: now + 60_000 })
      await sessions.logOutById({ id: String(ids[0]) })
    }
    url = /<\/auth([^>]+)>; rel="next"/.exec(String(headers['link']))?.[1]
  }
  t.strictSame(seen.toSorted(), made.filter(session => session !== made[3]).toSorted())
})

t.test('page and per_page work, too, and values that are not numbers are ignored', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  const idsOf = async (query: string) => {
    const { body } = await ask('GET', `/sessions?${query}`, people.laptop)
    return (JSON.parse(body) as Array<{ id: string }>).map(session => session.id)
  }
  const both = [people.phone.id, people.tablet.id]
  const [first, second] = [both.slice(0, 1), both.slice(1)]
  for (const [query, expected] of [
    ['per_page=1', first], ['per_page=1&page=0', first], ['per_page=1&page=1', first], ['per_page=1&page=2', second],
    ['per_page=1&page=3', []], ['page=2', []], ['page_size=1&per_page=5', first], ['page_size=0', first], ['page_size=-1', both],
    ['page_size=x&page=y', both], ['page_size=1.5', both], ['page_size=99999999999999999999', both], ['page_size=1000000', both],
    ['page_token=', both]
  ] as const) t.strictSame(await idsOf(query), expected, query)
  t.match((await ask('GET', '/sessions?page_size=1000000', people.laptop)).headers, { link: '</sessions?page_size=1000>; rel="first"' })
})

t.test('a malformed page token and a page that is too far are a 400', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  const coded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const foreign = [{ offset: '1', v: 2 }, [], [1], ['1', 'x'], [1.5, 'x'], [1, 2], [1, 'x', 2], null, 'x']
  for (const token of ['x', '%00', ...foreign.map(coded)]) {
    t.strictSame(await ask('GET', `/sessions?page_token=${token}`, people.laptop), badPage, token)
  }
  t.strictSame(await ask('GET', '/sessions?page=1000000', people.laptop), badPage)
})

t.test('logging out the others returns how many were live, keeps the current session, and calls onLogout once', async t => {
  const { sessions, events, onLogout, isLive } = await host()
  const { ask } = await serve(t, { sessions, onLogout })
  t.strictSame(await ask('DELETE', '/sessions', people.phone), json({ count: 2 }))
  t.strictSame(await ask('DELETE', '/sessions', people.phone), json({ count: 0 }), 'again')
  const live = [people.laptop, people.phone, people.tablet, people.bobs].map(isLive)
  t.strictSame(await Promise.all(live), [false, true, false, true])
  t.strictSame(events, [{ scope: 'others', subject: alice, except: people.phone.id, count: 2 }])
  t.strictSame(await ask('GET', '/sessions', people.phone), json([], { link: '</sessions?page_size=250>; rel="first"' }))
  const uncounted = await serve(t, { sessions: { ...sessions, logOutSubject: () => undefined } })
  t.strictSame(await uncounted.ask('DELETE', '/sessions', people.phone), json({ count: 0 }), 'of a store that does not count')
})

t.test('logging out one of the others is a 204, can be repeated, and calls onLogout once', async t => {
  const { sessions, events, onLogout, isLive } = await host()
  const { ask, send } = await serve(t, { sessions, onLogout })
  const before = await sessions.find(people.tablet.token)
  for (let time = 0; time < 2; time++) t.strictSame(await ask('DELETE', `/sessions/${people.tablet.id}`, people.laptop), empty())
  t.notOk(await isLive(people.tablet))
  t.ok(await isLive(people.phone))
  t.strictSame(events, [{ scope: 'session', session: before }])
  const headers = [['Content-Type', 'application/json'], ['Content-Length', '0'], ['X-Session-Token', people.laptop.token]] as const
  t.strictSame(await send(`DELETE /sessions/${people.phone.id}`, headers), empty())
  t.notOk(await isLive(people.phone))
})

t.test('parallel calls all succeed, and each session is logged out once', async t => {
  const { sessions, events, onLogout } = await host()
  const { ask } = await serve(t, { sessions, onLogout })
  const ones = await Promise.all(Array.from({ length: 50 }, () => ask('DELETE', `/sessions/${people.tablet.id}`, people.laptop)))
  for (const answer of ones) t.strictSame(answer, empty())
  t.equal(events.length, 1)
  const all = await Promise.all(Array.from({ length: 50 }, () => ask('DELETE', '/sessions', people.laptop)))
  t.equal(all.reduce((sum, { body }) => sum + JSON.parse(body).count, 0), 1, 'one call ended the phone')
  t.equal(events.length, 2)
})

t.test('the ids of another user\'s, an expired, a logged-out and an unknown session get the same response', async t => {
  const { sessions, events, onLogout, isLive } = await host()
  const { ask } = await serve(t, { sessions, onLogout })
  for (const one of [people.bobs.id, people.expired.id, people.loggedOut.id, id('0')]) {
    t.strictSame(await ask('DELETE', `/sessions/${one}`, people.laptop), empty())
  }
  t.ok(await isLive(people.bobs))
  t.strictSame(events, [])
})

const formsOf = (uuid: string) => {
  const plain = uuid.replaceAll('-', '')
  return [
    uuid, uuid.toUpperCase(), plain, plain.toUpperCase(), `{${uuid}}`, `{${plain}}`, `{${uuid.toUpperCase()}}`, `urn:uuid:${uuid}`,
    `urn:uuid:${plain}`
  ]
}

t.test('the current session cannot be logged out by its id, in whatever form the id is given or stored', async t => {
  const { sessions, isLive } = await host()
  const { ask } = await serve(t, { sessions })
  for (const form of formsOf(people.laptop.id)) {
    t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(form)}`, people.laptop), own, form)
  }
  t.ok(await isLive(people.laptop))
  t.strictSame(await ask('DELETE', `/sessions/${people.phone.id.toUpperCase()}`, people.laptop), empty())
  t.notOk(await isLive(people.phone))

  const now = Date.now()
  for (const [index, stored] of formsOf(id('abcdef')).entries()) {
    const token = `form-${index}`
    const session = { id: stored, subject: 'carol', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 }
    await sessions.create(token, session)
    for (const form of formsOf(id('abcdef'))) {
      t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(form)}`, { token }), own, `${form} for ${stored}`)
    }
    t.ok(await isLive({ token }))
  }
})

t.test('every listed id can be logged out, in whatever form the host stores it', async t => {
  const { sessions, isLive, events, onLogout } = await host()
  const { ask } = await serve(t, { sessions, onLogout })
  const now = Date.now()
  for (const index of formsOf('').keys()) {
    const stored = formsOf(`abcdefab-0000-4000-8000-00000000000${index}`)[index] ?? ''
    const token = `stored-${index}`
    await sessions.create(token, { id: stored, subject: alice, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
    const listed = JSON.parse((await ask('GET', '/sessions', people.laptop)).body) as Array<{ id: string }>
    t.match(listed[0], { id: stored }, 'it is listed as it is stored')
    for (let time = 0; time < 2; time++) {
      t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(stored)}`, people.laptop), empty(), stored)
      t.notOk(await isLive({ token }), stored)
    }
    t.match(events.splice(0), [{ scope: 'session', session: { id: stored } }], 'onLogout is called once')
  }
})

t.test('an id in the form that Kratos stores is looked up once', async t => {
  const { sessions } = await host()
  const asked: string[] = []
  const { ask } = await serve(t, {
    sessions: { ...sessions, logOutById: query => { asked.push(query.id); return sessions.logOutById(query) } }
  })
  await ask('DELETE', `/sessions/${people.phone.id}`, people.laptop)
  await ask('DELETE', `/sessions/${people.tablet.id.toUpperCase()}`, people.laptop)
  await ask('DELETE', `/sessions/${id('abc').toUpperCase()}`, people.laptop)
  await ask('DELETE', `/sessions/urn:uuid:${people.tablet.id}`, people.laptop)
  const { phone, tablet } = people
  const unknown = [id('abc').toUpperCase(), id('abc')]
  t.strictSame(asked, [phone.id, tablet.id.toUpperCase(), tablet.id, ...unknown, tablet.id])
})

t.test('an id that is not a UUID is a 400', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions })
  const bad = (message: string) => failure(400, { message })
  for (const [text, problem] of [
    ['BADUUID', 'uuid: incorrect UUID length 7 in string "BADUUID"'],
    ['\u00fc', 'uuid: incorrect UUID length 2 in string "\u00fc"'],
    ['"', 'uuid: incorrect UUID length 1 in string "\\""'],
    ['x'.repeat(36), `uuid: incorrect UUID format in string "${'x'.repeat(36)}"`],
    [`[${people.phone.id}]`, `uuid: incorrect UUID format in string "[${people.phone.id}]"`],
    ['x'.repeat(32), 'uuid: invalid UUID format'], [`g${people.phone.id.slice(1)}`, 'uuid: invalid UUID format']
  ] as const) t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(text)}`, people.laptop), bad(problem), text)
  t.equal((await ask('GET', `/sessions/${people.phone.id}`, people.laptop)).status, 404, 'and none can be fetched')
})

t.test('with ids: \'any\' ids need not be UUIDs', async t => {
  const { sessions, isLive } = await host()
  const now = Date.now()
  const odd = 'sess.7 \u00e4/../x'
  await sessions.create('odd', { id: odd, subject: alice, createdAt: now, expiresAt: now + 1000, keepUntil: now + 1000 })
  const { ask } = await serve(t, { sessions, ids: 'any' })
  t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(odd)}`, { token: 'odd' }), own)
  t.strictSame(await ask('DELETE', '/sessions/unknown', people.laptop), empty())
  t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(odd)}`, people.laptop), empty())
  t.notOk(await isLive({ token: 'odd' }))
})

t.test('with ids: \'any\' ids can have any length', async t => {
  const { sessions, isLive } = await host()
  const now = Date.now()
  const ids = ['x'.repeat(100), 'x'.repeat(101), `${'\u00e4'.repeat(150)}/../ ${'%'.repeat(20)}`, `/${'a/'.repeat(80)}`]
  const { ask, app } = await serve(t, { sessions, ids: 'any' }, {}, '/auth')
  for (const id of ids) {
    const session = { id, subject: alice, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 }
    await sessions.create(id, session)
    t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(id)}`, { token: encodeURIComponent(id) }), own)
    t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(id)}`, people.laptop), empty(), id.slice(0, 20))
    t.notOk(await isLive({ token: id }))
    t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(id)}x`, people.laptop), empty(), 'unknown')
    t.strictSame(await ask('DELETE', `/sessions/${encodeURIComponent(id)}`), noSession)
  }
  t.strictSame(await ask('DELETE', `/sessions/${'x'.repeat(4000)}`, people.laptop), empty())
  for (const path of ['/sessions/a/b', '/sessions/whoami/x', `/sessions/${'x'.repeat(101)}/y`, `/sessions//${'x/'.repeat(101)}`]) {
    const answer = await app.inject({ method: 'DELETE', url: `/auth${path}`, headers: { 'x-session-token': people.laptop.token } })
    const nothing = await app.inject({ method: 'DELETE', url: '/nothing' })
    t.equal(answer.statusCode, 404)
    t.equal(answer.headers['content-type'], nothing.headers['content-type'], `${path.slice(0, 20)} is the host's 404`)
  }
  t.ok(await isLive(people.laptop))
})

t.test('the cookie can be signed and have another name', async t => {
  const { sessions } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { secret: 'a secret' })
  const { inject } = wire(app)
  await app.register(kratosSessions, { sessions, cookie: { name: 'sid', signed: true } })
  const signed = app.serializeCookie('sid', app.signCookie(people.laptop.token))
  t.equal((await inject({ url: '/sessions/whoami', headers: { cookie: signed } })).status, 200)
  t.strictSame(await inject({ url: '/sessions/whoami', headers: { cookie: app.serializeCookie('sid', people.laptop.token) } }), nobody)
})

const failures: ReadonlyArray<() => never> = [
  () => { throw new Error('down') },
  () => Promise.reject(new Error('down')) as never,
  () => new Promise(() => {}) as never,
  () => { throw null } // eslint-disable-line no-throw-literal
]

t.test('if a function of the host fails, the response is 500, logged once', async t => {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  const { sessions } = await host()
  for (const how of failures) {
    const down = await serve(t, { sessions: failing(how), timeout: 20 }, { logger })
    const half = await serve(t, { sessions: { ...failing(how), find: sessions.find }, timeout: 20 }, { logger })
    const hooks = await serve(t, { sessions, isActive: how, identity: how, timeout: 20 }, { logger })
    const blind = await serve(t, { sessions, identity: how, timeout: 20 }, { logger })
    for (const ask of [
      () => down.ask('GET', '/sessions/whoami', people.laptop),
      () => hooks.ask('GET', '/sessions/whoami', people.laptop),
      () => blind.ask('GET', '/sessions/whoami', people.laptop),
      () => half.ask('GET', '/sessions', people.laptop),
      () => blind.ask('GET', '/sessions', people.laptop),
      () => half.ask('DELETE', '/sessions', people.laptop),
      () => half.ask('DELETE', `/sessions/${people.phone.id}`, people.laptop)
    ]) {
      t.strictSame(await ask(), internal)
      t.match(lines.splice(0), [/"event":"logout.outage"/])
    }
  }
})

t.test('a failure of onLogout is logged and does not change the response', async t => {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions, onLogout: () => { throw new Error('down') } }, { logger })
  t.strictSame(await ask('DELETE', `/sessions/${people.phone.id}`, people.laptop), empty())
  t.strictSame(await ask('DELETE', '/sessions', people.laptop), json({ count: 1 }))
  t.equal(lines.length, 2)
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const { sessions } = await host()
  const { list, ...unlisted } = sessions
  for (const [options, message] of [
    [{}, /^kratosSessions: option "sessions" is missing: pass a session store/],
    [{ sessions: unlisted }, /option "sessions" is missing: .* an object with find, list, logOutById, logOutSubject/],
    [{ sessions: null }, /option "sessions" is missing/],
    [{ sessions, cookie: { signed: true } }, /option "cookie" is signed/],
    [{ sessions, isActive: true }, /option "isActive" must be a function/],
    [{ sessions, identity: {} }, /option "identity" must be a function/],
    [{ sessions, security: [] }, /option "security" must be a member of the option "route"/],
    [{ sessions, route: null }, /option "route" must be an object/],
    [{ sessions, ids: 'ulid' }, /option "ids" must be "uuid" or "any"/],
    [{ sessions, onLogout: 'x' }, /option "onLogout" must be a function/],
    [{ sessions, timeout: -1 }, /option "timeout" must be/]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    const register = async () => { await app.register(kratosSessions, options as unknown as KratosSessionsOptions) }
    await t.rejects(register, { name: 'TypeError', message }, String(message))
  }
})
