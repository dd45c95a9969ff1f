import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { oauthErrorHandler } from '../../../lib/internal/oauth/error.ts'
import { limitedRouteMembers, prepareLimitedScope, type LimitedRouteOptions } from '../../../lib/internal/oauth/limited-route.ts'
import { isActivity } from '../../../lib/internal/plugin/no-activity.ts'
import { resolveRoute } from '../../../lib/internal/plugin/route.ts'

async function server (t: Test, options: LimitedRouteOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async scope => {
    const route = resolveRoute(options, '/send', 'aPlugin')
    await prepareLimitedScope(scope, {
      caller: 'aPlugin', ask: async (_question, call) => call(), route, answerFailure: oauthErrorHandler('it failed')
    })
    scope.post(route.path, async () => 'done')
  })
  return async (method: 'POST' | 'GET' = 'POST') => (await app.inject({ method, url: options.path ?? '/send' })).statusCode
}

t.test('a route without a limit accepts every request', async t => {
  const send = await server(t, {})
  for (let sent = 0; sent < 400; sent++) t.equal(await send(), 200)
})

t.test('an address may send 300 requests a minute if the limit does not say otherwise', async t => {
  const send = await server(t, { path: '/events', rateLimit: {} })
  for (let sent = 0; sent < 300; sent++) t.equal(await send(), 200)
  t.equal(await send(), 429, 'refused by the error handler of the scope')
  const few = await server(t, { rateLimit: { max: 1 } })
  t.strictSame([await few(), await few()], [200, 429])
})

t.test('a request to such a route is not activity of its user', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const seen: boolean[] = []
  await app.register(async scope => {
    scope.addHook('onRequest', async request => { seen.push(isActivity(request)) })
    await prepareLimitedScope(scope, {
      caller: 'aPlugin', ask: async (_question, call) => call(), route: { path: '/send' }, answerFailure: oauthErrorHandler('it failed')
    })
    scope.get('/send', async () => 'done')
  })
  await app.inject('/send')
  t.strictSame(seen, [false])
})

t.test('the members of the option are those that plugins refuse beside it', async t => {
  const every: Required<LimitedRouteOptions> = { path: '/', rateLimit: {}, security: [] }
  t.strictSame([...limitedRouteMembers].sort(), Object.keys(every).sort())
})
