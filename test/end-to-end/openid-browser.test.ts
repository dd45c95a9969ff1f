import Fastify from 'fastify'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { rpInitiatedLogout } from '../../lib/flows/openid-rp-initiated.ts'
import { ownSessions } from '../own-sessions.ts'
import { launch, noBrowser } from '../servers/chromium.ts'
import { freePort } from '../servers/private-process.ts'

t.setTimeout(120_000)

/** A provider on another site, that logs out whoever comes, by GET or POST. */
async function provider (t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  const asked: Array<{ readonly method: string, readonly parameters: URLSearchParams }> = []
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => { done(null, body) })
  app.route({
    method: ['GET', 'POST'],
    url: '/logout',
    handler: async ({ method, body, url }, reply) => {
      const parameters = new URLSearchParams(method === 'POST' ? String(body) : url.slice(url.indexOf('?')))
      asked.push({ method, parameters })
      return reply.redirect(`${parameters.get('post_logout_redirect_uri')}?state=${parameters.get('state')}`, 303)
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { issuer: `http://localhost:${(app.server.address() as AddressInfo).port}`, asked }
}

/** A host with a page that logs out by a form, and one that says goodbye. */
async function host (t: Test, issuer: string, maxUrlLength: number) {
  const port = await freePort()
  const publicUrl = `http://127.0.0.1:${port}`
  const own = ownSessions()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rpInitiatedLogout({
    sessions: own.sessions,
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: `${issuer}/logout` }],
    provider: session => ({ issuer, idToken: session && 'a hint' }),
    publicUrl,
    returnUrls: { default: '/' },
    clear: { cookies: [{ name: 'sid', secure: false }] },
    route: { allowGet: true, maxUrlLength }
  }))
  app.get('/', async (_request, reply) => {
    const button = '<form method="post" action="/logout"><input type="hidden" name="return_to" value="/bye"><button>Log out</button></form>'
    return reply.type('text/html').header('set-cookie', `${own.logIn(1)}; Path=/; HttpOnly; SameSite=Lax`)
      .send(`<!doctype html><title>home</title>${button}<a href="/logout?return_to=/bye">Link</a>`)
  })
  app.get('/bye', async (_request, reply) => reply.type('text/html').send('<!doctype html><h1>Goodbye</h1>'))
  await app.listen({ port, host: '127.0.0.1' })
  return { publicUrl, isLive: own.isLive }
}

t.test('a real browser', { skip: noBrowser }, async t => {
  const browser = await launch()
  t.teardown(() => browser.close())

  for (const [what, maxUrlLength, method] of [['a redirect', 2000, 'GET'], ['a form that posts itself', 0, 'POST']] as const) {
    for (const element of ['button', 'link'] as const) {
      await t.test(`goes to the provider by ${what}, and comes back to its return URL: ${element}`, async t => {
        const { issuer, asked } = await provider(t)
        const { publicUrl, isLive } = await host(t, issuer, maxUrlLength)
        const context = await browser.newContext()
        t.teardown(() => context.close())
        const page = await context.newPage()
        const complaints: string[] = []
        page.on('console', message => { complaints.push(message.text()) })
        await page.goto(publicUrl)
        const [cookie] = await context.cookies(publicUrl)
        t.ok(isLive(`sid=${cookie?.value}`))
        await page.getByRole(element).click()
        await page.getByRole('heading', { name: 'Goodbye' }).waitFor()
        t.equal(page.url(), `${publicUrl}/bye`)
        t.notOk(isLive(`sid=${cookie?.value}`))
        t.strictSame(await context.cookies(publicUrl), [], 'the session and the state are gone')
        t.strictSame(asked.map(({ method, parameters }) => [method, parameters.get('id_token_hint')]), [[method, 'a hint']])
        t.strictSame(complaints.filter(text => /Content.Security.Policy|Refused/i.test(text)), [])
      })
    }
  }

  await t.test('posts the form by a button where scripts are off', async t => {
    const { issuer } = await provider(t)
    const { publicUrl } = await host(t, issuer, 0)
    const context = await browser.newContext({ javaScriptEnabled: false })
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.goto(publicUrl)
    await page.getByRole('button').click()
    await page.waitForURL(`${publicUrl}/logout`)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('heading', { name: 'Goodbye' }).waitFor()
    t.equal(page.url(), `${publicUrl}/bye`)
  })
})
