// The library's Kratos-style flow.
import Fastify from 'fastify'
import { kratosLogout } from '../../dist/flows/kratos-native.js'
import { fillSessions } from './filling.js'
import { kratosRequest, kratosToken } from './kratos-request.js'
import { sessionStore } from './library-stores.js'
import { inParallel, sessionAt } from './tokens.js'

export default async function ({ store, preload = 0, subjects = 1000 }) {
  const sessions = await sessionStore(store)
  const app = Fastify()
  await app.register(kratosLogout, { sessions })

  const seed = (from, count) => inParallel(from, count, index => sessions.create(kratosToken(index), sessionAt(index, `user-${index % subjects}`)))
  await fillSessions(sessions, store, { count: preload, subjects })

  return {
    app,
    request: kratosRequest,
    seed,
    isOver: async index => (await sessions.find(kratosToken(index))).status === 'logged_out'
  }
}
