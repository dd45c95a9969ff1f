import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Pool } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { protectSessionStore, type ProtectableSessionStore } from '../../lib/bridges/express-session.ts'
import { sessionLogout } from '../../lib/flows/session.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { fastifySessionSource } from '../../lib/session-sources/fastify-session.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'

// A host with the plugins of the official demo application (github.com/fastify/demo), in its order and at its versions: its
// sessions in memory, its users in MySQL, its login hook on every route below /api. It gets `sessionLogout` over MySQL.

t.setTimeout(600_000)

const packages = {
  fastify: '^5.10.0',
  'fastify-plugin': '^6.0.0',
  '@fastify/cookie': '^11.1.2',
  '@fastify/cors': '^11.3.0',
  '@fastify/helmet': '^13.1.0',
  '@fastify/rate-limit': '^11.1.0',
  '@fastify/sensible': '^6.0.4',
  '@fastify/session': '^11.1.2',
  '@fastify/under-pressure': '^9.1.0',
  knex: '^3.3.0',
  mysql2: '^3.23.1'
}

type Load = <Module>(name: keyof typeof packages) => Module

/** Installs the packages in a folder of their own. */
async function installed (t: Test): Promise<Load> {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-logout-demo-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: packages }))
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: folder, timeout: 500_000 })
  return createRequire(join(folder, 'package.json')) as unknown as Load
}

/** A query builder of knex, as far as the host needs it. */
interface Knex {
  (table: string): { insert (row: object): Promise<unknown>, where (row: object): { first (): Promise<{ id: number } | undefined> } }
  raw (statement: string): Promise<unknown>
  destroy (): Promise<void>
}

type Register = (plugin: unknown, options?: object) => FastifyInstance
interface SessionPlugin {
  readonly MemoryStore: new () => ProtectableSessionStore
}
interface DemoSession { user?: { id: number, email: string }, loggedInAt?: number, save (): Promise<void> }

const sessionOf = (request: FastifyRequest) => (request as unknown as { session: DemoSession }).session
const cookieName = 'session_id'
const secret = 'a secret of at least 32 characters'

/** The plugins of the demo, without a session. */
function registerOthers (load: Load, register: Register): void {
  register(load('@fastify/cors'), { methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] })
  register(load('@fastify/helmet'))
  register(load('@fastify/rate-limit'), { max: 1000, timeWindow: '1 minute' })
  register(load('@fastify/sensible'))
  register(load('@fastify/under-pressure'), { maxEventLoopDelay: 60_000, exposeStatusRoute: true })
}

/** What a host adds to the demo: ten lines. */
async function withLogout (load: Load, register: Register, pool: Pool): Promise<void> {
  const plugin = load<SessionPlugin>('@fastify/session')
  const revocations = mysqlRevocationStore(pool)
  await revocations.migrate()
  const store = protectSessionStore(new plugin.MemoryStore(), revocations, {
    credential: ({ user, loggedInAt }: DemoSession) => user && { subject: String(user.id), loggedInAt }
  })
  register(load('@fastify/cookie'))
  register(plugin, { secret, cookieName, cookie: { secure: false, httpOnly: true, maxAge: 1_800_000 }, store })
  register(sessionLogout, { prefix: '/api/auth', sessions: fastifySessionSource(store, { cookieName }) })
}

async function apiRoutes (api: FastifyInstance, { knex }: { knex: Knex }): Promise<void> {
  api.addHook('onRequest', async (request, reply) => {
    if (request.url.startsWith('/api/auth/login') || sessionOf(request).user !== undefined) return undefined
    // Saving a session takes time now: without `return`, the hook would end before its response is sent.
    return (reply as FastifyReply & { unauthorized (message: string): FastifyReply }).unauthorized('You must be authenticated')
  })
  api.post<{ Body: { email: string } }>('/auth/login', async (request, reply) => {
    const { email } = request.body
    const user = await knex('users').where({ email }).first()
    if (user === undefined) return reply.code(401).send({ message: 'Invalid email or password.' })
    const session = sessionOf(request)
    Object.assign(session, { user: { id: user.id, email }, loggedInAt: Date.now() })
    await session.save()
    return { success: true }
  })
  api.get('/', async request => ({ message: `Hello ${sessionOf(request).user?.email}` }))
}

/** The demo on a database of its own. */
async function demo (t: Test, load: Load, { url, pool }: { readonly url: string, readonly pool: Pool }) {
  const app = load<(options: object) => FastifyInstance>('fastify')({})
  const knex = load<(options: object) => Knex>('knex')({ client: 'mysql2', connection: url, pool: { min: 2, max: 10 } })
  app.addHook('onClose', () => knex.destroy())
  t.teardown(() => app.close())
  const register = app.register.bind(app) as unknown as Register
  registerOthers(load, register)
  const external = load<(plugin: unknown) => unknown>('fastify-plugin')
  register(external(async (scope: FastifyInstance) => withLogout(load, scope.register.bind(scope) as unknown as Register, pool)))
  register(apiRoutes, { prefix: '/api', knex })
  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    reply.code(error.statusCode ?? 500)
    return { message: (error.statusCode ?? 500) < 500 ? error.message : 'Internal Server Error' }
  })
  await app.ready()

  const cookies = (value: string) => ({ cookies: { [cookieName]: value } })
  return {
    app,
    knex,
    /** Logs in on a device: the value of its cookie. */
    async logIn (email: string) {
      await sleep(2)
      const { cookies } = await app.inject({ method: 'POST', url: '/api/auth/login', payload: { email } })
      return cookies.find(({ name }) => name === cookieName)?.value ?? ''
    },
    statusOf: async (cookie: string) => (await app.inject({ url: '/api/', ...cookies(cookie) })).statusCode,
    logOut: (cookie: string, scope = 'current') =>
      app.inject({ method: 'POST', url: '/api/auth/logout', payload: { scope }, ...cookies(cookie) })
  }
}

t.test('the plugins of the official demo with sessionLogout, marks in MySQL', t => withPrivateMysql(t, async server => {
  const load = await installed(t)
  const pool = mysqlPool(t, server.url)
  const { app, knex, logIn, logOut, statusOf } = await demo(t, load, { url: server.url, pool })
  await knex.raw('CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) UNIQUE NOT NULL)')
  for (const name of ['basic', 'admin']) await knex('users').insert({ email: `${name}@example.com` })

  await t.test('one device: the cookie is cleared with its attributes, the session has ended, and a retry is the same', async t => {
    const [laptop, phone] = [await logIn('basic@example.com'), await logIn('basic@example.com')]
    t.strictSame([await statusOf(laptop), await statusOf(phone)], [200, 200])
    for (const round of ['first', 'again']) {
      const { statusCode, headers } = await logOut(laptop)
      t.equal(statusCode, 204, round)
      t.match(headers['set-cookie'], /^session_id=; (?=.*Max-Age=0)(?=.*Path=\/)(?=.*HttpOnly)/, round)
      t.notMatch(headers['set-cookie'], /Secure/)
    }
    t.strictSame([await statusOf(laptop), await statusOf(phone)], [401, 200])
  })

  await t.test('the others, then all; a login after it is live, and other users are not touched', async t => {
    const [laptop, phone, admin] = [await logIn('basic@example.com'), await logIn('basic@example.com'), await logIn('admin@example.com')]
    t.equal((await logOut(laptop, 'others')).statusCode, 204)
    t.strictSame([await statusOf(laptop), await statusOf(phone)], [200, 401])
    t.equal((await logOut(laptop, 'all')).statusCode, 204)
    t.equal(await statusOf(laptop), 401)
    t.equal(await statusOf(await logIn('basic@example.com')), 200)
    t.equal(await statusOf(admin), 200)
  })

  await t.test('a page gets a 303, an error has the shape of the host, and its own 401 and 404 stay', async t => {
    const laptop = await logIn('basic@example.com')
    const page = { accept: 'text/html', 'sec-fetch-site': 'same-origin' }
    const crossSite = { method: 'POST', url: '/api/auth/logout', headers: { 'sec-fetch-site': 'cross-site' } } as const
    const refused = await app.inject({ ...crossSite, cookies: { [cookieName]: laptop } })
    t.strictSame([refused.statusCode, refused.json()], [403, { message: 'Cross-site logout requests are not allowed.' }])
    t.equal(await statusOf(laptop), 200)
    const cookies = { [cookieName]: laptop }
    t.match(await app.inject({ method: 'POST', url: '/api/auth/logout', headers: page, cookies }), {
      statusCode: 303, headers: { location: '/' }
    })
    t.equal((await app.inject({ url: '/api/' })).statusCode, 401)
    t.equal((await app.inject({ url: '/nowhere' })).statusCode, 404)
  })

  await t.test('while MySQL is frozen a logout is a 503, and the retry ends the session', async t => {
    const laptop = await logIn('basic@example.com')
    server.freeze()
    const { statusCode, headers, body } = await logOut(laptop)
    server.thaw()
    t.equal(statusCode, 503)
    t.strictSame(JSON.parse(body), { message: 'Internal Server Error' })
    t.equal(headers['set-cookie'], undefined, 'the cookie stays')
    let status = 0
    for (let attempt = 0; attempt < 40 && status !== 204; attempt++) status = (await logOut(laptop)).statusCode
    t.equal(status, 204)
    t.equal(await statusOf(laptop), 401)
  })
}))
