import type { FastifyInstance } from 'fastify'
import { globalTokenRevocation } from '../lib/flows/global-token-revocation.ts'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { kratosLogout } from '../lib/flows/kratos-native.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import { backChannelLogout } from '../lib/flows/openid-back-channel.ts'
import { frontChannelLogout } from '../lib/flows/openid-front-channel.ts'
import { rpInitiatedLogout } from '../lib/flows/openid-rp-initiated.ts'
import { securityEvents } from '../lib/flows/security-events.ts'
import { sessionLogout } from '../lib/flows/session.ts'
import { signingHubLogout } from '../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../lib/flows/tenant-status.ts'
import { tokenRevocation } from '../lib/flows/token-revocation.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { TokenRejectedError } from '../lib/token-verifier.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { acme, securityEventToken } from './event-senders.ts'
import { signJwt } from './sign-jwt.ts'

// Every flow on one server, for tests of what holds for all of them.

export const secrets = {
  bearer: 'bearer-5ecret',
  refusedBearer: 'refused-bearer-5ecret',
  device: 'device-5ecret',
  session: 'session-5ecret',
  unknownSession: 'unknown-session-5ecret',
  tenant: 'tenant-5ecret',
  refusedTenant: 'refused-tenant-5ecret',
  user: 'user-5ecret',
  refusedUser: 'refused-user-5ecret',
  cookie: 'cookie-5ecret',
  otherCookie: 'other-cookie-5ecret',
  thirdCookie: 'third-cookie-5ecret',
  client: 'client-5ecret',
  down: 'down-5ecret'
}

function verifyToken (token: string) {
  if (token === secrets.bearer || token === secrets.user) return { sub: 'alice', tenant: 'acme' }
  if (token === secrets.down) throw new Error('the key server is down')
  throw new TokenRejectedError('untrusted')
}

const logoutTokenKey = Buffer.alloc(32, 'k')

/** A logout token for this provider session. */
export function logoutTokenOf (sid: string): string {
  const iat = Math.floor(Date.now() / 1000)
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  const claims = { iss: 'https://provider.example', aud: 'app', iat, exp: iat + 120, jti: 'j', sid, events }
  return signJwt(logoutTokenKey, 'HS256', claims, { typ: 'logout+jwt' })
}

/** Registers every flow. */
export async function registerFlows (app: FastifyInstance): Promise<void> {
  const users = memoryUserStatusStore()
  users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
  let live = true
  await app.register(signingHubLogout, { verifyToken, deviceToken: { remove: () => 'removed' } })
  await app.register(kratosLogout, {
    sessions: {
      logOut: async token => {
        if (token === secrets.down) throw new Error('the database is down')
        if (token !== secrets.session) return undefined
        const status = live ? 'active' : 'logged_out'
        live = false
        return { id: 's1', subject: 'alice', status, createdAt: 0, expiresAt: Infinity, keepUntil: Infinity }
      }
    }
  })
  await app.register(tenantStatusLogout, { users, verifyToken, authenticateTenant: token => token === secrets.tenant ? 'acme' : undefined })
  await app.register(tokenRevocation, {
    authenticateClient: ({ id, secret }) => secret === secrets.client ? id : undefined,
    revokeToken: ({ token }) => {
      if (token === secrets.down) throw new Error('the database is down')
      return token === secrets.user ? 'unsupported' : 'revoked'
    }
  })
  await registerSessions(app)
  await registerEvents(app)
}

/** A security event token, the same one for every server. */
export const eventToken = securityEventToken(acme, { claims: { jti: 'event-5ecret' } })

async function registerEvents (app: FastifyInstance): Promise<void> {
  const sessions = memorySessionStore()
  const resolveSubject = () => [{ subject: 'alice' }]
  await app.register(globalTokenRevocation, {
    authenticate: ({ headers: { authorization } }) => {
      if (authorization === `Bearer ${secrets.down}`) throw new Error('the database is down')
      return authorization === `Bearer ${secrets.bearer}` ? { issuer: acme.issuer } : undefined
    },
    resolveSubject,
    end: { revokeRefreshTokens: false, sessions }
  })
  await app.register(securityEvents, {
    streams: [{ issuer: acme.issuer, audience: acme.audience, key: acme.publicKey }],
    revocations: memoryRevocationStore(),
    resolveSubject,
    end: { sessions }
  })
}

const started = Date.now()

async function registerSessions (app: FastifyInstance): Promise<void> {
  const sessions = memorySessionStore()
  for (const [index, token] of [secrets.cookie, secrets.otherCookie, secrets.thirdCookie].entries()) {
    await sessions.create(token, {
      id: `c${index}`, subject: 'carol', createdAt: started - index, expiresAt: started + 3_600_000, keepUntil: started + 3_600_000
    })
  }
  const find = async (token: string) => {
    if (token === secrets.down) throw new Error('the database is down')
    return sessions.find(token)
  }
  await app.register(kratosBrowserLogout, {
    sessions: { ...sessions, find }, publicUrl: 'https://login.example', returnUrls: { default: 'https://app.example/' }
  })
  await app.register(kratosSessions, { sessions: { ...sessions, find }, ids: 'any' })
  await app.register(kratosAdmin, { sessions, ids: 'any', authorize: ({ headers }) => headers['x-admin'] === 'yes' })
  const source = sessionStoreSource({ ...sessions, find }, { cookie: { name: 'sid' } })
  await app.register(sessionLogout, { sessions: source })
  const issuer = 'https://provider.example'
  await app.register(rpInitiatedLogout, {
    sessions: source,
    route: { path: '/openid/logout', returnPath: '/openid/logout/return', allowGet: true },
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: `${issuer}/logout` }],
    provider: session => session && { issuer, idToken: 'id-token-5ecret' },
    publicUrl: 'https://login.example',
    returnUrls: { default: '/' }
  })
  const index = {
    logOut: ({ sid }: { readonly sid?: string | undefined }) => {
      if (sid === secrets.down) throw new Error('the database is down')
      return [{ sessionId: 'c1', subject: 'carol' }]
    }
  }
  await app.register(frontChannelLogout, { issuers: [{ issuer }], index, sessions, sessionLifetime: 3_600_000 })
  await app.register(backChannelLogout, {
    issuers: [{ issuer, clientId: 'app', algorithms: ['HS256'], key: logoutTokenKey }], index, sessions, sessionLifetime: 3_600_000
  })
}
