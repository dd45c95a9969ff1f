import Fastify from 'fastify'
import t from 'tap'
import { kratosLogout, signingHubLogout, tenantStatusLogout, tokenRevocation } from '../../../lib/index.ts'
import { isActivity } from '../../../lib/internal/plugin/no-activity.ts'

t.test('requests to logout routes are not activity, and all other requests are', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const seen: unknown[] = []
  app.addHook('onResponse', async request => { seen.push([request.url, isActivity(request)]) })
  const verifyToken = () => ({})
  await app.register(signingHubLogout, { verifyToken })
  await app.register(kratosLogout, { sessions: { logOut: () => undefined } })
  await app.register(tenantStatusLogout, {
    verifyToken, authenticateTenant: () => undefined, users: { get: () => undefined, compareAndSet: () => true }
  })
  await app.register(tokenRevocation, { authenticateClient: () => undefined, revokeToken: () => undefined })
  app.get('/own', async () => 'mine')
  for (const [method, url] of [
    ['POST', '/v3/logout'], ['POST', '/v4/logout'], ['DELETE', '/self-service/logout/api'], ['GET', '/auth/logout'],
    ['POST', '/oauth/revoke'], ['GET', '/own'], ['GET', '/nothing']
  ] as const) {
    await app.inject({ method, url })
  }
  t.strictSame(seen, [
    ['/v3/logout', false], ['/v4/logout', false], ['/self-service/logout/api', false], ['/auth/logout', false],
    ['/oauth/revoke', false], ['/own', true], ['/nothing', true]
  ])
})
