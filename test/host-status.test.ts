import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import t from 'tap'
import { kratosLogout, kratosSessions, signingHubLogout, tenantStatusLogout } from '../lib/index.ts'
import { wire } from './wire.ts'

const requests: Readonly<Record<string, InjectOptions>> = {
  signingHub: { method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer token' } },
  kratos: { method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: 'token' } },
  sessions: { method: 'GET', url: '/sessions', headers: { 'x-session-token': 'token' } },
  tenantStatus: { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': 'token' } }
}

/** A host whose stores and verifiers are down. */
async function host (hook: (app: FastifyInstance) => void) {
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject } = wire(app)
  hook(app)
  const down = () => { throw new Error('5ecret') }
  await app.register(signingHubLogout, { verifyToken: down })
  await app.register(kratosLogout, { sessions: { logOut: down } })
  await app.register(kratosSessions, { sessions: { find: down, list: down, logOutById: down, logOutSubject: down } })
  await app.register(tenantStatusLogout, { verifyToken: down, authenticateTenant: () => 'acme', users: { get: down, compareAndSet: down } })
  return inject
}

t.test('the status that a hook of the host set on the reply is kept if its error has none', async t => {
  for (const status of [401, 403, 418]) {
    const inject = await host(app => app.addHook('onRequest', (_request, reply, done) => {
      reply.code(status)
      done(new Error('5ecret'))
    }))
    for (const [flow, request] of Object.entries(requests)) {
      const answer = await inject(request)
      t.equal(answer.status, status, flow)
      t.notMatch(answer.body, '5ecret')
    }
  }
})

t.test('an error of a host hook with only "status" keeps that status', async t => {
  for (const error of [
    { status: 401 }, { status: 403 }, { status: 418 }, { status: 403, statusCode: 200 }, { status: 429, statusCode: 'none' }
  ]) {
    const inject = await host(app => app.addHook('onRequest', async () => { throw Object.assign(new Error('5ecret'), error) }))
    for (const [flow, request] of Object.entries(requests)) {
      const answer = await inject(request)
      t.equal(answer.status, error.status, `${flow}: ${JSON.stringify(error)}`)
      t.notMatch(answer.body, '5ecret')
    }
  }
})

t.test('an outage is a 500, whatever status a hook of the host set on the reply', async t => {
  const inject = await host(app => app.addHook('onRequest', async (_request, reply) => { reply.code(401) }))
  for (const [flow, request] of Object.entries(requests)) t.equal((await inject(request)).status, 500, flow)
})
