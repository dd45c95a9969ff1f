// What a good team would write: the limit per address, the tenant's token, the user's token, and one write, to a table of
// its own, or to the library's store.
import rateLimit from '@fastify/rate-limit'
import { createVerifier } from 'fast-jwt'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { jwt } from './signinghub-host.js'
import { userStatusStore } from './library-stores.js'
import { authenticateTenant, limit, tenantRequest } from './tenant-host.js'
import { inParallel } from './tokens.js'
import { userTable } from './user-tables.js'

const meta = Type.Object({ requestId: Type.String(), timestamp: Type.String() })
const failure = Type.Object({ meta, error: Type.Object({ message: Type.String(), code: Type.String(), status: Type.Integer() }) })
const schema = {
  response: { 200: Type.Object({ meta, data: Type.Object({ success: Type.Boolean() }) }), '4xx': failure, '5xx': failure }
}

export default async function ({ store, table = 'own' }) {
  const users = table === 'own' ? await userTable(store) : tableOf(await userStatusStore(store))
  const app = Fastify()
  const verify = createVerifier({
    key: jwt.key, algorithms: ['HS256'], allowedIss: jwt.issuer, allowedAud: jwt.audience, requiredClaims: ['exp', 'iss', 'aud', 'sub']
  })
  await app.register(rateLimit, { max: limit.max, timeWindow: limit.window })

  app.setErrorHandler((error, request, reply) => {
    if (error.statusCode === 429) return refuse(request, reply, 429, 'TOO_MANY_REQUESTS', 'Too many requests')
    request.log.error(error)
    return refuse(request, reply, 500, 'INTERNAL_SERVER', 'Something went wrong on our side.')
  })

  app.get('/auth/logout', { schema, exposeHeadRoute: false }, async (request, reply) => {
    const tenantToken = request.headers['x-tenant-token']
    if (!tenantToken) return refuse(request, reply, 401, 'MISSING_TENANT_TOKEN', 'Missing tenant token')
    const tenant = await authenticateTenant(tenantToken)
    if (tenant === undefined) return refuse(request, reply, 401, 'INVALID_TENANT_TOKEN', 'Invalid tenant token')

    const token = request.headers['x-token']
    if (!token) return refuse(request, reply, 401, 'MISSING_USER_TOKEN', 'Missing user token')
    let claims
    try {
      claims = verify(token)
    } catch {
      return refuse(request, reply, 401, 'INVALID_USER_TOKEN', 'Invalid user token')
    }
    if (claims.tenant !== tenant) return refuse(request, reply, 401, 'INVALID_USER_TOKEN', 'Invalid user token')

    const before = await users.logOut(tenant, claims.sub, Date.now(), request.id)
    if (before !== 'logged_in' && before !== 'logged_out') return refuse(request, reply, 500, 'UNEXPECTED_STATE', 'Missing user context')
    return reply.header('cache-control', 'no-store').send({ meta: metaOf(request), data: { success: true } })
  })

  return {
    app,
    status: 200,
    request: tenantRequest,
    seed: (from, count) => users.seed('acme', Array.from({ length: count }, (_, index) => `user-${from + index}`)),
    isOver: async index => await users.logOut('acme', `user-${index}`, Date.now(), 'check') === 'logged_out'
  }
}

/** The library's store as the handler above calls its own. */
function tableOf (users) {
  const statusOf = before => before?.status
  return {
    seed: (tenant, subjects) => inParallel(0, subjects.length, index => users.set({ tenant, subject: subjects[index] }, 'logged_in')),
    logOut: (tenant, subject, at, requestId) => {
      const before = users.logOut({ tenant, subject }, { at, requestId })
      return typeof before?.then === 'function' ? before.then(statusOf) : statusOf(before)
    }
  }
}

function metaOf (request) {
  return { requestId: request.id, timestamp: new Date().toISOString() }
}

function refuse (request, reply, status, code, message) {
  return reply.code(status).header('cache-control', 'no-store').send({ meta: metaOf(request), error: { message, code, status } })
}
