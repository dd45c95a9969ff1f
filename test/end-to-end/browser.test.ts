import cookie from '@fastify/cookie'
import Fastify, { type FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { build } from '../../examples/server.js'
import { kratosBrowserLogout } from '../../lib/flows/kratos-browser.ts'
import { logoutUrlToken } from '../../lib/internal/kratos/logout-url-token.ts'
import { host, people } from '../kratos-host.ts'
import { launch, noBrowser } from '../servers/chromium.ts'
import { freePort } from '../servers/private-process.ts'

t.setTimeout(180_000)

/** The example server, and pages of our own on it and on another site. */
async function site (t: Test) {
  const port = await freePort()
  const address = `http://127.0.0.1:${port}`
  const { app } = await build({}, address)
  t.teardown(() => app.close())
  const seen: Array<{ readonly url: string, readonly method: string, readonly ahead: string, readonly status: number }> = []
  app.addHook('onResponse', async ({ url, method, headers }, { statusCode }) => {
    seen.push({ url, method, ahead: String(headers['sec-purpose'] ?? headers['purpose'] ?? ''), status: statusCode })
  })
  const own = pages(app)
  const evil = Fastify()
  t.teardown(() => evil.close())
  const evilPages = pages(evil)
  await app.listen({ port, host: '127.0.0.1' })
  await evil.listen({ port: 0, host: '127.0.0.1' })
  const evilAddress = `http://localhost:${(evil.server.address() as AddressInfo).port}`
  return { app, address, seen, own: (html: string) => address + own(html), evil: (html: string) => evilAddress + evilPages(html) }
}

/** A place for pages: answers with the path of one. */
function pages (app: FastifyInstance) {
  const htmls: string[] = []
  app.get<{ Params: { index: string } }>('/test/:index', async ({ params }, reply) => {
    return reply.type('text/html').send(htmls[Number(params.index)])
  })
  return (html: string) => `/test/${htmls.push(`<!doctype html><title>a test</title>${html}`) - 1}`
}

async function signIn (page: Page, ...devices: string[]) {
  for (const device of devices) {
    await page.getByLabel('Device', { exact: true }).selectOption(device)
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await says(page, `${device} is signed in as Alice Adams.`)
  }
}

const says = (page: Page, text: string) => page.getByRole('status').getByText(text).waitFor()
const cookies = async (context: BrowserContext) => (await context.cookies()).map(({ name }) => name)
const stateOf = (page: Page, device: string) => {
  const heading = page.getByRole('heading', { name: device, exact: true })
  return page.getByRole('listitem').filter({ has: heading }).locator('.state').textContent()
}
const isSignedIn = async (page: Page, address: string) => (await page.request.get(`${address}/sessions/whoami`)).ok()

/** The logout URL of this browser's session, as its page may know it. */
async function logoutUrl (page: Page, address: string): Promise<string> {
  const { logout_url: url } = await (await page.request.get(`${address}/self-service/logout/browser`)).json() as { logout_url: string }
  return url
}

t.test('Chromium', { skip: noBrowser }, async t => {
  const browser = await launch()
  t.teardown(() => browser.close())

  /** A fresh profile on the demo page; what it must never do fails the test at the end. */
  const open = async (t: Test, address: string, viewport = { width: 1280, height: 900 }) => {
    const context = await browser.newContext({ viewport })
    t.teardown(() => context.close())
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('pageerror', error => complaints.push(error.message))
    const printed: string[] = []
    page.on('console', message => {
      printed.push(message.text())
      if (/Content.Security.Policy|Refused/i.test(message.text())) complaints.push(message.text())
    })
    page.on('request', request => { if (!request.url().startsWith(address)) complaints.push(`asked for ${request.url()}`) })
    await page.goto(address)
    await says(page, 'Sign in to begin.')
    return { context, page, complaints, printed }
  }

  await t.test('signs in, logs out through the page, ends on return_to with the cookie gone, and its other tab is refused', async t => {
    const { address, seen } = await site(t)
    const { context, page, complaints } = await open(t, address)
    await signIn(page, 'This browser')
    t.strictSame(await cookies(context), ['demo_session'])
    t.match(await context.cookies(), [{ httpOnly: true, sameSite: 'Lax' }])
    const otherTab = await context.newPage()
    await otherTab.goto(address)
    await says(otherTab, 'This browser is signed in as Alice Adams.')

    await page.getByLabel('Return to').fill('/goodbye?from=logout')
    await page.getByRole('button', { name: 'Log out and go' }).click()
    await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
    t.equal(page.url(), `${address}/goodbye?from=logout`)
    t.strictSame(await cookies(context), [])
    t.match(seen.find(({ url }) => url === '/logout'), { method: 'POST', status: 303 })

    await otherTab.getByRole('button', { name: 'Use it: This browser' }).click()
    await says(otherTab, 'This browser is logged out: its call was refused.')
    t.equal(await stateOf(otherTab, 'This browser'), 'Logged out')
    await page.goBack()
    await page.getByText('This browser is signed out').or(page.getByText('Sign in to begin.')).first().waitFor()
    t.strictSame(complaints, [])
  })

  await t.test('leaves by a Kratos-style logout URL too', async t => {
    const { address, seen } = await site(t)
    const { context, page, complaints } = await open(t, address)
    await signIn(page, 'This browser')
    await page.getByRole('button', { name: 'The same, Kratos-style' }).click()
    await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
    t.equal(page.url(), `${address}/goodbye`)
    t.strictSame(await cookies(context), [])
    t.match(seen.find(({ url }) => url.startsWith('/self-service/logout?')), { method: 'GET', status: 303 })
    t.strictSame(complaints, [])
  })

  await t.test('is not sent to a return_to that is not allowed, and stays signed in', async t => {
    const { address } = await site(t)
    const { page } = await open(t, address)
    await signIn(page, 'This browser')
    for (const target of [
      'https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)', 'https:evil.example',
      `${address}@evil.example/`
    ]) {
      await page.getByLabel('Return to').fill(target)
      await page.getByRole('button', { name: 'The same, Kratos-style' }).click()
      await page.getByRole('status').getByText('is not allowed. You are still signed in.').waitFor()
      await page.getByRole('button', { name: 'Log out and go' }).click()
      await says(page, 'The logout was refused: LOGOUT_RETURN_TO.')
      t.equal(new URL(page.url()).origin, address)
      await page.getByLabel('Return to').fill(target)
      await page.getByRole('button', { name: 'Also at the provider' }).click()
      await says(page, 'The logout was refused. You are still signed in.')
      await page.goto(`${await logoutUrl(page, address)}&return_to=${encodeURIComponent(target)}`)
      await says(page, 'The logout was refused: self_service_flow_return_to_forbidden.')
      t.equal(page.url(), `${address}/`)
    }
    t.ok(await isSignedIn(page, address))
  })

  await t.test('logs out one device, the others, and everything', async t => {
    const { address, seen } = await site(t)
    const { page, context, complaints } = await open(t, address)
    await signIn(page, 'This browser', 'Phone', 'Tablet', 'Television')
    await page.getByRole('button', { name: 'Use it: Phone' }).click()
    await says(page, 'Phone is signed in: its call was answered.')
    await page.getByRole('button', { name: 'Log out: Phone' }).click()
    await says(page, 'Phone is logged out.')
    await page.getByRole('button', { name: 'Use it: Phone' }).click()
    await says(page, 'Phone is logged out: its call was refused.')
    await page.getByRole('button', { name: 'Log out the others' }).click()
    await says(page, 'The other devices are logged out.')
    const states = await Promise.all(['This browser', 'Tablet', 'Television'].map(device => stateOf(page, device)))
    t.strictSame(states, ['Signed in', 'Logged out', 'Logged out'])
    await page.getByRole('button', { name: 'Log out everywhere' }).click()
    await says(page, 'Alice Adams is logged out everywhere.')
    t.strictSame(await cookies(context), [])
    t.match(seen.filter(({ url }) => url === '/logout').map(({ status }) => status), [204, 204])

    await signIn(page, 'Phone')
    await page.getByRole('button', { name: /^Log out: Phone/ }).click()
    await says(page, 'Phone is logged out.')
    const native = seen.findLast(({ url }) => url === '/self-service/logout/api')
    t.match(native, { method: 'DELETE', status: 204 }, 'without this browser it logs itself out')
    await page.getByRole('button', { name: 'Remove: Phone' }).first().click()
    await says(page, 'Phone is removed from this page.')
    t.notOk((await page.locator('#answers').textContent())?.match(/ory_(st|lo)_\w/), 'no secret is shown')
    t.strictSame(complaints, [])
  })

  await t.test('is not logged out by an image, a frame, a form or a link of another site', async t => {
    const { address, evil, seen } = await site(t)
    const { page } = await open(t, address)
    await signIn(page, 'This browser')
    const logout = `${address}/self-service/logout`
    const guess = logoutUrlToken('guess')
    for (const html of [
      `<img src="${logout}"><img src="${logout}?token=${guess}"><img src="${logout}/browser">`,
      `<iframe src="${logout}?token=${guess}"></iframe><script src="${logout}/browser"></script>`,
      `<link rel="stylesheet" href="${logout}?token=">`,
      `<form method="post" action="${logout}?token=${guess}"><button>Go</button></form>`,
      ...['', 'scope=all', '{"scope":"all"}'].map(body => {
        const [name = '', value = ''] = body.split('=')
        const enctype = body.startsWith('{') ? 'text/plain' : 'application/x-www-form-urlencoded'
        return `<form method="post" action="${address}/logout" enctype="${enctype}">
          <input type="hidden" name='${name}' value='${value}'><button>Go</button></form>`
      }),
      `<form method="get" action="${logout}"><input name="token" value="${guess}"><button>Go</button></form>`,
      `<form method="post" action="${address}/sessions/whoami?_method=DELETE"><button>Go</button></form>`,
      `<a href="${logout}?token=${guess}"><button>Go</button></a>`,
      `<script type="module">
        const requests = [
          ['POST', '/logout'], ['DELETE', '/sessions'], ['DELETE', '/self-service/logout/api'], ['GET', '/self-service/logout/browser']
        ]
        for (const [method, path] of requests) {
          const asked = fetch('${address}' + path, { method, credentials: 'include', mode: 'cors' })
          await asked.then(() => { document.title = 'got in' }, () => {})
        }
        document.body.append('tried')
      </script><body>`
    ]) {
      await page.goto(evil(html))
      const button = page.getByRole('button', { name: 'Go' })
      if (await button.count() > 0) await Promise.all([page.waitForURL(url => url.href.startsWith(address)), button.click()])
      if (html.includes('tried')) await page.getByText('tried').waitFor()
      await page.waitForLoadState('networkidle')
      t.not(await page.title(), 'got in')
      t.ok(await isSignedIn(page, address), html)
    }
    const asked = seen.filter(({ url }) => url.startsWith('/self-service/logout'))
    t.ok(asked.length >= 6, 'the server was asked')
    t.equal(seen.filter(({ url }) => url === '/logout').length, 4, 'by three forms and a script')
    t.strictSame(asked.filter(({ status }) => status < 300), [])
  })

  await t.test('is not logged out by prefetching its own logout URL', async t => {
    const { address, own, seen } = await site(t)
    const { page } = await open(t, address)
    await signIn(page, 'This browser')
    const url = await logoutUrl(page, address)
    const speculation = (kind: string) => {
      const rules = { [kind]: [{ source: 'list', urls: [url], eagerness: 'immediate' }] }
      return `<script type="speculationrules">${JSON.stringify(rules)}</script>`
    }
    for (const html of [`<link rel="prefetch" href="${url}">`, speculation('prefetch'), speculation('prerender')]) {
      const before = seen.length
      await page.goto(own(html))
      const fetched = () => seen.slice(before).find(request => url.endsWith(request.url))
      for (let waited = 0; waited < 50 && fetched() === undefined; waited++) await page.waitForTimeout(100)
      t.match(fetched(), { ahead: /^prefetch/, status: 403 }, html)
      t.ok(await isSignedIn(page, address), html)
    }
    for (const [method, headers] of [['GET', { 'user-agent': 'a link preview' }], ['HEAD', {}]] as const) {
      t.notOk((await fetch(url, { method, headers, redirect: 'manual' })).ok, 'a preview has no cookie')
    }
    t.equal((await page.request.head(url)).status(), 404, 'and HEAD is not served')
    t.ok(await isSignedIn(page, address))
    await page.goto(url)
    await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
    t.notOk(await isSignedIn(page, address), 'the same URL, followed by its user, logs out')
  })

  await t.test('loses every kind of session cookie that it accepts', async t => {
    for (const kind of [
      { name: '__Host-sid', path: '/', secure: true, httpOnly: true, sameSite: 'none', partitioned: true },
      { name: '__Host-sid', path: '/', secure: true, httpOnly: true, sameSite: 'strict', signed: true },
      { name: '__Secure-sid', path: '/self-service', secure: true, httpOnly: true, sameSite: 'lax' },
      { name: 'sid', path: '/', secure: false, httpOnly: false, sameSite: 'lax', signed: true },
      { name: 'sid', path: '/', secure: true, httpOnly: true, sameSite: 'none', partitioned: true, signed: true }
    ] as const) {
      const app = Fastify()
      t.teardown(() => app.close())
      const { sessions } = await host()
      const port = await freePort()
      const publicUrl = `http://localhost:${port}`
      await app.register(cookie, { secret: 'a secret' })
      const { name, ...attributes } = kind
      app.get('/', async (_request, reply) => {
        return reply.setCookie(name, people.laptop.token, attributes).setCookie('other', 'kept', { path: '/' }).send('signed in')
      })
      app.get('/bye', async () => 'bye')
      await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: `${publicUrl}/bye` }, cookie: kind })
      await app.listen({ port, host: '127.0.0.1' })
      const context = await browser.newContext()
      const page = await context.newPage()
      await page.goto(publicUrl)
      t.strictSame((await cookies(context)).sort(), [name, 'other'].sort(), 'it was taken')
      await page.goto(`${publicUrl}/self-service/logout?token=${logoutUrlToken(people.laptop.token)}`)
      t.equal(page.url(), `${publicUrl}/bye`)
      t.strictSame(await cookies(context), ['other'], JSON.stringify(kind))
      await context.close()
    }
  })

  await t.test('prints nothing in the console when the page is loaded, nor when its cookie is over', async t => {
    const { address } = await site(t)
    const { context, page, complaints, printed } = await open(t, address)
    t.strictSame(printed, [])
    await signIn(page, 'This browser')
    const [{ value = '' } = {}] = await context.cookies()
    await page.getByRole('button', { name: 'Log out everywhere' }).click()
    await says(page, 'Alice Adams is logged out everywhere.')
    await context.addCookies([{ name: 'demo_session', value, url: address }])
    await page.reload()
    await says(page, 'Sign in to begin.')
    t.strictSame([printed, complaints], [[], []])
  })

  await t.test('shows a notice first and a disabled form to a browser without scripts', async t => {
    const { address } = await site(t)
    const context = await browser.newContext({ javaScriptEnabled: false })
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.goto(address)
    const notice = page.locator('.notice')
    const form = page.locator('#sign-in')
    t.ok(await notice.isVisible())
    const [top = NaN, below = NaN] = [(await notice.boundingBox())?.y, (await form.boundingBox())?.y]
    t.ok(top < below)
    for (const control of await form.locator('select, button').all()) t.ok(await control.isDisabled())
    t.equal(await page.locator('button:visible:enabled').count(), 0, 'no button that does nothing')
  })

  await t.test('explains the devices that were signed in when the server started', async t => {
    const { address } = await site(t)
    const { page } = await open(t, address)
    await page.getByLabel('User').selectOption('bob')
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await says(page, 'This browser is signed in as Bob Brown.')
    for (const device of ['Phone', 'Tablet']) {
      const row = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: device, exact: true }) })
      t.match(await row.textContent(), 'The server signed it in when it started, for the curl lines in its terminal.')
    }
    const own = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'This browser', exact: true }) })
    t.notMatch(await own.textContent(), 'when it started')
  })

  await t.test('calls the flows whose clients send tokens, and shows each answer in the same window as the button', async t => {
    const { address, seen } = await site(t)
    const { page, complaints } = await open(t, address, { width: 390, height: 844 })
    const { token } = await (await page.request.post(`${address}/demo/sign-in`, { data: { user: 'bob', device: 'Phone' } })).json()
    const whoami = () => page.request.get(`${address}/sessions/whoami`, { headers: { 'x-session-token': token } })
    t.equal((await whoami()).status(), 200)
    for (const [name, sentence, call] of [
      ['Log out of SigningHub', 'its push token is forgotten', 'POST /v3/logout'],
      ['Log out of Acme', 'Alice of Acme is logged_out', 'GET /auth/logout'],
      ['Use the token', 'Alice of Acme is logged_in again', 'GET /me'],
      ['Log out Bob everywhere', 'Every session of Bob Brown is over.', 'DELETE /admin/identities/bob/sessions']
    ] as const) {
      const button = page.getByRole('button', { name })
      await button.click()
      await says(page, sentence)
      const answer = page.locator('#answers > li').first()
      t.match(await answer.textContent(), call)
      const [box, shown] = [await button.boundingBox(), await answer.locator('.code').boundingBox()]
      for (const { y, height } of [box, shown].filter(one => one !== null)) t.ok(y >= 0 && y + height <= 844, `${call} at ${y}`)
      t.ok((box?.y ?? NaN) + (box?.height ?? NaN) <= (shown?.y ?? NaN), 'and the answer does not cover the button')
      t.match(seen.findLast(({ url }) => call.endsWith(url)), { status: call.startsWith('DELETE') ? 204 : 200 })
    }
    t.equal((await whoami()).status(), 401)
    t.strictSame(complaints, [])
  })

  await t.test('sends what a provider or an app sends, and shows the request, the answer and that the session has ended', async t => {
    const { app, address, seen } = await site(t)
    const { page, complaints } = await open(t, address, { width: 390, height: 844 })
    for (const [name, call, status, sent] of [
      ['Post a logout token', 'POST /backchannel-logout', 200, 'http://schemas.openid.net/event/backchannel-logout'],
      ['Load the frame', 'GET /frontchannel-logout', 200, 'in a frame'],
      ['Push the event', 'POST /security-events', 202, 'secevent/caep/event-type/session-revoked'],
      ['Send the command', 'POST /global-token-revocation', 204, '"sub":"bob"'],
      ['Give the token back', 'POST /oauth/revoke', 200, 'client_id=demo-app']
    ] as const) {
      const before = seen.length
      const button = page.getByRole('button', { name })
      await button.click()
      await says(page, 'Bob’s television is logged out.')
      const answer = page.locator('#answers > li').first()
      t.match(await answer.locator('.call code').textContent(), call)
      t.equal((await answer.locator('.code').textContent())?.split(' ')[0], String(status))
      t.match(await answer.locator('.sent').textContent(), sent)
      t.equal(await answer.locator('.after').textContent(), 'Then GET /sessions/whoami: 401, the session has ended.')
      t.equal(await stateOf(page, 'Television'), 'Logged out')
      const steps = ['/demo/sign-in', call.split(' ')[1], '/sessions/whoami']
      const own = seen.slice(before).filter(({ url }) => steps.includes(url.split('?', 1)[0]))
      t.match(own.map(request => request.status), [200, status, 401], 'the session was live, and the request ended it')
      const [box, shown] = [await button.boundingBox(), await answer.locator('.code').boundingBox()]
      for (const { y, height } of [box, shown].filter(one => one !== null)) t.ok(y >= 0 && y + height <= 844, `${call} at ${y}`)
      t.ok((box?.y ?? NaN) + (box?.height ?? NaN) <= (shown?.y ?? NaN), 'and the answer does not cover the button')
      await page.evaluate("document.getElementById('status').textContent = ''")
    }
    t.equal(await page.locator('#devices > li').count(), 1, 'televisions do not pile up')
    t.notOk((await page.locator('#answers').textContent())?.match(/ory_(st|lo)_\w|eyJ\w/), 'no token is shown')
    t.strictSame(complaints, [])

    // A session that does not end is reported so.
    const { token } = await (await page.request.post(`${address}/demo/sign-in`, { data: { user: 'bob', device: 'Phone' } })).json()
    await page.route('**/oauth/revoke', async route => { await route.fulfill({ status: 200 }) })
    await page.getByRole('button', { name: 'Give the token back' }).click()
    await says(page, 'Bob’s television is still signed in.')
    t.equal(await stateOf(page, 'Television'), 'Signed in')
    const whoami = () => app.inject({ url: '/sessions/whoami', headers: { 'x-session-token': token } })
    t.equal((await whoami()).statusCode, 200)
    await page.getByRole('button', { name: 'Send the command' }).click()
    await says(page, 'Bob’s television is logged out.')
    t.equal((await whoami()).statusCode, 401, 'a command ends every session of Bob')
  })

  await t.test('logs out here, goes to the page of the provider, and comes back with the answers that it had', async t => {
    const { address, seen } = await site(t)
    const { context, page, complaints } = await open(t, address)
    await signIn(page, 'This browser')
    await page.getByRole('button', { name: 'Also at the provider' }).click()
    await page.getByRole('heading', { name: 'Sign out of the demo provider?' }).waitFor()
    const asked = new URL(page.url())
    t.equal(asked.searchParams.get('post_logout_redirect_uri'), `${address}/logout/provider/return`)
    t.match(asked.searchParams.get('id_token_hint'), /^eyJ/)
    t.notOk((await cookies(context)).includes('demo_session'), 'the session here has ended already')
    await page.getByRole('link', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
    t.equal(page.url(), `${address}/goodbye`)
    t.strictSame(await cookies(context), [], 'the state is gone too')
    t.match(seen.find(({ url }) => url.startsWith('/logout/provider/return?state=')), { status: 303 })
    await page.getByRole('link', { name: 'Back to the devices' }).click()
    t.equal(await stateOf(page, 'This browser'), 'Logged out')
    const answers = page.locator('#answers > li')
    t.strictSame(await answers.locator('.call code').allTextContents(), ['POST /logout/provider', 'POST /demo/sign-in'])
    t.match(await answers.first().textContent(), /id_token_hint=eyJ…/)
    t.strictSame(complaints, [])
  })

  await t.test('leads to the document of all routes', async t => {
    const { address } = await site(t)
    const { page } = await open(t, address)
    await page.getByRole('link', { name: 'All routes' }).click()
    await page.waitForURL(url => url.pathname.startsWith('/docs'))
    await page.getByText('/v3/logout').first().waitFor()
  })

  await t.test('can use the page by keyboard alone, and keeps its focus', async t => {
    const { address } = await site(t)
    const { page } = await open(t, address)
    const focus = () => page.evaluate(`(({ tagName, id, ariaLabel, textContent }) => {
      return [tagName, id || ariaLabel || textContent].join(" ")
    })(document.activeElement)`)
    const order: unknown[] = []
    for (let tabs = 0; tabs < 5; tabs++) {
      await page.keyboard.press('Tab')
      order.push(await focus())
    }
    t.strictSame(order, ['A Skip to the devices', 'A All routes', 'SELECT user', 'SELECT device', 'BUTTON Sign in'])
    await page.getByLabel('Device', { exact: true }).focus()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await says(page, 'This browser is signed in as Alice Adams.')
    await page.getByLabel('Device', { exact: true }).focus()
    await page.keyboard.type('Ph')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await says(page, 'Phone is signed in as Alice Adams.')

    await page.getByRole('button', { name: 'Log out: Phone' }).focus()
    await page.keyboard.press('Enter')
    await says(page, 'Phone is logged out.')
    t.equal(await focus(), 'BUTTON Use it: Phone, Alice Adams', 'the focus is where the button was')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await says(page, 'Phone is removed from this page.')
    t.equal(await focus(), 'H2 devices-heading')
    await page.getByRole('button', { name: 'Log out everywhere' }).focus()
    await page.keyboard.press('Space')
    await says(page, 'Alice Adams is logged out everywhere.')
    t.equal(await focus(), 'H2 devices-heading')
  })

  await t.test('has a name for everything on the page, and the page fits a narrow window', async t => {
    const { address } = await site(t)
    const { page } = await open(t, address, { width: 320, height: 640 })
    await signIn(page, 'This browser', 'Phone')
    await page.getByRole('button', { name: 'Log out: Phone' }).click()
    await says(page, 'Phone is logged out.')
    const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
    t.equal(overflow, 0)
    const nameless = await page.evaluate(`[...document.querySelectorAll('button, input, select, a, section, aside')].filter(element => !(
      element.ariaLabel || element.labels?.[0]?.textContent || element.textContent.trim()
    )).map(element => element.outerHTML)`)
    t.strictSame(nameless, [])
    const small = await page.evaluate(`[...document.querySelectorAll("button, input, select")]
      .filter(element => element.offsetHeight > 0 && element.offsetHeight < 44)
      .map(element => element.outerHTML)`)
    t.strictSame(small, [], 'everything is big enough for a finger')
    const headings = await page.getByRole('heading').allTextContents()
    t.strictSame(headings.slice(0, 3), ['fastify-logout', 'Sign in', 'Devices'])
    const names = await page.getByRole('button').evaluateAll(buttons => buttons.map(button => button.ariaLabel ?? button.textContent))
    t.equal(new Set(names).size, names.length, 'no two buttons have the same name')
    t.equal(await page.getByRole('status').count(), 1)
    t.equal(await page.getByRole('complementary', { name: 'What the server answered' }).count(), 1)
  })
})
