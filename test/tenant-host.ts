import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import assert from 'node:assert/strict'
import type { Test } from 'tap'
import { tenantStatusLogout, type TenantLogout, type TenantStatusLogoutOptions } from '../lib/flows/tenant-status.ts'
import { TokenRejectedError, type Claims, type TokenRejectionReason } from '../lib/token-verifier.ts'
import type { UserStatusStore } from '../lib/user-status-store.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { wire, type Answer } from './wire.ts'

export const path = '/auth/logout'
export const alice = { tenant: 'acme', subject: 'alice' }
export const credentials = { 'x-tenant-token': 'acme-token', 'x-token': 'alice-token' }

const subjects = ['alice', 'suspended', 'terminated', 'blocked', 'pending', 'stranger']
const claims: Readonly<Record<string, Claims>> = {
  ...Object.fromEntries(subjects.map(sub => [`${sub}-token`, { sub, tenant: 'acme' }])),
  'umbrella-alice-token': { sub: 'alice', tenant: 'umbrella' },
  'no-tenant-token': { sub: 'alice' },
  'no-user-token': { tenant: 'acme' }
}
const reasons: readonly TokenRejectionReason[] = ['malformed', 'untrusted', 'expired', 'revoked']

/** A host with two tenants, a user in each state, and what its functions were told. */
export function tenantHost () {
  const users = memoryUserStatusStore()
  users.set(alice, 'logged_in')
  users.set({ tenant: 'umbrella', subject: 'alice' }, 'logged_in')
  for (const subject of ['suspended', 'terminated', 'blocked', 'pending']) users.set({ tenant: 'acme', subject }, subject)

  const logouts: TenantLogout[] = []
  const asked: string[] = []
  const options = {
    users,
    authenticateTenant: async (token: string) => {
      asked.push(token)
      return { 'acme-token': 'acme', 'umbrella-token': 'umbrella' }[token]
    },
    verifyToken: async (token: string) => {
      asked.push(token)
      const verified = claims[token]
      if (verified === undefined) throw new TokenRejectedError(reasons.find(reason => token === reason) ?? 'untrusted')
      return verified
    },
    onLogout: (user: TenantLogout) => { logouts.push(user) }
  } satisfies TenantStatusLogoutOptions
  return { options, users, logouts, asked, statusOf: (subject: string) => users.get({ tenant: 'acme', subject })?.status }
}

/** The flow alone, without what makes a store take one round trip. */
export function withoutLogOut ({ get, compareAndSet }: UserStatusStore): Pick<UserStatusStore, 'get' | 'compareAndSet'> {
  return { get, compareAndSet }
}

export interface Serving {
  readonly server?: FastifyServerOptions
  readonly prefix?: string
  /** What the host registers in front of the flow. */
  readonly before?: (app: FastifyInstance) => unknown
}

export async function serve (t: Test, options: TenantStatusLogoutOptions, { server = {}, prefix = '', before }: Serving = {}) {
  const app = Fastify({ genReqId: () => 'req-7', ...server })
  t.teardown(() => app.close())
  const { inject, send, sendUnchecked } = wire(app)
  await before?.(app)
  await app.register(tenantStatusLogout, { ...options, prefix })
  const logOut = async (headers: Record<string, string | undefined> = credentials, remoteAddress?: string) => answered(await inject({
    method: 'GET', url: `${prefix}${path}`, headers, ...(remoteAddress !== undefined && { remoteAddress })
  }))
  return { app, inject, send, sendUnchecked, logOut }
}

/** The answer with its time stamp taken out, after a look at it, and with every header as text. */
export function answered ({ status, headers, body }: Answer): Answer {
  const { 'content-length': length, ...rest } = headers
  assert.equal(Number(length), Buffer.byteLength(body))
  const time = /"timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"/.exec(body)?.[1] ?? 'none'
  assert(Math.abs(Date.parse(time) - Date.now()) < 10_000, `the time stamp is that of the answer, in UTC with milliseconds: ${body}`)
  return {
    status,
    headers: Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)])),
    body: body.replace(time, 'now')
  }
}

/** The headers of an answer that the limiter counted. */
export function limited (remaining: number, limit = 30, reset = 3600): Record<string, string> {
  return { 'x-ratelimit-limit': String(limit), 'x-ratelimit-remaining': String(remaining), 'x-ratelimit-reset': String(reset) }
}

const lasting = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' }

export function success (headers: Record<string, string> = limited(29), requestId = 'req-7'): Answer {
  return {
    status: 200,
    headers: { ...lasting, ...headers },
    body: `{"meta":{"requestId":"${requestId}","timestamp":"now"},"data":{"success":true}}`
  }
}

export function failure (
  status: number, code: string, message: string, headers: Record<string, string> = limited(29), validation?: object
): Answer {
  const error = JSON.stringify({ message, code, status, validation })
  return { status, headers: { ...lasting, ...headers }, body: `{"meta":{"requestId":"req-7","timestamp":"now"},"error":${error}}` }
}

export const tooMany = (reset = 3600, limit = 30) => failure(429, 'TOO_MANY_REQUESTS', 'Too many requests', {
  ...limited(0, limit, reset), 'retry-after': String(reset)
})
export const internal = (headers?: Record<string, string>) => failure(500, 'INTERNAL_SERVER', 'Something went wrong on our side.', headers)
export const unexpected = failure(500, 'UNEXPECTED_STATE', 'Missing user context')
export const invalidUserToken = failure(401, 'INVALID_USER_TOKEN', 'Invalid user token')
export const invalidTenantToken = failure(401, 'INVALID_TENANT_TOKEN', 'Invalid tenant token')
