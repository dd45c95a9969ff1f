// What the server does when a user has logged out elsewhere: at the identity provider, or in an app that gives its token back.
import {
  backChannelLogout, frontChannelLogout, globalTokenRevocation, rpInitiatedLogout, securityEvents, tokenRevocation
} from 'fastify-logout'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
import { clientId, demoProvider } from './provider.js'

/**
 * @typedef {object} Host
 * @property {import('fastify-logout').SessionStore} sessions
 * @property {import('fastify-logout').ProviderSessionIndex} index
 * @property {{ name: string, path: string, sameSite: 'lax', httpOnly: boolean, secure: boolean }} cookie
 * @property {string} publicUrl
 * @property {number} sessionLifetime
 * @property {Record<string, string>} headers of the provider's page
 */

/** @param {import('fastify').FastifyInstance} app @param {Host} host */
export async function add (app, { sessions, index, cookie, publicUrl, sessionLifetime, headers }) {
  const provider = demoProvider(publicUrl)
  const { issuer } = provider
  const signer = { issuer, key: provider.publicKey, algorithms: /** @type {['ES256']} */ (['ES256']) }
  // Messages are remembered, so that each has one effect. The key is new after a restart, and with it all messages.
  const revocations = memoryRevocationStore()

  /** Finds the users that a message of the provider means: its own. @param {import('fastify-logout').SubjectIdentifier} subject */
  const resolveSubject = subject => subject.format === 'iss_sub' && subject.iss === issuer ? [{ subject: subject.sub }] : []

  // OpenID Connect: the user logs out here and at the provider, or at the provider alone.
  const issuers = [{ ...signer, clientId }]
  await app.register(backChannelLogout, { issuers, index, sessions, sessionLifetime, route: { security: [] } })
  await app.register(frontChannelLogout, { issuers, index, sessions, sessionLifetime, route: { security: [] } })
  const endSessionEndpoint = `${issuer}/end-session`
  const returnPath = '/logout/provider/return'
  // Without https, a browser takes an ID Token to a provider on this machine only.
  if (/^https:|^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(publicUrl)) {
    await app.register(rpInitiatedLogout({
      sessions: sessionStoreSource(sessions, { cookie }),
      issuers: [{ issuer, clientId, endSessionEndpoint }],
      provider: session => ({ issuer, idToken: /** @type {string | undefined} */ (session?.data?.idToken) }),
      publicUrl,
      returnUrls: { default: '/goodbye' },
      route: { path: '/logout/provider', returnPath, security: [{ sessionCookie: [] }] }
    }))
  }

  // Commands and events that end everything of a user.
  await app.register(globalTokenRevocation, {
    authenticate: { senders: [{ ...signer, clientId }], endpointUrl: `${publicUrl}/global-token-revocation`, revocations },
    resolveSubject,
    end: { revokeRefreshTokens: false, sessions },
    route: { security: [{ provider: [] }] }
  })
  await app.register(securityEvents, {
    streams: [{ ...signer, audience: publicUrl }], revocations, resolveSubject, end: { sessions }, route: { security: [] }
  })

  // RFC 7009: an app gives the token of its session back. It has no secret, as apps on phones do.
  await app.register(tokenRevocation, {
    authenticateClient: ({ id, secret }) => id === 'demo-app' && secret === undefined ? id : undefined,
    revokeToken: async ({ token }) => await sessions.logOut(token) === undefined ? undefined : 'revoked',
    route: { security: [] }
  })

  // The provider's own routes. Its messages are made for the holder of the session's token, to be sent by the page.
  const undocumented = { schema: /** @type {object} */ ({ hide: true }) }
  app.post('/demo/provider/:message', undocumented, async (request, reply) => {
    const { message } = /** @type {{ message: string }} */ (request.params)
    const session = await sessions.find(String(request.headers['x-session-token']))
    const make = Object.hasOwn(provider.messages, message) ? provider.messages[message] : undefined
    if (session === undefined || make === undefined) return reply.callNotFound()
    reply.header('cache-control', 'no-store')
    return make({ subject: session.subject, sid: String(session.data?.sid) })
  })
  app.get('/demo/provider/end-session', undocumented, async (request, reply) => {
    const { post_logout_redirect_uri: target, state = '' } = /** @type {Record<string, string>} */ (request.query)
    // A provider sends browsers to addresses that it knows, and nowhere else.
    if (target !== `${publicUrl}${returnPath}`) return reply.code(400).send({ error: 'unknown post_logout_redirect_uri' })
    const page = provider.endSessionPage(`${target}?${new URLSearchParams({ state })}`)
    return reply.headers(headers).type('text/html; charset=utf-8').send(page)
  })

  return {
    logIn: provider.logIn,

    /**
     * Binds a session to its login at the provider, so that a logout there finds it. Resolves whether the login is live still:
     * the provider may have ended it meanwhile.
     *
     * @param {Awaited<ReturnType<typeof provider.logIn>>} login
     * @param {{ id: string, expiresAt: number }} session
     */
    async bind ({ subject, sid, issuedAt }, { id, expiresAt }) {
      return await index.bind({ issuer, subject, sid, issuedAt }, { sessionId: id, subject }, expiresAt) === 'live'
    }
  }
}
