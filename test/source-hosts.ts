import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fastifySecureSession from '@fastify/secure-session'
import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { protectSessionStore, type ProtectableSessionStore } from '../lib/bridges/express-session.ts'
import { sessionLogout, type SessionLogoutOptions } from '../lib/flows/session.ts'
import { revocationGuard } from '../lib/guards/revocation.ts'
import { credentialOf } from '../lib/internal/revocation/logout-marks.ts'
import type { Awaitable } from '../lib/awaitable.ts'
import type { LogoutEvent } from '../lib/logout-event.ts'
import type { RevocationStore } from '../lib/revocation-store.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import type { HostSession, SessionSource } from '../lib/session-source.ts'
import type { SessionStore } from '../lib/session-store.ts'
import { fastifySessionSource } from '../lib/session-sources/fastify-session.ts'
import { jwtSource, type TokenPlace } from '../lib/session-sources/jwt.ts'
import { secureSessionSource } from '../lib/session-sources/secure-session.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { ownSessions } from './own-sessions.ts'
import { faults, newDevice, told, type Device, type Fault } from './session-host.ts'

declare module 'fastify' {
  interface Session { user?: string, loggedInAt?: number, saves?: number }
}

/** A host with sessions of one kind, and the logout route. */
export interface SourceHost {
  readonly app: FastifyInstance
  readonly sessions: SessionSource<never>
  readonly events: Array<LogoutEvent<HostSession>>
  /** Faults of what the logout asks. */
  readonly broken: Map<string, Fault>
  /** The cookies that a logout clears. */
  readonly cookieNames: readonly string[]
  /** Logs a user in on a new device. */
  logIn (user: string): Promise<Device>
  /** Whether what the device has opens anything. */
  isLive (device: Device): Promise<boolean>
  /** Runs the work in a handler without a guard, for a request with these headers. */
  handle<T> (headers: Readonly<Record<string, string>>, work: (request: FastifyRequest, reply: FastifyReply) => Awaitable<T>): Promise<T>
  /** Starts a request of the device that saves its session, or refreshes its tokens, once it is told to. */
  save (device: Device): Promise<Saving>
}

/** A request that has passed the host's authentication, and has not saved anything. */
export interface Saving {
  /** Lets it save and end. Resolves the device as it is afterwards. */
  finish (): Promise<Device>
}

export interface HostOptions extends Partial<SessionLogoutOptions> {
  /** Registers another flow than `sessionLogout`. */
  readonly register?: (app: FastifyInstance, options: SessionLogoutOptions) => PromiseLike<unknown>
  /** Where the marks are. @default memory */
  readonly revocations?: RevocationStore
  /** Where the host with our session store keeps its sessions. @default memory */
  readonly sessionStore?: SessionStore
  /** Where a host with `@fastify/session` keeps its sessions. @default memory */
  readonly innerStore?: ProtectableSessionStore
  /** Pages that the host serves, by their paths. */
  readonly pages?: Readonly<Record<string, string>>
}

/** What a host needs of a test: to be closed at its end. */
type Teardown = Pick<Test, 'teardown'>

/** A kind of host. */
export interface SourceKind {
  readonly name: string
  make (t: Teardown, options?: HostOptions): Promise<SourceHost>
}

const secret = 'a secret with at least 32 characters in it'
const hour = 3_600_000

/** What a kind of host says of itself. */
interface Parts {
  readonly sessions: SessionSource<never>
  readonly cookieNames: readonly string[]
  /** Opens a session on the reply. A body is for the device to keep as a token. */
  readonly open: (user: string, request: FastifyRequest, reply: FastifyReply) => unknown
  /** The user of a request, or nothing. */
  readonly userOf: (request: FastifyRequest) => unknown
  /** Saves the session of a request, or refreshes its tokens. */
  readonly saveSession: (request: FastifyRequest, reply: FastifyReply) => unknown
}

const registerSessionLogout = (app: FastifyInstance, options: SessionLogoutOptions) => app.register(sessionLogout, options)

interface BrokenHostOptions extends HostOptions {
  readonly broken: Map<string, Fault>
}

async function hostOf (t: Teardown, app: FastifyInstance, parts: Parts, options: BrokenHostOptions): Promise<SourceHost> {
  const { broken, revocations, sessionStore, innerStore, pages = {}, register = registerSessionLogout, ...logout } = options
  const { events, onLogout } = told()
  const gates = new Map<string, { readonly arrived: () => void, readonly opened: Promise<void> }>()
  t.teardown(() => app.close())

  const unguarded: object = { revocation: false }
  app.post<{ Body: { user: string } }>('/login', { config: unguarded }, async (request, reply) => {
    return { token: await parts.open(request.body.user, request, reply) }
  })
  app.get('/me', async (request, reply) => {
    const user = await parts.userOf(request)
    return user === undefined || user === null ? reply.code(401).send({}) : { user }
  })
  app.post<{ Params: { gate: string } }>('/save/:gate', async (request, reply) => {
    if (!await parts.userOf(request)) return reply.code(401).send({})
    const gate = gates.get(request.params.gate)
    gate?.arrived()
    await gate?.opened
    return { token: await parts.saveSession(request, reply) }
  })
  for (const [path, html] of Object.entries(pages)) {
    app.get(path, { config: unguarded }, async (_request, reply) => reply.type('text/html').send(html))
  }
  const works = new Map<string, (request: FastifyRequest, reply: FastifyReply) => Promise<void>>()
  app.post<{ Params: { id: string } }>('/handle/:id', { config: unguarded }, async (request, reply) => {
    await works.get(request.params.id)?.(request, reply)
  })
  await register(app, { sessions: parts.sessions, onLogout, ...logout } as SessionLogoutOptions)
  await app.ready()

  const keepToken = (device: Device, token: unknown) => {
    if (typeof token === 'string') device.headers['authorization'] = `Bearer ${token}`
  }
  return {
    app,
    sessions: parts.sessions,
    events,
    broken,
    cookieNames: parts.cookieNames,
    logIn: async user => {
      const device = newDevice(app)
      const response = await device.send({ method: 'POST', url: '/login', payload: { user } })
      keepToken(device, response.json().token)
      return device
    },
    isLive: async device => {
      const { statusCode } = await device.copy().send({ url: '/me' })
      if (statusCode !== 200 && statusCode !== 401) throw new Error(`/me answered ${statusCode}`)
      return statusCode === 200
    },
    handle: (headers, work) => new Promise((resolve, reject) => {
      const id = randomUUID()
      works.set(id, async (request, reply) => {
        try {
          resolve(await work(request, reply))
        } catch (error) {
          reject(error)
        }
      })
      app.inject({ method: 'POST', url: `/handle/${id}`, headers: { 'x-forwarded-proto': 'https', ...headers } }).catch(reject)
    }),
    save: async device => {
      const gate = randomUUID()
      let finish = () => {}
      const opened = new Promise<void>(resolve => { finish = resolve })
      const copy = device.copy()
      const sent = new Promise<{ readonly done: Promise<void> }>((resolve, reject) => {
        gates.set(gate, { opened, arrived: () => resolve({ done }) })
        const done = copy.send({ method: 'POST', url: `/save/${gate}` }).then(response => {
          if (response.statusCode === 401) reject(new Error('the request was refused before it could save'))
          keepToken(copy, response.json().token)
        })
      })
      const { done } = await sent
      return { finish: async () => { finish(); await done; return copy } }
    }
  }
}

/** Marks in memory that can fail. */
function failingMarks (broken: Map<string, Fault>, run: <T>(name: string, work: () => T) => T, given?: HostOptions['revocations']) {
  const marks = given ?? memoryRevocationStore()
  const revocations: RevocationStore = {
    check: credential => run('check', () => marks.check(credential)),
    revoke: (...added) => run('revoke', () => marks.revoke(...added)),
    revokeOnce: (credential, ...added) => run('revoke', () => marks.revokeOnce(credential, ...added)),
    claimOnce: (key, until) => run('claimOnce', () => marks.claimOnce(key, until))
  }
  return { revocations, broken }
}

/** A host with a table of its own. */
export const ownTable: SourceKind = {
  name: 'plain functions',
  make: async (t, options = {}) => {
    const own = ownSessions()
    const app = Fastify({ trustProxy: true })
    const ids = new Map<string, number>()
    const idOf = (user: string) => /^\d+$/.test(user) ? Number(user) : ids.get(user) ?? ids.set(user, ids.size + 1).size
    const rowOf = ({ headers }: FastifyRequest) => own.isLive(headers.cookie ?? '') ? headers.cookie : undefined
    return hostOf(t, app, {
      sessions: own.sessions as never,
      cookieNames: ['sid'],
      open: (user, _request, reply) => { reply.header('set-cookie', `${own.logIn(idOf(user))}; Path=/`) },
      userOf: rowOf,
      saveSession: request => {
        const row = own.rows.get(request.headers.cookie?.slice('sid='.length) ?? '')
        if (row !== undefined) row.expiresAt = Date.now() + hour
      }
    }, { clear: { cookies: [{ name: 'sid' }] }, ...options, broken: own.broken })
  }
}

/** A host with our session store. */
export const sessionStore: SourceKind = {
  name: 'a session store',
  make: async (t, options = {}) => {
    const store = options.sessionStore ?? memorySessionStore()
    const { set: broken, run } = faults()
    const app = Fastify({ trustProxy: true })
    await app.register(fastifyCookie)
    const failing = {
      find: (token: string) => run('find', () => store.find(token)),
      logOut: (token: string) => run('logOut', () => store.logOut(token)),
      logOutSubject: (query: Parameters<typeof store.logOutSubject>[0]) => run('logOutSubject', () => store.logOutSubject(query))
    }
    return hostOf(t, app, {
      sessions: sessionStoreSource(failing, { cookie: { name: 'sid' } }) as never,
      cookieNames: ['sid'],
      open: async (user, _request, reply) => {
        const token = randomUUID()
        const now = Date.now()
        await store.create(token, { id: randomUUID(), subject: user, createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
        reply.setCookie('sid', token, { path: '/', secure: true, httpOnly: true })
      },
      userOf: async ({ cookies }) => {
        const session = await store.find(cookies['sid'] ?? '')
        return session?.status === 'active' ? session.subject : undefined
      },
      saveSession: (request, reply) => { reply.setCookie('sid', request.cookies['sid'] ?? '', { path: '/', secure: true, httpOnly: true }) }
    }, { ...options, broken })
  }
}

/** How a host with `@fastify/session` differs from the plugin's defaults. */
export interface FastifySessionHostOptions {
  readonly plugin?: Partial<FastifySessionOptions>
  readonly cookieName?: string
}

/** A host with `@fastify/session`. */
export function fastifySessionHost (name: string, { plugin = {}, cookieName }: FastifySessionHostOptions = {}): SourceKind {
  return {
    name,
    make: async (t, options = {}) => {
      const { set, run } = faults()
      const { revocations, broken } = failingMarks(set, run, options.revocations)
      const inner = options.innerStore ?? new fastifySession.MemoryStore() as unknown as ProtectableSessionStore
      const store = protectSessionStore(failingStore(inner, run), revocations, {
        timeout: 200,
        credential: ({ user, loggedInAt }: { user?: string, loggedInAt?: number }) => user === undefined
          ? undefined
          : {
              subject: user,
              issuedAt: loggedInAt
            }
      })
      const app = Fastify({ trustProxy: true })
      await app.register(fastifyCookie)
      await app.register(fastifySession, { secret, ...(cookieName !== undefined && { cookieName }), ...plugin, store: store as never })
      return hostOf(t, app, {
        sessions: fastifySessionSource(store, cookieName === undefined ? {} : { cookieName }) as never,
        cookieNames: [cookieName ?? 'sessionId'],
        open: async (user, request) => {
          await request.session.regenerate()
          Object.assign(request.session, { user, loggedInAt: Date.now() })
        },
        userOf: ({ session }) => session.user,
        saveSession: ({ session }) => { session.saves = (session.saves ?? 0) + 1 }
      }, { ...options, broken })
    }
  }
}

/** A store whose methods can fail. */
function failingStore (inner: ProtectableSessionStore, run: <T>(name: string, work: () => T) => T): ProtectableSessionStore {
  const failing = (name: 'get' | 'set' | 'destroy') => (...values: unknown[]) => {
    const callback = values.at(-1) as (error: unknown) => void
    const method = inner[name] as (...values: unknown[]) => unknown
    try {
      const answer = run(`store.${name}`, () => method.apply(inner, values))
      Promise.resolve(answer).catch(callback)
    } catch (error) {
      callback(error)
    }
  }
  return { get: failing('get'), set: failing('set'), destroy: failing('destroy') }
}

/** The session of `@fastify/secure-session`, whose types those of `@fastify/session` hide. */
function secure (request: FastifyRequest) {
  return request.session as unknown as { get (name: string): unknown, set (name: string, value: unknown): void, regenerate (): void }
}

/** A host with `@fastify/secure-session`. */
export function secureSessionHost (name: string, plugin: Record<string, unknown> = {}): SourceKind {
  return {
    name,
    make: async (t, options = {}) => {
      const { set, run } = faults()
      const { revocations, broken } = failingMarks(set, run, options.revocations)
      const sessions = secureSessionSource({
        revocations,
        lifetime: 24 * hour,
        sessionOf: ({ id, user, loggedInAt }) => typeof id === 'string' && typeof user === 'string'
          ? { id, subject: user, issuedAt: Number(loggedInAt) }
          : undefined
      })
      const app = Fastify({ trustProxy: true })
      await app.register(fastifySecureSession, { key: Buffer.alloc(32, 7), cookie: { path: '/', secure: true }, ...plugin } as never)
      await app.register(revocationGuard, { revocations, credential: sessions.credential })
      return hostOf(t, app, {
        sessions: sessions as never,
        cookieNames: [String(plugin['cookieName'] ?? 'session')],
        open: (user, request) => {
          const session = secure(request)
          session.regenerate()
          session.set('id', randomUUID())
          session.set('user', user)
          session.set('loggedInAt', Date.now())
        },
        userOf: request => secure(request).get('user'),
        saveSession: request => { secure(request).set('saves', 1) }
      }, { ...options, broken })
    }
  }
}

/** A host with access and refresh tokens of `@fastify/jwt`. */
export function jwtHost (name: string, { accessIn }: { readonly accessIn: 'header' | 'cookie' }): SourceKind {
  return {
    name,
    make: async (t, options = {}) => {
      const { set, run } = faults()
      const { revocations, broken } = failingMarks(set, run, options.revocations)
      const app = Fastify({ trustProxy: true })
      await app.register(fastifyCookie)
      await app.register(fastifyJwt, { secret, ...(accessIn === 'cookie' && { cookie: { cookieName: 'access', signed: false } }) })
      const credential = (claims: Record<string, unknown>, token?: string) => ({
        ...credentialOf(claims, token),
        loggedInAt: Number(claims['login'])
      })
      app.addHook('onRequest', async (request, reply) => {
        if (request.url === '/me') await request.jwtVerify().catch(() => reply.code(401).send({}))
        if (request.url.startsWith('/save/')) request.user = app.jwt.verify<{ sub: string }>(request.cookies['refresh'] ?? '')
      })
      await app.register(revocationGuard, {
        revocations, credential: request => request.user ? credential(request.user as Record<string, unknown>) : undefined
      })
      const refreshCookie = { path: '/', secure: true, httpOnly: true, sameSite: 'strict' } as const
      const issue = (claims: { readonly sub: string, readonly sid: string, readonly login: number }, reply: FastifyReply) => {
        reply.setCookie('refresh', app.jwt.sign({ ...claims, jti: randomUUID() }, { expiresIn: '30d' }), refreshCookie)
        const access = app.jwt.sign({ ...claims, jti: randomUUID() }, { expiresIn: '5m' })
        if (accessIn === 'header') return access
        reply.setCookie('access', access, refreshCookie)
        return undefined
      }
      const from: TokenPlace[] = [accessIn === 'header' ? 'bearer' : { name: 'access', sameSite: 'strict' }, {
        name: 'refresh',
        sameSite: 'strict'
      }]
      return hostOf(t, app, {
        sessions: jwtSource({
          verify: token => app.jwt.verify<Record<string, unknown>>(token, { ignoreExpiration: true }),
          revocations,
          lifetime: 30 * 24 * hour,
          from,
          credential
        }) as never,
        cookieNames: accessIn === 'header' ? ['refresh'] : ['access', 'refresh'],
        open: (user, _request, reply) => issue({ sub: user, sid: randomUUID(), login: Date.now() }, reply),
        userOf: ({ user }) => (user as { sub?: string } | null)?.sub,
        saveSession: ({ user }, reply) => {
          const { sub, sid, login } = user as { sub: string, sid: string, login: number }
          return issue({ sub, sid, login }, reply)
        }
      }, { ...options, broken })
    }
  }
}

/** Every source, over every kind of host. */
export const kinds: readonly SourceKind[] = [
  ownTable,
  sessionStore,
  fastifySessionHost('@fastify/session at its defaults'),
  fastifySessionHost('@fastify/session, saving only what changed', { plugin: { rolling: false, saveUninitialized: false } }),
  fastifySessionHost('@fastify/session with a prefix and another cookie', {
    cookieName: 'sid', plugin: { cookiePrefix: 's:', cookie: { path: '/', sameSite: 'strict', secure: 'auto' } }
  }),
  secureSessionHost('@fastify/secure-session'),
  jwtHost('JWTs in a header and a cookie', { accessIn: 'header' }),
  jwtHost('JWTs in cookies', { accessIn: 'cookie' })
]
