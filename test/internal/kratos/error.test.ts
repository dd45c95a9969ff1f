import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import {
  answerKratosFailure, kratosFailures, kratosMessage, loggedKratosError, sendKratosEmpty, sendKratosError, sendKratosJson
} from '../../../lib/internal/kratos/error.ts'
import { Outage } from '../../../lib/internal/plugin/ask.ts'

/** What a server sends that answers every request in this way. */
async function sent (t: Test, answer: (request: FastifyRequest, reply: FastifyReply) => unknown, headers: Record<string, string> = {}) {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  app.get('/', (request, reply) => { answer(request, reply) })
  const { statusCode: status, headers: { date, connection, ...rest }, body } = await app.inject({ url: '/', headers })
  return { status, headers: rest, body, lines }
}

t.test('an error has the members of Ory, in Ory\'s order, without the absent ones', async t => {
  const whole = { status: 401, id: 'an_id', reason: 'A reason.', message: 'a message', description: 'for pages only' }
  const all = await sent(t, (request, reply) => sendKratosError(request, reply, whole), { 'x-request-id': 'r-1' })
  const body = '{"error":{"id":"an_id","code":401,"status":"Unauthorized","request":"r-1","reason":"A reason.","message":"a message"}}'
  t.match(all, {
    status: 401,
    body,
    headers: { 'content-type': 'application/json', 'ory-error-id': 'an_id', 'cache-control': 'no-store', vary: 'Cookie' }
  })
  const least = await sent(t, (request, reply) => sendKratosError(request, reply, { status: 404 }))
  t.equal(least.body, '{"error":{"code":404,"status":"Not Found","message":"The requested resource could not be found"}}')
  t.equal(least.headers['ory-error-id'], '')
})

t.test('a message is the error\'s own, that of its status, the reason phrase, or Unknown', async t => {
  t.equal(kratosMessage({ status: 400, message: 'its own' }), 'its own')
  t.equal(kratosMessage({ status: 400 }), 'The request was malformed or contained invalid parameters')
  t.equal(kratosMessage({ status: 500 }), 'An internal server error occurred, please contact the system administrator')
  t.equal(kratosMessage({ status: 418 }), "I'm a Teapot")
  t.equal(kratosMessage({ status: 499 }), 'Unknown')
})

t.test('a success has a media type only if it has a body', async t => {
  const json = await sent(t, (_request, reply) => sendKratosJson(reply.type('text/html').header('vary', 'Origin'), { a: '&' }))
  t.match(json, {
    status: 200,
    body: '{"a":"&"}',
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', vary: 'Origin, Cookie' }
  })
  for (const status of [204, 303] as const) {
    const empty = await sent(t, (_request, reply) => sendKratosEmpty(reply.type('text/html'), status))
    t.match(empty, { status, body: '', headers: { 'cache-control': 'no-store', vary: 'Cookie' } })
    t.equal(empty.headers['content-type'], undefined)
  }
})

t.test('an error with a 4xx keeps its status, every other one is a 500 that is logged and not described', async t => {
  const thrown = (value: unknown) => sent(t, (request, reply) => answerKratosFailure(value as null, request, reply))
  for (const [value, status] of [
    [Object.assign(new Error('a secret'), { statusCode: 403 }), 403], [Object.assign(new Error('a secret'), { status: 429 }), 429],
    [Object.assign(new Error('a secret'), { statusCode: 503 }), 500], [new Error('a secret'), 500], [null, 500], ['a secret', 500],
    [new Outage('sessions.find', Object.assign(new Error('a secret'), { statusCode: 403 })), 500]
  ] as const) {
    const answer = await thrown(value)
    t.equal(answer.status, status)
    t.notMatch(answer.body, 'secret')
    t.equal(answer.lines.filter(line => line.includes('"event":"logout.outage"')).length, status === 500 ? 1 : 0)
  }
  await sent(t, (request, reply) => {
    t.strictSame(loggedKratosError(Object.assign(new Error('no'), { statusCode: 404 }) as never, request, reply), { status: 404 })
    reply.send()
  })
})

t.test('the schemas of failures have a description for each status, and for all others', async t => {
  const failures = kratosFailures({ 400: 'wrong', 403: 'forbidden' })
  t.strictSame(Object.entries(failures).map(([status, { description }]) => [status, description]), [
    ['400', 'wrong'], ['403', 'forbidden'], ['4xx', 'The request was refused'], ['5xx', 'The outcome is unknown: retry']
  ])
})
