// What a good team would write: the wire of Kratos' native logout, the token looked up by its SHA-256 digest in a table
// of its own, or in the library's store. With `promises`, also what the library promises beyond that: each call to the
// store has a timeout, the host is notified once even if the store answers later, and refusals are published on a channel.
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { channel } from 'node:diagnostics_channel'
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

const refusals = channel('bench:refusal')

export default async function ({ store, table = 'own', promises = false }) {
  const sessions = table === 'own' ? await sessionTable(store) : await sessionStore(store)
  const app = Fastify()
  const onLogout = () => {}

  app.setErrorHandler((error, request, reply) => {
    const status = error.statusCode >= 400 && error.statusCode < 500 ? 400 : 500
    if (status === 500) request.log.error(error)
    return sendError(reply, status, status === 400 ? 'Unable to decode JSON payload' : undefined)
  })

  if (promises) publishRefusals(app)
  const ask = promises ? withinTimeout : call => call()

  app.delete('/self-service/logout/api', { schema, bodyLimit: 5 * 1024 * 1024 }, async (request, reply) => {
    const token = request.body?.session_token
    const before = token ? await ask(() => sessions.logOut(token), late => notifyLate(late, request)) : undefined
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

  async function notifyLate (before, request) {
    if (before?.status === 'active') await onLogout(before, request)
  }

  return {
    app,
    request: kratosRequest,
    seed: (from, count) => table === 'own'
      ? sessions.seed(Array.from({ length: count }, (_, index) => ({ token: kratosToken(from + index), session: sessionAt(from + index) })))
      : inParallel(from, count, index => sessions.create(kratosToken(index), sessionAt(index))),
    isOver: async index => (await sessions.logOut(kratosToken(index))).status === 'logged_out'
  }
}

/** Calls the store, and waits for at most five seconds. */
function withinTimeout (call, onLate) {
  const answer = call()
  if (typeof answer?.then !== 'function') return answer
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      reject(new Error('no answer within 5 s'))
    }, 5000)
    answer.then(value => {
      clearTimeout(timer)
      if (isLate) onLate(value)
      else resolve(value)
    }, reject)
  })
}

function publishRefusals (app) {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (refusals.hasSubscribers) reply.raw.once('finish', () => { if (reply.statusCode >= 400) refusals.publish({ requestId: request.id, status: reply.statusCode }) })
    done()
  })
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
