import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { wire } from './wire.ts'

const schema = {
  tags: ['logout'],
  response: { 200: Type.Null(), 400: Type.Object({ Message: Type.String() }), '4xx': Type.Object({ other: Type.String() }) }
}

t.test('the wire check', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => JSON.stringify)
  app.post<{ Querystring: { status: string, cache?: string, body?: string } }>('/logout', { schema }, async ({ query }, reply) => {
    reply.code(Number(query.status)).header('cache-control', query.cache ?? 'no-store')
    if (query.body === undefined) return reply.send()
    return reply.header('content-type', 'application/json').serializer(String).send(query.body)
  })
  app.get('/other', async () => ({ any: 'thing' }))

  const call = async (query: string) => inject({ method: 'POST', url: `/logout?${query}` })
  await t.test('accepts declared responses', async t => {
    t.equal((await call('status=200')).status, 200)
    t.equal((await call('status=400&body={"Message":"m"}')).body, '{"Message":"m"}')
    t.equal((await call('status=418&body={"other":"m"}')).status, 418)
    t.equal((await inject({ url: '/other' })).body, '{"any":"thing"}')
    t.strictSame(
      await send('POST /logout?status=400&body={"Message":"m"}', [['Content-Length', '0']]), await call('status=400&body={"Message":"m"}')
    )
  })
  await t.test('detects undeclared responses', async t => {
    await t.rejects(call('status=200&body={}'), /a 200 has no body/)
    await t.rejects(call('status=400&body={"other":"m"}'), /not what is declared for 400/)
    await t.rejects(call('status=418&body={"Message":"m"}'), /not what is declared for 418/)
    await t.rejects(call('status=500&body={"Message":"m"}'), /no response is declared for 500/)
    await t.rejects(call('status=200&cache=private'), /not to be cached/)
    await t.rejects(send('POST /logout?status=500', [['Content-Length', '0']]), /no response is declared for 500/)
  })
})
