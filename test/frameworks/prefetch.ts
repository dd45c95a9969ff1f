import Fastify, { type FastifyInstance } from 'fastify'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { kratosBrowserLogout } from '../../lib/flows/kratos-browser.ts'
import { kratosSessions } from '../../lib/flows/kratos-sessions.ts'
import { host, people } from '../kratos-host.ts'
import { launch, noBrowser } from '../servers/chromium.ts'
import { freePort } from '../servers/private-process.ts'

// Real frameworks in a real browser: none of them logs a user out by prefetching the link to the logout, and a click does.

t.setTimeout(900_000)

/** A request to the logout URL, as the server got it. */
interface Asked {
  readonly headers: IncomingHttpHeaders
  readonly status: number
}

const packages = {
  '@hotwired/turbo': '8.0.23',
  'htmx-ext-preload': '2.1.2',
  'htmx.org': '2.0.8',
  'instant.page': '5.2.0',
  next: '16.4.6',
  quicklink: '3.0.2',
  react: '19.3.1',
  'react-dom': '19.3.1'
}

/** The files of a Next.js app whose home page asks for the logout URL and puts it into a link, as Ory's example does. */
const nextApp = {
  // The logout server stands behind Next.js, on the same origin. The rewrites become part of the build.
  'next.config.mjs': `export default {
    rewrites: async () => ['login', 'self-service', 'sessions'].map(path => ({
      source: '/' + path + '/:rest*', destination: process.env.LOGOUT_SERVER + '/' + path + '/:rest*'
    }))
  }`,
  'app/layout.js': `export default function Layout ({ children }) {
    return <html><body>{children}</body></html>
  }`,
  'app/page.js': `'use client'
  import Link from 'next/link'
  import { useEffect, useState } from 'react'

  export default function Home () {
    const [logoutUrl, setLogoutUrl] = useState()
    useEffect(() => {
      fetch('/self-service/logout/browser').then(response => response.json()).then(flow => setLogoutUrl(flow.logout_url))
    }, [])
    return logoutUrl === undefined ? 'Loading' : <Link href={logoutUrl}>Log out</Link>
  }`
}

/** A folder with the packages and the app, outside of this repository: Next.js would take that for its own. */
async function installed (t: Test): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-logout-frameworks-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'app'))
  const files = { 'package.json': JSON.stringify({ private: true, dependencies: packages }), ...nextApp }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: folder })
  return folder
}

/** Runs a command to its end. Rejects with what it wrote if it fails. */
async function run (command: string, args: readonly string[], options: { readonly cwd: string, readonly env?: NodeJS.ProcessEnv }) {
  try {
    await promisify(execFile)(command, args, { ...options, timeout: 600_000 })
  } catch (error) {
    const { message, stdout, stderr } = error as Error & { stdout: string, stderr: string }
    throw new Error(`${message}\n${stdout}\n${stderr}`)
  }
}

/** A server with a login and the Kratos flows, which browsers find at this address. Its return URL is on another origin. */
async function logoutServer (t: Test, publicUrl: string) {
  const elsewhere = Fastify()
  t.teardown(() => elsewhere.close())
  elsewhere.get('/goodbye', async (_request, reply) => reply.type('text/html').send('<h1>You are logged out</h1>'))
  await elsewhere.listen({ port: 0, host: '127.0.0.1' })
  const returnUrl = `http://127.0.0.1:${(elsewhere.server.address() as AddressInfo).port}/goodbye`
  const { sessions } = await host()
  const asked: Asked[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onResponse', async ({ url, headers }, { statusCode }) => {
    if (/^\/self-service\/logout\?/.test(url)) asked.push({ headers, status: statusCode })
  })
  await app.register(kratosBrowserLogout, { sessions, publicUrl, returnUrls: { default: returnUrl }, cookie: { secure: false } })
  await app.register(kratosSessions, { sessions, cookie: { secure: false } })
  app.get('/login', async (_request, reply) => {
    return reply.header('set-cookie', `ory_kratos_session=${people.laptop.token}; Path=/; HttpOnly; SameSite=Lax`).redirect('/')
  })
  return { app, asked, returnUrl }
}

interface Visit {
  readonly browser: Browser
  readonly address: string
  readonly returnUrl: string
  readonly asked: Asked[]
  readonly isPrefetch: (headers: IncomingHttpHeaders) => boolean
  /** What a user does that makes the framework prefetch. */
  readonly provoke: (page: Page) => Promise<unknown>
}

/** Signs in, waits for a prefetch of the logout URL, and then clicks the link. */
async function prefetchThenClick (t: Test, { browser, address, returnUrl, asked, isPrefetch, provoke }: Visit): Promise<void> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  const isSignedIn = async () => (await page.request.get(`${address}/sessions/whoami`)).ok()
  await page.goto(`${address}/login`)
  const link = page.getByRole('link', { name: 'Log out' })
  await link.waitFor()
  await provoke(page)
  for (let waited = 0; waited < 100 && !asked.some(({ headers }) => isPrefetch(headers)); waited++) await page.waitForTimeout(100)

  const prefetches = asked.filter(({ headers }) => isPrefetch(headers))
  t.ok(prefetches.length > 0, 'the logout URL was prefetched')
  t.ok(prefetches.every(({ status }) => status === 403), 'and refused')
  t.ok(await isSignedIn(), 'the user is still signed in')

  await link.click()
  await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
  t.equal(page.url(), returnUrl)
  t.notOk(await isSignedIn(), 'a click logs out')
}

const hover = (page: Page) => page.getByRole('link', { name: 'Log out' }).hover()

/** Libraries for pages that a server renders: the script of each, and how it marks a prefetch. */
const libraries = {
  'Turbo 8': {
    file: '@hotwired/turbo/dist/turbo.es2017-esm.js',
    isPrefetch: (headers: IncomingHttpHeaders) => headers['x-sec-purpose'] === 'prefetch',
    provoke: hover
  },
  'instant.page': {
    file: 'instant.page/instantpage.js',
    isPrefetch: (headers: IncomingHttpHeaders) => /^prefetch/.test(String(headers['sec-purpose'] ?? headers['purpose'])),
    provoke: hover,
    body: '<body data-instant-allow-query-string>'
  },
  quicklink: {
    file: 'quicklink/dist/quicklink.mjs',
    isPrefetch: (headers: IncomingHttpHeaders) => /^prefetch/.test(String(headers['sec-purpose'] ?? headers['purpose'])),
    provoke: async () => {},
    start: 'import { listen } from "/lib/quicklink/dist/quicklink.mjs"; listen({ timeout: 100 })'
  },
  'htmx with its preload extension': {
    file: 'htmx-ext-preload/dist/preload.js',
    isPrefetch: (headers: IncomingHttpHeaders) => headers['hx-preloaded'] === 'true',
    provoke: async (page: Page) => page.getByRole('link', { name: 'Log out' }).dispatchEvent('mouseover'),
    body: '<body hx-ext="preload">',
    attributes: 'preload="mouseover"',
    before: '<script src="/lib/htmx.org/dist/htmx.js"></script>'
  }
} as const

interface Library {
  readonly file: string
  readonly body?: string
  readonly attributes?: string
  readonly before?: string
  readonly start?: string
}

function serveHome (app: FastifyInstance, folder: string, { file, body = '<body>', attributes = '', before = '', start }: Library): void {
  app.get<{ Params: { '*': string } }>('/lib/*', async ({ params }, reply) => {
    return reply.type('text/javascript').send(await readFile(join(folder, 'node_modules', params['*'])))
  })
  const script = start === undefined ? `<script type="module" src="/lib/${file}"></script>` : `<script type="module">${start}</script>`
  app.get('/', async (request, reply) => {
    const { body: flow } = await app.inject({ url: '/self-service/logout/browser', headers: { cookie: request.headers.cookie ?? '' } })
    const { logout_url: url } = JSON.parse(flow) as { logout_url: string }
    const link = `<a href="${url.replaceAll('&', '&amp;')}" ${attributes}>Log out</a>`
    return reply.type('text/html').send(`<!doctype html><html><head>${before}${script}</head>${body}${link}</body></html>`)
  })
}

t.test('frameworks', { skip: noBrowser }, async t => {
  const folder = await installed(t)
  const browser = await launch()
  t.teardown(() => browser.close())

  for (const [name, library] of Object.entries(libraries)) {
    await t.test(`${name} prefetches the logout URL, which logs nobody out`, async t => {
      const port = await freePort()
      const address = `http://127.0.0.1:${port}`
      const { app, ...server } = await logoutServer(t, address)
      serveHome(app, folder, library)
      await app.listen({ port, host: '127.0.0.1' })
      await prefetchThenClick(t, { browser, address, ...server, ...library })
    })
  }

  await t.test('a production build of Next.js prefetches the logout URL, which logs nobody out', async t => {
    const port = await freePort()
    const address = `http://127.0.0.1:${port}`
    const { app, ...server } = await logoutServer(t, address)
    const origin = await app.listen({ port: 0, host: '127.0.0.1' })
    const env = { ...process.env, NODE_OPTIONS: '', NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1', LOGOUT_SERVER: origin } as const
    const next = join(folder, 'node_modules', 'next', 'dist', 'bin', 'next')
    await run(process.execPath, [next, 'build'], { cwd: folder, env })
    const running = spawn(process.execPath, [next, 'start', '--port', String(port), '--hostname', '127.0.0.1'], {
      cwd: folder, env, stdio: 'ignore'
    })
    const ended = once(running, 'exit')
    t.teardown(async () => {
      running.kill()
      await ended
    })
    while (running.exitCode === null && !await fetch(address).then(({ ok }) => ok, () => false)) await sleep(100)
    t.equal(running.exitCode, null, 'Next.js runs')

    await prefetchThenClick(t, {
      browser, address, ...server, isPrefetch: headers => headers['next-router-prefetch'] !== undefined, provoke: async () => {}
    })
  })
})
