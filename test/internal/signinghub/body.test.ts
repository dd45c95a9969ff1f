import { Value } from '@sinclair/typebox/value'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { acceptJson, bodySchema, notJson, readAnyBody } from '../../../lib/internal/signinghub/body.ts'

t.test('the schema of the body, with an optional and a required push token', async t => {
  const optional = bodySchema({ required: false, maxLength: 3 })
  const required = bodySchema({ required: true, maxLength: 3 })
  const rows: ReadonlyArray<readonly [body: unknown, optional: boolean, required: boolean]> = [
    [{ device_token: 'abc' }, true, true],
    [{ device_token: 'abc', other: 1 }, true, true],
    [{ device_token: 'abcd' }, false, false],
    [{ device_token: '\u{1f4f1}a' }, true, true],
    [{ device_token: '\u{1f4f1}\u{1f4f1}' }, false, false],
    [{ device_token: '' }, true, false],
    [{ device_token: ' \t ' }, true, false],
    [{ device_token: null }, true, false],
    [{}, true, false],
    [null, true, false],
    [{ device_token: 5 }, false, false],
    [[], false, false],
    ['abc', false, false]
  ]
  for (const [body, fitsOptional, fitsRequired] of rows) {
    t.strictSame([Value.Check(optional, body), Value.Check(required, body)], [fitsOptional, fitsRequired], JSON.stringify(body))
  }
})

t.test('the parsers read JSON, and a blank body of any media type counts as no body', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.removeAllContentTypeParsers()
  acceptJson(app)
  app.setErrorHandler<Error & { code?: string, statusCode?: number }>((error, _request, reply) => {
    reply.send({ error: error.code ?? error.statusCode })
  })
  app.post('/', async ({ body }) => ({ body: body ?? 'none' }))
  const post = async (type: string, payload: string) => {
    return (await app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': type } })).json()
  }
  for (const type of ['application/json', 'text/plain']) {
    for (const blank of ['', ' ', '\r\n\t', '\ufeff']) t.strictSame(await post(type, blank), { body: 'none' })
  }
  t.strictSame(await post('application/json', '{"a":1}'), { body: { a: 1 } })
  for (const wrong of ['{"a', '{"__proto__":1}', '{"constructor":{"prototype":1}}']) {
    t.strictSame(await post('application/json', wrong), { error: notJson })
  }
  t.strictSame(await post('text/plain', '{"a":1}'), { error: 415 })
})

t.test('Fastify reads bodies of every media type, also over HTTP/2 without a length', async t => {
  const read = (headers: Record<string, string>, httpVersionMajor = 1) => {
    const request = { raw: { headers, httpVersionMajor }, headers } as unknown as FastifyRequest
    readAnyBody(request)
    return { type: request.headers['content-type'], encoding: request.headers['transfer-encoding'] }
  }
  const nothing = { type: undefined, encoding: undefined }
  for (const type of ['application/json', 'Application/JSON; charset=utf-8', 'application/json ;x', 'application/json;']) {
    t.strictSame(read({ 'content-type': type }), { ...nothing, type: 'application/json' }, type)
  }
  for (const type of ['text/plain', 'application/jsonp', 'application/json+x', 'application/json x', 'rubbish', '']) {
    t.strictSame(read({ 'content-type': type }), nothing, type)
  }
  t.strictSame(read({}), nothing)
  t.strictSame(read({}, 2), { ...nothing, encoding: 'chunked' })
  t.strictSame(read({ 'content-length': '5' }, 2), nothing)
  t.strictSame(read({ 'transfer-encoding': 'gzip, chunked' }), { ...nothing, encoding: 'gzip, chunked' })
})
