import t from 'tap'
import { build, curls } from '../examples/server.js'
import { memory } from '../examples/stores.js'

const publicUrl = 'http://127.0.0.1:3000'

async function demo () {
  const server = await build({}, publicUrl)
  t.teardown(() => server.app.close())
  const signIn = (payload: object, headers: Record<string, string> = {}) => server.app.inject({
    method: 'POST', url: '/demo/sign-in', payload, headers
  })
  const whoami = async (headers: Record<string, string>) => (await server.app.inject({ url: '/sessions/whoami', headers })).statusCode
  return { ...server, server, signIn, whoami }
}

t.test('the page loads only its own files, and its Content-Security-Policy allows nothing else', async t => {
  const { app } = await demo()
  for (const [url, type] of [
    ['/', 'text/html'], ['/goodbye', 'text/html'], ['/demo/page.js', 'text/javascript'], ['/demo/page.css', 'text/css'],
    ['/demo/icon.svg', 'image/svg+xml']
  ] as const) {
    const { statusCode, headers, body } = await app.inject({ url })
    t.equal(statusCode, 200)
    t.ok(headers['content-type']?.toString().startsWith(type))
    t.match(headers['content-security-policy'], /^default-src 'none'; script-src 'self'; style-src 'self'; /)
    t.notMatch(headers['content-security-policy'], /unsafe|\*|https?:/)
    t.strictSame(
      body.match(/\b(?:src|href)="(?!\/|#)[^"]*"|<style|<script>|\son\w+=|style="|@import|url\(/g), null,
      `${url} has nothing inline and nothing from elsewhere`
    )
  }
})

t.test('a browser gets a cookie, every other device gets a token', async t => {
  const { signIn, whoami } = await demo()
  const browser = await signIn({ user: 'alice', device: 'This browser' })
  t.match(browser.headers['set-cookie'], /^demo_session=ory_st_[\w-]{32}; Path=\/; HttpOnly; SameSite=Lax$/)
  t.strictSame(Object.keys(browser.json()), ['id'])
  const cookie = String(browser.headers['set-cookie']).split(';', 1)[0] ?? ''
  const phone = await signIn({ user: 'alice', device: 'Phone' }, { cookie })
  t.equal(phone.headers['set-cookie'], undefined)
  t.strictSame([await whoami({ cookie }), await whoami({ 'x-session-token': phone.json().token })], [200, 200])

  await signIn({ user: 'bob', device: 'This browser' }, { cookie: `other=1; ${cookie}` })
  t.equal(await whoami({ cookie }), 401, 'the session before is over')
  t.equal(await whoami({ 'x-session-token': phone.json().token }), 200)
})

t.test('other users and devices cannot sign in', async t => {
  const { signIn, app } = await demo()
  for (const payload of [
    {}, { user: 'alice' }, { user: 'mallory', device: 'Phone' }, { user: 'alice', device: 'Toaster' },
    { user: 'toString', device: 'Phone' }, { user: ['alice'], device: {} }
  ]) {
    t.equal((await signIn(payload)).statusCode, 400, JSON.stringify(payload))
  }
  t.equal((await app.inject({
    method: 'POST', url: '/demo/sign-in', headers: { 'content-type': 'text/plain' }, payload: '{"user":"alice","device":"Phone"}'
  })).statusCode, 400, 'nor a form of another site')
  t.equal((await app.inject({ method: 'POST', url: '/demo/sign-in' })).statusCode, 400)
})

t.test('the URL of the page is printed', async t => {
  const { server } = await demo()
  t.match(curls(publicUrl, server, 'memory'), `shown by the page at ${publicUrl}`)
})

t.test('POST /logout logs out of this browser; a page is told of errors on the page, a program by Fastify', async t => {
  const { signIn, whoami, app } = await demo()
  const browser = await signIn({ user: 'alice', device: 'This browser' })
  const cookie = String(browser.headers['set-cookie']).split(';', 1)[0] ?? ''
  const logOut = (headers: Record<string, string>, payload: object) => app.inject({ method: 'POST', url: '/logout', headers, payload })
  const refused = await logOut({ cookie, accept: 'text/html' }, { return_to: '//evil.example' })
  t.match([refused.statusCode, refused.headers['location']], [303, '/?error=LOGOUT_RETURN_TO'])
  t.match((await logOut({ cookie }, { scope: 'x' })).json(), { statusCode: 400, code: 'LOGOUT_SCOPE' })
  t.equal(await whoami({ cookie }), 200)
  const left = await logOut({ cookie, accept: 'text/html' }, {})
  t.match([left.statusCode, left.headers['location']], [303, '/goodbye'])
  t.equal(left.headers['set-cookie'], 'demo_session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; SameSite=Lax')
  t.equal(await whoami({ cookie }), 401)
})

t.test('the demo provider ends a session by each of its messages', async t => {
  const { app, signIn, whoami } = await demo()
  for (const [message, method, status] of [
    ['back-channel', 'POST', 200], ['front-channel', 'GET', 200], ['security-event', 'POST', 202], ['global-token-revocation', 'POST', 204]
  ] as const) {
    const { token } = (await signIn({ user: 'bob', device: 'Phone' })).json()
    const { token: other } = (await signIn({ user: 'alice', device: 'Phone' })).json()
    const made = await app.inject({ method: 'POST', url: `/demo/provider/${message}`, headers: { 'x-session-token': token } })
    t.equal(made.headers['cache-control'], 'no-store')
    const { url, headers, body, ...asked } = made.json()
    t.equal(asked.method, method)
    t.equal(await whoami({ 'x-session-token': token }), 200)
    for (const time of ['once', 'twice']) {
      const { statusCode } = await app.inject({ method, url, headers: { ...headers, 'sec-fetch-dest': 'iframe' }, payload: body })
      t.equal(statusCode, status, `${message} ${time}`)
    }
    t.strictSame([await whoami({ 'x-session-token': token }), await whoami({ 'x-session-token': other })], [401, 200], message)
  }
  t.equal((await app.inject({ method: 'POST', url: '/demo/provider/back-channel' })).statusCode, 404)
  const { token } = (await signIn({ user: 'bob', device: 'Phone' })).json()
  const unknown = await app.inject({ method: 'POST', url: '/demo/provider/constructor', headers: { 'x-session-token': token } })
  t.equal(unknown.statusCode, 404)
})

t.test('the page of the demo provider sends browsers back to the server, and nowhere else', async t => {
  const { app } = await demo()
  const page = (query: object) => app.inject({ url: '/demo/provider/end-session', query: { ...query } })
  const known = await page({ post_logout_redirect_uri: `${publicUrl}/logout/provider/return`, state: '"&<' })
  t.equal(known.statusCode, 200)
  t.match(known.body, `href="${publicUrl}/logout/provider/return?state=%22%26%3C"`)
  t.match(known.headers['content-security-policy'], /^default-src 'none'; /)
  for (const target of [undefined, '', 'https://evil.example/', `${publicUrl}/logout/provider/return/..`]) {
    t.equal((await page({ post_logout_redirect_uri: target })).statusCode, 400, String(target))
  }
})

t.test('a login that the demo provider has ended meanwhile opens no session', async t => {
  const stores = memory()
  const { app } = await build({}, publicUrl, { ...stores, index: { ...stores.index, bind: () => 'revoked' as const } })
  t.teardown(() => app.close())
  const { token } = (await app.inject({ method: 'POST', url: '/demo/sign-in', payload: { user: 'bob', device: 'Phone' } })).json()
  t.equal((await app.inject({ url: '/sessions/whoami', headers: { 'x-session-token': token } })).statusCode, 401)
})

for (const [url, status] of [
  ['https://demo.example', 303], ['http://localhost:3000', 303], ['http://[::1]:3000', 303],
  ['http://192.168.1.5:3000', 404], ['http://localhost.example', 404]
] as const) {
  const what = status === 303 ? 'sends a browser to the provider' : 'starts without the logout at the provider'
  t.test(`a server at ${url} ${what}`, async t => {
    const { app } = await build({}, url)
    t.teardown(() => app.close())
    const headers = { 'sec-fetch-site': 'same-origin', accept: 'text/html' }
    const left = await app.inject({ method: 'POST', url: '/logout/provider', headers })
    t.equal(left.statusCode, status)
    if (status === 303) t.equal(left.headers.location?.split('?', 1)[0], `${url}/demo/provider/end-session`)
  })
}
