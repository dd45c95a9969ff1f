// @fastify/session, as its README sets it up: the logout route destroys the session.
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import { cookieSession, cookieSessionRequest, signed, storeCalls } from './cookie-sessions.js'
import { connectRedis } from './peer-clients.js'
import { tokenAt } from './tokens.js'

const secret = 'a secret with a minimum length of 32 characters'

export default async function ({ store }) {
  const sessions = store.kind === 'memory' ? new session.MemoryStore() : await connectRedis(store)
  const { set, get } = storeCalls(sessions)
  const app = Fastify()
  app.register(cookie)
  app.register(session, { secret, store: sessions, cookieName: 'sessionId', cookie: { secure: false, maxAge: 3_600_000 } })
  app.post('/logout', async (request, reply) => {
    await request.session.destroy()
    return reply.code(204).send()
  })
  return {
    app,
    request: index => cookieSessionRequest('sessionId', signed(tokenAt(index), secret)),
    seed: (from, count) => Promise.all(Array.from({ length: count }, (_, index) => set(tokenAt(from + index), cookieSession(from + index)))),
    isOver: async index => !await get(tokenAt(index))
  }
}
