// Compiled, never run: what TypeScript takes from a host, and what it refuses.
import fastifySession from '@fastify/session'
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import Database from 'better-sqlite3'
import { RedisStore } from 'connect-redis'
import Fastify, { type FastifyBaseLogger, type FastifyPluginAsync, type FastifyRequest, type FastifyTypeProvider } from 'fastify'
import callbackMysql from 'mysql2'
import { createPool } from 'mysql2/promise'
import pg from 'pg'
import { z } from 'zod'
import { protectSessionStore, type ProtectableSessionStore } from '../lib/bridges/express-session.ts'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout, type KratosBrowserLogoutOptions } from '../lib/flows/kratos-browser.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import {
  kratosLogout, revocationGuard, signingHubLogout, tenantActivity, tenantStatusLogout, TokenRejectedError,
  type Claims, type KratosLogoutOptions, type LogoutEvent, type Principal, type Session, type SessionStore, type SigningHubActivity,
  type SigningHubLogoutOptions, type TenantStatusLogoutOptions, type TokenRejectionReason, type UserStatusStore, type VerifyToken
} from '../lib/index.ts'
import { mysqlProviderSessionIndex } from '../lib/provider-session-indexes/mysql.ts'
import { mysqlRevocationStore } from '../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../lib/revocation-stores/postgres.ts'
import { sqliteRevocationStore } from '../lib/revocation-stores/sqlite.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { mysqlSessionStore } from '../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../lib/session-stores/postgres.ts'
import { sqliteSessionStore } from '../lib/session-stores/sqlite.ts'
import { fastJwtVerifier } from '../lib/token-verifiers/fast-jwt.ts'
import { jwksVerifier } from '../lib/token-verifiers/jwks.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { mysqlUserStatusStore } from '../lib/user-status-stores/mysql.ts'
import { postgresUserStatusStore } from '../lib/user-status-stores/postgres.ts'
import { sqliteUserStatusStore } from '../lib/user-status-stores/sqlite.ts'

declare module 'fastify' {
  interface Session { checkout?: { readonly owner: string, readonly since: number } }
}

declare const session: Session
declare const verifyToken: VerifyToken
declare const users: UserStatusStore
declare const sessions: SessionStore
declare function expectType<T> (value: T): void

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

export async function requiredOptions () {
  const app = Fastify()
  await app.register(kratosLogout, { sessions })
  await app.register(signingHubLogout, { verifyToken })
  await app.register(tenantStatusLogout, { users, verifyToken, authenticateTenant: () => 'acme' })
  // @ts-expect-error sessions is missing
  await app.register(kratosLogout, {})
  // @ts-expect-error verifyToken is missing
  await app.register(signingHubLogout, {})
  // @ts-expect-error authenticateTenant is missing
  await app.register(tenantStatusLogout, { users, verifyToken })
  // @ts-expect-error returnUrls is missing
  await app.register(kratosBrowserLogout, { sessions, publicUrl: 'https://login.example' })
  // @ts-expect-error authorize is missing: nobody is let in by default
  await app.register(kratosAdmin, { sessions })
  // @ts-expect-error credential is missing
  await app.register(revocationGuard, { revocations: { check: () => 'live' } })
  // @ts-expect-error user is missing
  await app.register(tenantActivity, { users })
}

/** The smallest store of each flow is what it calls, synchronous or not. */
export async function slices () {
  const app = Fastify()
  await app.register(kratosLogout, { sessions: { logOut: () => undefined } })
  await app.register(kratosLogout, { sessions: { logOut: async () => session } })
  await app.register(tenantStatusLogout, {
    users: { get: () => undefined, compareAndSet: async () => true }, verifyToken, authenticateTenant: async () => null
  })
  // @ts-expect-error a session tells when it expires
  await app.register(kratosLogout, { sessions: { logOut: () => ({ id: 'a', subject: 'alice', status: 'active' }) } })
  // @ts-expect-error a store of booleans does not say what the session was
  await app.register(kratosLogout, { sessions: { logOut: () => true } })
  // @ts-expect-error kratosSessions needs more than one function
  await app.register(kratosSessions, { sessions: { logOut: () => undefined } })
}

/** The stores take the clients as their packages declare them. */
export function databaseClients () {
  const database = new Database(':memory:')
  const pool = new pg.Pool()
  sqliteSessionStore(database)
  sqliteUserStatusStore(database)
  sqliteRevocationStore(database)
  postgresSessionStore(pool, { table: undefined, batch: undefined })
  postgresUserStatusStore(pool)
  postgresRevocationStore(pool)
  mysqlSessionStore(createPool({}), { table: undefined, batch: undefined, timeout: undefined })
  mysqlUserStatusStore(callbackMysql.createPool({}))
  mysqlProviderSessionIndex(createPool({}), { table: undefined, timeout: undefined })
  mysqlRevocationStore(callbackMysql.createPool({}), { table: undefined, pollInterval: undefined })
  mysqlUserStatusStore(callbackMysql.createConnection({}))
  mysqlSessionStore({ query: async statement => createPool({}).query(statement) })
  postgresSessionStore({ query: async (text, values) => pool.query({ name: 'a', text, ...values && { values } }) }, { batch: true })
  // @ts-expect-error a statement returns its rows by "all"
  sqliteSessionStore({ prepare: () => ({ run: () => {} }), exec: () => {} })
  // @ts-expect-error a client resolves to rows
  postgresSessionStore({ query: async () => [] })
  expectType<Session | undefined>(sqliteSessionStore(database).logOut('token'))
  expectType<Session | undefined>(memorySessionStore().logOut('token'))
}

/** Under `exactOptionalPropertyTypes` a host can pass on what it may not have. */
export function absentOptions (prefix: string | undefined, timeout: number | undefined) {
  const native: KratosLogoutOptions = { sessions, timeout, onLogout: undefined }
  const signingHub: SigningHubLogoutOptions = {
    verifyToken,
    timeout,
    user: { isActive: undefined },
    route: {
      paths: undefined, security: undefined
    },
    deviceToken: { foreign: undefined },
    revoke: undefined
  }
  const tenant: TenantStatusLogoutOptions = {
    users,
    verifyToken,
    authenticateTenant: () => undefined,
    route: { rateLimit: { max: undefined } },
    wire: {
      errorCodes: { user: undefined }
    }
  }
  const browser: KratosBrowserLogoutOptions = {
    sessions, publicUrl: '', returnUrls: { default: '', error: undefined }, cookie: { name: undefined, domain: undefined }
  }
  const app = Fastify()
  app.register(kratosLogout, { ...native, prefix: '/auth' })
  app.register(kratosLogout, { ...native, ...(prefix !== undefined && { prefix }), logLevel: 'warn' })
  return [signingHub, tenant, browser]
}

export function wrongTypes () {
  // @ts-expect-error milliseconds are a number
  const timeout: KratosLogoutOptions = { sessions, timeout: '5s' }
  // @ts-expect-error one of two words
  const word: SigningHubLogoutOptions = { verifyToken, deviceToken: { foreign: 'refuse' } }
  // @ts-expect-error a list
  const paths: SigningHubLogoutOptions = { verifyToken, route: { paths: '/v3/logout' } }
  // @ts-expect-error the outcome is a word
  const outcome: SigningHubLogoutOptions = { verifyToken, deviceToken: { remove: () => true } }
  // @ts-expect-error no such option
  const unknown: KratosLogoutOptions = { sessions, onLogOut: () => {} }
  // @ts-expect-error a directive that no browser knows
  const directive: KratosBrowserLogoutOptions = { sessions, publicUrl: '', returnUrls: { default: '' }, clear: { siteData: ['cookie'] } }
  // @ts-expect-error sameSite is one of three words
  const sameSite: KratosBrowserLogoutOptions = { sessions, publicUrl: '', returnUrls: { default: '' }, cookie: { sameSite: 'Laxx' } }
  // @ts-expect-error algorithms are named
  fastJwtVerifier({ key: 'k', issuer: 'i', audience: 'a' })
  // @ts-expect-error "none" is no algorithm
  jwksVerifier({ issuers: [{ issuer: 'https://i.example', audience: 'a', algorithms: ['none'] }] })
  // @ts-expect-error no such reason
  const reason: TokenRejectionReason = 'unlucky'
  return [
    timeout, word, paths, outcome, unknown, directive, sameSite, reason,
    new TokenRejectedError('expired').reason satisfies TokenRejectionReason
  ]
}

/** What the host's functions are told. */
export const told = {
  kratos: {
    sessions,
    onLogout: async (event, request) => {
      expectType<FastifyRequest>(request)
      // @ts-expect-error which member there is depends on the scope
      expectType<Session>(event.session)
      if (event.scope === 'session') expectType<Session>(event.session)
      else expectType<string>(event.subject)
      // @ts-expect-error what is told is read-only
      event.scope = 'all'
    }
  } satisfies KratosLogoutOptions,
  signingHub: {
    verifyToken: async token => ({ sub: token }),
    user: {
      principal: (claims) => {
        expectType<Claims>(claims)
        // @ts-expect-error a claim may be anything until it is looked at
        expectType<string>(claims['email'])
        return { subject: String(claims['sub']) } satisfies Principal
      }
    },
    recordActivity: (activity) => {
      expectType<SigningHubActivity>(activity)
      expectType<'removed' | 'not-found' | 'not-owner' | 'none' | 'failed'>(activity.deviceToken)
      expectType<number>(activity.at)
    }
  } satisfies SigningHubLogoutOptions,
  tenant: {
    users: memoryUserStatusStore(),
    verifyToken,
    authenticateTenant: (token, request) => request.headers.host === token ? token : undefined,
    onLogout: ({ tenant, subject, at, requestId }) => { expectType<[string, string, number, string]>([tenant, subject, at, requestId]) }
  } satisfies TenantStatusLogoutOptions
}

export const scopes: Equal<LogoutEvent['scope'], 'session' | 'others' | 'all'> = true
export const statuses: Equal<Session['status'], 'active' | 'logged_out'> = true
/** No type of a schema library is part of a plugin's type. */
export const plugins: [
  Equal<typeof kratosLogout, FastifyPluginAsync<KratosLogoutOptions>>,
  Equal<typeof signingHubLogout, FastifyPluginAsync<SigningHubLogoutOptions>>,
  Equal<typeof tenantStatusLogout, FastifyPluginAsync<TenantStatusLogoutOptions>>,
  Equal<typeof kratosBrowserLogout, FastifyPluginAsync<KratosBrowserLogoutOptions>>
] = [true, true, true, true]

interface TypeBoxProvider extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown
  serializer: this['schema'] extends TSchema ? Static<this['schema']> : unknown
}
interface ZodProvider extends FastifyTypeProvider {
  validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown
  serializer: this['schema'] extends z.ZodType ? z.input<this['schema']> : unknown
}

/** Hosts of other kinds than the plainest, and what stays theirs. */
export async function hosts (logger: FastifyBaseLogger & { audit (message: string): void }) {
  const store = memorySessionStore()
  const typebox = Fastify().withTypeProvider<TypeBoxProvider>()
  await typebox.register(kratosLogout, { sessions: store })
  await typebox.register(revocationGuard, {
    revocations: { check: async ({ tokenId }) => tokenId === undefined ? 'live' : 'revoked' },
    credential: ({ headers }) => ({ tokenId: String(headers.authorization) })
  })
  typebox.post('/own', { schema: { body: Type.Object({ n: Type.Number() }) } }, async ({ body }) => expectType<number>(body.n))

  const zod = Fastify().withTypeProvider<ZodProvider>()
  await zod.register(signingHubLogout, { verifyToken })
  await zod.register(tenantActivity, { users, user: () => undefined })
  zod.post('/own', { schema: { body: z.object({ n: z.string() }) } }, async ({ body }) => expectType<string>(body.n))

  const http2 = Fastify({ http2: true })
  await http2.register(kratosLogout, { sessions: store })
  await http2.register(tenantStatusLogout, { users, verifyToken, authenticateTenant: () => 'acme' })

  const https = Fastify({ https: {} })
  await https.register(kratosBrowserLogout, {
    sessions: store, publicUrl: 'https://login.example', returnUrls: { default: 'https://app.example' }
  })

  const logging = Fastify({ loggerInstance: logger })
  await logging.register(signingHubLogout, { verifyToken })
  await logging.register(kratosSessions, { sessions: store })
  logging.log.audit('its own logger is still its own')
}

interface OwnSession { readonly user?: string, readonly since: number }
interface OwnStore extends ProtectableSessionStore {
  set (id: string, session: OwnSession, callback: (error?: unknown) => void): void
}
declare const ownStore: OwnStore
declare const anyStore: ProtectableSessionStore
declare const redisStore: RedisStore

/** The function `credential` gets the sessions of the store that is protected. */
export function protectedStores () {
  const revocations = memoryRevocationStore()
  const fastify = protectSessionStore(new fastifySession.MemoryStore(), revocations, {
    credential: ({ checkout }) => {
      expectType<string | undefined>(checkout?.owner)
      return checkout && { subject: checkout.owner, loggedInAt: checkout.since }
    }
  })
  protectSessionStore(ownStore, revocations, { credential: ({ user, since }) => ({ subject: user, issuedAt: since }) })
  protectSessionStore(ownStore, revocations, { credential: ({ user }) => user === undefined ? null : { subject: user } })
  protectSessionStore(redisStore, revocations, { credential: session => ({ subject: String(Object(session).user) }) })
  protectSessionStore(anyStore, revocations, {
    credential: session => { expectType<Equal<typeof session, Record<string, unknown>>>(true) }
  })
  protectSessionStore(anyStore, revocations, { credential: (session: OwnSession) => ({ subject: session.user }) })
  protectSessionStore(anyStore, revocations)
  // @ts-expect-error a session has no such member
  protectSessionStore(ownStore, revocations, { credential: ({ name }) => ({ subject: name }) })
  // @ts-expect-error a promise is not a credential
  protectSessionStore(ownStore, revocations, { credential: async ({ user }) => ({ subject: user }) })
  // @ts-expect-error the id of a session is not the host's to choose
  protectSessionStore(ownStore, revocations, { credential: ({ user }) => ({ sessionId: user }) })
  return { secret: 'a secret of 32 characters at least', store: fastify } satisfies fastifySession.FastifySessionOptions
}
