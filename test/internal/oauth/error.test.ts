import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import {
  oauthErrorHandler, oauthErrorOf, oauthFailures, sendEmpty, sendJson, sendOAuthError, type OAuthError
} from '../../../lib/internal/oauth/error.ts'
import { Outage } from '../../../lib/internal/plugin/ask.ts'

async function answer (send: (request: FastifyRequest, reply: FastifyReply) => FastifyReply) {
  const app = Fastify()
  app.setSerializerCompiler(() => () => 'rewritten')
  app.addHook('preSerialization', async () => ({ rewritten: true }))
  app.get('/', send)
  const { statusCode, headers, body } = await app.inject('/')
  const { date, connection, 'content-length': length, ...others } = headers
  return { statusCode, headers: others, body }
}

const common = { 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' }

t.test('an error is JSON that the host does not rewrite', async t => {
  const error: OAuthError = { status: 401, error: 'invalid_token', description: 'used', challenge: 'Bearer' }
  t.strictSame(await answer((_request, reply) => sendOAuthError(reply, error)), {
    statusCode: 401, headers: { ...common, 'www-authenticate': 'Bearer' }, body: '{"error":"invalid_token","error_description":"used"}'
  })
  t.strictSame(await answer((_request, reply) => sendOAuthError(reply, { status: 404, error: 'not_found' })), {
    statusCode: 404, headers: common, body: '{"error":"not_found"}'
  })
  t.strictSame(await answer((_request, reply) => sendJson(reply, 400, { err: 'x' })),
    { statusCode: 400, headers: common, body: '{"err":"x"}' })
})

t.test('a 503 says when to retry', async t => {
  t.strictSame(await answer((_request, reply) => sendOAuthError(reply, { status: 503, error: 'temporarily_unavailable' })), {
    statusCode: 503, headers: { ...common, 'retry-after': '5' }, body: '{"error":"temporarily_unavailable"}'
  })
})

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
    [Object.assign(new Error('secret'), { statusCode: 499 }), 499, 'error'],
    [Object.assign(new Error('secret'), { statusCode: 599 }), 599, 'error']
  ] as const) t.strictSame(oauthErrorOf(thrown, reply), { status, error })
})

t.test('every other failure is declared too', async t => {
  t.strictSame(Object.keys(oauthFailures({ 400: 'The request is malformed' })).sort(), ['400', '4xx', '5xx'])
  t.equal(oauthFailures({ 400: 'malformed' })['400']?.description, 'malformed')
})

t.test('a response without a body has no type, and is not cached', async t => {
  t.strictSame(await answer((_request, reply) => sendEmpty(reply.type('text/html'), 202)), {
    statusCode: 202, headers: { 'cache-control': 'no-store' }, body: ''
  })
})

t.test('an error handler logs what is not the fault of the caller', async t => {
  const logged: unknown[] = []
  const handle = oauthErrorHandler('a test failed')
  const request = { log: { error: (...line: unknown[]) => { logged.push(line) } } } as unknown as FastifyRequest
  const failure = new Error('the database is down')
  const failed = await answer((_request, reply) => {
    handle(failure, request, reply)
    return reply
  })
  t.strictSame(failed, { statusCode: 500, headers: common, body: '{"error":"server_error"}' })
  t.strictSame(logged, [[{ err: failure, event: 'logout.outage' }, 'a test failed']])

  const refused = await answer((_request, reply) => {
    handle({ statusCode: 499 }, request, reply)
    return reply
  })
  t.strictSame(refused, { statusCode: 499, headers: common, body: '{"error":"error"}' })
  t.equal(logged.length, 1, 'a refusal is not an outage')
})
