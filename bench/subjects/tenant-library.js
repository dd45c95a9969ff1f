// The library's tenant-status-style flow.
import Fastify from 'fastify'
import { tenantStatusLogout } from '../../dist/flows/tenant-status.js'
import { fastJwtVerifier } from '../../dist/token-verifiers/fast-jwt.js'
import { userStatusStore } from './library-stores.js'
import { jwt } from './signinghub-host.js'
import { authenticateTenant, limit, tenantRequest } from './tenant-host.js'
import { inParallel } from './tokens.js'

export default async function ({ store }) {
  const users = await userStatusStore(store)
  const app = Fastify()
  await app.register(tenantStatusLogout, {
    users,
    authenticateTenant,
    verifyToken: fastJwtVerifier({ ...jwt, algorithms: ['HS256'] }),
    route: { rateLimit: limit }
  })
  return {
    app,
    status: 200,
    request: tenantRequest,
    seed: (from, count) => inParallel(from, count, index => users.set({ tenant: 'acme', subject: `user-${index}` }, 'logged_in')),
    isOver: async index => (await users.get({ tenant: 'acme', subject: `user-${index}` })).status === 'logged_out'
  }
}
