import cookie from '@fastify/cookie'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { kratosBrowserLogout, type KratosBrowserLogoutOptions } from '../../lib/flows/kratos-browser.ts'
import { logoutUrlToken } from '../../lib/internal/kratos/logout-url-token.ts'
import { empty, failing, failure, host, json, people, seeOther } from '../kratos-host.ts'
import { wire } from '../wire.ts'

const publicUrl = 'https://login.example/auth'
const defaultReturnUrl = 'https://app.example/bye'
const errorUrl = 'https://app.example/error?lang=en'
const cookieName = 'ory_kratos_session'
const removal = 'ory_kratos_session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax'
const asksForJson = { accept: 'application/json' }

const noSession = failure(401, {
  id: 'session_inactive',
  reason: 'No active session was found in this request.',
  message: 'request does not have a valid authentication session'
})
const noToken = failure(400, { reason: 'Please include a token in the URL query.' })
const mismatch = failure(403, { reason: 'Unable to log out because the logout token in the URL query does not match the session cookie.' })
const prefetch = failure(403, { reason: 'Prefetch requests cannot log out.' })
const internal = failure(500)
const forbidden = (url: string) => failure(400, {
  id: 'self_service_flow_return_to_forbidden', reason: `Requested return_to URL "${url}" is not allowed.`
})

const errorPage = (error: string, description: string) => {
  return seeOther(`${errorUrl}&${new URLSearchParams({ error, error_description: description })}`)
}
const internalPage = errorPage('internal_server_error', 'An internal server error occurred, please contact the system administrator')

type Options = Partial<KratosBrowserLogoutOptions>

async function serve (t: Test, options: Options, server: FastifyServerOptions = {}, prefix = '') {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  const sessions = failing(() => { throw new Error('not asked') })
  const allowedReturnUrls = ['https://app.example/app']
  await app.register(kratosBrowserLogout, {
    sessions, publicUrl, returnUrls: { default: defaultReturnUrl, allowed: allowedReturnUrls }, ...options, prefix
  })
  return {
    app,
    inject,
    send,
    start: (person?: Person, headers: Headers = asksForJson, query = '') => inject({
      url: `${prefix}/self-service/logout/browser${query}`, headers: withCookie(person, headers)
    }),
    submit: (person: Person | undefined, query: Record<string, string>, headers: Headers = asksForJson) => inject({
      url: `${prefix}/self-service/logout?${new URLSearchParams(query)}`, headers: withCookie(person, headers)
    })
  }
}

type Person = { readonly token: string }
type Headers = Record<string, string>

function withCookie (person: Person | undefined, headers: Headers): Headers {
  return person === undefined ? headers : { cookie: `${cookieName}=${person.token}`, ...headers }
}

const tokenOf = ({ token }: { token: string }) => logoutUrlToken(token)

for (const prefix of ['', '/auth']) {
  t.test(`a live session gets its logout URL, which is stable and logs it out, at ${prefix || 'the root'}`, async t => {
    const { sessions, events, onLogout, isLive } = await host()
    const { start, submit, inject } = await serve(t, { sessions, onLogout }, {}, prefix)
    const token = tokenOf(people.laptop)
    const expected = json({ logout_url: `https://login.example/auth/self-service/logout?token=${token}`, logout_token: token })
    t.strictSame(await start(people.laptop), expected)
    t.strictSame(await start(people.laptop, { accept: 'text/html' }), expected, 'in JSON for everybody')
    t.ok(await isLive(people.laptop), 'nothing has happened yet')

    const before = await sessions.find(people.laptop.token)
    t.strictSame(await submit(people.laptop, { token }), empty({ 'set-cookie': removal }))
    t.notOk(await isLive(people.laptop))
    t.ok(await isLive(people.phone), 'no other session is touched')
    t.strictSame(events, [{ scope: 'session', session: before }])

    t.strictSame(await submit(people.laptop, { token }), noSession, 'again')
    t.strictSame(await start(people.laptop), noSession)
    t.equal(events.length, 1)

    const sentOn = seeOther(defaultReturnUrl, { 'set-cookie': removal })
    t.strictSame(await submit(people.phone, { token: tokenOf(people.phone) }, {}), sentOn, 'a browser is sent on')
    t.notOk(await isLive(people.phone))
    t.equal((await inject({ url: `${prefix}/self-service/logout/` })).status, 404)
  })
}

t.test('the logout URL is built from the public URL, with or without a slash at its end', async t => {
  const { sessions } = await host()
  for (const [given, base] of [
    ['https://login.example', 'https://login.example'],
    ['https://login.example/', 'https://login.example'],
    ['HTTPS://Login.Example:443/a/b//', 'https://login.example/a/b']
  ] as const) {
    const { start } = await serve(t, { sessions, publicUrl: given })
    const { logout_url: url } = JSON.parse((await start(people.laptop)).body)
    t.equal(url, `${base}/self-service/logout?token=${tokenOf(people.laptop)}`)
  }
})

t.test('return_to is part of the logout URL, and the browser is sent there', async t => {
  const { sessions } = await host()
  const { start, submit, inject } = await serve(t, { sessions })
  const token = tokenOf(people.laptop)
  const logoutUrl = (query: Record<string, string>) => json({
    logout_url: `https://login.example/auth/self-service/logout?${new URLSearchParams(query)}`, logout_token: token
  })
  for (const [given, target] of [
    ['https://app.example/app/x?a=b&c=d#e', 'https://app.example/app/x?a=b&c=d#e'],
    ['/app', 'https://app.example/app'],
    ['//app.example/app', 'https://app.example/app'],
    ['https://login.example/auth/self-service/login/browser', 'https://login.example/auth/self-service/login/browser']
  ] as const) {
    const started = await start(people.laptop, asksForJson, `?${new URLSearchParams({ return_to: given })}`)
    t.strictSame(started, logoutUrl({ return_to: target, token }))
  }
  t.strictSame(await start(people.laptop, asksForJson, '?return_to='), logoutUrl({ token }), 'an empty one is absent')

  const target = 'https://app.example/app/x?a=b&c=d#e'
  const { body } = await start(people.laptop, asksForJson, `?${new URLSearchParams({ return_to: target })}`)
  const url = new URL(JSON.parse(body).logout_url)
  const followed = await inject({ url: url.pathname.replace('/auth', '') + url.search, headers: withCookie(people.laptop, {}) })
  t.strictSame(followed, seeOther(target, { 'set-cookie': removal }))
  const asJson = await submit(people.phone, { token: tokenOf(people.phone), return_to: '/app' })
  t.strictSame(asJson, empty({ 'set-cookie': removal }), 'a JSON caller goes nowhere')
})

t.test('a return_to that is not allowed is refused before anything happens', async t => {
  const { sessions, isLive } = await host()
  const { start, submit } = await serve(t, { sessions })
  const token = tokenOf(people.laptop)
  const malformed = (why: string) => failure(400, { reason: `Unable to parse the return_to query parameter as an URL: ${why}` })
  for (const [given, expected] of [
    ['https://evil.example/', forbidden('https://evil.example/')],
    ['/elsewhere', forbidden('https://app.example/elsewhere')],
    ['https://app.example/apple', forbidden('https://app.example/apple')],
    ['javascript:alert(1)', forbidden('javascript:alert(1)')],
    ['https://login.example/auth/self-serviceX', forbidden('https://login.example/auth/self-serviceX')],
    [defaultReturnUrl, forbidden(defaultReturnUrl)],
    ['https://app.example/app\r\nSet-Cookie: a=b', malformed('net/url: invalid control character in URL')],
    ['https://app.example:99999/', malformed('invalid URL')]
  ] as const) {
    t.strictSame(await start(people.laptop, asksForJson, `?${new URLSearchParams({ return_to: given })}`), expected)
    t.strictSame(await submit(people.laptop, { token, return_to: given }), expected)
    t.strictSame(await submit(people.laptop, { token, return_to: given }, {}), expected, 'also for a browser, without an error page')
  }
  t.ok(await isLive(people.laptop))
})

t.test('without a live session there is no logout URL', async t => {
  const { sessions } = await host()
  const { start } = await serve(t, { sessions })
  const strangers = ['unknown', '', '%00', '__proto__'].map(token => ({ token }))
  for (const person of [undefined, people.expired, people.loggedOut, ...strangers]) {
    t.strictSame(await start(person), noSession, String(person?.token))
    t.strictSame(await start(person, asksForJson, '?return_to=https://evil.example/'), noSession, 'the session comes first')
  }
})

t.test('a submission is checked in this order: prefetch, token, session, match, return_to', async t => {
  const { sessions, isLive, events } = await host()
  const { submit, inject } = await serve(t, { sessions })
  const evil = { return_to: 'https://evil.example/' }
  t.strictSame(await submit(undefined, {}, { purpose: 'prefetch' }), prefetch)
  for (const query of [evil, { ...evil, token: '' }]) t.strictSame(await submit(undefined, query), noToken)
  t.strictSame(await inject({ url: '/self-service/logout', headers: asksForJson }), noToken)
  for (const person of [undefined, people.expired, people.loggedOut, { token: 'unknown' }]) {
    t.strictSame(await submit(person, { ...evil, token: person === undefined ? 'x' : tokenOf(person) }), noSession)
  }
  const foreign = [tokenOf(people.phone), tokenOf(people.bobs), people.laptop.token, `${tokenOf(people.laptop)}x`]
  for (const token of [...foreign, 'x', '\u0000', ' ']) {
    t.strictSame(await submit(people.laptop, { ...evil, token }), mismatch, token)
  }
  t.strictSame(await submit(people.laptop, { ...evil, token: tokenOf(people.laptop) }), forbidden('https://evil.example/'))
  t.ok(await isLive(people.laptop))
  t.strictSame(events, [])
  const url = `/self-service/logout?token=${tokenOf(people.laptop)}&token=x`
  const twice = await inject({ url, headers: withCookie(people.laptop, {}) })
  t.strictSame(twice, seeOther(defaultReturnUrl, { 'set-cookie': removal }), 'the first token counts')
})

t.test('a prefetch, a preview, HEAD and other methods log nobody out', async t => {
  const { sessions, isLive } = await host()
  const { app, submit, inject } = await serve(t, { sessions, returnUrls: { default: defaultReturnUrl, error: errorUrl } })
  const token = tokenOf(people.laptop)
  for (const headers of [
    { 'sec-purpose': 'prefetch' }, { 'sec-purpose': 'prefetch;prerender' }, { purpose: 'prefetch' }, { 'x-purpose': 'preview' },
    { 'x-moz': 'prefetch' }, { 'x-sec-purpose': 'prefetch' }, { 'next-router-prefetch': '1', rsc: '1' }, { 'hx-preloaded': 'true' }
  ]) t.strictSame(await submit(people.laptop, { token }, { accept: 'text/html', ...headers }), prefetch)
  const url = `/self-service/logout?token=${token}`
  const headers = withCookie(people.laptop, {})
  for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
    const { statusCode } = await app.inject({ method, url, headers })
    t.equal(statusCode, 404, method)
    t.equal((await inject({ method, url: '/self-service/logout/browser', headers })).status, 404, method)
  }
  t.ok(await isLive(people.laptop))
})

t.test('the authenticated session is logged out, and only its own cookie is removed', async t => {
  const { phone, laptop, bobs } = people
  for (const [headers, ends, stays, expected] of [
    [{ 'x-session-token': phone.token }, phone, laptop, empty()],
    [{ authorization: `Bearer ${phone.token}` }, phone, laptop, empty()],
    [{ 'x-session-token': phone.token, cookie: `${cookieName}=${laptop.token}` }, phone, laptop, empty()],
    [{ 'x-session-token': phone.token, cookie: `${cookieName}=${phone.token}` }, phone, laptop, empty({ 'set-cookie': removal })],
    [{ cookie: `${cookieName}=${phone.token}`, authorization: `Bearer ${bobs.token}` }, phone, bobs, empty({ 'set-cookie': removal })],
    [{ cookie: `${cookieName}=${phone.token}`, authorization: 'Bearer unknown' }, phone, laptop, empty({ 'set-cookie': removal })],
    [{ cookie: `${cookieName}=${phone.token}; ${cookieName}=${laptop.token}` }, phone, laptop, empty({ 'set-cookie': removal })],
    [{ cookie: `${cookieName}="${phone.token}"` }, phone, laptop, empty({ 'set-cookie': removal })]
  ] as const) {
    const { sessions, isLive } = await host()
    const { submit, start } = await serve(t, { sessions })
    const sent = { ...asksForJson, ...headers }
    t.strictSame(await submit(undefined, { token: tokenOf(stays) }, sent), mismatch)
    t.match(JSON.parse((await start(undefined, sent)).body), { logout_token: tokenOf(ends) })
    t.strictSame(await submit(undefined, { token: tokenOf(ends) }, sent), expected, JSON.stringify(headers))
    t.strictSame([await isLive(ends), await isLive(stays)], [false, true])
  }
})

t.test('the session cookie and those of the option clear are removed with the attributes that they were set with', async t => {
  const { sessions } = await host()
  const { submit } = await serve(t, {
    sessions,
    cookie: { name: '__Host-sid', sameSite: 'none', partitioned: true },
    clear: { cookies: [{ name: 'csrf', path: '/auth', domain: 'login.example', secure: false, httpOnly: false, sameSite: 'strict' }] }
  })
  const expired = 'Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0'
  const byCookie = { ...asksForJson, cookie: `__Host-sid=${people.laptop.token}` }
  t.strictSame(await submit(undefined, { token: tokenOf(people.laptop) }, byCookie), empty({
    'set-cookie': [
      `__Host-sid=; Path=/; ${expired}; HttpOnly; Secure; SameSite=None; Partitioned`,
      `csrf=; Path=/auth; Domain=login.example; ${expired}; SameSite=Strict`
    ]
  }))
  const byHeader = { ...asksForJson, 'x-session-token': people.phone.token }
  t.strictSame(await submit(undefined, { token: tokenOf(people.phone) }, byHeader), empty(), 'no cookie goes with a session from a header')
})

t.test('the session cookie is removed by exactly one Set-Cookie, even if the host sets it on every response', async t => {
  for (const withPlugin of [false, true]) {
    const { sessions } = await host()
    const app = Fastify()
    t.teardown(() => app.close())
    if (withPlugin) await app.register(cookie)
    app.addHook('onRequest', async (request, reply) => {
      const refreshed = { path: '/', httpOnly: true, secure: true, maxAge: 3600 }
      if (withPlugin) reply.setCookie(cookieName, people.laptop.token, refreshed)
      else reply.header('set-cookie', `${cookieName}=${people.laptop.token}; Path=/; HttpOnly; Secure; Max-Age=3600`)
      reply.header('set-cookie', 'own=kept')
    })
    await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: defaultReturnUrl } })
    const url = `/self-service/logout?token=${tokenOf(people.laptop)}`
    const { statusCode, headers } = await app.inject({ url, headers: withCookie(people.laptop, asksForJson) })
    const lines = [headers['set-cookie']].flat().map(String)
    t.equal(statusCode, 204)
    t.strictSame(lines.filter(line => line.startsWith('own')), ['own=kept'])
    t.match(lines.filter(line => line.startsWith(cookieName)), [/^ory_kratos_session=; .*Max-Age=0/])
    t.equal(lines.length, 2)
  }
})

t.test('signed cookies are read with the host\'s @fastify/cookie, and its other cookies are kept', async t => {
  const { sessions, isLive } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { secret: 'a secret' })
  app.addHook('onRequest', async (_request, reply) => { reply.setCookie('own', 'kept', { path: '/' }) })
  const { inject } = wire(app)
  await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: defaultReturnUrl }, cookie: { signed: true } })
  const url = `/self-service/logout?token=${tokenOf(people.laptop)}`
  for (const value of [people.laptop.token, `${people.laptop.token}.forged`]) {
    t.equal((await inject({ url, headers: { ...asksForJson, cookie: `${cookieName}=${value}` } })).status, 401)
  }
  t.ok(await isLive(people.laptop))
  const signed = app.serializeCookie(cookieName, app.signCookie(people.laptop.token))
  const answer = await inject({ url, headers: { ...asksForJson, cookie: signed } })
  const removedByPlugin = 'ory_kratos_session=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax'
  t.strictSame([answer.status, answer.headers['set-cookie']], [204, ['own=kept; Path=/; SameSite=Lax', removedByPlugin]])
  t.notOk(await isLive(people.laptop))
})

t.test('Clear-Site-Data is sent only after a logout, and only if the public URL is https', async t => {
  const { sessions } = await host()
  const https = await serve(t, { sessions, clear: { siteData: ['cache', 'storage'] } })
  t.strictSame(await https.submit(people.laptop, { token: 'x' }), mismatch)
  const cleared = empty({ 'set-cookie': removal, 'clear-site-data': '"cache", "storage"' })
  t.strictSame(await https.submit(people.laptop, { token: tokenOf(people.laptop) }), cleared)
  const http = await serve(t, { sessions, publicUrl: 'http://localhost:4433', clear: { siteData: ['cache', 'storage'] } })
  t.strictSame(await http.submit(people.phone, { token: tokenOf(people.phone) }), empty({ 'set-cookie': removal }))
})

t.test('a browser is sent to the error page with the name of the error', async t => {
  const { sessions } = await host()
  const { start, submit } = await serve(t, { sessions, returnUrls: { default: defaultReturnUrl, error: errorUrl } })
  const token = tokenOf(people.laptop)
  const inactive = errorPage('session_inactive', 'No active session was found in this request.')
  const notAllowed = errorPage('self_service_flow_return_to_forbidden', 'The requested return_to URL is not allowed.')
  const malformed = 'Unable to parse the return_to query parameter as an URL: invalid URL'
  const mismatched = 'Unable to log out because the logout token in the URL query does not match the session cookie.'
  for (const headers of [{}, { accept: '*/*' }, { accept: 'text/html, application/json' }]) {
    t.strictSame(await start(undefined, headers), inactive)
    t.strictSame(await start(people.laptop, headers, '?return_to=https://evil.example/'), notAllowed)
    t.strictSame(await start(people.laptop, headers, '?return_to=https://evil.example:99999/'), errorPage('bad_request', malformed))
    t.strictSame(await submit(people.laptop, {}, headers), errorPage('bad_request', 'Please include a token in the URL query.'))
    t.strictSame(await submit(undefined, { token }, headers), inactive)
    t.strictSame(await submit(people.laptop, { token: 'x' }, headers), errorPage('forbidden', mismatched))
    t.strictSame(await submit(people.laptop, { token, return_to: 'https://evil.example/' }, headers), notAllowed)
  }
  const named = await serve(t, {
    sessions, returnUrls: { default: defaultReturnUrl, error: 'https://app.example/error?error=old&error_description=older#there' }
  })
  t.strictSame(await named.submit(people.laptop, {}, {}), seeOther(
    'https://app.example/error?error=bad_request&error_description=Please+include+a+token+in+the+URL+query.#there'
  ))
  const axios = { accept: 'application/json, text/plain, */*' }
  for (const headers of [asksForJson, axios, { 'content-type': 'application/json', accept: 'text/html' }]) {
    t.strictSame(await start(undefined, headers), noSession)
    t.strictSame(await submit(people.laptop, {}, headers), noToken)
  }
})

t.test('parallel logouts all succeed, and onLogout is called once', async t => {
  const { sessions, events, onLogout } = await host()
  const late = {
    ...sessions,
    find: async (token: string) => {
      const found = await sessions.find(token)
      await new Promise(resolve => setImmediate(resolve))
      return found
    }
  }
  const { submit } = await serve(t, { sessions: late, onLogout })
  const token = tokenOf(people.laptop)
  const answers = await Promise.all(Array.from({ length: 20 }, () => submit(people.laptop, { token })))
  for (const answer of answers) t.strictSame(answer, empty({ 'set-cookie': removal }))
  t.equal(events.length, 1)
})

t.test('a session that is forgotten or expires between find and logOut', async t => {
  const { sessions, onLogout, events } = await host()
  const token = tokenOf(people.laptop)
  const forgotten = await serve(t, { sessions: { find: sessions.find, logOut: () => undefined }, onLogout })
  t.strictSame(await forgotten.submit(people.laptop, { token }), noSession, 'the store did not say yes')
  const expired = await sessions.find(people.expired.token)
  const ranOut = await serve(t, { sessions: { find: sessions.find, logOut: () => expired }, onLogout })
  t.strictSame(await ranOut.submit(people.laptop, { token }), empty({ 'set-cookie': removal }))
  t.strictSame(events, [], 'neither was live')
})

t.test('if the store fails, the response is 500 or the error page, and the cause is only logged', async t => {
  const lines: string[] = []
  const logger = { level: 'info', stream: { write: (line: string) => { lines.push(line) } } }
  const { sessions } = await host()
  const token = tokenOf(people.laptop)
  const errorLines = () => lines.splice(0).filter(line => line.includes('"level":50'))
  const failures: ReadonlyArray<() => never> = [
    () => { throw new Error('down') },
    () => Promise.reject(new Error('down')) as never,
    () => new Promise(() => {}) as never,
    () => { throw Object.assign(new Error('down'), { statusCode: 403 }) }
  ]
  for (const how of failures) {
    for (const store of [failing(how), { ...sessions, logOut: how }]) {
      const { submit } = await serve(t, { sessions: store, timeout: 20 }, { logger })
      t.strictSame(await submit(people.laptop, { token }), internal)
      t.match(errorLines(), [/"event":"logout.outage"/])
      const browser = await serve(t, {
        sessions: store, timeout: 20, returnUrls: { default: defaultReturnUrl, error: errorUrl }
      }, { logger })
      t.strictSame(await browser.submit(people.laptop, { token }, {}), internalPage)
      t.equal(errorLines().length, 1)
    }
  }
})

t.test('a failure of onLogout is logged and does not change the response', async t => {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  for (const onLogout of [() => { throw new Error('down') }, async () => { throw new Error('down') }, () => new Promise(() => {})]) {
    const { sessions } = await host()
    const { submit } = await serve(t, { sessions, onLogout, timeout: 20 }, { logger })
    t.strictSame(await submit(people.laptop, { token: tokenOf(people.laptop) }), empty({ 'set-cookie': removal }))
    t.match(lines.splice(0), [/onLogout failed after a logout/])
  }
})

t.test('an error of the host\'s hooks gets Kratos\' body', async t => {
  const { sessions } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async request => {
    if (request.headers['x-fail']) throw Object.assign(new Error('secret'), { statusCode: Number(request.headers['x-fail']) })
  })
  const { inject } = wire(app)
  await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: defaultReturnUrl, error: errorUrl } })
  const url = '/self-service/logout/browser'
  t.strictSame(await inject({ url, headers: { ...asksForJson, 'x-fail': '429' } }), failure(429))
  t.strictSame(await inject({ url, headers: { 'x-fail': '429' } }), errorPage('too_many_requests', 'Too Many Requests'))
  t.strictSame(await inject({ url, headers: { 'x-fail': '499' } }), errorPage('499', 'Unknown'))
  t.strictSame(await inject({ url, headers: { ...asksForJson, 'x-fail': '503' } }), internal)
})

t.test('no log line of any level contains the session token or the logout token', async t => {
  for (const level of ['trace', 'info', 'warn', 'error', 'fatal', 'silent']) {
    const lines: string[] = []
    const { sessions } = await host()
    const logger = { level, stream: { write: (line: string) => { lines.push(line) } } }
    const { app, start, submit } = await serve(t, { sessions }, { logger })
    await start(people.laptop)
    await submit(people.laptop, { token: `${tokenOf(people.laptop)}x` })
    const url = `/self-service/logout?token=${tokenOf(people.laptop)}`
    await app.inject({ method: 'HEAD', url, headers: withCookie(people.laptop, {}) })
    await submit(people.laptop, { token: tokenOf(people.laptop) })
    await submit(people.laptop, { token: tokenOf(people.laptop) })
    const log = lines.join('')
    for (const secret of [tokenOf(people.laptop), people.laptop.token]) t.notOk(log.includes(secret), level)
    t.equal(log.includes('/self-service/logout/browser'), level === 'trace' || level === 'info', 'the other route is logged as ever')
  }
})

t.test('nothing is logged for a host whose log level is silent or fatal', async t => {
  for (const level of ['silent', 'fatal']) {
    const lines: string[] = []
    const { submit } = await serve(t, {}, { logger: { level, stream: { write: (line: string) => { lines.push(line) } } } })
    t.strictSame(await submit(people.laptop, { token: 'x' }), internal)
    t.strictSame(lines, [])
  }
})

t.test('the responses are the same on a host with its own parsers, compilers, query parser and serializers', async t => {
  const { sessions } = await host()
  const app = Fastify({ routerOptions: { querystringParser: () => ({ token: ['other'], return_to: {} }) }, exposeHeadRoutes: true })
  t.teardown(() => app.close())
  app.setValidatorCompiler(() => () => ({ error: new Error('never valid') }))
  app.setSerializerCompiler(() => () => 'rewritten')
  app.setReplySerializer(() => 'rewritten')
  app.addHook('preSerialization', async () => ({ wrapped: true }))
  app.setErrorHandler((_error, _request, reply) => { reply.code(200).send('swallowed') })
  const { inject } = wire(app)
  await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: defaultReturnUrl } })
  const headers = { ...asksForJson, cookie: `${cookieName}=${people.laptop.token}` }
  const token = tokenOf(people.laptop)
  const url = `https://login.example/auth/self-service/logout?token=${token}`
  t.strictSame(await inject({ url: '/self-service/logout/browser', headers }), json({ logout_url: url, logout_token: token }))
  t.strictSame(await inject({ url: '/self-service/logout', headers }), noToken)
  t.strictSame(await inject({ url: `/self-service/logout?token=${token}`, headers }), empty({ 'set-cookie': removal }))
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const sessions = { find: () => undefined, logOut: () => undefined }
  const good = { sessions, publicUrl, returnUrls: { default: defaultReturnUrl } }
  for (const [options, message] of [
    [{ ...good, sessions: undefined }, /option "sessions" is missing/],
    [{ ...good, sessions: { find: sessions.find } }, /option "sessions" is missing/],
    [{ ...good, publicUrl: undefined }, /option "publicUrl" is missing: say where browsers reach these routes/],
    [{ ...good, publicUrl: '/auth' }, /option "publicUrl" must be an absolute/],
    [{ ...good, publicUrl: 'ftp://login.example' }, /"publicUrl" must be an absolute/],
    [{ ...good, publicUrl: 'https://user@login.example' }, /"publicUrl" must be an absolute/],
    [{ ...good, publicUrl: 5 }, /"publicUrl" must be an absolute/],
    [{ ...good, publicUrl: 'https://login.example:99999' }, /"publicUrl" must be an absolute/],
    [{ ...good, publicUrl: 'https://login.example/?a' }, /"publicUrl" must have no query/],
    [{ ...good, returnUrls: undefined }, /option "returnUrls" is missing: pass/],
    [{ ...good, returnUrls: 'https://app.example/bye' }, /option "returnUrls" must be an object/],
    [{ ...good, returnUrls: {} }, /option "returnUrls.default" is missing/],
    [{ ...good, returnUrls: { default: '/bye' } }, /option "returnUrls.default" must be/],
    [{ ...good, returnUrls: { ...good.returnUrls, error: '/error' } }, /option "returnUrls.error" must be/],
    [{ ...good, returnUrls: { ...good.returnUrls, error: 'javascript:alert(1)' } }, /option "returnUrls.error" must be/],
    [{ ...good, returnUrls: { ...good.returnUrls, allowed: 'https://app.example' } }, /option "returnUrls.allowed" must be a list/],
    [{
      ...good, returnUrls: { ...good.returnUrls, allowed: ['/app'] }
    }, /option "returnUrls.allowed" has the entry "\/app", which can never match/],
    [{ ...good, returnUrls: { ...good.returnUrls, allowed: ['https://app.example/*'] } }, /option "returnUrls.allowed" has the entry/],
    [{ ...good, cookie: { signed: true } }, /option "cookie" is signed, which needs @fastify\/cookie/],
    [{ ...good, cookie: { name: '__Host-sid', path: '/auth' } }, /option "cookie" must have path/],
    [{ ...good, clear: ['sid'] }, /option "clear" must be an object/],
    [{ ...good, security: [] }, /option "security" must be a member of the option "route"/],
    [{ ...good, route: null }, /option "route" must be an object/],
    [{ ...good, clear: { cookies: {} } }, /option "clear.cookies" must be a list/],
    [{ ...good, clear: { cookies: [{ name: 'a b' }] } }, /option "clear.cookies" must have a name/],
    [{ ...good, clear: { siteData: ['*'] } }, /option "clear.siteData" must be a list of cache, cookies, storage/],
    [{ ...good, clear: { siteData: 'cache' } }, /option "clear.siteData" must be a list/],
    [{ ...good, onLogout: true }, /option "onLogout" must be a function/],
    [{ ...good, timeout: 0 }, /option "timeout" must be a positive number/]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    const register = async () => { await app.register(kratosBrowserLogout, options as unknown as KratosBrowserLogoutOptions) }
    await t.rejects(register, { name: 'TypeError', message }, String(message))
  }
})
