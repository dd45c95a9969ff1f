import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { launch, noBrowser } from '../servers/chromium.ts'
import { kinds, type SourceHost, type SourceKind } from '../source-hosts.ts'

t.setTimeout(180_000)

const form = (button: string, fields: Readonly<Record<string, string>> = {}) => {
  const inputs = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
  return `<form method="post" action="/logout">${inputs.join('')}<button>${button}</button></form>`
}
// Without an icon the browser asks for /favicon.ico beside the login, and @fastify/session gives that request a new session.
const head = '<!doctype html><link rel="icon" href="data:,">'
const pages = {
  '/account': `${head}<title>Account</title>` +
    form('This device', { return_to: '/bye' }) + form('The others', { scope: 'others', return_to: '/account' }) +
    form('Everywhere', { scope: 'all', return_to: '/bye' }) + form('Somewhere else', { return_to: '//evil.example' }),
  '/bye': `${head}<title>Bye</title><h1>Bye</h1>`
}

/** A host with two pages that listens, and what its logout answered. */
async function listening (t: Test, kind: SourceKind) {
  const host = await kind.make(t, { pages })
  const asked: Array<readonly [status: number, contentType: unknown]> = []
  host.app.server.on('request', ({ url, method }, response) => {
    if (method !== 'POST' || url !== '/logout') return
    response.on('finish', () => { asked.push([response.statusCode, response.getHeader('content-type')]) })
  })
  const origin = (await host.app.listen({ port: 0, host: '127.0.0.1' })).replace('127.0.0.1', 'localhost')
  return { host, origin, asked }
}

/** A device: a profile of its own in the browser. */
class Device {
  readonly context: BrowserContext
  readonly page: Page
  readonly #origin: string

  constructor (context: BrowserContext, page: Page, origin: string) {
    this.context = context
    this.page = page
    this.#origin = origin
  }

  /** The cookies of these names that the browser has. */
  async cookies ({ cookieNames }: SourceHost) {
    const cookies = await this.context.cookies()
    return cookies.filter(({ name }) => cookieNames.includes(name)).map(({ name, value }) => `${name}=${value}`).sort()
  }

  /** What the host says, asked by a script in a page. */
  status = async (page = this.page) => await page.evaluate("fetch('/me').then(response => response.status)")
  open = async (page = this.page) => { await page.goto(`${this.#origin}/account`) }
  async press (name: string, page = this.page) {
    const answered = page.waitForResponse(response => new URL(response.url()).pathname === '/logout')
    await page.getByRole('button', { name }).click()
    const response = await answered
    await page.waitForLoadState()
    return response.status()
  }

  async logIn () {
    await this.open()
    await this.page.evaluate(`fetch('/login', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"user":"alice"}'
    })`)
  }
}

const cookieKinds = kinds.filter(({ name }) => !/plain functions|in a header|saving only/.test(name))

/** Fails if a cookie of before is still there. `@fastify/session` gives whoever asks next a new one, with an empty session. */
async function assertGone (t: Test, device: Device, host: SourceHost, before: readonly string[]) {
  const now = await device.cookies(host)
  t.strictSame(now.filter(cookie => before.includes(cookie)), [], 'the cookies of the session are gone')
  t.equal(await device.status(), 401)
}

t.test('a real browser', { skip: noBrowser }, async t => {
  const browser = await launch()
  t.teardown(() => browser.close())

  const newDevice = async (t: Test, origin: string) => {
    // As behind a proxy that ends TLS: the cookies are secure, which browsers take from localhost too.
    const context = await browser.newContext({ extraHTTPHeaders: { 'x-forwarded-proto': 'https' } })
    context.setDefaultTimeout(20_000)
    t.teardown(() => context.close())
    return new Device(context, await context.newPage(), origin)
  }
  const loggedIn = async (t: Test, origin: string, host: SourceHost) => {
    const device = await newDevice(t, origin)
    await device.logIn()
    t.equal(await device.status(), 200)
    t.equal((await device.cookies(host)).length, host.cookieNames.length, 'the browser took the cookies')
    return device
  }

  for (const kind of cookieKinds) {
    await t.test(`two devices log out one, the others, all: ${kind.name}`, async t => {
      const { host, origin, asked } = await listening(t, kind)
      const [laptop, phone] = [await loggedIn(t, origin, host), await loggedIn(t, origin, host)]

      const before = await phone.cookies(host)
      t.equal(await phone.press('This device'), 303)
      t.equal(phone.page.url(), `${origin}/bye`)
      await assertGone(t, phone, host, before)
      t.equal(await laptop.status(), 200)

      await phone.logIn()
      t.equal(await laptop.press('The others'), 303)
      t.equal(laptop.page.url(), `${origin}/account`)
      t.strictSame([await phone.status(), await laptop.status()], [401, 200])

      await phone.logIn()
      t.strictSame([await phone.status(), await laptop.status()], [200, 200], 'the device logs in again, whatever cookie it kept')
      const kept = await laptop.cookies(host)
      t.equal(await laptop.press('Everywhere'), 303)
      await assertGone(t, laptop, host, kept)
      t.equal(await phone.status(), 401)
      t.strictSame(asked, [[303, undefined], [303, undefined], [303, undefined]])
    })

    await t.test(`two tabs, the back button, and a page that stayed open: ${kind.name}`, async t => {
      const { host, origin, asked } = await listening(t, kind)
      const laptop = await loggedIn(t, origin, host)
      const tab = await laptop.context.newPage()
      await laptop.open(tab)
      t.equal(await laptop.press('This device'), 303)
      t.equal(await laptop.status(tab), 401)
      t.equal(await laptop.press('This device', tab), 303, 'the second tab succeeds as well')
      t.equal(tab.url(), `${origin}/bye`)
      t.equal(host.events.length, 1)

      await laptop.page.goBack()
      t.equal(laptop.page.url(), `${origin}/account`)
      t.equal(asked.length, 2, 'going back sends nothing again')
      t.equal(await laptop.status(), 401)
      t.equal(await laptop.press('This device'), 303)
      await laptop.page.goBack()
      t.equal(await laptop.press('Everywhere'), 401)
      t.equal(host.events.length, 1)
    })

    await t.test(`a retry after a 503, and a refused target: ${kind.name}`, async t => {
      const { host, origin } = await listening(t, kind)
      const laptop = await loggedIn(t, origin, host)
      t.equal(await laptop.press('Somewhere else'), 400)
      await laptop.open()
      t.equal(await laptop.status(), 200)

      const before = await laptop.cookies(host)
      for (const step of ['logOut', 'revoke']) host.broken.set(step, 'rejects')
      t.equal(await laptop.press('This device'), 503)
      t.strictSame(await laptop.cookies(host), before, 'the cookies stay')
      host.broken.clear()
      await laptop.open()
      t.equal(await laptop.status(), 200, 'still logged in')
      t.equal(await laptop.press('This device'), 303)
      await assertGone(t, laptop, host, before)
      t.equal(host.events.length, 1)
    })
  }

  await t.test('a script that logs out by fetch() follows no redirect, and the cookies are gone', async t => {
    const [kind] = cookieKinds.slice(1)
    if (kind === undefined) throw new Error('there is such a host')
    const { host, origin } = await listening(t, kind)
    const laptop = await loggedIn(t, origin, host)
    const before = await laptop.cookies(host)
    const status = await laptop.page.evaluate("fetch('/logout', { method: 'POST' }).then(({ status, redirected }) => [status, redirected])")
    t.strictSame(status, [204, false])
    t.strictSame(await laptop.cookies(host), [])
    await assertGone(t, laptop, host, before)
  })
})
