// The library's Kratos-style flow.
import Fastify from 'fastify'
import { kratosLogout } from '../../dist/flows/kratos-native.js'
import { kratosRequest, kratosToken } from './kratos-request.js'
import { sessionStore } from './library-stores.js'
import { inParallel, sessionAt } from './tokens.js'

export default async function ({ store, preload = 0 }) {
  const sessions = await sessionStore(store)
  const app = Fastify()
  await app.register(kratosLogout, { sessions })

  const seed = (from, count) => inParallel(from, count, index => sessions.create(kratosToken(index), sessionAt(index)))
  await seed(1e9, preload)

  return {
    app,
    request: kratosRequest,
    seed,
    isOver: async index => (await sessions.find(kratosToken(index))).status === 'logged_out'
  }
}
