// What a good team would write: the wire of Kratos' native logout, the token looked up by its SHA-256 digest in a table
// of its own, or in the library's store.
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { kratosRequest, kratosToken } from './kratos-request.js'
import { sessionStore } from './library-stores.js'
import { sessionTable } from './session-tables.js'
import { inParallel, sessionAt } from './tokens.js'

const schema = {
  body: Type.Union([
    Type.Object({ session_token: Type.Optional(Type.Union([Type.String(), Type.Null()])) }),
    Type.Null()
  ]),
  response: { 204: Type.Null() }
}

export default async function ({ store, table = 'own' }) {
  const sessions = table === 'own' ? await sessionTable(store) : await sessionStore(store)
  const app = Fastify()
  const onLogout = () => {}

  app.setErrorHandler((error, request, reply) => {
    const status = error.statusCode >= 400 && error.statusCode < 500 ? 400 : 500
    if (status === 500) request.log.error(error)
    return sendError(reply, status, status === 400 ? 'Unable to decode JSON payload' : undefined)
  })

  app.delete('/self-service/logout/api', { schema, bodyLimit: 5 * 1024 * 1024 }, async (request, reply) => {
    const token = request.body?.session_token
    const before = token ? await sessions.logOut(token) : undefined
    if (before === undefined) return sendError(reply, 403, 'The provided Ory Session Token could not be found, is invalid, or otherwise malformed.')

    if (before.status === 'active' && before.expiresAt > Date.now()) {
      try {
        await onLogout(before, request)
      } catch (error) {
        request.log.error(error, 'onLogout failed')
      }
    }
    return reply.code(204).header('cache-control', 'no-store').header('vary', 'Cookie').send()
  })

  return {
    app,
    request: kratosRequest,
    seed: (from, count) => table === 'own'
      ? sessions.seed(Array.from({ length: count }, (_, index) => ({ token: kratosToken(from + index), session: sessionAt(from + index) })))
      : inParallel(from, count, index => sessions.create(kratosToken(index), sessionAt(index))),
    isOver: async index => (await sessions.logOut(kratosToken(index))).status === 'logged_out'
  }
}

const messages = {
  400: ['Bad Request', 'The request was malformed or contained invalid parameters'],
  403: ['Forbidden', 'The requested action was forbidden'],
  500: ['Internal Server Error', 'An internal server error occurred, please contact the system administrator']
}

function sendError (reply, code, reason) {
  const [status, message] = messages[code]
  return reply.code(code).header('cache-control', 'no-store').header('vary', 'Cookie').type('application/json')
    .send({ error: { code, status, reason, message } })
}
