import Fastify from 'fastify'
import t from 'tap'
import { openidErrorOf, openidFailures, sendOpenidError } from '../../../lib/internal/openid/error.ts'
import { Outage } from '../../../lib/internal/plugin/ask.ts'

t.test('what was thrown has a status and a name, and nothing of its text', async t => {
  const reply = { statusCode: 200 } as never
  for (const [thrown, status, error] of [
    [new Outage('sessions.logOut', new Error('secret')), 503, 'temporarily_unavailable'],
    [new Error('secret'), 500, 'server_error'],
    [null, 500, 'server_error'],
    ['secret', 500, 'server_error'],
    [Object.assign(new Error('secret'), { statusCode: 503 }), 503, 'temporarily_unavailable'],
    [Object.assign(new Error('secret'), { statusCode: 413 }), 413, 'payload_too_large'],
    [Object.assign(new Error('secret'), { statusCode: 415 }), 415, 'unsupported_media_type'],
    [Object.assign(new Error('secret'), { status: 429 }), 429, 'too_many_requests'],
    [Object.assign(new Error('secret'), { statusCode: 418 }), 418, 'i_m_a_teapot'],
    [Object.assign(new Error('secret'), { statusCode: 599 }), 599, 'error']
  ] as const) t.strictSame(openidErrorOf(thrown, reply), { status, error })
})

t.test('an error is JSON with a name, and with a description only if it has one; a 503 says when to retry', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setReplySerializer(() => 'the serializer of the host')
  app.addHook('preSerialization', async () => 'the hook of the host')
  app.get('/400', (_request, reply) => { sendOpenidError(reply, { status: 400, error: 'invalid_request', description: 'expired' }) })
  app.get('/503', (_request, reply) => { sendOpenidError(reply, { status: 503, error: 'temporarily_unavailable' }) })
  const refused = await app.inject('/400')
  t.strictSame([refused.statusCode, refused.body], [400, '{"error":"invalid_request","error_description":"expired"}'])
  t.strictSame([refused.headers['content-type'], refused.headers['retry-after']], ['application/json; charset=utf-8', undefined])
  const outage = await app.inject('/503')
  t.strictSame([outage.statusCode, outage.body, outage.headers['retry-after']], [503, '{"error":"temporarily_unavailable"}', '5'])
})

t.test('every other failure is declared too, and no two routes share a schema that a host could write to', async t => {
  t.strictSame(Object.keys(openidFailures({ 400: 'The request is malformed' })).sort(), ['400', '4xx', '5xx'])
  t.equal(openidFailures({ 400: 'malformed' })['400']?.description, 'malformed')
})
