// Access and refresh tokens in cookies, and a logout that ends both: on this device, on the others, or on all.
import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import { credentialOf, revocationGuard, sessionLogout } from 'fastify-logout'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { jwtSource } from 'fastify-logout/session-sources/jwt'
import { randomBytes, randomUUID } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/**
 * Both tokens of a session have its `sid` and the time of its login. `aud` distinguishes them.
 * @typedef {{ sub: string, sid: string, login: number }} Claims
 */

const day = 24 * 3_600_000
// The same words describe a cookie where it is set and where it is removed. Over https, `secure` is true.
const access = /** @type {const} */ ({ name: 'access', path: '/', sameSite: 'lax', httpOnly: true, secure: false })
const refresh = /** @type {const} */ ({ name: 'refresh', path: '/', sameSite: 'strict', httpOnly: true, secure: false })

/**
 * The ids of a token. Each refresh makes a new `iat`: what a logout everywhere compares is the time of the login.
 * @param {Claims} claims
 */
const credential = claims => ({ ...credentialOf(claims), loggedInAt: claims.login })

/** @param {import('fastify').FastifyInstance} app */
export async function add (app) {
  // With several nodes, keep the marks in Redis or Postgres.
  const revocations = memoryRevocationStore()
  await app.register(fastifyCookie)
  await app.register(fastifyJwt, { secret: randomBytes(32) })
  // Refuses what was logged out, on every route but the logout itself.
  await app.register(revocationGuard, {
    revocations, credential: ({ user }) => user ? credential(/** @type {Claims} */ (user)) : undefined
  })
  await app.register(sessionLogout, {
    sessions: jwtSource({
      verify: token => /** @type {Claims} */ (app.jwt.verify(token, { ignoreExpiration: true })),
      revocations,
      lifetime: 30 * day,
      from: ['bearer', access, refresh],
      credential
    }),
    onLogout: event => { app.log.info(event, 'logged out') }
  })

  /** A hook that lets nobody in without a good token in the cookie of this name. @param {'access' | 'refresh'} use */
  const authenticated = use => async (/** @type {import('fastify').FastifyRequest} */ request) => {
    try {
      request.user = /** @type {Claims} */ (app.jwt.verify(request.cookies[use] ?? '', { allowedAud: use }))
    } catch {
      throw Object.assign(new Error('log in first'), { statusCode: 401 })
    }
  }
  /** @param {import('fastify').FastifyReply} reply @param {Claims} session */
  const setTokens = (reply, { sub, sid, login }) => {
    reply.setCookie(access.name, app.jwt.sign({ sub, sid, login, aud: 'access' }, { expiresIn: '5m' }), access)
    reply.setCookie(refresh.name, app.jwt.sign({ sub, sid, login, aud: 'refresh' }, { expiresIn: '30d' }), refresh)
  }

  // Your login checks a password before it does this.
  app.post('/login', async (_request, reply) => {
    setTokens(reply, { sub: 'alice', sid: randomUUID(), login: Date.now() })
    return { user: 'alice' }
  })
  app.get('/me', { onRequest: authenticated('access') }, async ({ user }) => ({ user: /** @type {Claims} */ (user).sub }))
  app.post('/refresh', { onRequest: authenticated('refresh') }, async ({ user }, reply) => {
    setTokens(reply, /** @type {Claims} */ (user))
    return { refreshed: true }
  })
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  await add(app)
  /** Logs in on a new device. Returns the cookies that it then has. */
  const logIn = async () => {
    const { cookies } = await app.inject({ method: 'POST', url: '/login' })
    return cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  }
  return { app, cookies: { laptop: await logIn(), phone: await logIn(), tablet: await logIn() } }
}

/** @param {string} address @param {{ cookies: { laptop: string, phone: string, tablet: string } }} example */
export function curls (address, { cookies: { laptop, phone, tablet } }) {
  const logOut = `curl -i -X POST ${address}/logout`
  const [accessToken = ''] = phone.split('; ')
  return `Access and refresh tokens: alice has logged in on a laptop, a phone and a tablet
  200  curl -i ${address}/me -b '${laptop}'
  204  ${logOut} -b '${accessToken}'
  401  curl -i -X POST ${address}/refresh -b '${phone}'
  303  ${logOut} -b '${tablet}' -H 'Accept: text/html' -d return_to=/goodbye
  403  ${logOut} -b '${laptop}' -H 'Sec-Fetch-Site: cross-site'
  204  ${logOut} -b '${laptop}' -H 'Content-Type: application/json' -d '{"scope":"others"}'
  200  curl -i -X POST ${address}/refresh -b '${laptop}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
