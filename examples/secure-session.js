// Sessions of @fastify/secure-session, which stand in their cookie, and a logout that ends every copy of it.
import fastifySecureSession from '@fastify/secure-session'
import Fastify from 'fastify'
import { revocationGuard, sessionLogout } from 'fastify-logout'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { secureSessionSource } from 'fastify-logout/session-sources/secure-session'
import { randomBytes, randomUUID } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/** @typedef {{ get (name: string): unknown, set (name: string, value: unknown): void, regenerate (): void }} Session */

const day = 24 * 3_600_000

/** @param {import('fastify').FastifyRequest} request @returns {Session} */
const sessionOf = request => /** @type {any} */ (request).session

/** @param {import('fastify').FastifyInstance} app */
export async function add (app) {
  // With several nodes, keep the marks in Redis or Postgres.
  const revocations = memoryRevocationStore()
  const sessions = secureSessionSource({
    revocations,
    lifetime: day,
    sessionOf: (/** @type {Record<string, unknown>} */ { id, user, loggedInAt }) => typeof id === 'string'
      ? { id, subject: String(user), issuedAt: Number(loggedInAt) }
      : undefined
  })
  await app.register(fastifySecureSession, {
    key: randomBytes(32), expiry: day / 1000, cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure: 'auto' }
  })
  // Refuses what was logged out, on every route but the logout itself.
  await app.register(revocationGuard, { revocations, credential: sessions.credential })
  await app.register(sessionLogout, {
    sessions,
    onLogout: event => { app.log.info(event, 'logged out') }
  })

  // Your login checks a password before it does this. The guard would refuse a browser that kept a revoked cookie.
  app.post('/login', { config: { revocation: false } }, async request => {
    const session = sessionOf(request)
    session.regenerate()
    for (const [name, value] of Object.entries({ id: randomUUID(), user: 'alice', loggedInAt: Date.now() })) session.set(name, value)
    return { user: 'alice' }
  })
  app.get('/me', async (request, reply) => {
    const user = sessionOf(request).get('user')
    return user === undefined ? reply.code(401).send({ error: 'log in first' }) : { user }
  })
  return { revocations, sessions }
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  await add(app)
  return { app, cookies: await logInOnThreeDevices(app) }
}

/**
 * Logs in on each device. Returns the cookie that it then has.
 * @param {import('fastify').FastifyInstance} app
 */
export async function logInOnThreeDevices (app) {
  const logIn = async () => {
    const { headers } = await app.inject({ method: 'POST', url: '/login' })
    return String(headers['set-cookie']).split(';', 1)[0] ?? ''
  }
  return { laptop: await logIn(), phone: await logIn(), tablet: await logIn() }
}

/** @param {string} address @param {{ cookies: { laptop: string, phone: string, tablet: string } }} example */
export function curls (address, { cookies: { laptop, phone, tablet } }) {
  const logOut = `curl -i -X POST ${address}/logout`
  return `Sessions in their cookies: alice has logged in on a laptop, a phone and a tablet
  200  curl -i ${address}/me -b '${laptop}'
  204  ${logOut} -b '${phone}'
  401  curl -i ${address}/me -b '${phone}'
  303  ${logOut} -b '${tablet}' -H 'Accept: text/html' -d return_to=/goodbye
  204  ${logOut} -b '${laptop}' -H 'Content-Type: application/json' -d '{"scope":"others"}'
  200  curl -i ${address}/me -b '${laptop}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
