// The library's Kratos-style flow.
import Fastify from 'fastify'
import { kratosLogout } from '../../dist/flows/kratos-native.js'
import { kratosRequest, kratosToken } from './kratos-request.js'
import { sessionStore } from './library-stores.js'
import { inParallel, sessionAt } from './tokens.js'

export default async function ({ store }) {
  const sessions = await sessionStore(store)
  const app = Fastify()
  await app.register(kratosLogout, { sessions })
  return {
    app,
    request: kratosRequest,
    seed: (from, count) => inParallel(from, count, index => sessions.create(kratosToken(index), sessionAt(index))),
    isOver: async index => (await sessions.find(kratosToken(index))).status === 'logged_out'
  }
}
