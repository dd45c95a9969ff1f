import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyServerOptions, type InjectOptions, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { sendKratosJson } from '../../../lib/internal/kratos/error.ts'
import { addKratosRoutes, type KratosRoute, type KratosRoutesOptions } from '../../../lib/internal/kratos/routes.ts'
import { isActivity } from '../../../lib/internal/plugin/no-activity.ts'

const operation = { operationId: 'anOperation', summary: 'Do it', response: { 200: Type.Object({}), '4xx': Type.Object({}) } }

/** Two routes that answer with the id in their URL. */
const routes: readonly KratosRoute[] = [
  { methods: ['GET', 'HEAD', 'POST'], url: '/things', operation, handler: async ({ reply, id }) => sendKratosJson(reply, { things: id }) },
  { methods: ['DELETE'], url: '/things/:id', operation, handler: async ({ reply, id }) => sendKratosJson(reply, { id }) },
  {
    methods: ['GET', 'DELETE'],
    url: '/owners/:id/things',
    operation: { ...operation, params: Type.Object({ id: Type.String() }) },
    handler: async ({ request, reply, id }) => {
      if (id === 'broken') throw new Error('a secret')
      return sendKratosJson(reply, { owner: id, active: isActivity(request) })
    }
  }
]

async function serve (t: Test, options: Partial<KratosRoutesOptions> = {}, server: FastifyServerOptions = {}) {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const added: RouteOptions[] = []
  app.addHook('onRoute', route => { added.push(route) })
  await app.register(async scope => {
    addKratosRoutes(scope, routes, { plugin: 'aPlugin', security: undefined, ids: 'any', ...options })
  }, { prefix: '/auth' })
  app.get('/own', async () => 'mine')
  const ask = async (method: InjectOptions['method'], url: string, more: InjectOptions = {}) => {
    const { statusCode, body } = await app.inject({ method: method ?? 'GET', url: `/auth${url}`, ...more })
    return [statusCode, body]
  }
  return { app, ask, added }
}

const documented = ({ schema }: RouteOptions) => schema as { hide?: boolean, operationId?: string, security?: unknown, tags?: string[] }

t.test('each method of a route is served, and the first is documented', async t => {
  const { ask, added } = await serve(t, { ids: 'uuid', security: [{ admin: [] }] })
  for (const method of ['GET', 'POST'] as const) t.strictSame(await ask(method, '/things'), [200, '{"things":""}'])
  t.strictSame(await ask('HEAD', '/things'), [200, ''])
  t.strictSame(await ask('DELETE', '/things/1'), [200, '{"id":"1"}'])
  t.strictSame(await ask('GET', '/owners/a%2Fb/things'), [200, '{"owner":"a/b","active":false}'], 'which is not activity')
  t.strictSame((await ask('HEAD', '/owners/a/things'))[0], 404, 'HEAD only where it is listed')

  const ours = added.filter(({ url }) => url.startsWith('/auth'))
  t.equal(ours.length, 6)
  t.strictSame(ours.map(route => [route.method, documented(route).operationId, documented(route).hide, documented(route).security]), [
    ['GET', 'anOperationAuth', undefined, [{ admin: [] }]], ['HEAD', undefined, true, undefined], ['POST', undefined, true, undefined],
    ['DELETE', 'anOperationAuth', undefined, [{ admin: [] }]], ['GET', 'anOperationAuth', undefined, [{ admin: [] }]],
    ['DELETE', undefined, true, undefined]
  ])
  t.ok(ours.every(route => documented(route).tags?.includes('logout') && route.schema?.response))
})

t.test('bodies are ignored, and errors have Kratos\' body', async t => {
  const { ask } = await serve(t)
  for (const type of ['application/json', 'rubbish']) {
    t.strictSame(await ask('POST', '/things', { payload: '{"', headers: { 'content-type': type } }), [200, '{"things":""}'])
  }
  const [status, body] = await ask('GET', '/owners/broken/things')
  t.equal(status, 500)
  t.match(body, /^{"error":{"code":500/)
  t.notMatch(body, 'secret')
})

t.test('long ids are accepted only with the kind "any"', async t => {
  const long = 'x'.repeat(101)
  const any = await serve(t)
  t.strictSame(await any.ask('DELETE', `/things/${long}`), [200, `{"id":"${long}"}`])
  t.strictSame(await any.ask('GET', `/owners/${long}/things`), [200, `{"owner":"${long}","active":false}`])
  const slashes = `${'a/'.repeat(60)}things`
  t.strictSame(await any.ask('DELETE', `/owners/${encodeURIComponent(slashes)}/things`), [200, `{"owner":"${slashes}","active":false}`])
  t.ok(any.added.filter(({ url }) => url.endsWith('*')).every(route => documented(route).hide))

  const uuid = await serve(t, { ids: 'uuid' })
  t.equal((await uuid.ask('DELETE', `/things/${long}`))[0], 414)
  t.equal(uuid.added.filter(({ url }) => url.endsWith('*')).length, 0)
})

t.test('other paths below a route with ids get the host\'s 404', async t => {
  const { app, ask } = await serve(t)
  app.setNotFoundHandler((_request, reply) => { reply.code(404).send('mine') })
  const long = 'x'.repeat(101)
  for (const path of [
    '/things/a/b', `/things/${long}/b`, `/things/a/${long}`, `/owners/${long}`, `/owners/${long}/other`, `/owners/${long}%2Fthings`,
    `/owners/a/${long}/things`, `/owners/${long}/things/`, `/owners/${long}/things%2F`, '/owners/a/b/c'
  ]) t.strictSame(await ask('DELETE', path), [404, 'mine'], path)
})

t.test('long ids are found with a slash at the end, and with dots and percent signs', async t => {
  const { ask } = await serve(t, {}, { routerOptions: { ignoreTrailingSlash: true } })
  for (const id of ['x'.repeat(101), `../${'%'.repeat(50)} ${'\u00e4'.repeat(60)}`, `${'.'.repeat(150)}`, `?#${'&'.repeat(120)}`]) {
    const encoded = encodeURIComponent(id)
    t.strictSame(await ask('DELETE', `/things/${encoded}/`), [200, JSON.stringify({ id })])
    t.strictSame(await ask('GET', `/owners/${encoded}/things/?a=/b`), [200, JSON.stringify({ owner: id, active: false })])
  }
})
