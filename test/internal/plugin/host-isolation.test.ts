import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { isolateFromHost, takeNoBodies, validateBodies, verbatim } from '../../../lib/internal/plugin/host-isolation.ts'

async function serve (t: Test, scoped: (scope: FastifyInstance) => unknown, host: (app: FastifyInstance) => void = () => {}) {
  const app = Fastify({ ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all' } } })
  t.teardown(() => app.close())
  host(app)
  await app.register(async scope => { await scoped(scope) })
  return app
}

const body = Type.Object({ n: Type.Number() }, { additionalProperties: false })

t.test('a body is validated by its TypeBox schema, without coercion and without removing members', async t => {
  for (const attachValidation of [false, true]) {
    const app = await serve(t, async scope => {
      isolateFromHost(scope)
      await validateBodies(scope)
      scope.addContentTypeParser('application/json', { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))
      scope.post('/', { schema: { body } }, async request => request.body)
    }, app => app.addHook('onRoute', route => { route.attachValidation = attachValidation }))
    const post = async (payload: unknown) => (await app.inject({ method: 'POST', url: '/', payload: payload as object })).statusCode
    t.equal(await post({ n: 5 }), 200)
    for (const wrong of [{ n: '5' }, { n: [5] }, { n: 5, m: 1 }, {}, []]) {
      t.equal(await post(wrong), 400, JSON.stringify(wrong))
    }
  }
})

t.test('a schema that a hook of the host adds validates nothing', async t => {
  const json = { type: 'object', required: ['x-mine'], properties: { 'x-mine': { type: 'string' } } }
  const typebox = Type.Object({ 'x-mine': Type.String() })
  for (const added of [{ headers: json }, { querystring: json }, { headers: typebox }, { querystring: typebox }, { body: json }]) {
    const app = await serve(t, async scope => {
      isolateFromHost(scope)
      await validateBodies(scope)
      scope.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => { done(null, text) })
      scope.post('/', async () => 'mine')
    }, app => app.addHook('onRoute', route => { route.schema = { ...route.schema, ...added } }))
    t.equal((await app.inject({ method: 'POST', url: '/', payload: 'text', headers: { 'content-type': 'text/plain' } })).body, 'mine')
  }
})

t.test('no parser of the host reads a body, and no serializer of the host writes one', async t => {
  const app = await serve(t, scope => {
    isolateFromHost(scope)
    scope.post('/', async request => ({ body: request.body ?? 'none' }))
    scope.get('/object', { schema: { response: { 200: Type.Object({}) } } }, async () => ({ own: [1] }))
    scope.get('/text', async (_request, reply) => reply.type('application/json').serializer(verbatim).send('{"as":"it is"}'))
  }, app => {
    app.addContentTypeParser('*', (_request, payload, done) => { payload.resume(); payload.on('end', () => { done(null, 'mine') }) })
    app.setSerializerCompiler(() => () => '"mine"')
  })
  t.equal((await app.inject({ method: 'POST', url: '/', payload: 'x', headers: { 'content-type': 'text/plain' } })).statusCode, 415)
  t.equal((await app.inject('/object')).body, '{"own":[1]}')
  t.equal((await app.inject('/text')).body, '{"as":"it is"}')
})

t.test('nothing is validated, unless a flow asks for it', async t => {
  const app = await serve(t, scope => {
    isolateFromHost(scope)
    scope.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => { done(null, text) })
    scope.post('/:id', { schema: { params: Type.Object({ id: Type.Number() }), body } }, async request => [request.params, request.body])
  })
  const answer = await app.inject({ method: 'POST', url: '/text', payload: 'x', headers: { 'content-type': 'text/plain' } })
  t.equal(answer.body, '[{"id":"text"},"x"]')
})

t.test('takeNoBodies ignores bodies of every media type', async t => {
  const app = await serve(t, scope => {
    isolateFromHost(scope)
    takeNoBodies(scope)
    scope.delete('/', async ({ body }) => ({ body: body ?? 'none' }))
  })
  for (const type of ['application/json', 'text/plain', 'nonsense', ';', 'application/json; charset=x']) {
    for (const payload of ['{"broken', '{"__proto__":1}', '']) {
      const answer = await app.inject({ method: 'DELETE', url: '/', payload, headers: { 'content-type': type } })
      t.strictSame([answer.statusCode, answer.body], [200, '{"body":"none"}'], `${type}: ${payload}`)
    }
  }
})
