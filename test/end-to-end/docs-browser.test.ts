import t from 'tap'
import { build } from '../../examples/server.js'
import { launch, noBrowser } from '../servers/chromium.ts'

t.setTimeout(180_000)

// That the document describes each route of each flow is tested by test/internal/plugin/openapi.test.ts.
t.test('a browser sees each operation of the example server at /docs, and can try it', { skip: noBrowser }, async t => {
  const { app, demoPage } = await build({})
  t.teardown(() => app.close())
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = await launch()
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  const complaints: string[] = []
  page.on('pageerror', error => complaints.push(error.message))
  page.on('console', message => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
  page.on('request', request => {
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) complaints.push(`asked for ${request.url()}`)
  })

  t.equal((await page.goto(`${address}/docs`))?.status(), 200)
  await page.locator('.opblock').first().waitFor()
  const shown = await page.locator('.opblock-summary').evaluateAll(rows => rows.map(row => {
    const textOf = (part: string) => row.querySelector(`.opblock-summary-${part}`)?.textContent?.replaceAll('\u200b', '')
    return `${textOf('method')} ${textOf('path')}`
  }))
  const described = Object.entries(app.swagger().paths ?? {}).flatMap(([path, operations]) => (
    Object.keys(operations ?? {}).map(method => `${method.toUpperCase()} ${path}`)
  ))
  t.ok(described.length >= 20)
  t.strictSame(shown.sort(), described.sort())

  await page.getByRole('button', { name: 'Authorize' }).first().click()
  const scheme = page.locator('.auth-container', { hasText: 'x-session-token' })
  await scheme.locator('input').fill(demoPage.token)
  await scheme.getByRole('button', { name: 'Apply credentials' }).click()
  await page.getByRole('button', { name: 'Close' }).first().click()
  const whoami = page.locator('.opblock', { hasText: '/sessions/whoami' }).first()
  await whoami.locator('.opblock-summary-control').click()
  await whoami.getByRole('button', { name: 'Try it out' }).click()
  await whoami.getByRole('button', { name: 'Execute' }).click()
  await whoami.locator('.live-responses-table').getByText('Bob Brown').waitFor()
  t.strictSame(complaints, [])
})
