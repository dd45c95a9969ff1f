import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { start } from '../../examples/openid-connect.js'
import { launch, noBrowser } from '../servers/chromium.ts'
import { freePort } from '../servers/private-process.ts'

// The example host and the provider that it starts, as a person uses them.

t.setTimeout(180_000)

interface Seen {
  readonly url: string
  readonly status: number
  readonly cookie: string | undefined
  readonly destination: unknown
}

/** The host and the provider are two sites: 127.0.0.1 and localhost. */
async function example (t: Test) {
  const place = { host: '127.0.0.1', port: await freePort() }
  const lines: string[] = []
  const logger = { level: 'info', stream: { write: (line: string) => { lines.push(line) } } }
  const started = await start(place, { host: 'localhost', port: await freePort() }, { logger })
  t.teardown(() => started.app.close())
  const seen: Seen[] = []
  started.app.addHook('onResponse', async ({ url, headers }, { statusCode }) => {
    seen.push({ url, status: statusCode, cookie: headers.cookie, destination: headers['sec-fetch-dest'] })
  })
  await started.app.listen(place)
  return { ...started, seen, lines, provider: started.issuer }
}

const heading = (page: Page, name: string) => page.getByRole('heading', { name, exact: true }).waitFor()
const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()
const cookiesOf = async (context: BrowserContext, url: string) => (await context.cookies(url)).map(({ name }) => name).sort()

t.test('the example in a real browser', { skip: noBrowser }, async t => {
  const browser = await launch()
  t.teardown(() => browser.close())

  const signedIn = async (t: Test) => {
    const sites = await example(t)
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.goto(sites.publicUrl)
    await press(page, 'Sign in')
    await heading(page, 'Sign in at the provider')
    await page.getByLabel('Your name').fill('alice')
    await press(page, 'Sign in')
    await heading(page, 'Signed in as alice')
    t.strictSame(await cookiesOf(context, sites.publicUrl), ['sid'])
    return { ...sites, context, page }
  }

  await t.test('logging out here leaves the session at the provider: the next login asks for no name', async t => {
    const { page, context, publicUrl } = await signedIn(t)
    await press(page, 'Log out here')
    await heading(page, 'Signed out')
    t.strictSame(await cookiesOf(context, publicUrl), [])
    await press(page, 'Sign in')
    await heading(page, 'Signed in as alice')
  })

  await t.test('logging out here and at the provider ends both sessions, and comes back', async t => {
    const { page, context, publicUrl, seen, lines } = await signedIn(t)
    await press(page, 'Log out here and at the provider')
    await heading(page, 'Sign out of the provider?')
    t.notOk((await cookiesOf(context, publicUrl)).includes('sid'), 'the session here has ended already')
    await press(page, 'Sign out')
    await heading(page, 'Signed out')
    t.equal(page.url(), `${publicUrl}/`)
    t.strictSame(await cookiesOf(context, publicUrl), [], 'the state is gone too')
    t.match(seen.find(({ url }) => url === '/backchannel-logout'), { status: 200 })
    await press(page, 'Sign in')
    await heading(page, 'Sign in at the provider')
    t.notMatch(lines.join(), /id_token|eyJ/, 'no token is in the log')
    t.match(lines.join(), '"user":"alice"')
  })

  await t.test('staying signed in at the provider still ends the session here', async t => {
    const { page, publicUrl } = await signedIn(t)
    await press(page, 'Log out here and at the provider')
    await press(page, 'Stay signed in')
    await heading(page, 'Signed out')
    t.equal(page.url(), `${publicUrl}/`)
    await press(page, 'Sign in')
    await heading(page, 'Signed in as alice')
  })

  await t.test('a logout at the provider ends the session here by the back channel', async t => {
    const { page, publicUrl, seen } = await signedIn(t)
    await press(page, 'Log out at the provider')
    await heading(page, 'Sign out of the provider?')
    await press(page, 'Sign out')
    await heading(page, 'You are signed out of the provider')
    t.match(seen.find(({ url }) => url === '/backchannel-logout'), { status: 200, cookie: undefined })
    await page.goto(publicUrl)
    await heading(page, 'Signed out')
  })

  await t.test('a frame on a page of the provider ends the session here, without a cookie', async t => {
    const { page, publicUrl, seen } = await signedIn(t)
    const loaded = page.waitForResponse(response => response.url().includes('/frontchannel-logout'))
    await press(page, 'Log out by a frame')
    await heading(page, 'Signed out everywhere')
    t.equal((await loaded).status(), 200)
    t.equal(await page.frameLocator('iframe').locator('html').evaluate(() => 'shown'), 'shown')
    const frame = seen.find(({ url }) => url.startsWith('/frontchannel-logout'))
    t.match(frame, { status: 200, destination: 'iframe', cookie: undefined })
    await page.goto(publicUrl)
    await heading(page, 'Signed out')

    await press(page, 'Sign in')
    await heading(page, 'Sign in at the provider')
  })

  await t.test('other browsers of the same user stay signed in', async t => {
    const { page, publicUrl } = await signedIn(t)
    const phone = await browser.newContext()
    t.teardown(() => phone.close())
    const other = await phone.newPage()
    await other.goto(`${publicUrl}/login`)
    await other.getByLabel('Your name').fill('alice')
    await press(other, 'Sign in')
    await heading(other, 'Signed in as alice')
    await press(page, 'Log out at the provider')
    await press(page, 'Sign out')
    await heading(page, 'You are signed out of the provider')
    await page.goto(publicUrl)
    await heading(page, 'Signed out')
    await other.reload()
    await heading(other, 'Signed in as alice')
  })

  await t.test('another site cannot log the user out', async t => {
    const { page, publicUrl, provider, seen } = await signedIn(t)
    await page.goto(`${provider}/sign-in/none`)
    for (const [method, path] of [['post', '/logout'], ['post', '/logout/here'], ['get', '/logout/return?state=x']] as const) {
      await page.setContent(`<form method="${method}" action="${publicUrl}${path}"><button>Go</button></form>`)
      const answered = page.waitForResponse(response => response.url().startsWith(publicUrl))
      await press(page, 'Go')
      t.equal((await answered).status(), method === 'post' ? 403 : 303, path)
      await page.goto(`${provider}/sign-in/none`)
    }
    t.ok(seen.length > 0)
    await page.goto(publicUrl)
    await heading(page, 'Signed in as alice')
  })
})
