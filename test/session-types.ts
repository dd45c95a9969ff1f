// Compiled, never run: what TypeScript infers from a session source, and what it refuses (A8).
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import {
  logoutActions, rpInitiatedLogout, sessionLogout,
  type HostSession, type LogoutActions, type RevocationStore, type RpInitiatedLogoutOptions, type Session, type SessionLogoutOptions,
  type SessionSource, type SessionStore
} from '../lib/index.ts'
import { jwtSource, type JwtSession } from '../lib/session-sources/jwt.ts'
import { secureSessionSource } from '../lib/session-sources/secure-session.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'

interface Visit { readonly id: number, readonly subject: number, readonly device: string }

declare const visits: SessionSource<Visit>
declare const store: SessionStore
declare const revocations: RevocationStore
declare const request: FastifyRequest
declare const reply: FastifyReply
declare function expectType<T> (value: T): void

/** As a plugin like any other, callbacks get what every session has. */
export async function asPlugin () {
  const app = Fastify()
  await app.register(sessionLogout, { sessions: visits, prefix: '/auth' })
  await app.register(sessionLogout, {
    sessions: visits,
    onLogout: (event, request) => {
      expectType<FastifyRequest | undefined>(request)
      expectType<string | number>(event.scope === 'session' ? event.session.id : event.subject)
      // @ts-expect-error a member of the host's own session needs its type
      return event.scope === 'session' && event.session.device
    },
    scopes: { mayLogOut: (scope, session) => scope === 'others' && session.subject === 1 }
  })
  await app.register(sessionLogout<Visit>, { sessions: visits, onLogout: event => event.scope === 'session' && event.session.device })
  // @ts-expect-error sessions is missing
  await app.register(sessionLogout, {})
  // @ts-expect-error logOut is missing
  await app.register(sessionLogout, { sessions: { find: () => undefined } })
  // @ts-expect-error there is no such scope
  await app.register(sessionLogout, { sessions: visits, scopes: { allowed: ['current', 'everything'] } })
  // @ts-expect-error a directive that no browser knows
  await app.register(sessionLogout, { sessions: visits, clear: { siteData: ['everything'] } })
  // @ts-expect-error the session of another source
  await app.register(sessionLogout<Visit>, { sessions: sessionStoreSource(store, { header: 'authorization' }) })
}

/** Called with its options, the session's type is inferred. */
export async function inferred () {
  const app = Fastify()
  await app.register(sessionLogout({
    sessions: visits,
    onLogout: event => { if (event.scope === 'session') expectType<Visit>(event.session) },
    scopes: { mayLogOut: (_scope, session) => session.device === 'laptop' }
  }), { prefix: '/auth' })
  await app.register(sessionLogout({
    sessions: { logOut: async () => ({ id: 'a', subject: 5, tenant: 'acme', ip: '::1' }) },
    onLogout: event => event.scope === 'session' && event.session.ip.length
  }))
  await app.register(sessionLogout({
    sessions: sessionStoreSource(store, { cookie: { name: 'sid' } }),
    onLogout: event => { if (event.scope === 'session') expectType<Session>(event.session) }
  }))
  // @ts-expect-error there is no such member
  sessionLogout({ sessions: visits, onLogout: event => event.scope === 'session' && event.session.ip })
}

declare const openid: Pick<RpInitiatedLogoutOptions, 'issuers' | 'publicUrl' | 'returnUrls'>

/** The logout at an OpenID Provider infers the session as well. */
export async function atProvider () {
  const app = Fastify()
  const findable = { logOut: () => undefined, find: async () => ({ id: 'a', subject: 'alice', idToken: 'x' }) }
  await app.register(rpInitiatedLogout({
    ...openid, sessions: findable, provider: session => ({ issuer: 'https://login.example', idToken: session?.idToken })
  }), { prefix: '/auth' })
  await app.register(rpInitiatedLogout({ ...openid, sessions: visits, provider: session => { expectType<Visit | undefined>(session) } }))
  // @ts-expect-error there is no such member
  rpInitiatedLogout({ ...openid, sessions: findable, provider: session => ({ issuer: String(session?.device) }) })
  // @ts-expect-error publicUrl is missing
  await app.register(rpInitiatedLogout, {
    sessions: findable, issuers: openid.issuers, returnUrls: { default: '/' }, provider: () => undefined
  })
}

/** The functions for other handlers infer it too. */
export async function actions () {
  const { logOut, logOutSubject } = logoutActions({
    sessions: visits,
    onLogout: event => { if (event.scope === 'session') expectType<Visit>(event.session) }
  })
  expectType<Visit | undefined>(await logOut(request, reply))
  await logOutSubject({ subject: 1, except: 2 })
  await logOutSubject({ subject: 1 }, request)
  // @ts-expect-error the ids of these sessions are numbers
  await logOutSubject({ subject: 1, except: '2' })
  // @ts-expect-error a reply is needed, to clear the cookies
  await logOut(request)
  const general: LogoutActions = logoutActions({ sessions: sessionStoreSource(store, { header: 'authorization' }) })
  return general
}

/** The sources know what their sessions are. */
export async function sources () {
  const app = Fastify()
  await app.register(fastifyJwt, { secret: 'secret' })
  const tokens = jwtSource({
    verify: token => app.jwt.verify<{ sub: string, sid: string, device: string }>(token),
    revocations,
    lifetime: 1000,
    credential: ({ sub, sid }) => ({ subject: sub, sessionId: sid })
  })
  expectType<SessionSource<JwtSession<{ sub: string, sid: string, device: string }>>>(tokens)
  sessionLogout({ sessions: tokens, onLogout: event => event.scope === 'session' && event.session.claims.device.length })

  const secure = secureSessionSource({
    revocations, lifetime: 1000, sessionOf: data => ({ id: String(data['id']), subject: 'alice', cart: [1] })
  })
  sessionLogout({ sessions: secure, onLogout: event => event.scope === 'session' && event.session.cart.length })
  // @ts-expect-error a session has an id
  secureSessionSource({ revocations, lifetime: 1000, sessionOf: () => ({ subject: 'alice' }) })
  // @ts-expect-error a revocation store checks and revokes
  secureSessionSource({ revocations: { check: () => 'live' }, lifetime: 1000, sessionOf: () => undefined })
  // @ts-expect-error exactly one place is given at run time, but an unknown one is refused here
  sessionStoreSource(store, { query: 'token' })
}

/** Nothing is added to the types of the host. */
export function noAugmentation (app: FastifyInstance) {
  // @ts-expect-error nothing is decorated
  app.logOut()
}

/** Options can be made apart from the registration, and undefined members are as good as missing ones. */
export function options (): Array<SessionLogoutOptions<Visit> | SessionLogoutOptions<HostSession>> {
  const options: SessionLogoutOptions<Visit> = {
    sessions: visits,
    route: { path: undefined, security: undefined },
    scopes: { allowed: undefined, mayLogOut: undefined },
    csrf: { trustedOrigins: undefined, trustSameSite: undefined, hook: undefined },
    publicUrl: undefined,
    returnUrls: { default: undefined, allowed: undefined },
    clear: { cookies: undefined, siteData: undefined },
    onLogout: undefined,
    timeout: undefined
  }
  return [options, { sessions: visits }]
}
