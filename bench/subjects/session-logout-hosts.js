// The hosts whose sessions a `POST /logout` ends: four kinds of sessions, each with a logout written by hand.
import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fastifySecureSession from '@fastify/secure-session'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import { protectSessionStore } from '../../dist/bridges/express-session.js'
import { fastifySessionSource } from '../../dist/session-sources/fastify-session.js'
import { jwtSource } from '../../dist/session-sources/jwt.js'
import { secureSessionSource } from '../../dist/session-sources/secure-session.js'
import { sessionStoreSource } from '../../dist/session-sources/session-store.js'
import { cookieSession, cookieSessionRequest, signed, storeCalls } from './cookie-sessions.js'
import { revocationStore, sessionStore } from './library-stores.js'
import { inParallel, sessionAt, tokenAt } from './tokens.js'

const secret = 'a secret with a minimum length of 32 characters'
const hour = 3_600_000
const cookie = { name: 'sid', path: '/', httpOnly: true, secure: true, sameSite: 'lax' }
const { name: cookieName, ...attributes } = cookie

const hosts = {
  '@fastify/session': async () => {
    const revocations = await revocationStore({ kind: 'memory' })
    const store = protectSessionStore(new fastifySession.MemoryStore(), revocations, {
      lifetime: hour, credential: ({ user, loggedInAt }) => user === undefined ? undefined : { subject: user, loggedInAt }
    })
    const { set, get } = storeCalls(store)
    const app = Fastify()
    await app.register(fastifyCookie)
    await app.register(fastifySession, { secret, store, cookieName, cookie: { secure: false, maxAge: hour } })
    return {
      app,
      sessions: fastifySessionSource(store, { cookieName }),
      byHand: async (request, reply) => {
        await request.session.destroy()
        reply.clearCookie(cookieName, { path: '/', httpOnly: true })
      },
      request: index => cookieSessionRequest(cookieName, signed(tokenAt(index), secret)),
      seed: (from, count) => inParallel(from, count, index => set(tokenAt(index), { ...cookieSession(index), loggedInAt: Date.now() })),
      isOver: async index => !await get(tokenAt(index))
    }
  },

  '@fastify/secure-session': async () => {
    const revocations = await revocationStore({ kind: 'memory' })
    const app = Fastify()
    await app.register(fastifySecureSession, { key: Buffer.alloc(32, 7), cookieName, cookie: attributes })
    const cookieAt = index => app.encodeSecureSession(app.createSecureSession({
      id: tokenAt(index), user: `user-${index % 1000}`, loggedInAt: Date.now()
    }))
    return {
      app,
      sessions: secureSessionSource({
        revocations, lifetime: hour, sessionOf: ({ id, user, loggedInAt }) => id && { id, subject: user, issuedAt: loggedInAt }
      }),
      byHand: async request => {
        const id = request.session.get('id')
        if (id !== undefined) await revocations.revoke({ sessionId: id, until: Date.now() + hour })
        request.session.delete()
      },
      request: index => cookieSessionRequest(cookieName, cookieAt(index)),
      isOver: async index => await revocations.check({ sessionId: tokenAt(index) }) === 'revoked'
    }
  },

  'JWTs, access and refresh token': async () => {
    const revocations = await revocationStore({ kind: 'memory' })
    const app = Fastify()
    await app.register(fastifyCookie)
    await app.register(fastifyJwt, { secret })
    const verify = token => app.jwt.verify(token, { ignoreExpiration: true })
    const tokenOf = (index, aud) => app.jwt.sign({ sub: `user-${index % 1000}`, sid: tokenAt(index), aud }, { expiresIn: '1h' })
    const sessionOf = token => {
      try {
        return verify(token).sid
      } catch {
        return undefined
      }
    }
    return {
      app,
      sessions: jwtSource({ verify, revocations, lifetime: hour, from: ['bearer', cookie] }),
      byHand: async ({ headers: { authorization = '' }, cookies }, reply) => {
        const ids = new Set([authorization.slice('Bearer '.length), cookies[cookieName] ?? ''].map(sessionOf))
        ids.delete(undefined)
        await revocations.revoke(...Array.from(ids, sessionId => ({ sessionId, until: Date.now() + hour })))
        reply.clearCookie(cookieName, attributes)
      },
      request: index => {
        const { headers, ...request } = cookieSessionRequest(cookieName, tokenOf(index, 'refresh'))
        return { ...request, headers: { ...headers, authorization: `Bearer ${tokenOf(index, 'access')}` } }
      },
      isOver: async index => await revocations.check({ sessionId: tokenAt(index) }) === 'revoked'
    }
  },

  'a session store': async store => {
    const sessions = await sessionStore(store)
    const app = Fastify()
    await app.register(fastifyCookie)
    return {
      app,
      sessions: sessionStoreSource(sessions, { cookie }),
      byHand: async ({ cookies }, reply) => {
        await sessions.logOut(cookies[cookieName] ?? '')
        reply.clearCookie(cookieName, attributes)
      },
      request: index => cookieSessionRequest(cookieName, tokenAt(index)),
      seed: (from, count) => inParallel(from, count, index => sessions.create(tokenAt(index), sessionAt(index))),
      isOver: async index => (await sessions.find(tokenAt(index))).status === 'logged_out'
    }
  }
}

/** Makes the host with sessions of this kind. */
export async function sessionHost ({ source, store }) {
  return hosts[source](store)
}
