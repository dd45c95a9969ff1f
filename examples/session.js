// Sessions of @fastify/session, and a logout that ends them: on this device, on the others, or on all.
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import { sessionLogout } from 'fastify-logout'
import { protectSessionStore } from 'fastify-logout/bridges/express-session'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { fastifySessionSource } from 'fastify-logout/session-sources/fastify-session'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/** @typedef {import('fastify').FastifyRequest & { session: Record<string, any> }} Request */

const lifetime = 24 * 3_600_000

/** @param {import('fastify').FastifyInstance} app */
export async function add (app) {
  // The marks keep a request that is still running from bringing a session back. With several nodes, keep them in Redis or Postgres.
  const store = protectSessionStore(new fastifySession.MemoryStore(), memoryRevocationStore(), {
    lifetime,
    credential: (/** @type {{ user?: string, loggedInAt?: number }} */ { user, loggedInAt }) => user === undefined
      ? undefined
      : { subject: user, issuedAt: loggedInAt }
  })
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret: randomBytes(32).toString('hex'), store, cookie: { secure: 'auto', sameSite: 'lax', maxAge: lifetime }
  })
  await app.register(sessionLogout, {
    sessions: fastifySessionSource(store),
    onLogout: event => { app.log.info(event, 'logged out') }
  })

  // Your login checks a password before it does this.
  app.post('/login', async request => {
    await /** @type {Request} */ (request).session.regenerate()
    Object.assign(/** @type {Request} */ (request).session, { user: 'alice', loggedInAt: Date.now() })
    return { user: 'alice' }
  })
  app.get('/me', async (request, reply) => {
    const { user } = /** @type {Request} */ (request).session
    return user === undefined ? reply.code(401).send({ error: 'log in first' }) : { user }
  })
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  await add(app)
  /** Logs in on a new device. Returns the cookie that it then has. */
  const logIn = async () => {
    const { headers } = await app.inject({ method: 'POST', url: '/login' })
    return String(headers['set-cookie']).split(';', 1)[0] ?? ''
  }
  return { app, cookies: { laptop: await logIn(), phone: await logIn(), tablet: await logIn() } }
}

/** @param {string} address @param {{ cookies: { laptop: string, phone: string, tablet: string } }} example */
export function curls (address, { cookies: { laptop, phone, tablet } }) {
  const logOut = `curl -i -X POST ${address}/logout`
  return `Your own sessions: alice has logged in on a laptop, a phone and a tablet
  200  curl -i ${address}/me -b '${laptop}'
  204  ${logOut} -b '${phone}'
  401  curl -i ${address}/me -b '${phone}'
  303  ${logOut} -b '${tablet}' -H 'Accept: text/html' -d return_to=/goodbye
  403  ${logOut} -b '${laptop}' -H 'Sec-Fetch-Site: cross-site'
  204  ${logOut} -b '${laptop}' -H 'Content-Type: application/json' -d '{"scope":"others"}'
  200  curl -i ${address}/me -b '${laptop}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
