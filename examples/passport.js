// Users of @fastify/passport, whose sessions are those of @fastify/session, and a logout that ends them.
import fastifyCookie from '@fastify/cookie'
import { Authenticator, Strategy } from '@fastify/passport'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import { sessionLogout } from 'fastify-logout'
import { protectSessionStore } from 'fastify-logout/bridges/express-session'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { fastifySessionSource } from 'fastify-logout/session-sources/fastify-session'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'
import { curls, logInOnThreeDevices } from './secure-session.js'

const lifetime = 24 * 3_600_000

/** Your strategy checks a password, or asks an identity provider. */
class EverybodyIsAlice extends Strategy {
  /** @override */
  authenticate () {
    this.success({ id: 'alice' })
  }
}

/** @param {import('fastify').FastifyInstance} app */
export async function add (app) {
  const passport = new Authenticator()
  passport.use('alice', new EverybodyIsAlice('alice'))
  passport.registerUserSerializer(async user => /** @type {{ id: string }} */ (user).id)
  passport.registerUserDeserializer(async id => ({ id }))

  // Passport keeps the serialized user in `session.passport`.
  const store = protectSessionStore(new fastifySession.MemoryStore(), memoryRevocationStore(), {
    lifetime,
    credential: (/** @type {{ passport?: string, loggedInAt?: number }} */ { passport: user, loggedInAt }) => user === undefined
      ? undefined
      : { subject: user, loggedInAt }
  })
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret: randomBytes(32).toString('hex'), store, cookie: { secure: 'auto', sameSite: 'lax', maxAge: lifetime }
  })
  await app.register(passport.initialize())
  await app.register(passport.secureSession())
  await app.register(sessionLogout, {
    sessions: fastifySessionSource(store),
    onLogout: event => { app.log.info(event, 'logged out') }
  })

  app.post('/login', { preValidation: passport.authenticate('alice', { authInfo: false }) }, async ({ session, user }) => {
    Object.assign(session, { loggedInAt: Date.now() })
    return { user }
  })
  app.get('/me', async ({ user }, reply) => user ? { user } : reply.code(401).send({ error: 'log in first' }))
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  await add(app)
  return { app, cookies: await logInOnThreeDevices(app) }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example).replace('Sessions in their cookies', 'Users of Passport'))
}
