// A login at an OpenID Provider that every kind of logout can end. The part that matters for logout is `openSession`.
import { jwksVerifier } from 'fastify-logout/token-verifiers/jwks'
import { createHash, randomBytes, randomUUID } from 'node:crypto'

const lifetime = 8 * 3_600_000

/**
 * @typedef {object} Login
 * @property {string} issuer
 * @property {string} clientId
 * @property {string} clientSecret
 * @property {string} publicUrl
 * @property {import('fastify-logout').SessionStore} sessions
 * @property {import('fastify-logout').ProviderSessionIndex} index
 * @property {{ name: string, path: string, httpOnly: boolean, secure: boolean, sameSite: 'lax' }} cookie
 */

/**
 * `GET /login` sends the browser to the provider, `GET /callback` opens a session.
 *
 * @param {import('fastify').FastifyInstance} app with `@fastify/cookie`
 * @param {Login} login
 */
export async function addLogin (app, login) {
  const { issuer, clientId, publicUrl, cookie } = login
  const verifyIdToken = jwksVerifier({ issuers: [{ issuer, audience: clientId, algorithms: ['RS256'] }] })
  const pending = { ...cookie, name: `${cookie.name}-login` }
  const endpoints = once(async () => (await fetch(`${issuer}/.well-known/openid-configuration`)).json())

  app.get('/login', async (_request, reply) => {
    const [state, nonce, verifier] = [random(), random(), random()]
    reply.setCookie(pending.name, JSON.stringify({ state, nonce, verifier }), { ...pending, maxAge: 600 })
    const challenge = createHash('sha256').update(verifier).digest('base64url')
    return reply.redirect(`${(await endpoints()).authorization_endpoint}?${new URLSearchParams({
      client_id: clientId,
response_type: 'code',
scope: 'openid',
redirect_uri: `${publicUrl}/callback`,
state,
nonce,
      code_challenge: challenge,
code_challenge_method: 'S256'
    })}`)
  })

  app.get('/callback', async (request, reply) => {
    const { state, code } = /** @type {Record<string, string>} */ (request.query)
    const asked = JSON.parse(request.cookies[pending.name] ?? '{}')
    reply.clearCookie(pending.name, pending)
    if (!code || !state || state !== asked.state) return reply.code(400).send('This login was not begun here.')
    const { id_token: idToken } = await redeem((await endpoints()).token_endpoint, { ...login, code, verifier: asked.verifier })
    const claims = await verifyIdToken(idToken)
    if (claims.nonce !== asked.nonce) return reply.code(400).send('This is the answer to another login.')
    const token = await openSession(/** @type {IdToken} */ (claims), idToken, login)
    if (token === undefined) return reply.code(401).send('The provider has ended this login already.')
    return reply.setCookie(cookie.name, token, cookie).redirect('/')
  })
}

/** @typedef {{ iss: string, sub: string, sid?: string, iat: number }} IdToken */

/**
 * Opens a session, and binds it to the login at the provider before the browser gets its cookie. Resolves the value of the
 * cookie, or nothing if the provider has ended the login meanwhile.
 *
 * @param {IdToken} claims of a verified ID Token
 * @param {string} idToken the token itself, which the provider wants back when the user logs out
 * @param {Pick<Login, 'sessions' | 'index'>} login
 */
export async function openSession (claims, idToken, { sessions, index }) {
  const [token, id, now] = [random(), randomUUID(), Date.now()]
  const until = now + lifetime
  await sessions.create(token, { id, subject: claims.sub, createdAt: now, expiresAt: until, keepUntil: until, data: { idToken } })
  const atProvider = { issuer: claims.iss, subject: claims.sub, sid: claims.sid, issuedAt: Math.floor(claims.iat * 1000) }
  if (await index.bind(atProvider, { sessionId: id, subject: claims.sub }, until) === 'live') return token
  await sessions.logOut(token)
  return undefined
}

/**
 * @param {string} endpoint
 * @param {Login & { code: string, verifier: string }} login
 * @returns {Promise<{ id_token: string }>}
 */
async function redeem (endpoint, { code, verifier, clientId, clientSecret, publicUrl }) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: `${publicUrl}/callback`
    })
  })
  if (!response.ok) throw new Error(`the provider refused the code with status ${response.status}`)
  return /** @type {any} */ (await response.json())
}

function random () {
  return randomBytes(32).toString('base64url')
}

/**
 * Remembers the result once there is one.
 *
 * @param {() => Promise<any>} make
 */
function once (make) {
  /** @type {Promise<any> | undefined} */
  let made
  return () => {
    made ??= make().catch(error => {
      made = undefined
      throw error
    })
    return made
  }
}
