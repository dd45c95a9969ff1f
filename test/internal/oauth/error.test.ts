import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import { oauthErrorOf, sendJsonError, sendOAuthError, type OAuthError } from '../../../lib/internal/oauth/error.ts'
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
  t.strictSame(await answer((_request, reply) => sendJsonError(reply, 400, { err: 'x' })),
    { statusCode: 400, headers: common, body: '{"err":"x"}' })
})

t.test('a 503 says when to retry', async t => {
  t.strictSame(await answer((_request, reply) => sendOAuthError(reply, { status: 503, error: 'temporarily_unavailable' })), {
    statusCode: 503, headers: { ...common, 'retry-after': '5' }, body: '{"error":"temporarily_unavailable"}'
  })
})

t.test('whatever was thrown has an error of its own', async t => {
  const of = async (thrown: unknown) => {
    let found: OAuthError | undefined
    await answer((_request, reply) => {
      found = oauthErrorOf(thrown, reply)
      return reply.send('')
    })
    return found
  }
  t.strictSame(await of(new Outage('sessions.logOut', new Error('down'))), { status: 503, error: 'temporarily_unavailable' })
  t.strictSame(await of(new Error('a secret')), { status: 500, error: 'server_error' })
  for (const [status, error] of [[413, 'payload_too_large'], [429, 'too_many_requests'], [503, 'temporarily_unavailable'],
    [418, 'i_m_a_teapot'], [499, 'error']] as const) {
    t.strictSame(await of(Object.assign(new Error('a secret'), { statusCode: status })), { status, error })
  }
})
