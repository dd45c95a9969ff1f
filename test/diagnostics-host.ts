import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { kratosLogout, revocationGuard, signingHubLogout, tenantActivity, tenantStatusLogout, TokenRejectedError } from '../lib/index.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'

/** Every token that the requests carry, and a word in the errors of the failing host. */
export const secret = 'a-secret-token'
/** Whose tokens they are. */
export const alice = { tenant: 'acme', subject: 'alice' }

/** A host with flows and guards whose functions all answer, or all fail. */
export async function host (t: Test, failing: boolean, options: FastifyServerOptions = { logger: false }): Promise<FastifyInstance> {
  const app = Fastify(options)
  t.teardown(() => app.close())
  const fail = () => { if (failing) throw new Error(`the database says ${secret}`) }
  const verifyToken = (token: string) => {
    if (token !== secret) throw new TokenRejectedError('untrusted')
    return { sub: 'alice', tenant: 'acme', iat: 1 }
  }
  const sessions = memorySessionStore()
  const now = Date.now()
  await sessions.create(secret, { id: 's1', subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  const users = memoryUserStatusStore()
  await users.compareAndSet(alice, undefined, { status: 'logged_in', at: now, requestId: 'sign-in' })
  const revocations = memoryRevocationStore()
  await revocations.revoke({ tokenId: 'dead', until: now + 60_000 })

  await app.register(signingHubLogout, { verifyToken, recordActivity: fail })
  await app.register(kratosLogout, { sessions: { logOut: token => { fail(); return sessions.logOut(token) } } })
  await app.register(tenantStatusLogout, { users, verifyToken, authenticateTenant: () => 'acme', user: { beforeLogOut: fail } })
  await app.register(async scope => {
    await scope.register(revocationGuard, {
      revocations: { check: facts => { fail(); return revocations.check(facts) } },
      credential: request => ({ tokenId: String(request.headers['token-id']) })
    })
    await scope.register(tenantActivity, {
      users: { ...users, get: user => { fail(); return users.get(user) } }, user: () => ({ ...alice, issuedAt: 0 }), denyLoggedOut: true
    })
    scope.get('/guarded', () => 'in')
  })
  return app
}

/** A request to each route of the host. */
export const requests = {
  signingHub: { method: 'POST', url: '/v3/logout', headers: { authorization: `Bearer ${secret}` } },
  kratos: { method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: secret } },
  tenantStatus: { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secret, 'x-token': secret } },
  guarded: { method: 'GET', url: '/guarded', headers: { 'token-id': 'live' } }
} as const
