import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { channel } from 'node:diagnostics_channel'
import { connect } from 'node:http2'
import t, { type Test } from 'tap'
import { sessionLogout, type SessionLogoutOptions } from '../../lib/flows/session.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { sessionStoreSource } from '../../lib/session-sources/session-store.ts'
import { isActivity } from '../../lib/internal/plugin/no-activity.ts'
import type { SessionSource } from '../../lib/session-source.ts'
import { ownSessions, type OwnSession } from '../own-sessions.ts'
import { setCookies } from '../session-host.ts'
import { wire, type Answer } from '../wire.ts'

type Options = Partial<SessionLogoutOptions<OwnSession>>

interface Setup {
  readonly server?: FastifyServerOptions
  /** Runs before the plugin is registered. */
  readonly before?: (app: FastifyInstance) => unknown
}

/** A host with plain functions, and what its logout route answers. */
async function host (t: Test, options: Options = {}, { server = {}, before }: Setup = {}) {
  const own = ownSessions()
  const app = Fastify(server)
  t.teardown(() => app.close())
  const over = wire(app)
  await before?.(app)
  const { sessions, onLogout } = own
  await app.register(sessionLogout, { sessions, onLogout, clear: { cookies: [{ name: 'sid' }] }, ...options } as SessionLogoutOptions)
  await app.ready()
  const post = (request: Omit<InjectOptions, 'method'> = {}) => over.inject({ method: 'POST', url: '/logout', ...request })
  /** A logout by JSON, with a session. */
  const logOut = (cookie: string, fields?: object, headers: Record<string, string> = {}) => {
    return post({ headers: { cookie, ...headers }, ...(fields !== undefined && { payload: fields }) })
  }
  return { ...own, app, over, post, logOut }
}

const page = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const removal = 'sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax'
const always = { 'cache-control': 'no-store', vary: 'Accept' }
const done: Answer = { status: 204, headers: { ...always, 'set-cookie': removal }, body: '' }
const seeOther = (location = '/'): Answer => ({
  status: 303,
  headers: {
    ...always,
    'set-cookie': removal,
    location,
    'content-length': '0'
  },
  body: ''
})

const messages: Record<string, readonly [status: number, phrase: string, message: string]> = {
  LOGOUT_PREFETCH: [403, 'Forbidden', 'Prefetch requests cannot log out.'],
  LOGOUT_CROSS_SITE: [403, 'Forbidden', 'Cross-site logout requests are not allowed.'],
  LOGOUT_BODY: [400, 'Bad Request', 'The request body is malformed.'],
  LOGOUT_SCOPE: [400, 'Bad Request', 'The scope is not supported.'],
  LOGOUT_RETURN_TO: [400, 'Bad Request', 'The return_to URL is not allowed.'],
  LOGOUT_NOT_LOGGED_IN: [401, 'Unauthorized', 'There is no live session.'],
  LOGOUT_FORBIDDEN: [403, 'Forbidden', 'Logging out other sessions is not allowed.'],
  LOGOUT_UNAVAILABLE: [503, 'Service Unavailable', 'The outcome of the logout is unknown. Retry.'],
  LOGOUT_MISCONFIGURED: [500, 'Internal Server Error', 'The logout is not set up correctly.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'Unsupported Media Type', 'Unsupported Media Type'],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'Payload Too Large', 'Request body is too large']
}

/** An error as Fastify's own error handler writes it. */
function failure (code: string, headers: Record<string, string> = {}): Answer {
  const [statusCode = 0, error, message] = messages[code] ?? []
  const body = JSON.stringify({ statusCode, code, error, message })
  const length = String(Buffer.byteLength(body))
  return {
    status: statusCode,
    headers: {
      ...headers,
      ...always,
      'content-type': 'application/json; charset=utf-8',
      'content-length': length
    },
    body
  }
}

/** Collects what is published: the last part of the channel's name, and the message. */
function subscribe (t: Test) {
  const messages: unknown[] = []
  for (const name of ['logout', 'refusal', 'outage']) {
    const listen = (message: unknown) => { messages.push([name, message]) }
    channel(`fastify-logout:${name}`).subscribe(listen)
    t.teardown(() => channel(`fastify-logout:${name}`).unsubscribe(listen))
  }
  return messages
}

const sameAnswer = (t: Test, answer: Answer, expected: Answer, message?: string) => t.strictSame(answer, expected, message ?? '')

// The cross-site check

const csrfRows: ReadonlyArray<readonly [id: string, what: string, headers: Record<string, string>, allowed: boolean, options?: Options]> = [
  ['C1', 'a request of the same origin passes', { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' }, true],
  ['C2', 'a trusted origin passes, whatever Sec-Fetch-Site says', { 'sec-fetch-site': 'cross-site', origin: 'https://www.example' }, true,
    { csrf: { trustedOrigins: ['https://www.example'] } }],
  ['C2', 'a trusted origin passes without Sec-Fetch-Site', { origin: 'https://www.example' }, true,
    { csrf: { trustedOrigins: ['https://WWW.example:443'] } }],
  ['C2', 'another origin than the trusted one is refused', { origin: 'https://www.example:444' }, false,
    { csrf: { trustedOrigins: ['https://www.example'] } }],
  ['C3', 'a same-site request is refused', { 'sec-fetch-site': 'same-site', origin: 'https://www.example' }, false],
  ['C3', 'a same-site request passes with trustSameSite', { 'sec-fetch-site': 'same-site' }, true, { csrf: { trustSameSite: true } }],
  ['C4', 'a cross-site request is refused', { 'sec-fetch-site': 'cross-site' }, false],
  ['C4', 'a cross-site request is refused with trustSameSite too', { 'sec-fetch-site': 'cross-site' }, false,
    { csrf: { trustSameSite: true } }],
  ['C4', 'a request of no site is refused', { 'sec-fetch-site': 'none' }, false],
  ['C4', 'an unknown value is refused', { 'sec-fetch-site': 'same-origin, same-origin' }, false],
  ['C4', 'an empty value is refused', { 'sec-fetch-site': '' }, false],
  ['C4', 'Sec-Fetch-Site counts more than a matching Origin', { 'sec-fetch-site': 'cross-site', origin: 'http://localhost:80' }, false],
  ['C5', 'an Origin with the host and port of the request passes', { origin: 'http://app.example:8080', host: 'app.example:8080' }, true],
  ['C5', 'a default port is the same as none', { origin: 'https://app.example', host: 'app.example:443' }, true],
  ['C5', 'upper case in the host is the same', { origin: 'https://app.example', host: 'APP.example' }, true],
  ['C5', 'the origin of publicUrl passes', { origin: 'https://app.example', host: 'internal:3000' }, true,
    { publicUrl: 'https://app.example/base' }],
  ['C6', 'with publicUrl, the host of the request does not count', { origin: 'http://internal:3000', host: 'internal:3000' }, false,
    { publicUrl: 'https://app.example' }],
  ['C6', 'the scheme of publicUrl counts', { origin: 'http://app.example' }, false, { publicUrl: 'https://app.example' }],
  ['C6', 'another Origin is refused', { origin: 'https://evil.example', host: 'app.example' }, false],
  ['C6', 'another port is refused', { origin: 'http://app.example:8080', host: 'app.example:8081' }, false],
  ['C6', 'the Origin null is refused', { origin: 'null' }, false],
  ['C6', 'an Origin that is no URL is refused', { origin: 'https://' }, false],
  ['C6', 'an Origin with a path is refused', { origin: 'http://localhost:80/x' }, false],
  ['C6', 'a Host with a user name never matches', { origin: 'https://app.example', host: 'evil@app.example' }, false],
  ['C7', 'a request with neither header passes: it does not come from a browser', {}, true]
]

for (const [id, what, headers, allowed, options] of csrfRows) {
  t.test(`${id}: ${what}`, async t => {
    const { logIn, logOut, isLive, calls } = await host(t, options)
    const cookie = logIn(1)
    sameAnswer(t, await logOut(cookie, undefined, headers), allowed ? done : failure('LOGOUT_CROSS_SITE'))
    t.equal(isLive(cookie), !allowed)
    if (!allowed) t.strictSame(calls, [], 'the source is not asked')
  })
}

t.test('C8: an anonymous cross-site request is refused, and the cookie stays', async t => {
  const { post, calls } = await host(t)
  const answer = await post({ headers: { 'sec-fetch-site': 'cross-site', ...form }, payload: 'scope=current' })
  sameAnswer(t, answer, failure('LOGOUT_CROSS_SITE'))
  t.strictSame(calls, [])
})

t.test('C8: a cross-site request is refused before its body is read', async t => {
  const { over, logIn } = await host(t)
  const lines = [['Cookie', logIn(1)], ['Sec-Fetch-Site', 'cross-site'], ['Content-Type', 'application/json'], ['Content-Length',
    '1000']] as const
  const answer = await over.send('POST /logout', lines, '{')
  t.equal(answer.status, 403)
})

t.test('C9: with csrf "off" nothing is judged', async t => {
  const { logIn, logOut } = await host(t, { csrf: 'off' })
  sameAnswer(t, await logOut(logIn(1), undefined, { 'sec-fetch-site': 'cross-site', origin: 'null' }), done)
})

t.test('C9: csrf "off" is a TypeError if the credential travels in a cookie', async t => {
  const sessions = { ...ownSessions().sessions, readsCookie: true }
  await t.rejects(host(t, { sessions, csrf: 'off' }), {
    name: 'TypeError', message: 'sessionLogout: option "csrf" must not be "off": the credential of these sessions travels in a cookie'
  })
  await host(t, { sessions: { ...sessions, readsCookie: false }, csrf: 'off' })
})

// The body

t.test('W1: no or an empty body has no fields, with any or no media type', async t => {
  const { logIn, logOut, over } = await host(t)
  for (const type of [
    undefined, 'application/json', 'application/x-www-form-urlencoded', 'text/plain', 'text/csv', 'application/octet-stream',
    'multipart/form-data',
    'rubbish', '', 'a/b/c', 'undefined', ' ; ', 'application/json; charset=utf-8', 'APPLICATION/JSON'
  ]) {
    sameAnswer(t, await logOut(logIn(1), undefined, type === undefined ? {} : { 'content-type': type }), done, String(type))
    const lines = [['Cookie', logIn(1)], ['Transfer-Encoding', 'chunked'], ...(type === undefined
      ? []
      : [['Content-Type',
          type] as const])] as const
    t.equal((await over.send('POST /logout', lines, '0\r\n\r\n')).status, 204, `${type}, chunked`)
  }
})

t.test('W2: JSON and forms are read with any parameters, whatever parsers the host has', async t => {
  const parsers = (app: FastifyInstance) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => { done(new Error('the parser of the host')) })
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, _body, done) => { done(null, 'the parser of the host') })
  }
  const { logIn, post, isLive } = await host(t, {}, { before: parsers })
  for (const [type, payload] of [
    ['application/json', '{"scope":"others"}'], ['application/json; charset=utf-8', '{"scope":"others"}'], ['Application/JSON;x=y',
      '{"scope":"others"}'],
    ['application/x-www-form-urlencoded', 'scope=others'], ['application/x-www-form-urlencoded;charset=UTF-8', 'scope=%6fthers&other=a+b'],
    ['application/x-www-form-urlencoded', '&scope=others&&'], ['application/json', '\ufeff{"scope":"others"}'], ['application/json',
      ' {"scope" : "others" }\n']
  ] as const) {
    const [cookie, other] = [logIn(1), logIn(1)]
    const { status } = await post({ headers: { cookie, 'content-type': type }, payload })
    t.strictSame([status, isLive(cookie), isLive(other)], [204, true, false], `${type} ${payload}`)
  }
})

t.test('W3: another media type with a body is refused', async t => {
  const { logIn, post, isLive, over } = await host(t)
  const cookie = logIn(1)
  for (const type of ['text/plain', 'text/csv', 'multipart/form-data; boundary=x', 'application/json5', 'application/vnd.api+json',
    'rubbish', '']) {
    const answer = await post({ headers: { cookie, 'content-type': type }, payload: 'scope=all' })
    sameAnswer(t, answer, failure('FST_ERR_CTP_INVALID_MEDIA_TYPE'), type)
  }
  const without = await over.send('POST /logout', [['Cookie', cookie], ['Content-Length', '9']], 'scope=all')
  t.equal(without.status, 415, 'no media type at all')
  t.ok(isLive(cookie))
})

t.test('W4: a body of more than 8 KiB is refused', async t => {
  const { logIn, logOut, post, isLive } = await host(t)
  const cookie = logIn(1)
  const tooMuch = { scope: 'current', filler: 'x'.repeat(8193 - 31) }
  t.equal(JSON.stringify(tooMuch).length, 8193)
  sameAnswer(t, await logOut(cookie, tooMuch), failure('FST_ERR_CTP_BODY_TOO_LARGE'))
  sameAnswer(t, await post({ headers: { cookie, 'content-type': 'text/csv' }, payload: 'x'.repeat(8193) }),
    failure('FST_ERR_CTP_BODY_TOO_LARGE'))
  t.ok(isLive(cookie))
  sameAnswer(t, await logOut(cookie, { scope: 'current', filler: 'x'.repeat(8192 - 31) }), done)
})

t.test('W5: malformed JSON, JSON that is not an object, and malformed percent encoding are refused', async t => {
  const { logIn, post, isLive } = await host(t)
  const cookie = logIn(1)
  const json = { 'content-type': 'application/json' }
  for (const payload of ['{', '{"scope":"all"', "{'scope':'all'}", '[]', '[{"scope":"all"}]', 'null', '5', '"all"', 'true', ' ',
    'scope=all', '{"scope":"all"}x']) {
    sameAnswer(t, await post({ headers: { cookie, ...json }, payload }), failure('LOGOUT_BODY'), payload)
  }
  for (const payload of ['scope=%', 'scope=%a', 'scope=%zz', 'x=%ff', 'x=%c3%28', '%e2%82=x']) {
    sameAnswer(t, await post({ headers: { cookie, ...form }, payload }), failure('LOGOUT_BODY'), payload)
  }
  t.ok(isLive(cookie))
})

t.test('W6: a scope that is unknown, not offered, empty, not a string or repeated is refused', async t => {
  const { logIn, logOut, post, isLive, calls } = await host(t)
  const cookie = logIn(1)
  for (const scope of ['everything', 'CURRENT', ' all', 'all ', '', null, 5, true, ['all'], ['all', 'all'], {}, 'toString', '__proto__']) {
    sameAnswer(t, await logOut(cookie, { scope }), failure('LOGOUT_SCOPE'), JSON.stringify(scope))
  }
  for (const payload of ['scope=', 'scope', 'scope=all&scope=all', 'scope=current&scope=all', 'scope=all%00', 'scope=%20all',
    'scope[]=all&scope=']) {
    sameAnswer(t, await post({ headers: { cookie, ...form }, payload }), failure('LOGOUT_SCOPE'), payload)
  }
  t.strictSame([isLive(cookie), calls], [true, []])

  const narrow = await host(t, { scopes: { allowed: ['current', 'others'] } })
  sameAnswer(t, await narrow.logOut(narrow.logIn(1), { scope: 'all' }), failure('LOGOUT_SCOPE'), 'not offered')
  sameAnswer(t, await narrow.logOut(narrow.logIn(1), { scope: 'current' }), done)
})

t.test('W7: a return_to that is not a string, or repeated, is refused; an empty one is absent', async t => {
  const { logIn, logOut, post } = await host(t)
  for (const target of [null, 5, true, ['/'], {}]) {
    sameAnswer(t, await logOut(logIn(1), { return_to: target }), failure('LOGOUT_RETURN_TO'), JSON.stringify(target))
  }
  sameAnswer(t, await post({ headers: { cookie: logIn(1), ...form }, payload: 'return_to=/a&return_to=/a' }), failure('LOGOUT_RETURN_TO'))
  sameAnswer(t, await logOut(logIn(1), { return_to: '' }, page), seeOther())
  sameAnswer(t, await post({ headers: { cookie: logIn(1), ...page, ...form }, payload: 'return_to=' }), seeOther())
})

t.test('W8: unknown members and query parameters are ignored', async t => {
  const { logIn, post, isLive } = await host(t)
  for (const [type, payload] of [
    ['application/json', '{"_csrf":"x","authenticity_token":5,"__proto__":{"scope":"all"},"toString":1}'],
    ['application/json', '{"constructor":{"prototype":{"scope":"all"}}}'],
    ['application/x-www-form-urlencoded', '_csrf=x&authenticity_token=y&__proto__=z&__proto__[scope]=all&Scope=all&scope[]=all'],
    ['application/x-www-form-urlencoded', '?scope=all&x=?scope=all']
  ] as const) {
    const [cookie, other] = [logIn(1), logIn(1)]
    sameAnswer(t, await post({ url: '/logout?scope=all&return_to=//evil.example', headers: { cookie, 'content-type': type }, payload }),
      done, type)
    t.strictSame([isLive(cookie), isLive(other)], [false, true], 'the scope is current')
  }
})

t.test('W9: other methods are the host\'s 404 or its own routes, and nobody is logged out', async t => {
  const { over, logIn, isLive } = await host(t, {}, { before: app => app.get('/logout', async () => 'Do you want to log out?') })
  const cookie = logIn(1)
  for (const method of ['HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
    const { status } = await over.sendUnchecked(`${method} /logout`, [['Cookie', cookie]])
    t.equal(status, method === 'HEAD' ? 200 : 404, method)
  }
  t.equal((await over.inject({ url: '/logout', headers: { cookie } })).body, 'Do you want to log out?')
  t.ok(isLive(cookie))
})

t.test('W10: a prefetch request is refused', async t => {
  const { logIn, logOut, isLive, calls } = await host(t)
  const cookie = logIn(1)
  for (const headers of [{ 'sec-purpose': 'prefetch' }, { purpose: 'prefetch' }, { 'x-moz': 'prefetch' },
    { 'sec-purpose': 'prefetch;prerender' }]) {
    sameAnswer(t, await logOut(cookie, undefined, { ...headers, 'sec-fetch-site': 'same-origin' }), failure('LOGOUT_PREFETCH'))
  }
  t.strictSame([isLive(cookie), calls], [true, []])
})

// The response

t.test('N1: a page gets a 303 to the target, without a body', async t => {
  const { logIn, logOut, isLive, events } = await host(t)
  const cookie = logIn(1)
  sameAnswer(t, await logOut(cookie, { return_to: '/bye?a=1#b' }, page), seeOther('/bye?a=1#b'))
  t.notOk(isLive(cookie))
  t.strictSame(events, [{ scope: 'session', session: { id: 1, subject: 1, device: 'laptop' } }])
})

t.test('N2: a program gets a 204 without a body and a content type', async t => {
  const setType = (app: FastifyInstance) => app.addHook('onRequest', async (_request, reply) => { reply.type('text/html') })
  const { logIn, logOut } = await host(t, {}, { before: setType })
  for (const accept of [undefined, '*/*', 'application/json', 'application/json, text/html', 'text/*', 'text/html;q=0']) {
    sameAnswer(t, await logOut(logIn(1), { return_to: '/bye' }, accept === undefined ? {} : { accept }), done, accept ?? 'none')
  }
})

t.test('N3: without a credential the response is the same, the cookies are cleared, and nobody is told', async t => {
  const { post, events } = await host(t)
  sameAnswer(t, await post(), done)
  sameAnswer(t, await post({ headers: page }), seeOther())
  t.strictSame(events, [])
})

t.test('N4: with a session that is expired, logged out or unknown, the response is the same', async t => {
  const { logIn, logOut, events } = await host(t)
  for (const more of [{ expiresAt: Date.now() - 1 }, { endedAt: Date.now() }]) sameAnswer(t, await logOut(logIn(1, 'laptop', more)), done)
  for (const cookie of ['sid=forged', 'sid=', 'sid=%zz', 'sid=\u00ff', '=;;sid', `sid=${'x'.repeat(4000)}`]) {
    sameAnswer(t,
      await logOut(cookie), done, cookie)
  }
  t.strictSame(events, [])
})

t.test('N5: the same request again gets the same response, and one onLogout', async t => {
  const { logIn, logOut, post, events } = await host(t)
  const cookie = logIn(1)
  for (const headers of [{}, page]) {
    for (let time = 0; time < 2; time++) sameAnswer(t, await logOut(cookie, undefined, headers), 'accept' in headers ? seeOther() : done)
    sameAnswer(t, await post({ headers }), 'accept' in headers ? seeOther() : done, 'without the cookie')
  }
  t.equal(events.length, 1)
})

t.test('N6: Turbo gets a 303', async t => {
  const { logIn, logOut } = await host(t)
  const accept = 'text/vnd.turbo-stream.html, text/html, application/xhtml+xml'
  sameAnswer(t, await logOut(logIn(1), { return_to: '/bye' }, { accept }), seeOther('/bye'))
})

t.test('N7: htmx gets a 204 with HX-Redirect', async t => {
  const { logIn, logOut } = await host(t)
  for (const headers of [{ 'hx-request': 'true', accept: '*/*' }, { 'hx-request': 'true', ...page }]) {
    const answer = await logOut(logIn(1), { return_to: '/bye' }, headers)
    sameAnswer(t, answer, { ...done, headers: { ...done.headers, 'hx-redirect': '/bye' } })
  }
  sameAnswer(t, await logOut(logIn(1), undefined, { 'hx-request': 'false' }), done)
})

t.test('N8: others ends the other sessions; this one and its cookies are unchanged', async t => {
  const { logIn, logOut, isLive, events, calls } = await host(t, { clear: { siteData: ['cache'] }, publicUrl: 'https://app.example' })
  const [laptop, phone, tablet, bobs] = [logIn(1), logIn(1, 'phone'), logIn(1, 'tablet'), logIn(2)]
  const nothingCleared = (status: number, more = {}): Answer => ({ status, headers: { ...always, ...more }, body: '' })
  sameAnswer(t, await logOut(laptop, { scope: 'others' }), nothingCleared(204))
  t.strictSame([laptop, phone, tablet, bobs].map(isLive), [true, false, false, true])
  t.strictSame(events, [{ scope: 'others', subject: '1', except: '1', count: 2 }])
  t.strictSame(calls, ['find', 'logOutSubject'])
  sameAnswer(t, await logOut(laptop, { scope: 'others' }, page), nothingCleared(303, { location: '/', 'content-length': '0' }))
  t.ok(isLive(laptop))
})

t.test('N9: all ends every session, this one last, and clears the cookies', async t => {
  const { logIn, logOut, isLive, events, calls } = await host(t)
  const [laptop, phone, bobs] = [logIn(1, 'laptop', { tenant: 'acme' }), logIn(1, 'phone', { tenant: 'acme' }), logIn(1, 'other',
    { tenant: 'umbrella' })]
  sameAnswer(t, await logOut(laptop, { scope: 'all' }), done)
  t.strictSame([laptop, phone, bobs].map(isLive), [false, false, true])
  t.strictSame(events, [{ scope: 'all', subject: '1', tenant: 'acme', count: 2 }])
  t.strictSame(calls, ['find', 'logOutSubject', 'logOut'])
  sameAnswer(t, await logOut(bobs, { scope: 'all' }, page), seeOther())
})

t.test('N10: others and all need a live session', async t => {
  const { logIn, logOut, post, isLive, events, calls } = await host(t)
  const other = logIn(1)
  const expired = logIn(1, 'phone', { expiresAt: Date.now() - 1 })
  const ended = logIn(1, 'phone', { endedAt: Date.now() })
  const cleared = { 'set-cookie': removal }
  for (const headers of [{}, page]) {
    for (const cookie of [expired, ended, 'sid=forged', '']) {
      sameAnswer(t, await logOut(cookie, { scope: 'others' }, headers), failure('LOGOUT_NOT_LOGGED_IN'))
      sameAnswer(t, await logOut(cookie, { scope: 'all' }, headers), failure('LOGOUT_NOT_LOGGED_IN', cleared), 'all clears the cookies')
    }
  }
  sameAnswer(t, await post({ payload: { scope: 'others' } }), failure('LOGOUT_NOT_LOGGED_IN'))
  t.ok(isLive(other))
  t.strictSame(events, [])
  t.notOk(calls.includes('logOutSubject'))
})

t.test('N10: all without a live session waits for the source, and is a 503 if it cannot tell', async t => {
  const { sessions } = ownSessions()
  const later = await host(t, {
    sessions: { ...sessions, logOut: async () => { await new Promise(resolve => setImmediate(resolve)); return undefined } }
  })
  sameAnswer(t, await later.logOut('', { scope: 'all' }), failure('LOGOUT_NOT_LOGGED_IN', { 'set-cookie': removal }))
  const failing = await host(t, { sessions: { ...sessions, logOut: async () => { throw new Error('down') } } })
  sameAnswer(t, await failing.logOut('', { scope: 'all' }), failure('LOGOUT_UNAVAILABLE', { 'retry-after': '5' }))
})

t.test('N11: every response is not to be cached, and keeps the Vary of the host', async t => {
  for (const [vary, expected] of [
    ['Origin', 'Origin, Accept'], ['origin, accept', 'origin, accept'], ['*', '*'], ['Accept-Encoding', 'Accept-Encoding, Accept'],
    ['X-Accept', 'X-Accept, Accept']
  ]) {
    const setVary = (app: FastifyInstance) => app.addHook('onRequest', async (_request, reply) => {
      reply.headers({
        vary,
        'cache-control': 'public'
      })
    })
    const { logIn, logOut } = await host(t, {}, { before: setVary })
    for (const answer of [
      await logOut(logIn(1)), await logOut(logIn(1), undefined, page), await logOut('', { scope: 'all' }), await logOut('', { scope: 'x' }),
      await logOut('', undefined, { 'sec-fetch-site': 'cross-site' })
    ]) t.match(answer.headers, { vary: expected, 'cache-control': 'no-store' })
  }
})

t.test('N11: so are the errors of the host\'s own hooks', async t => {
  const failing = (app: FastifyInstance) => app.addHook('onRequest', async () => {
    throw Object.assign(new Error('who are you?'),
      { statusCode: 418 })
  })
  const { post, calls } = await host(t, {}, { before: failing })
  const answer = await post()
  t.match(answer, { status: 418, headers: always, body: /who are you/ })
  t.strictSame(calls, [])
})

t.test('N12, T1: 50 parallel logouts of one session all succeed, and one is told', async t => {
  const { logIn, logOut, events, isLive } = await host(t)
  const cookie = logIn(1)
  const answers = await Promise.all(Array.from({ length: 50 }, () => logOut(cookie)))
  for (const answer of answers) sameAnswer(t, answer, done)
  t.equal(events.length, 1)
  t.notOk(isLive(cookie))
})

// return_to

t.test('R1: without a return_to the default is the target, letter for letter and not judged', async t => {
  for (const defaultReturnUrl of ['/', '/bye?a=%2F#b', 'https://www.example/bye?x=1', 'HTTP://WWW.example', '/a/../b']) {
    const { logIn, logOut } = await host(t, { returnUrls: { default: defaultReturnUrl }, publicUrl: 'https://app.example' })
    sameAnswer(t, await logOut(logIn(1), undefined, page), seeOther(defaultReturnUrl))
  }
})

t.test('R2: a path is the host\'s own', async t => {
  const paths = [
    ['/bye'], ['/path?q#f'], ['/?next=https://evil.example'], ['/a//b'], ['/bye;x'], ['/%0d%0aSet-Cookie:%20a=b'], ['/@evil.example'],
    ['/:80'],
    ['/gr\u00fc\u00dfe', '/gr%c3%bc%c3%9fe'], ['/a b', '/a%20b'], ['/\ud83d\udc4b\ud83c\udffd', '/%f0%9f%91%8b%f0%9f%8f%bd'], ['/\ud83d',
      '/%ef%bf%bd']
  ] as const
  const relative = await host(t)
  const absolute = await host(t, { publicUrl: 'https://app.example:8443/base/' })
  for (const [path, sent = path] of paths) {
    sameAnswer(t, await relative.logOut(relative.logIn(1), { return_to: path }, page), seeOther(sent))
    sameAnswer(t, await absolute.logOut(absolute.logIn(1), { return_to: path }, page), seeOther(`https://app.example:8443${sent}`))
    t.equal(new URL(sent, 'https://app.example/logout').origin, 'https://app.example')
  }
})

t.test('R3: an absolute URL of publicUrl\'s origin or within returnUrls.allowed is the target, letter for letter', async t => {
  const { logIn, logOut } = await host(t, {
    publicUrl: 'https://app.example/base', returnUrls: { allowed: ['https://www.example/after', 'https://*.team.example'] }
  })
  for (const target of [
    'https://app.example', 'https://app.example/', 'https://app.example/elsewhere?x=1#y', 'HTTPS://APP.example:443/x',
    'https://www.example/after/all',
    'https://one.team.example/x'
  ]) sameAnswer(t, await logOut(logIn(1), { return_to: target }, page), seeOther(target))
  for (const target of ['http://app.example/', 'https://app.example:444/', 'https://www.example/', 'https://team.example/',
    'https://app.example.evil.example/']) {
    sameAnswer(t, await logOut(logIn(1), { return_to: target }, page), failure('LOGOUT_RETURN_TO'), target)
  }
})

const hostile = [
  '//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example', '\\/evil.example', '/a\\b', '/\t/evil.example',
  '/\n/evil.example', '/a\u0000b', '/a\u007fb',
  'https:evil.example', 'https:/evil.example', 'https:///evil.example', 'https://', 'javascript:alert(1)', 'data:text/html,x',
  'vbscript:x', 'mailto:a@b', 'file:///etc/passwd',
  'https://user@app.example/', 'https://app.example@evil.example/', 'https://app.example\\@evil.example/', ' /bye', '/bye ', '\t/bye',
  '/bye\n', '\u00a0/bye', ' https://app.example/',
  'https://app.example/ ', 'https://app.example/\r\nSet-Cookie: a=b', 'bye', './bye', '../bye', '?bye', '#bye', '.', 'app.example',
  'https://evil.example/', 'https://app%2eexample/',
  'ftp://app.example/', 'blob:https://app.example/x', 'https://app.example.evil.example/'
]

t.test('R4: hostile targets are refused: nobody is logged out, and no cookie is set', async t => {
  const { logIn, logOut, post, isLive, calls } = await host(t, { publicUrl: 'https://app.example' })
  const cookie = logIn(1)
  for (const target of hostile) {
    for (const scope of ['current', 'all']) {
      sameAnswer(t, await logOut(cookie, { return_to: target, scope }, page),
        failure('LOGOUT_RETURN_TO'), JSON.stringify(target))
    }
    const payload = new URLSearchParams({ return_to: target }).toString()
    sameAnswer(t, await post({ headers: { cookie, ...form }, payload }), failure('LOGOUT_RETURN_TO'), JSON.stringify(target))
  }
  t.strictSame([isLive(cookie), calls], [true, []])
})

t.test('R5: a bad return_to is refused for programs and for anonymous callers too', async t => {
  const { logIn, logOut } = await host(t)
  for (const cookie of [logIn(1), '']) {
    for (const headers of [{}, { accept: 'application/json' }, { 'hx-request': 'true' }]) {
      sameAnswer(t, await logOut(cookie, { return_to: '//evil.example' }, headers), failure('LOGOUT_RETURN_TO'))
    }
  }
})

t.test('R6: dot segments stay on the host, as browsers resolve them', async t => {
  const { logIn, logOut } = await host(t)
  for (const path of ['/a/../../b', '/%2e%2e/', '/.//evil.example', '/..//evil.example', '/%2e//evil.example', '/./\u00fc']) {
    const { status, headers } = await logOut(logIn(1), { return_to: path }, page)
    t.equal(status, 303)
    t.equal(new URL(String(headers['location']), 'https://app.example/deep/logout').origin, 'https://app.example', path)
  }
})

// Cookies

t.test('K1: one Set-Cookie for each name, also if the host has set that cookie on this reply', async t => {
  for (const withPlugin of [false, true]) {
    const before = async (app: FastifyInstance) => {
      if (withPlugin) {
        await app.register(fastifyCookie, {
          secret: 'a secret',
          parseOptions: {
            signed: true,
            domain: 'app.example',
            path: '/x'
          }
        })
      }
      app.addHook('onRequest', async (_request, reply) => {
        reply.header('set-cookie', 'seen=1; Path=/')
        reply.header('set-cookie', 'sidecar=1')
        if (withPlugin) reply.setCookie('seen', '2', { path: '/', signed: false, domain: undefined } as never)
      })
    }
    const { logIn, logOut } = await host(t, { clear: { cookies: [{ name: 'sid' }, { name: 'seen' }] } }, { before })
    const cookies = setCookies(await logOut(logIn(1)) as never)
    t.strictSame(cookies.map(({ name }) => name).sort(), ['seen', 'sid', 'sidecar'])
    t.strictSame(cookies.filter(({ removed }) => removed).map(({ name }) => name).sort(), ['seen', 'sid'])
  }
})

t.test('K1: a hook of the host that sets or drops the cookie while the response is sent changes nothing', async t => {
  const hooks: Record<string, (reply: FastifyReply) => unknown> = {
    'sets it by setCookie': reply => reply.setCookie('sid', 'new', { path: '/' }),
    'sets it by setCookie, with another path': reply => reply.setCookie('sid', 'new', { path: '/app' }),
    'sets it as a header': reply => reply.header('set-cookie', 'sid=new; Path=/'),
    'sets it in place of the other cookies': reply => {
      reply.removeHeader('set-cookie')
      reply.header('set-cookie', ['sid=new; Path=/', 'theme=dark'])
    },
    'drops it': reply => { reply.removeHeader('set-cookie') }
  }
  for (const [what, change] of Object.entries(hooks)) {
    for (const order of ['before @fastify/cookie', 'after @fastify/cookie', 'without @fastify/cookie']) {
      if (order.startsWith('without') && what.includes('setCookie')) continue
      const before = async (app: FastifyInstance) => {
        if (order.startsWith('after')) await app.register(fastifyCookie)
        app.addHook('onSend', async (_request, reply, payload) => { change(reply); return payload })
        if (order.startsWith('before')) await app.register(fastifyCookie)
      }
      const { logIn, logOut } = await host(t, { clear: { cookies: [{ name: 'sid', sameSite: 'strict' }] } }, { before })
      const cookies = setCookies(await logOut(logIn(1)) as never).filter(({ name }) => name !== 'theme')
      t.match(cookies, [{ name: 'sid', removed: true, attributes: { path: '/', samesite: 'Strict' } }], `${what}, ${order}`)
      t.equal(cookies.length, 1, `${what}, ${order}`)
    }
  }
})

t.test('K1, N11: a hook that the host adds after the plugin does not set the cookie again, nor make the response cacheable', async t => {
  for (const withPlugin of [false, true]) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (withPlugin) await app.register(fastifyCookie)
    const { sessions, logIn } = ownSessions()
    await app.register(sessionLogout, { sessions, clear: { cookies: [{ name: 'sid' }] } })
    app.addHook('onSend', async (_request, reply, payload) => {
      reply.header('set-cookie', 'sid=new; Path=/').header('cache-control', 'public, max-age=60')
      return payload
    })
    const response = await app.inject({ method: 'POST', url: '/logout', headers: { cookie: logIn(1) } })
    t.match(setCookies(response), [{ name: 'sid', removed: true }])
    t.strictSame([setCookies(response).length, response.headers['cache-control']], [1, 'no-store'])
  }
})

t.test('K2, K4: the clearing cookie has the attributes of the cookie, both expiries, and no signature', async t => {
  const odd = { name: '__Host-sid', sameSite: 'none', partitioned: true } as const
  const plain = {
    name: 'theme',
    path: '/app',
    domain: 'app.example',
    secure: false,
    httpOnly: false,
    sameSite: 'strict',
    signed: true
  } as const
  for (const withPlugin of [false, true]) {
    const before = async (app: FastifyInstance) => { if (withPlugin) await app.register(fastifyCookie, { secret: 'a secret' }) }
    const { logIn, logOut } = await host(t, { clear: { cookies: [odd, plain] } }, { before })
    const [first, second, ...rest] = setCookies(await logOut(logIn(1)) as never)
    const { expires, ...attributes } = first?.attributes ?? {}
    t.strictSame([first?.name, first?.value, attributes], [
      '__Host-sid', '', { path: '/', 'max-age': '0', httponly: '', secure: '', samesite: 'None', partitioned: '' }
    ])
    t.ok(Date.parse(expires ?? '') < Date.now())
    const { expires: alsoPast, ...others } = second?.attributes ?? {}
    t.strictSame([second?.name, second?.value, others], ['theme', '', {
      path: '/app',
      domain: 'app.example',
      'max-age': '0',
      samesite: 'Strict'
    }])
    t.ok(Date.parse(alsoPast ?? '') < Date.now())
    t.strictSame(rest, [])
  }
})

t.test('K5: the cookies of the option clear go out together with the session cookie, never alone', async t => {
  const forgets: string[] = []
  const { sessions } = ownSessions()
  const forget: SessionSource['forget'] = (_request, reply) => { forgets.push('forget'); reply.header('set-cookie', 'session=; Max-Age=0') }
  const { logOut } = await host(t, { sessions: { ...sessions, forget } })
  for (const [fields, names] of [
    [{}, ['session', 'sid']], [{ scope: 'all' }, ['session', 'sid']], [{ scope: 'others' }, []], [{ scope: 'x' }, []]
  ] as const) t.strictSame(setCookies(await logOut('', fields) as never).map(({ name }) => name), names)
  t.equal(forgets.length, 2)
})

t.test('K6: errors set no cookie', async t => {
  const { logIn, logOut, broken } = await host(t, { scopes: { mayLogOut: () => false } })
  const cookie = logIn(1)
  const answers = [
    await logOut(cookie, { scope: 'x' }), await logOut(cookie, { return_to: '//x' }), await logOut(cookie, undefined,
      { 'sec-fetch-site': 'none' }),
    await logOut(cookie, { scope: 'all' })
  ]
  broken.set('*', 'rejects')
  answers.push(await logOut(cookie), await logOut(cookie, { scope: 'all' }), await logOut(cookie, { scope: 'others' }))
  t.strictSame(answers.map(({ status }) => status), [400, 400, 403, 403, 503, 503, 503])
  for (const answer of answers) t.equal(answer.headers['set-cookie'], undefined)
})

t.test('K7: a cookie that browsers would reject is a TypeError', async t => {
  await t.rejects(host(t, { clear: { cookies: [{ name: 'sid', sameSite: 'none', secure: false }] } }), {
    name: 'TypeError', message: 'sessionLogout: option "clear.cookies" must be secure: browsers accept sameSite "none" only then'
  })
})

t.test('K8: Clear-Site-Data is sent after a logout of the current session, over https only', async t => {
  const clearSiteData = ['cache', 'storage'] as const
  const sent = { 'clear-site-data': '"cache", "storage"' }
  const secure = await host(t, { clear: { siteData: clearSiteData }, publicUrl: 'https://app.example' })
  t.match((await secure.logOut(secure.logIn(1))).headers, sent)
  t.match((await secure.post({ headers: page })).headers, sent)
  t.match((await secure.logOut(secure.logIn(1), { scope: 'all' })).headers, sent)
  const cookie = secure.logIn(1)
  t.notHas((await secure.logOut(cookie, { scope: 'others' })).headers, sent)
  t.notHas((await secure.logOut('', { scope: 'others' })).headers, sent)
  t.notHas((await secure.logOut(cookie, { scope: 'x' })).headers, sent)

  const plain = await host(t, { clear: { siteData: clearSiteData }, publicUrl: 'http://app.example' })
  t.notHas((await plain.logOut(plain.logIn(1), undefined, { 'x-forwarded-proto': 'https' })).headers, sent)
  const behindProxy = await host(t, { clear: { siteData: clearSiteData } }, { server: { trustProxy: true } })
  t.match((await behindProxy.logOut(behindProxy.logIn(1), undefined, { 'x-forwarded-proto': 'https' })).headers, sent)
  t.notHas((await behindProxy.logOut(behindProxy.logIn(1))).headers, sent)
})

// Errors

t.test('E1: errors of the host\'s hooks pass unchanged, and nothing is done', async t => {
  for (const name of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    const before = (app: FastifyInstance) => app.addHook(name, async () => {
      throw Object.assign(new Error('log in first'),
        { statusCode: 401, code: 'HOST' })
    })
    const { post, calls } = await host(t, {}, { before })
    const { status, body } = await post({ payload: { scope: 'all' } })
    t.strictSame([status, JSON.parse(body), calls], [401, {
      statusCode: 401,
      code: 'HOST',
      error: 'Unauthorized',
      message: 'log in first'
    }, []], name)
  }
})

t.test('E2: a source that resolves neither a session nor nothing is reported, and nobody is told', async t => {
  for (const wrong of [true, false, 1, 0, 'alice', {}, [], { id: 1 }, { subject: 1 }, { id: '', subject: 'a' }, {
    id: 'a',
    subject: null
  }, { id: NaN, subject: 1 }]) {
    for (const method of ['logOut', 'find'] as const) {
      const lines: Array<Record<string, unknown>> = []
      const own = ownSessions()
      const logger = { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
      const { logOut, events } = await host(t, { sessions: { ...own.sessions, [method]: async () => wrong } }, { server: { logger } })
      const answer = await logOut('', { scope: method === 'find' ? 'others' : 'current' })
      sameAnswer(t, answer, failure('LOGOUT_MISCONFIGURED'), `${method}: ${JSON.stringify(wrong)}`)
      t.strictSame(events, [])
      const line = lines.find(({ event }) => event === 'logout.misconfigured')
      t.match(JSON.stringify(line), `\\"${method}\\" must resolve a session, { id, subject }, or undefined`)
    }
  }
})

t.test('E2: null is nothing', async t => {
  const { sessions } = ownSessions()
  const { logOut } = await host(t, { sessions: { ...sessions, find: () => null, logOut: async () => null } })
  sameAnswer(t, await logOut(''), done)
  sameAnswer(t, await logOut('', { scope: 'others' }), failure('LOGOUT_NOT_LOGGED_IN'))
})

t.test('E3: only a mayLogOut that resolves true lets others and all through; current is not asked for', async t => {
  const answers: unknown[] = []
  const asked: unknown[] = []
  const { logIn, logOut, isLive, calls } = await host(t, {
    scopes: {
      mayLogOut: (scope, session, request) => {
        asked.push([scope, session, request.method])
        return answers.shift() as boolean
      }
    }
  })
  const [cookie, other] = [logIn(1), logIn(1)]
  for (const scope of ['others', 'all']) {
    for (const refusal of [false, undefined, null, 0, 1, 'true', [], {}, Promise.resolve(false), Promise.resolve('yes')]) {
      answers.push(refusal)
      sameAnswer(t, await logOut(cookie, { scope }), failure('LOGOUT_FORBIDDEN'), String(refusal))
    }
  }
  t.strictSame([isLive(cookie), isLive(other), calls.includes('logOutSubject')], [true, true, false])
  t.strictSame(asked[0], ['others', { id: 1, subject: 1, device: 'laptop' }, 'POST'])
  const before = asked.length
  sameAnswer(t, await logOut('', { scope: 'others' }), failure('LOGOUT_NOT_LOGGED_IN'))
  t.equal(asked.length, before, 'nobody is asked about a session that is not there')
  answers.push(true)
  t.equal((await logOut(cookie, { scope: 'others' })).status, 204)
  answers.push(Promise.resolve(true))
  t.equal((await logOut(cookie, { scope: 'all' })).status, 204)
  sameAnswer(t, await logOut(logIn(1)), done)
  t.equal(answers.length, 0)
})

t.test('E3: a mayLogOut that throws, rejects or is late is a 503', async t => {
  for (const mayLogOut of [() => { throw new Error('down') }, () => Promise.reject(new Error('down')),
    () => new Promise<boolean>(() => {})]) {
    const { logIn, logOut, isLive } = await host(t, { scopes: { mayLogOut }, timeout: 50 })
    const [cookie, other] = [logIn(1), logIn(1)]
    sameAnswer(t, await logOut(cookie, { scope: 'all' }), failure('LOGOUT_UNAVAILABLE', { 'retry-after': '5' }))
    t.ok(isLive(cookie) && isLive(other))
  }
})

t.test('E4: channels and log lines say what happened, and hold no secret', async t => {
  const messages = subscribe(t)
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } } }
  const { logIn, logOut, broken } = await host(t, { onLogout: () => { throw new Error('the audit log is down') } }, { server: { logger } })
  const [cookie] = [logIn(1, 'laptop', { tenant: 'acme' }), logIn(1, 'phone', { tenant: 'acme' })]
  const target = '/secret-target'
  await logOut(cookie, { scope: 'others', return_to: target })
  await logOut(cookie, { return_to: target })
  await logOut(cookie, { return_to: target })
  await logOut(logIn(1), { scope: 'all', return_to: target })
  await logOut(cookie, { scope: 'others' })
  broken.set('logOut', 'rejects')
  await logOut(cookie, { return_to: target })
  await logOut(cookie, { return_to: `/${target}` })

  const about = (more: object) => ({ plugin: 'sessionLogout', requestId: /^req-/, duration: Number, ...more })
  t.match(messages, [
    ['logout', about({ scope: 'others', subject: '1', tenant: 'acme', sessionId: '1' })], ['outage', {
      plugin: 'sessionLogout',
      question: 'onLogout'
    }],
    ['logout', about({ scope: 'session', subject: '1', tenant: 'acme', sessionId: '1' })], ['outage', { question: 'onLogout' }],
    ['logout', about({ scope: 'all', subject: '1', sessionId: undefined })], ['outage', { question: 'onLogout' }],
    ['refusal', about({ status: 401 })], ['outage', { question: 'sessions.logOut' }], ['refusal', about({ status: 503 })], ['refusal',
      about({ status: 400 })]
  ])
  t.equal(messages.length, 10)
  const events = lines.map(line => JSON.parse(line).event).filter(event => event !== undefined)
  t.strictSame(events, ['logout.hook-failed', 'logout.hook-failed', 'logout.hook-failed', 'logout.outage'])
  t.notMatch(JSON.stringify(messages) + lines.join(''), /secret-(?:\d|target)/)
})

t.test('E4: messages that the client sees have neither a cause nor a URL', async t => {
  const { logIn, logOut, broken } = await host(t)
  for (const fault of ['rejects', 'throws'] as const) {
    broken.set('*', fault)
    for (const scope of ['current', 'others', 'all']) {
      sameAnswer(t, await logOut(logIn(1), { scope, return_to: '/a' }), failure('LOGOUT_UNAVAILABLE', { 'retry-after': '5' }))
    }
  }
})

// Sources with one method

t.test('a source with logOut alone offers the scope current', async t => {
  const { sessions: { logOut: only } } = ownSessions()
  const { logOut } = await host(t, { sessions: { logOut: only } })
  sameAnswer(t, await logOut('sid=x'), done)
  for (const scope of ['others', 'all']) sameAnswer(t, await logOut('sid=x', { scope }), failure('LOGOUT_SCOPE'))
})

t.test('a source that lacks find or logOutSubject offers the scope current only', async t => {
  for (const missing of ['find', 'logOutSubject'] as const) {
    const { [missing]: _, ...sessions } = ownSessions().sessions
    const { logIn, logOut } = await host(t, { sessions: sessions as SessionSource<OwnSession> })
    const cookie = logIn(1)
    for (const scope of ['others', 'all']) {
      sameAnswer(t, await logOut(cookie, { scope }), failure('LOGOUT_SCOPE'), `${scope} without ${missing}`)
    }
  }
})

t.test('a forget that throws is logged, and the logout succeeds', async t => {
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } } }
  const own = ownSessions()
  for (const forget of [() => { throw new Error('cannot forget') }, async () => { throw new Error('cannot forget') }]) {
    lines.length = 0
    const { logOut } = await host(t, { sessions: { ...own.sessions, forget } }, { server: { logger } })
    sameAnswer(t, await logOut(own.logIn(1)), done)
    t.equal(lines.filter(line => JSON.parse(line).event === 'logout.cleanup-failed').length, 1)
  }
})

t.test('methods are called on the object that was given', async t => {
  class Sessions {
    readonly rows = new Map([['1', { id: 1, subject: 1, device: 'laptop' }]])
    find () { return this.rows.get('1') }
    logOut () { return this.rows.get('1') }
    logOutSubject () { return this.rows.size }
    forget () { this.rows.clear() }
  }
  const { logOut, events } = await host(t, { sessions: new Sessions() })
  sameAnswer(t, await logOut('', { scope: 'all' }), done)
  t.strictSame(events, [{ scope: 'all', subject: '1', count: 2 }])
})

t.test('a count is told only if the source counts', async t => {
  for (const answer of [undefined, null, 'many', -1, 1.5, NaN, {}]) {
    const own = ownSessions()
    const { logOut, events } = await host(t, {
      sessions: { ...own.sessions, logOutSubject: async () => answer as undefined },
      onLogout: own.onLogout
    })
    await logOut(own.logIn(1), { scope: 'others' })
    await logOut(own.logIn(1), { scope: 'all' })
    t.strictSame([events, own.events], [[], [{ scope: 'others', subject: '1', except: '1' }, { scope: 'all', subject: '1' }]],
      String(answer))
  }
})

// The host

t.test('H1: nothing outside the scope changes', async t => {
  const { app, over } = await host(t, {}, {
    before: app => {
      app.post('/echo', async ({ body }) => ({ body }))
      app.get('/html', async (_request, reply) => reply.type('text/html').send('<p>'))
    }
  })
  const later = await over.inject({ method: 'POST', url: '/echo', payload: { scope: 'all' } })
  t.strictSame([later.status, later.body, later.headers['cache-control'], later.headers['vary']], [200, '{"body":{"scope":"all"}}',
    undefined, undefined])
  t.equal((await over.inject({ method: 'POST', url: '/echo', headers: { 'content-type': 'text/csv' }, payload: 'x' })).status, 415)
  t.equal((await over.inject({ method: 'POST', url: '/echo', headers: { 'sec-fetch-site': 'cross-site' }, payload: {} })).status, 200)
  t.strictSame(['logOut', 'logout', 'logIn',
    'sessions'].filter(name => app.hasRequestDecorator(name) || app.hasReplyDecorator(name) || app.hasDecorator(name)), [])
})

t.test('H3: the host\'s error handler shapes every error, and our headers survive it', async t => {
  const before = (app: FastifyInstance) => app.setErrorHandler((error: Error & { code: string, statusCode: number }, _request, reply) => {
    reply.code(error.statusCode).type('application/problem+json').send({ title: error.message, type: `urn:${error.code}` })
  })
  const { app, logIn, broken } = await host(t, {}, { before })
  const send = async (headers: Record<string, string>, payload?: object) => {
    const { statusCode, headers: sent, body } = await app.inject({
      method: 'POST',
      url: '/logout',
      headers,
      ...(payload !== undefined && { payload })
    })
    return [statusCode, JSON.parse(body), sent['content-type'], sent['cache-control'], sent['vary'], sent['retry-after']]
  }
  const problem = (status: number, code: string, retryAfter?: string) => {
    const type = 'application/problem+json; charset=utf-8'
    return [status, { title: messages[code]?.[2], type: `urn:${code}` }, type, 'no-store', 'Accept', retryAfter]
  }
  t.strictSame(await send({ 'sec-fetch-site': 'cross-site' }), problem(403, 'LOGOUT_CROSS_SITE'))
  t.strictSame(await send({}, { scope: 'x' }), problem(400, 'LOGOUT_SCOPE'))
  t.strictSame(await send({}, { scope: 'all' }), problem(401, 'LOGOUT_NOT_LOGGED_IN'))
  t.strictSame(await send({ 'content-type': 'application/json' }, 'x'.repeat(9000) as never), problem(413, 'FST_ERR_CTP_BODY_TOO_LARGE'))
  broken.set('logOut', 'rejects')
  t.strictSame(await send({ cookie: logIn(1) }), problem(503, 'LOGOUT_UNAVAILABLE', '5'))
})

t.test('H5: two registrations under two prefixes are independent', async t => {
  const [users, admins] = [ownSessions(), ownSessions()]
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout, { ...users, route: { path: '/sign-out' }, prefix: '/app', returnUrls: { default: '/app' } } as never)
  await app.register(sessionLogout, {
    ...admins, prefix: '/admin', returnUrls: { default: '/admin' }, clear: { cookies: [{ name: 'admin' }] }
  } as never)
  const [user, admin] = [users.logIn(1), admins.logIn(1)]
  const send = (url: string, cookie: string) => app.inject({ method: 'POST', url, headers: { cookie, ...page } })
  const { headers } = await send('/app/sign-out', user)
  t.strictSame([headers['location'], headers['set-cookie']], ['/app', undefined])
  t.strictSame([users.isLive(user), admins.isLive(admin)], [false, true])
  const other = await send('/admin/logout', admin)
  t.match(other.headers, { location: '/admin', 'set-cookie': /^admin=/ })
  t.strictSame([users.events.length, admins.events.length], [1, 1])
  t.equal((await send('/logout', user)).statusCode, 404)
})

t.test('H6: a request to the route does not count as activity of its user', async t => {
  let activity
  const { logOut } = await host(t, {}, { before: app => app.addHook('onRequest', async request => { activity = isActivity(request) }) })
  await logOut('')
  t.equal(activity, false)
})

t.test('T7: a client that leaves does not stop its logout', async t => {
  const own = ownSessions()
  let answer = () => {}
  const arrived = new Promise<void>(resolve => {
    const logOut = own.sessions.logOut
    own.sessions.logOut = async request => {
      resolve()
      await new Promise<void>(resolve => { answer = resolve })
      return logOut(request)
    }
  })
  const { app } = await host(t, { sessions: own.sessions, onLogout: own.onLogout })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const cookie = own.logIn(1)
  const leaving = new AbortController()
  const asked = fetch(`${address}/logout`, {
    method: 'POST',
    headers: { cookie },
    body: new URLSearchParams({ scope: 'current' }),
    signal: leaving.signal
  })
  await arrived
  leaving.abort()
  await t.rejects(asked)
  answer()
  while (own.events.length === 0) await new Promise(resolve => setImmediate(resolve))
  t.notOk(own.isLive(cookie))
})

t.test('called with its options, it returns the plugin for them', async t => {
  const own = ownSessions()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout({ sessions: own.sessions, onLogout: own.onLogout, clear: { cookies: [{ name: 'sid' }] } }),
    { prefix: '/auth' })
  const { statusCode, headers } = await app.inject({ method: 'POST', url: '/auth/logout', headers: { cookie: own.logIn(1) } })
  t.strictSame([statusCode, headers['set-cookie'], own.events.length], [204, removal, 1])
  t.ok(app.hasPlugin('fastify-logout/session'))
  await t.rejects(async () => Fastify().register(sessionLogout({} as SessionLogoutOptions)), {
    name: 'TypeError', message: 'sessionLogout: option "sessions" is missing'
  })
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const wrong = async (options: unknown, message: string) => {
    const error = { name: 'TypeError', message: `sessionLogout: option ${message}` }
    await t.rejects(host(t, options as Options), error, message)
  }
  await t.rejects(async () => Fastify().register(sessionLogout, {} as SessionLogoutOptions), { message: /option "sessions" is missing/ })
  await wrong({ mayLogOut: () => true }, '"mayLogOut" must be a member of the option "scopes"')
  for (const member of ['path', 'security']) await wrong({ [member]: '/x' }, `"${member}" must be a member of the option "route"`)
  for (const route of [null, '/logout', []]) await wrong({ route }, '"route" must be an object')
  for (const path of ['', 'logout', 5, null]) await wrong({ route: { path } }, '"route.path" must begin with a slash')
  await wrong({ scopes: { mayLogOut: true } }, '"scopes.mayLogOut" must be a function')
  for (const scopes of [[], ['others'], 'current', ['current', 'everything'], {}]) {
    await wrong({
      scopes: { allowed: scopes }
    }, '"scopes.allowed" must be a list of')
  }
  for (const scopes of [null, 'current', ['current']]) await wrong({ scopes }, '"scopes" must be an object')
  for (const returnUrls of [null, '/bye']) await wrong({ returnUrls }, '"returnUrls" must be an object')
  for (const clear of [null, ['sid']]) await wrong({ clear }, '"clear" must be an object')
  await wrong({
    sessions: { logOut: () => undefined }, scopes: { allowed: ['current', 'others'] }
  }, '"scopes.allowed" must be ["current"] with these sessions')
  for (const publicUrl of ['app.example', '', 5, 'ftp://app.example', 'https://user@app.example']) {
    await wrong({ publicUrl },
      '"publicUrl" must be an absolute')
  }
  for (const defaultReturnUrl of ['bye', '', '//evil.example', '/\\evil.example', '/a b', '/\u00fc', 'javascript:alert(1)', 5, null]) {
    await wrong({ returnUrls: { default: defaultReturnUrl } }, '"returnUrls.default" must be a path')
  }
  await wrong({ returnUrls: { allowed: '/x' } }, '"returnUrls.allowed" must be a list')
  await wrong({ returnUrls: { allowed: ['/x'] } }, '"returnUrls.allowed" has the entry "/x", which can never match')
  await wrong({ clear: { cookies: {} } }, '"clear.cookies" must be a list')
  await wrong({ timeout: -1 }, '"timeout" must be')
})

t.test('W1, W3: over HTTP/2 a body needs no length, and no body needs none', async t => {
  const own = ownSessions()
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(sessionLogout, { sessions: own.sessions } as SessionLogoutOptions)
  const client = connect(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.teardown(() => client.close())
  const send = async (cookie: string, headers: Record<string, string>, body?: string) => {
    const stream = client.request({ ':method': 'POST', ':path': '/logout', cookie, ...headers }, { endStream: body === undefined })
    const [answer] = await new Promise<[Record<string, unknown>]>((resolve, reject) => {
      stream.on('response', headers => resolve([headers]))
      stream.on('error', reject)
      if (body !== undefined) stream.end(body)
    })
    stream.resume()
    return answer[':status']
  }
  for (const [headers, body, status, others] of [
    [{}, undefined, 204, true], [{ 'content-type': 'rubbish' }, undefined, 204, true], [{}, '', 204, true],
    [{ 'content-type': 'text/csv' }, '', 204, true],
    [form, 'scope=others', 204, false], [{ 'content-type': 'application/json' }, '{"scope":"others"}', 204, false],
    [{}, 'scope=others', 415, true], [{ 'content-type': 'rubbish' }, 'scope=others', 415, true]
  ] as const) {
    const [cookie, other] = [own.logIn(1), own.logIn(1)]
    t.strictSame([await send(cookie, { ...headers }, body), own.isLive(other)], [status, others], JSON.stringify([headers, body]))
    await send(other, {}, undefined)
  }
})

t.test('W5, W8: what a hook of the host makes of the body counts', async t => {
  for (const [body, code] of [[null, undefined], [undefined, undefined], [{ scope: 'others' }, undefined], [[], 'LOGOUT_BODY'], ['x',
    'LOGOUT_BODY'], [5, 'LOGOUT_BODY']]) {
    const { logIn, logOut } = await host(t, {}, { before: app => app.addHook('preValidation', async request => { request.body = body }) })
    const answer = await logOut(logIn(1), { scope: 'current' })
    t.equal(answer.body === '' ? undefined : JSON.parse(answer.body).code, code, JSON.stringify(body))
  }
})

// A store of ours as source

t.test('a session store needs four lines', async t => {
  const store = memorySessionStore()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionLogout, { sessions: sessionStoreSource(store, { cookie: { name: 'sid' } }) })
  await store.create('secret', { id: 's1', subject: 'alice', createdAt: 1, expiresAt: Date.now() + 1000, keepUntil: Date.now() + 2000 })
  const answer = await app.inject({ method: 'POST', url: '/logout', headers: { cookie: 'sid=secret' } })
  t.match([answer.statusCode, answer.headers['set-cookie']], [204, removal])
  t.equal((await store.find('secret'))?.status, 'logged_out')
})

t.test('H4: the operationId has the prefix, and the path if it is another', async t => {
  const names: unknown[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRoute', ({ schema }) => { names.push((schema as { operationId?: string }).operationId) })
  const { sessions } = ownSessions()
  for (const options of [{}, { prefix: '/auth' }, { route: { path: '/sign-out' } }, { prefix: '/v1/app', route: { path: '/sign/out' } }]) {
    await app.register(sessionLogout, { sessions, ...options } as SessionLogoutOptions)
  }
  t.strictSame(names, ['logout', 'logoutAuth', 'logoutSignOut', 'logoutV1AppSignOut'])
})

t.test('H4: the security that the host names is in the OpenAPI document, and none otherwise', async t => {
  const schemas: unknown[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRoute', ({ schema }) => { schemas.push(schema) })
  const { sessions } = ownSessions()
  const security = [{ sessionCookie: [] }]
  for (const options of [{}, { prefix: '/auth', route: { security } }]) {
    await app.register(sessionLogout, { sessions, ...options } as SessionLogoutOptions)
  }
  const [plain, secured] = schemas as Array<Record<string, unknown>>
  t.notOk(plain && 'security' in plain)
  t.strictSame(secured?.['security'], security)
})

t.test('each call may take five seconds by default', async t => {
  const { logIn, logOut, broken } = await host(t)
  const cookie = logIn(1)
  broken.set('logOut', 'hangs')
  const delays: unknown[] = []
  const { setTimeout: later } = globalThis
  t.intercept(globalThis, 'setTimeout', { value: (run: () => void, delay?: number) => { delays.push(delay); return later(run, 1) } })
  sameAnswer(t, await logOut(cookie), failure('LOGOUT_UNAVAILABLE', { 'retry-after': '5' }))
  t.ok(delays.includes(5000), `${delays}`)
})
