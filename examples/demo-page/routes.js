// One page to see it all: sign in on several devices, log out this one, the others or everywhere, and watch the answers.
// The sign-in is the host's business. Here it takes anybody at their word, so run it on your own machine only.
import { sessionLogout } from 'fastify-logout'
import { kratosAdmin } from 'fastify-logout/flows/kratos-admin'
import { kratosBrowserLogout } from 'fastify-logout/flows/kratos-browser'
import { kratosSessions } from 'fastify-logout/flows/kratos-sessions'
import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import * as providerFlows from './provider-flows.js'

/** @type {Record<string, string>} */
const people = { alice: 'Alice Adams', bob: 'Bob Brown' }
const devices = ['This browser', 'Phone', 'Tablet', 'Television']
const hour = 3_600_000

const failure = { type: 'object', required: ['error', 'message'], properties: { error: { type: 'string' }, message: { type: 'string' } } }
/** @type {import('fastify').FastifySchema & Record<string, unknown>} */
const signInSchema = {
  operationId: 'signIn',
  summary: 'Sign in on a device, without a password',
  tags: ['host'],
  security: [],
  body: {
    type: 'object',
    required: ['user', 'device'],
    properties: { user: { type: 'string', enum: Object.keys(people) }, device: { type: 'string', enum: devices } }
  },
  response: {
    200: {
      description: 'The id of the session, and its token unless a cookie has it',
      type: 'object',
      required: ['id'],
      properties: { id: { type: 'string' }, token: { type: 'string' } }
    },
    400: { ...failure, description: 'No such user, or no such device' },
    '4xx': { ...failure, description: 'The request was refused' },
    '5xx': { ...failure, description: 'Nobody is signed in: try again' }
  }
}

const files = /** @type {const} */ ([
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/goodbye', 'goodbye.html', 'text/html; charset=utf-8'],
  ['/demo/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/demo/page.css', 'page.css', 'text/css; charset=utf-8'],
  ['/demo/icon.svg', 'icon.svg', 'image/svg+xml']
])
const headers = {
  'cache-control': 'no-cache',
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** @typedef {{ signingHub: string, tenant: string, tenantUser: string }} ClientTokens tokens of the flows beside this page's own */

/**
 * @typedef {object} Options
 * @property {import('fastify-logout').SessionStore} sessions
 * @property {import('fastify-logout').ProviderSessionIndex} index
 * @property {string} publicUrl
 * @property {ClientTokens} clients
 */

/** @param {import('fastify').FastifyInstance} app @param {Options} options */
export async function add (app, { sessions, index, publicUrl, clients }) {
  // The same words describe the cookie where it is set and where it is removed.
  const cookie = /** @type {const} */ ({ name: 'demo_session', path: '/', sameSite: 'lax', httpOnly: true, secure: false })
  const cookieToken = (/** @type {string} */ header = '') => new RegExp(`(?:^|; )${cookie.name}=([^;]+)`).exec(header)?.[1] ?? ''
  let startedAt = 0
  const adminKey = randomBytes(24).toString('base64url')
  const identity = (/** @type {string} */ subject) => ({ id: subject, schema_id: 'default', schema_url: '', traits: { name: people[subject] ?? subject } })

  await app.register(async scope => {
    // Errors of the logout go to the host's error handler. Here a page is told on the page, and a program by Fastify.
    scope.setErrorHandler((/** @type {import('fastify').FastifyError} */ error, { headers: { accept } }, reply) => {
      if (!accept?.includes('text/html')) throw error
      return reply.redirect(`/?error=${error.code}`, 303)
    })
    await scope.register(sessionLogout, {
      sessions: sessionStoreSource(sessions, { cookie }),
      returnUrls: { default: '/goodbye' },
      route: { security: [{ sessionCookie: [] }] },
      onLogout: event => { app.log.info(event, 'logged out') }
    })
  })
  await app.register(kratosBrowserLogout, {
    sessions, cookie, publicUrl, returnUrls: { default: `${publicUrl}/goodbye`, allowed: [publicUrl], error: `${publicUrl}/` }, route: { security: [{ sessionToken: [] }, { sessionCookie: [] }] }
  })
  await app.register(kratosSessions, { sessions, cookie, identity, ids: 'any', route: { security: [{ sessionToken: [] }, { sessionCookie: [] }] } })
  await app.register(kratosAdmin, {
    sessions, identity, ids: 'any', authorize: request => request.headers.authorization === `Bearer ${adminKey}`, route: { security: [{ adminKey: [] }] }
  })

  const provider = await providerFlows.add(app, { sessions, index, cookie, publicUrl, sessionLifetime: hour, headers })

  /** @param {string} subject @param {string} device */
  const signIn = async (subject, device) => {
    const login = await provider.logIn(subject)
    const [token, now] = [`ory_st_${randomBytes(24).toString('base64url')}`, Date.now()]
    const session = { id: randomUUID(), subject, createdAt: now, expiresAt: now + hour, keepUntil: now + 2 * hour, device: { userAgent: device } }
    await sessions.create(token, { ...session, data: { sid: login.sid, idToken: login.idToken } })
    if (!await provider.bind(login, session)) await sessions.logOut(token)
    return { token, id: session.id }
  }

  // JSON only: another site cannot send it without asking first, so nobody is signed in behind their back.
  app.post('/demo/sign-in', { schema: signInSchema }, async (request, reply) => {
    const { user, device } = /** @type {{ user: string, device: string }} */ (request.body)
    const { token, id } = await signIn(user, device)
    reply.header('cache-control', 'no-store')
    if (device !== 'This browser') return { id, token }

    const before = cookieToken(request.headers.cookie)
    if (before !== '') await sessions.logOut(before)
    reply.header('set-cookie', `${cookie.name}=${token}; Path=${cookie.path}; HttpOnly; SameSite=Lax`)
    return { id }
  })

  // What the page shows. Its answer is never an error, so that the browser's console has none before somebody logs out.
  app.get('/demo/session', { schema: /** @type {object} */ ({ hide: true }) }, async ({ headers }, reply) => {
    const session = await sessions.find(String(headers['x-session-token'] ?? cookieToken(headers.cookie)))
    const live = session?.status === 'active' && session.expiresAt > Date.now() ? session : null
    reply.header('cache-control', 'no-store')
    return {
      session: live && {
        id: live.id,
        identity: identity(live.subject),
        devices: [{ user_agent: live.device?.userAgent }],
        issued_at: new Date(live.createdAt)
      },
      clients: { ...clients, admin: adminKey, startedAt }
    }
  })

  for (const [url, name, type] of files) {
    const text = await readFile(new URL(name, import.meta.url), 'utf8')
    app.get(url, { schema: /** @type {object} */ ({ hide: true }) }, async (_request, reply) => reply.headers(headers).type(type).send(text))
  }
  const { token: tablet } = await signIn('bob', 'Tablet')
  const phone = await signIn('bob', 'Phone')
  startedAt = Date.now()
  return { adminKey, tablet, ...phone }
}

/** @param {string} address @param {{ token: string, tablet: string }} demo */
export function logoutCurls (address, { token, tablet }) {
  const logOut = `curl -i -X POST ${address}/logout`
  return `Your own sessions, shown by the page at ${address}: bob has signed in on a phone and a tablet
  204  ${logOut} -b demo_session=${tablet}
  401  ${logOut} -b demo_session=${tablet} -d scope=others
  204  ${logOut} -b demo_session=${token} -d scope=others`
}

/** @param {string} address @param {{ tablet: string }} demo */
export function providerCurls (address, { tablet }) {
  return `An app gives its token back; a forged message of an identity provider (the page sends true ones)
  200  curl -i -X POST ${address}/oauth/revoke -d client_id=demo-app -d token=${tablet}
  400  curl -i -X POST ${address}/backchannel-logout -d logout_token=forged`
}

/** @param {string} address @param {{ token: string, adminKey: string }} demo */
export function curls (address, { token, adminKey }) {
  const session = `-H 'X-Session-Token: ${token}'`
  return `Kratos-style sessions
  200  curl -i ${address}/sessions/whoami ${session}
  200  curl -i -X DELETE ${address}/sessions ${session}
  401  curl -i ${address}/self-service/logout/browser -H 'Accept: application/json'
  200  curl -i ${address}/admin/identities/bob/sessions -H 'Authorization: Bearer ${adminKey}'`
}
