// A host whose users are logged out by their identity provider: by Global Token Revocation, which Okta sends as Universal
// Logout, and by security events of Shared Signals. A small identity provider is started beside it.
import Fastify from 'fastify'
import { globalTokenRevocation, securityEvents, tokenDigest } from 'fastify-logout'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
import { randomUUID } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { startTransmitter } from './event-transmitter.js'
import { listen } from './listen.js'

const publicUrl = 'https://app.example'
const clientId = 'client-of-acme'

/** Users of the tenant acme, by their ids at its identity provider. */
const users = new Map([['00u1', 'alice'], ['00u2', 'bob']])

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  const provider = await startTransmitter({ audience: publicUrl })
  app.addHook('onClose', () => provider.close())

  const sessions = memorySessionStore()
  const revocations = memoryRevocationStore()

  /** @param {import('fastify-logout').SubjectIdentifier} subject @param {import('fastify-logout').EventSender} sender */
  function resolveSubject (subject, { issuer, tenant }) {
    if (tenant !== 'acme' || subject.format !== 'iss_sub' || subject.iss !== issuer) return []
    const user = users.get(subject.sub)
    return user === undefined ? [] : [{ subject: user }]
  }

  await app.register(globalTokenRevocation, {
    authenticate: {
      senders: [{ issuer: provider.issuer, clientId, jwksUri: provider.jwksUri, tenant: 'acme' }],
      endpointUrl: `${publicUrl}/global-token-revocation`,
      revocations
    },
    resolveSubject,
    end: { revokeRefreshTokens: false, sessions }
  })
  await app.register(securityEvents, {
    streams: [{ issuer: provider.issuer, audience: publicUrl, jwksUri: provider.jwksUri, tenant: 'acme' }],
    revocations,
    resolveSubject,
    end: { sessions },
    onEvent: ({ type, users, at }) => { app.log.info({ type, users, at }, 'a security event') }
  })

  app.get('/me', async ({ headers }, reply) => {
    const session = await sessions.find(String(headers['x-session']))
    if (session?.status !== 'active') return reply.code(401).send({ error: 'log in first' })
    return { user: session.subject }
  })

  /** @param {string} subject */
  async function logIn (subject) {
    const [token, now] = [randomUUID(), Date.now()]
    const until = now + 3_600_000
    await sessions.create(token, { id: tokenDigest(token), subject, createdAt: now, expiresAt: until, keepUntil: until })
    return token
  }

  const now = Math.floor(Date.now() / 1000)
  return {
    app,
    provider,
    logIn,
    session: await logIn('alice'),
    // What Okta sends, by its page: https://developer.okta.com/docs/guides/oin-universal-logout-overview/
    commandToken: await provider.sign({
      jti: randomUUID(), sub: clientId, aud: `${publicUrl}/global-token-revocation`, iat: now, nbf: now - 300, exp: now + 300
    }, { typ: 'global-token-revocation+jwt' }),
    eventToken: await provider.eventToken({ subject: { format: 'iss_sub', iss: provider.issuer, sub: '00u2' } })
  }
}

/** @param {string} address @param {{ provider: { issuer: string }, session: string, commandToken: string, eventToken: string }} started */
export function curls (address, { provider, session, commandToken, eventToken }) {
  const body = JSON.stringify({ sub_id: { format: 'iss_sub', iss: provider.issuer, sub: '00u1' } })
  return `The identity provider ends everything of alice (Global Token Revocation, as Okta sends it), then what bob has (a security event)
  204  curl -i -X POST ${address}/global-token-revocation -H 'Authorization: Bearer ${commandToken}' -H 'Content-Type: application/json' -d '${body}'
  401  curl -i ${address}/me -H 'X-Session: ${session}'
  202  curl -i -X POST ${address}/security-events -H 'Content-Type: application/secevent+jwt' -d '${eventToken}'
  401  curl -i -X POST ${address}/global-token-revocation -H 'Content-Type: application/json' -d '${body}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
