import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { channel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { rpInitiatedLogout, type RpInitiatedLogoutOptions } from '../../lib/flows/openid-rp-initiated.ts'
import type { SessionProvider } from '../../lib/internal/openid/rp-provider.ts'
import { isLogoutScope } from '../../lib/internal/plugin/no-activity.ts'
import { withOption } from '../misuse.ts'
import { ownSessions, type OwnSession } from '../own-sessions.ts'
import { discoveryPath, startIssuer, type Issuer } from '../servers/issuer.ts'
import { setCookies } from '../session-host.ts'
import { wire, type Answer } from '../wire.ts'

const issuer = 'https://login.example'
const publicUrl = 'https://app.example'
const endpoint = 'https://login.example/logout?realm=a%20b'

/** An ID Token as a provider issues it. Nobody verifies it here. */
const idTokenFor = (aud: unknown, more = '') => ['{"alg":"RS256"}', JSON.stringify({ iss: issuer, aud, more }), 'signature']
  .map(part => Buffer.from(part).toString('base64url')).join('.')
const idToken = idTokenFor('app')

type Options = Partial<RpInitiatedLogoutOptions<OwnSession>>

interface Setup {
  readonly server?: FastifyServerOptions
  /** Runs before the plugin is registered. */
  readonly before?: (app: FastifyInstance) => unknown
}

const required = {
  issuers: [{ issuer, clientId: 'app', endSessionEndpoint: endpoint }],
  publicUrl,
  returnUrls: { default: '/goodbye' },
  provider: (session: OwnSession | undefined): SessionProvider => ({ issuer, idToken: session && idToken })
}

/** A host with a table of its own, and what its logout routes answer. */
async function host (t: Test, options: Options = {}, { server = {}, before }: Setup = {}) {
  const own = ownSessions()
  const app = Fastify(server)
  t.teardown(() => app.close())
  const over = wire(app)
  await before?.(app)
  await app.register(rpInitiatedLogout({
    ...required, sessions: own.sessions, onLogout: own.onLogout, clear: { cookies: [{ name: 'sid' }] }, ...options
  }))
  await app.ready()
  const logOut = (cookie: string, request: InjectOptions = {}) => over.inject({
    method: 'POST', url: '/logout', ...request, headers: { cookie, ...page, ...sameOrigin, ...request.headers }
  })
  /** What a browser that was sent away sends when it comes back. */
  const comeBack = (cookie: string, query: string) => over.inject({ url: `/logout/return${query}`, headers: { cookie, ...page } })
  return { ...own, app, over, logOut, comeBack }
}

const page = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
const json = { accept: 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const sameOrigin = { 'sec-fetch-site': 'same-origin' }
const removal = 'sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax'
const stateRemoval = removal.replace('sid', '__Host-logout-state')
const always = { 'cache-control': 'no-store', vary: 'Accept' }

const refusal = (status: number, error: string, description?: string, more = {}): Answer => {
  const body = JSON.stringify({ error, error_description: description })
  const headers = { ...more, 'content-type': 'application/json; charset=utf-8', ...always, 'content-length': String(body.length) }
  return { status, headers, body }
}
const denied = refusal(403, 'access_denied')
const unavailable = refusal(503, 'temporarily_unavailable', undefined, { 'retry-after': '5' })
const wrongTarget = refusal(400, 'invalid_request', 'logout: return_to is not allowed')

const same = (t: Test, answer: Answer, expected: Answer, message = '') => t.strictSame(answer, expected, message)
const locationOf = ({ headers }: Answer) => String(headers['location'])
const stateOf = (url: string) => new URL(url).searchParams.get('state') ?? ''
/** The state cookie that an answer sets: name and value. */
const stateCookie = (answer: Answer) => {
  const cookie = setCookies(answer as never).find(({ name, removed }) => name.endsWith('logout-state') && !removed)
  return cookie === undefined ? '' : `${cookie.name}=${cookie.value}`
}

/** An issuer whose discovery document says more than usual. */
async function discovering (t: Test, document: (url: string) => object): Promise<Issuer> {
  const server = await startIssuer()
  t.teardown(() => server.close())
  server.odd.set(discoveryPath, response => { response.end(JSON.stringify({ issuer: server.url, ...document(server.url) })) })
  return server
}

const at = ({ url }: Issuer, more: object = {}): Options => ({
  issuers: [{ issuer: url, clientId: 'app', ...more }], provider: () => ({ issuer: url, idToken })
})

t.test('R1: a browser is logged out, its cookies are cleared, and it is sent to the provider', async t => {
  const { logIn, logOut, isLive, events, calls } = await host(t, {
    issuers: [{
      issuer, clientId: 'app', endSessionEndpoint: endpoint, uiLocales: 'de en'
    }],
    provider: () => ({ issuer, idToken, logoutHint: 'alice@x' })
  })
  const cookie = logIn(1)
  const answer = await logOut(cookie)
  const state = stateOf(locationOf(answer))
  t.match(state, /^[\w-]{22}$/)
  const query = [
    ['id_token_hint', idToken], ['logout_hint', 'alice%40x'], ['client_id', 'app'],
    ['post_logout_redirect_uri', 'https%3A%2F%2Fapp.example%2Flogout%2Freturn'], ['state', state], ['ui_locales', 'de+en']
  ].map(parameter => parameter.join('=')).join('&')
  same(t, answer, {
    status: 303,
    headers: {
      'set-cookie': [removal, `__Host-logout-state=${state}.; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax`],
      location: `${endpoint}&${query}`,
      ...always,
      'content-length': '0'
    },
    body: ''
  })
  t.notOk(isLive(cookie))
  t.strictSame(events, [{ scope: 'session', session: { id: 1, subject: 1, device: 'laptop' } }])
  t.strictSame(calls, ['find', 'logOut'])

  const again = await logOut(cookie)
  t.strictSame([again.status, events.length], [303, 1], 'again: the same answer, and nobody is told')
})

t.test('R1: of several client ids, the one that the ID Token was issued for is sent, otherwise the first', async t => {
  for (const [hint, expected] of [
    [idTokenFor('web'), 'web'], [idTokenFor(['other', 'phone']), 'phone'], [idTokenFor('other'), 'app'], [undefined, 'app'],
    ['not a token', 'app'], [['', Buffer.from('null').toString('base64url'), ''].join('.'), 'app'], [idTokenFor(undefined), 'app']
  ] as const) {
    const { logOut } = await host(t, {
      issuers: [{ issuer, clientId: ['app', 'web', 'phone'], endSessionEndpoint: endpoint }], provider: () => ({ issuer, idToken: hint })
    })
    t.equal(new URL(locationOf(await logOut(''))).searchParams.get('client_id'), expected)
  }
})

t.test('R1: the provider is the one that the host names, and a discovered endpoint keeps its query', async t => {
  const first = await discovering(t, url => ({ end_session_endpoint: `${url}/first` }))
  const second = await discovering(t, url => ({ end_session_endpoint: `${url}/second?a=1&` }))
  const { logOut } = await host(t, {
    issuers: [{ issuer: first.url, clientId: 'app' }, { issuer: second.url, clientId: 'app' }], provider: () => ({ issuer: second.url })
  })
  for (let time = 0; time < 2; time++) t.ok(locationOf(await logOut('')).startsWith(`${second.url}/second?a=1&client_id=app&post_`))
  t.strictSame([first.count(discoveryPath), second.count(discoveryPath)], [0, 1], 'the document is read once')
  const bare = await host(t, at(first))
  t.ok(locationOf(await bare.logOut('')).startsWith(`${first.url}/first?id_token_hint=`))
})

t.test('R1: publicUrl may have a path, and its slash at the end does not count', async t => {
  for (const base of ['https://app.example/auth', 'https://app.example/auth/']) {
    const { logOut } = await host(t, { publicUrl: base, route: { returnPath: '/back' } })
    t.equal(new URL(locationOf(await logOut(''))).searchParams.get('post_logout_redirect_uri'), 'https://app.example/auth/back')
  }
})

t.test('R2: a JSON caller gets the URL, and the same cookies', async t => {
  const { logIn, logOut, isLive } = await host(t)
  for (const headers of [json, { accept: 'application/json, text/plain, */*' }, { accept: '*/*', 'content-type': 'application/json' }]) {
    const cookie = logIn(1)
    const answer = await logOut(cookie, { headers, ...('content-type' in headers && { payload: '{}' }) })
    const { logout_url: url, ...rest } = JSON.parse(answer.body)
    t.strictSame([answer.status, rest, isLive(cookie)], [200, {}, false])
    t.ok(url.startsWith(`${endpoint}&id_token_hint=`))
    t.strictSame(setCookies(answer as never).map(({ name }) => name), ['sid', '__Host-logout-state'])
    t.ok(stateCookie(answer).startsWith(`__Host-logout-state=${stateOf(url)}.`))
  }
  for (const accept of ['*/*', 'text/html', '', 'application/json;q=0.1, text/html']) {
    t.equal((await logOut('', { headers: { accept } })).status, 303, `${accept}: a browser`)
  }
})

t.test('R2: htmx does not read the headers of a redirect', async t => {
  const { logIn, logOut } = await host(t)
  const { status, headers, body } = await logOut(logIn(1), { headers: { 'hx-request': 'true', accept: '*/*' } })
  t.strictSame([status, headers['location'], headers['content-type'], body], [204, undefined, undefined, ''])
  t.ok(String(headers['hx-redirect']).startsWith(`${endpoint}&id_token_hint=`))
})

t.test('R3: what is absent or empty is left out', async t => {
  for (const provider of [
    () => ({ issuer }), () => ({ issuer, idToken: undefined, logoutHint: undefined, uiLocales: undefined }),
    async () => ({ issuer, idToken: '', logoutHint: '', uiLocales: '' })
  ]) {
    const { logIn, logOut } = await host(t, { provider })
    const { searchParams } = new URL(locationOf(await logOut(logIn(1))))
    t.strictSame([...searchParams.keys()], ['realm', 'client_id', 'post_logout_redirect_uri', 'state'])
    t.notOk([...searchParams.values()].some(value => value === '' || value === 'undefined'))
  }
})

t.test('R3: the languages of a user win over those of the host', async t => {
  const { logOut } = await host(t, {
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: endpoint, uiLocales: 'de' }], provider: () => ({ issuer, uiLocales: 'fr' })
  })
  t.equal(new URL(locationOf(await logOut(''))).searchParams.get('ui_locales'), 'fr')
})

t.test('R4: a URL that is too long becomes a form that posts itself', async t => {
  const long = idTokenFor('app', 'x'.repeat(2000))
  const hostile = `"><script>alert('1')</script>&amp;${long}`
  const { logIn, logOut, isLive } = await host(t, {
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: 'https://login.example/logout?a="&b=\'' }],
    provider: () => ({ issuer, idToken: hostile })
  })
  const cookie = logIn(1)
  const answer = await logOut(cookie)
  t.strictSame([answer.status, answer.headers['content-type'], isLive(cookie)], [200, 'text/html; charset=utf-8', false])
  const nonce = /<script nonce="([\w-]{22})">document\.forms\[0\]\.submit\(\)<\/script>/.exec(answer.body)?.[1]
  t.equal(answer.headers['content-security-policy'],
    `default-src 'none'; script-src 'nonce-${nonce}'; base-uri 'none'; frame-ancestors 'none'`)
  t.equal(answer.body.match(/<script/g)?.length, 1, 'values are escaped')
  t.match(answer.body, '<form method="post" action="https://login.example/logout?a=&#34;&#38;b=&#39;">')
  t.match(answer.body, `name="id_token_hint" value="&#34;&#62;&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#38;amp;${long}"`)
  t.match(answer.body, '<noscript><button>Log out</button></noscript>')
  const state = /name="state" value="([^"]+)"/.exec(answer.body)?.[1]
  t.equal(stateCookie(answer), `__Host-logout-state=${state}.`)
  const other = await logOut('')
  t.notMatch(other.body, nonce, 'the nonce is another one each time')

  const { logout_url: url, method, fields } = JSON.parse((await logOut(logIn(1), { headers: json })).body)
  t.strictSame([url, method], ['https://login.example/logout?a="&b=\'', 'post'])
  t.strictSame(Object.keys(fields), ['id_token_hint', 'client_id', 'post_logout_redirect_uri', 'state'])
  t.equal(fields.id_token_hint, hostile)
})

t.test('R4: maxUrlLength counts the whole URL', async t => {
  const { logOut } = await host(t)
  const { length } = locationOf(await logOut(''))
  for (const [maxUrlLength, status] of [[length, 303], [length - 1, 200], [0, 200]] as const) {
    const { logOut } = await host(t, { route: { maxUrlLength } })
    t.equal((await logOut('')).status, status)
  }
})

t.test('R5: the state is 128 random bits, and its cookie fits the scheme of publicUrl', async t => {
  const secure = await host(t)
  const states = new Set<string>()
  for (let time = 0; time < 20; time++) states.add(stateOf(locationOf(await secure.logOut(''))))
  t.equal(states.size, 20)
  const plain = await host(t, { publicUrl: 'http://127.0.0.1:3000' })
  const answer = await plain.logOut('', { payload: 'return_to=/bye', headers: form })
  const target = Buffer.from('http://127.0.0.1:3000/bye').toString('base64url')
  t.strictSame(answer.headers['set-cookie'], [
    removal, `logout-state=${stateOf(locationOf(answer))}.${target}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax`
  ])
})

t.test('R6: a browser that comes back with its state goes to its target', async t => {
  const { logIn, logOut, comeBack } = await host(t, { returnUrls: { default: '/goodbye', allowed: ['https://www.example/after'] } })
  for (const [given, target] of [
    ['/bye?a=1&b=2#c', 'https://app.example/bye?a=1&b=2#c'], ['https://www.example/after/all', 'https://www.example/after/all'],
    ['/gr\u00fc\u00dfe', 'https://app.example/gr%c3%bc%c3%9fe'], ['', '/goodbye'], [undefined, '/goodbye']
  ] as const) {
    const payload = given === undefined ? '' : new URLSearchParams({ return_to: given }).toString()
    const away = await logOut(logIn(1), { headers: form, payload })
    const back = await comeBack(`other=1; ${stateCookie(away)}`, `?x=1&state=${stateOf(locationOf(away))}`)
    same(t, back, {
      status: 303, headers: { 'set-cookie': stateRemoval, location: target, ...always, 'content-length': '0' }, body: ''
    })
  }
})

t.test('R6: the target in the cookie is judged again', async t => {
  const { logOut, comeBack } = await host(t)
  const state = stateOf(locationOf(await logOut('')))
  for (const target of ['https://evil.example/', '//evil.example', 'javascript:alert(1)', '\u0000']) {
    const back = await comeBack(`__Host-logout-state=${state}.${Buffer.from(target).toString('base64url')}`, `?state=${state}`)
    t.strictSame([back.status, locationOf(back), back.headers['set-cookie']], [303, '/goodbye', stateRemoval], target)
  }
})

t.test('R7: with another state, none, several, or without its cookie, a browser goes to the default', async t => {
  const { logIn, logOut, comeBack } = await host(t)
  const away = await logOut(logIn(1), { headers: form, payload: 'return_to=/bye' })
  const [state, cookie] = [stateOf(locationOf(away)), stateCookie(away)]
  for (const [header, query] of [
    [cookie, '?state=another'], [cookie, ''], [cookie, '?state='], [cookie, `?state=${state}&state=${state}`], ['', `?state=${state}`],
    [cookie, `?state=${state}x`], [cookie, `?state=${state.slice(1)}`], [cookie, `?state=${state.slice(0, -1)}`],
    [cookie, `?State=${state}`], ['__Host-logout-state=', '?state='],
    [`logout-state=${state}.`, `?state=${state}`]
  ] as const) {
    const back = await comeBack(header, query)
    t.strictSame([back.status, locationOf(back), back.headers['set-cookie']], [303, '/goodbye', stateRemoval], query)
  }
  t.equal(locationOf(await comeBack(cookie, `?state=${state}`)), 'https://app.example/bye', 'the state itself still counts')
})

t.test('R8: a return_to that is not allowed is refused before anything happens', async t => {
  let asked = 0
  const { logIn, logOut, isLive, calls } = await host(t, { provider: () => { asked++; return { issuer } } })
  const cookie = logIn(1)
  for (const target of ['https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)', `/${'x'.repeat(2000)}`]) {
    same(t, await logOut(cookie, { headers: form, payload: new URLSearchParams({ return_to: target }).toString() }), wrongTarget, target)
  }
  same(t, await logOut(cookie, { headers: form, payload: 'return_to=/a&return_to=/a' }), wrongTarget)
  same(t, await logOut(cookie, { payload: { return_to: 5 } }), wrongTarget)
  const malformed = refusal(400, 'invalid_request', 'logout: malformed body')
  for (const [type, payload] of [['application/json', '{'], ['application/json', '[]'], [form['content-type'], 'return_to=%']] as const) {
    same(t, await logOut(cookie, { headers: { 'content-type': type }, payload }), malformed, payload)
  }
  same(t, await logOut(cookie, { headers: { 'content-type': 'text/plain' }, payload: 'x' }), refusal(415, 'unsupported_media_type'))
  same(t, await logOut(cookie, { headers: form, payload: 'x'.repeat(8193) }), refusal(413, 'payload_too_large'))
  t.strictSame([isLive(cookie), calls, asked], [true, [], 0])
})

t.test('R8: the default is not judged, however long it is', async t => {
  const defaultReturnUrl = `https://www.example/${'x'.repeat(3000)}`
  const { logOut, comeBack } = await host(t, { returnUrls: { default: defaultReturnUrl } })
  const away = await logOut('')
  t.equal(locationOf(await comeBack(stateCookie(away), `?state=${stateOf(locationOf(away))}`)), defaultReturnUrl)
})

t.test('R9: without a live session the browser goes on to the provider, without a hint, and nobody is told', async t => {
  const asked: unknown[] = []
  const provider = (session: OwnSession | undefined) => {
    asked.push(session)
    return { issuer, idToken: session && idToken }
  }
  const { logIn, logOut, events } = await host(t, { provider })
  for (const cookie of ['', 'sid=forged', logIn(1, 'laptop', { expiresAt: Date.now() - 1 }), logIn(1, 'laptop', { endedAt: Date.now() })]) {
    const answer = await logOut(cookie)
    t.strictSame([...new URL(locationOf(answer)).searchParams.keys()], ['realm', 'client_id', 'post_logout_redirect_uri', 'state'])
    t.strictSame(setCookies(answer as never).map(({ name }) => name), ['sid', '__Host-logout-state'])
  }
  t.strictSame([asked, events], [[undefined, undefined, undefined, undefined], []])
})

t.test('R10: without a provider, or with one that has no logout, the logout is the host\'s own', async t => {
  const google = await discovering(t, () => ({}))
  for (const options of [{ provider: () => undefined }, { provider: async () => null as never }, at(google)]) {
    const { logIn, logOut, isLive, events } = await host(t, options)
    const cookie = logIn(1)
    same(t, await logOut(cookie, { headers: form, payload: 'return_to=/bye' }), {
      status: 303, headers: { 'set-cookie': removal, location: 'https://app.example/bye', ...always, 'content-length': '0' }, body: ''
    })
    t.strictSame([isLive(cookie), events.length], [false, 1])
    const answer = await logOut(logIn(1), { headers: json })
    t.strictSame([answer.status, answer.body, answer.headers['set-cookie']], [200, '{"logout_url":"/goodbye"}', removal])
  }
})

t.test('R11: a provider that cannot be discovered changes nothing about the logout at the host', async t => {
  const lines: Array<Record<string, unknown>> = []
  const logger = { level: 'info', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
  const silent = await startIssuer()
  t.teardown(() => silent.close())
  silent.odd.set(discoveryPath, () => {})
  for (const [server, what] of [
    [await discovering(t, () => ({ issuer: 'https://another.example', end_session_endpoint: 'https://x.example' })), /another issuer/],
    [await discovering(t, () => ({ end_session_endpoint: 'http://login.example/logout' })), /no secure end_session_endpoint/],
    [await discovering(t, url => ({ end_session_endpoint: `${url}/logout#x` })), /no secure end_session_endpoint/],
    [await discovering(t, url => ({ end_session_endpoint: url.replace('//', '//user:password@') })), /no secure end_session_endpoint/],
    [await discovering(t, () => ({ end_session_endpoint: null })), /no secure end_session_endpoint/],
    [silent, /no answer within 100 ms/]
  ] as const) {
    const { logIn, logOut, isLive, events } = await host(t, { ...at(server), ...(server === silent && { timeout: 100 }) },
      { server: { logger } })
    const cookie = logIn(1)
    const answer = await logOut(cookie)
    t.strictSame([answer.status, locationOf(answer), answer.headers['set-cookie']], [303, '/goodbye', removal])
    t.strictSame([isLive(cookie), events.length], [false, 1])
    const line = lines.find(({ event }) => event === 'logout.provider-unreachable')
    t.match(line, { level: 40, issuer: server.url })
    t.match(JSON.stringify(line), what)
    lines.length = 0
  }
})

t.test('R12: when the sessions cannot be ended, nothing is cleared, and the browser stays', async t => {
  for (const fault of ['throws', 'rejects', 'hangs'] as const) {
    for (const method of ['find', 'logOut']) {
      const { logIn, logOut, isLive, broken, events } = await host(t, { timeout: 50 })
      const cookie = logIn(1)
      broken.set(method, fault)
      same(t, await logOut(cookie), unavailable, `${method} ${fault}`)
      t.strictSame([isLive(cookie), events], [true, []])
      broken.clear()
      t.equal((await logOut(cookie)).status, 303, 'a retry finishes')
      t.strictSame([isLive(cookie), events.length], [false, 1])
    }
  }
})

t.test('R13: the provider is asked before the logout: when it fails, nothing is done', async t => {
  const down = new Error('the database is down: postgres://secret@db')
  for (const provider of [() => { throw down }, () => Promise.reject(down), () => new Promise<undefined>(() => {})]) {
    const { logIn, logOut, isLive, calls } = await host(t, { provider, timeout: 50 })
    const cookie = logIn(1)
    same(t, await logOut(cookie), unavailable)
    t.strictSame([isLive(cookie), calls], [true, ['find']])
  }
})

t.test('R13: a provider that is not configured is reported, and nothing is done', async t => {
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } } }
  for (const answer of [
    { issuer: `${issuer}/` }, {}, true, 'x', { issuer, idToken: 5 }, { issuer, logoutHint: {} }, { issuer, uiLocales: ['de'] }
  ]) {
    const { logIn, logOut, isLive } = await host(t, { provider: () => answer as never }, { server: { logger } })
    const cookie = logIn(1)
    same(t, await logOut(cookie), refusal(500, 'server_error'), JSON.stringify(answer))
    t.ok(isLive(cookie))
    t.match(lines.join(), 'logout.misconfigured')
    t.match(lines.join(), 'must resolve { issuer, idToken?, logoutHint?, uiLocales? } with one of \\"issuers\\"')
    lines.length = 0
  }
})

const crossSite: ReadonlyArray<readonly [id: string, headers: Record<string, string>, allowed: boolean, options?: Options]> = [
  ['R14', { 'sec-fetch-site': 'same-origin' }, true],
  ['R14', { 'sec-fetch-site': 'cross-site' }, false],
  ['R14', { 'sec-fetch-site': 'none' }, false],
  ['R14', { 'sec-fetch-site': 'same-site' }, false],
  ['R14', { 'sec-fetch-site': 'same-site' }, true, { csrf: { trustSameSite: true } }],
  ['R14', { 'sec-fetch-site': 'cross-site', origin: 'https://www.example' }, true, { csrf: { trustedOrigins: ['https://www.example'] } }],
  ['R14', { 'sec-fetch-site': 'same-origin', purpose: 'prefetch' }, false],
  ['R15', { origin: 'https://app.example' }, true],
  ['R15', { origin: 'https://evil.example' }, false],
  ['R15', { origin: 'http://app.example' }, false],
  ['R15', { origin: 'null' }, false],
  ['R15', {}, false]
]

for (const [id, headers, allowed, options] of crossSite) {
  const outcome = allowed ? 'passes' : 'is refused'
  t.test(`${id}: ${JSON.stringify(headers)} ${outcome}${options ? ` with ${JSON.stringify(options)}` : ''}`, async t => {
    const { over, logIn, isLive, calls } = await host(t, options)
    const cookie = logIn(1)
    const answer = await over.inject({ method: 'POST', url: '/logout', headers: { cookie, ...headers } })
    if (allowed) t.equal(answer.status, 303)
    else same(t, answer, denied)
    t.equal(isLive(cookie), !allowed)
    if (!allowed) t.strictSame(calls, [])
  })
}

t.test('R16: GET, HEAD and other methods are the host\'s own', async t => {
  const { over, logIn, isLive, app } = await host(t, {}, { before: app => app.get('/logout', async () => 'Do you want to log out?') })
  const headers = { cookie: logIn(1), ...sameOrigin, 'sec-fetch-mode': 'navigate' }
  t.equal((await over.inject({ url: '/logout', headers })).body, 'Do you want to log out?')
  t.ok(isLive(headers.cookie))
  const bare = await host(t)
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'] as const) {
    t.equal((await bare.app.inject({ method, url: '/logout', headers })).statusCode, 404, method)
  }
  t.equal((await bare.app.inject({ method: 'HEAD', url: '/logout/return' })).statusCode, 404)
  t.equal((await bare.app.inject({ method: 'POST', url: '/logout/return' })).statusCode, 404)
  const linked = await host(t, { route: { allowGet: true } })
  t.equal((await linked.app.inject({ method: 'HEAD', url: '/logout', headers })).statusCode, 404)
  t.ok(app.hasRoute({ method: 'POST', url: '/logout' }))
})

t.test('R17: with allowGet, only a link on a page of the host logs out', async t => {
  const { over, logIn, isLive, comeBack } = await host(t, {
    route: { allowGet: true }, csrf: { trustedOrigins: ['https://www.example'], trustSameSite: true }
  })
  const link = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' }
  const cookie = logIn(1)
  for (const headers of [
    {}, { origin: 'https://app.example' }, { 'sec-fetch-site': 'same-origin' }, { ...link, 'sec-fetch-site': 'none' },
    { ...link, 'sec-fetch-site': 'same-site' }, { ...link, 'sec-fetch-site': 'cross-site', origin: 'https://www.example' },
    { ...link, 'sec-fetch-mode': 'no-cors' }, { ...link, 'sec-fetch-mode': 'cors' }, { ...link, 'sec-purpose': 'prefetch' }
  ]) same(t, await over.inject({ url: '/logout', headers: { cookie, ...headers } }), denied, JSON.stringify(headers))
  for (const query of ['return_to=//evil.example', 'return_to=/a&return_to=/b']) {
    same(t, await over.inject({ url: `/logout?${query}`, headers: { cookie, ...link } }), wrongTarget, query)
  }
  t.ok(isLive(cookie))
  const away = await over.inject({ url: '/logout?return_to=%2Fbye', headers: { cookie, ...link } })
  t.strictSame([away.status, isLive(cookie)], [303, false])
  t.equal(locationOf(await comeBack(stateCookie(away), `?state=${stateOf(locationOf(away))}`)), 'https://app.example/bye')
  t.equal((await over.inject({ url: '/logout', headers: link })).status, 303, 'again, without a cookie')
})

t.test('R18: 50 parallel logouts of one session all succeed, and one is told', async t => {
  const { logIn, logOut, events } = await host(t)
  const cookie = logIn(1)
  const answers = await Promise.all(Array.from({ length: 50 }, () => logOut(cookie)))
  t.strictSame([...new Set(answers.map(({ status }) => status))], [303])
  t.equal(events.length, 1)
})

t.test('R19: endpoints that browsers should not be sent to are a TypeError', async t => {
  for (const wrong of [
    'http://login.example/logout', 'https://login.example/logout#', 'https://user@login.example/', '/logout', 5, '', null
  ]) {
    await t.rejects(host(t, { issuers: [{ issuer, clientId: 'app', endSessionEndpoint: wrong as never }] }), {
      name: 'TypeError',
      message: 'rpInitiatedLogout: option "issuers[0].endSessionEndpoint" must be an https URL without a user name and a fragment ' +
        '(http only for this machine)'
    }, String(wrong))
  }
  await host(t, { issuers: [{ issuer: 'http://10.0.0.1', clientId: 'app', endSessionEndpoint: 'http://localhost:4000/logout' }] })
})

t.test('R20: a hint over 16 KiB is left out, and no hint is stored or logged', async t => {
  const lines: string[] = []
  const logger = {
    level: 'info',
    stream: { write: (line: string) => { lines.push(line) } },
    serializers: { res: (reply: { getHeaders?: () => object }) => ({ headers: reply.getHeaders?.() }) }
  }
  const longest = idTokenFor('app').padEnd(16_384, 'x')
  for (const [hint, sent] of [[idToken, idToken], [longest, longest], [`${longest}x`, null]] as const) {
    const { logIn, logOut, comeBack } = await host(t, {
      provider: () => ({ issuer, idToken: hint }), route: { allowGet: true, maxUrlLength: 20_000 }
    },
    { server: { logger } })
    const answer = await logOut(logIn(1))
    t.equal(new URL(locationOf(answer)).searchParams.get('id_token_hint'), sent)
    t.notOk(String(answer.headers['set-cookie']).includes(idToken))
    await comeBack(stateCookie(answer), `?state=${stateOf(locationOf(answer))}`)
  }
  t.notMatch(lines.join(), idToken)
  t.notMatch(lines.join(), 'state=')
})

t.test('errors of the host\'s hooks keep their status, and nothing is done', async t => {
  for (const [thrown, expected] of [
    [Object.assign(new Error('secret'), { statusCode: 401 }), refusal(401, 'unauthorized')],
    [new Error('secret'), refusal(500, 'server_error')],
    [Object.assign(new Error('secret'), { statusCode: 503 }), unavailable]
  ] as const) {
    const before = (app: FastifyInstance) => app.addHook('preHandler', (_request, _reply, done) => { setImmediate(done, thrown) })
    const { logOut, calls } = await host(t, {}, { before })
    same(t, await logOut(''), expected)
    t.strictSame(calls, [])
  }
})

t.test('an unexpected failure is a 500 that says nothing, and is logged', async t => {
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } } }
  const before = (app: FastifyInstance) => app.addHook('onRequest', async () => { throw new Error('the hook is broken') })
  const { logOut } = await host(t, {}, { before, server: { logger } })
  same(t, await logOut(''), refusal(500, 'server_error'))
  t.match(lines.map(line => JSON.parse(line)), [{ event: 'logout.outage', err: { message: 'the hook is broken' } }])
})

t.test('a logout that comes after the timeout is told once', async t => {
  let release = () => {}
  const own = ownSessions()
  const cookie = own.logIn(1)
  const gate = new Promise<void>(resolve => { release = resolve })
  const sessions = { ...own.sessions, logOut: async (request: FastifyRequest) => { await gate; return own.sessions.logOut(request) } }
  const { logOut, events } = await host(t, { sessions, timeout: 50 })
  const answer = await logOut(cookie)
  same(t, answer, unavailable)
  release()
  for (let waited = 0; waited < 100 && events.length === 0; waited++) await sleep(5)
  t.equal(events.length, 1)
})

t.test('what happens is published', async t => {
  const messages: unknown[] = []
  for (const name of ['logout', 'refusal', 'outage']) {
    const listen = (message: unknown) => { messages.push([name, message]) }
    channel(`fastify-logout:${name}`).subscribe(listen)
    t.teardown(() => channel(`fastify-logout:${name}`).unsubscribe(listen))
  }
  const { logIn, logOut, broken } = await host(t)
  const cookie = logIn(1)
  await logOut(cookie)
  await logOut(cookie, { headers: { 'sec-fetch-site': 'cross-site' } })
  broken.set('logOut', 'rejects')
  await logOut(cookie)
  const plugin = 'rpInitiatedLogout'
  t.match(messages, [
    ['logout', { plugin, scope: 'session', subject: '1', sessionId: '1' }], ['refusal', { plugin, status: 403 }],
    ['outage', { plugin, question: 'sessions.logOut' }], ['refusal', { plugin, status: 503 }]
  ])
  t.equal(messages.length, 4)
})

t.test('the state cookie is set and removed beside @fastify/cookie too', async t => {
  const before = async (app: FastifyInstance) => {
    await app.register(fastifyCookie, { secret: 'a secret', parseOptions: { signed: true, path: '/x' } })
  }
  const { logIn, logOut, comeBack } = await host(t, {}, { before })
  const away = await logOut(logIn(1), { headers: form, payload: 'return_to=/bye' })
  t.strictSame(setCookies(away as never).map(({ name, removed }) => [name, removed]).sort(), [
    ['__Host-logout-state', false], ['sid', true]
  ])
  const back = await comeBack(stateCookie(away), `?state=${stateOf(locationOf(away))}`)
  t.equal(locationOf(back), 'https://app.example/bye')
  const [cookie, ...others] = setCookies(back as never)
  t.strictSame([cookie?.name, cookie?.removed, cookie?.attributes['path'], others], ['__Host-logout-state', true, '/', []])
})

t.test('both routes are logout routes, below the prefix, and described', async t => {
  const own = ownSessions()
  const app = Fastify()
  t.teardown(() => app.close())
  const routes: Array<readonly [string, unknown]> = []
  app.addHook('onRoute', ({ method, url, schema }) => {
    const { operationId, security } = schema as { operationId: string, security: unknown }
    routes.push([`${String(method)} ${url} ${operationId}`, security])
  })
  const logoutScopes: boolean[] = []
  app.addHook('onRequest', async ({ server }) => { logoutScopes.push(isLogoutScope(server)) })
  const options = { ...required, sessions: own.sessions }
  const route = { allowGet: true, security: [{ sessionCookie: [] }] }
  await app.register(rpInitiatedLogout as never, { ...options, route, prefix: '/admin' } as never)
  await app.register(rpInitiatedLogout as never, { ...options, route: { ...route, path: '/bye', returnPath: '/back' } } as never)
  t.strictSame(routes, [
    ['POST /admin/logout rpInitiatedLogoutAdmin', route.security], ['GET /admin/logout rpInitiatedLogoutByLinkAdmin', route.security],
    ['GET /admin/logout/return rpInitiatedLogoutReturnAdmin', route.security], ['POST /bye rpInitiatedLogoutBye', route.security],
    ['GET /bye rpInitiatedLogoutByLinkBye', route.security], ['GET /back rpInitiatedLogoutReturnBye', route.security]
  ])
  for (const url of ['/admin/logout/return', '/back']) await app.inject(url)
  t.strictSame(logoutScopes, [true, true])
})

t.test('an option that is missing or wrong is a TypeError that names it', async t => {
  const valid = { ...required, sessions: ownSessions().sessions }
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    sessions: [undefined, null, {}, { find: () => undefined }, { logOut: () => undefined }],
    provider: [undefined, 5, {}],
    publicUrl: [undefined, '', '/', 'app.example', 'https://app.example/?a', 'https://app.example/#a'],
    'returnUrls.default': [undefined, 'goodbye', 5],
    'route.returnPath': ['', 5, null, '/logout'],
    path: ['/x'],
    security: [[]],
    returnPath: ['/x'],
    allowGet: [true],
    maxUrlLength: [5],
    route: [null, 'x', 5, []],
    'route.path': ['', 'logout', 5],
    'route.allowGet': ['yes', 1, null],
    csrf: ['off', 'same-origin', null, () => {}],
    'route.maxUrlLength': [-1, 1.5, '2000', NaN],
    timeout: [0, -1, NaN, '2000'],
    issuers: [undefined, [], {}, 'https://login.example', [required.issuers[0], required.issuers[0]]],
    'issuers[0]': [[null], ['https://login.example']],
    'issuers[0].issuer': [undefined, '', 5, 'http://login.example', 'login.example'].map(name => [{ issuer: name, clientId: 'app' }]),
    'issuers[0].clientId': [undefined, '', [], [''], 5].map(clientId => [{ issuer, clientId }]),
    'issuers[0].discoveryUri': ['', 'http://login.example', 5].map(discoveryUri => [{ issuer, clientId: 'app', discoveryUri }]),
    'issuers[0].uiLocales': ['', ' ', 5, ['de']].map(uiLocales => [{ issuer, clientId: 'app', endSessionEndpoint: endpoint, uiLocales }])
  }
  for (const [option, values] of Object.entries(wrong)) {
    for (const value of values) {
      const app = Fastify()
      const options = withOption(valid, (option.split('[', 1)[0] ?? '').split('.'), value)
      await t.rejects(Promise.resolve(app.register(rpInitiatedLogout as never, options as never)), {
        name: 'TypeError', message: new RegExp(`^rpInitiatedLogout: option "${option.replace(/[[\].]/g, '\\$&')}" (must|is missing: )`)
      }, `${option}: ${JSON.stringify(value)}`)
    }
  }
})
