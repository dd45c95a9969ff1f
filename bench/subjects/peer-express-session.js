// Express 5 with express-session, as its README sets it up: the logout route destroys the session.
import express from 'express'
import session from 'express-session'
import { cookieSession, cookieSessionRequest, signed, storeCalls } from './cookie-sessions.js'
import { connectRedis } from './peer-clients.js'
import { tokenAt } from './tokens.js'

const secret = 'a secret with a minimum length of 32 characters'

export default async function ({ store }) {
  const sessions = store.kind === 'memory' ? new session.MemoryStore() : await connectRedis(store)
  const { set, get } = storeCalls(sessions)
  const app = express()
  app.use(session({ store: sessions, secret, resave: false, saveUninitialized: false, cookie: { maxAge: 3_600_000 } }))
  app.post('/logout', (request, response, next) => {
    request.session.destroy((error) => {
      if (error) next(error)
      else response.sendStatus(204)
    })
  })
  return {
    handler: app,
    request: index => cookieSessionRequest('connect.sid', `s:${signed(tokenAt(index), secret)}`),
    seed: (from, count) => Promise.all(Array.from({ length: count }, (_, index) => set(tokenAt(from + index), cookieSession(from + index)))),
    isOver: async index => !await get(tokenAt(index))
  }
}
