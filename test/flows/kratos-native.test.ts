import Fastify, { type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { kratosLogout, type KratosLogoutOptions } from '../../lib/flows/kratos-native.ts'
import type { LogoutEvent } from '../../lib/logout-event.ts'
import type { Session } from '../../lib/session-store.ts'
import { TokenRejectedError } from '../../lib/token-verifier.ts'
import { sendHttp2 } from '../http2-request.ts'
import { failure } from '../kratos-host.ts'
import { assertMisuse } from '../misuse.ts'
import { wire, type Answer, type HeaderLines } from '../wire.ts'

const path = '/self-service/logout/api'
const done: Answer = { status: 204, headers: { 'cache-control': 'no-store', vary: 'Cookie' }, body: '' }
const noBody = failure(400, { reason: 'Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.' })
const eof = notJson('EOF')
const invalidJson = notJson('invalid JSON')
const noToken = notJson('session_token must be a string in a JSON object')
const unknownToken = failure(403, { reason: 'The provided Ory Session Token could not be found, is invalid, or otherwise malformed.' })
const internal = failure(500)

function notJson (why: string): Answer {
  return failure(400, { reason: `Unable to decode JSON payload: ${why}` })
}

function contentType (value: string): Answer {
  const reason = `HTTP DELETE Request used unknown HTTP Header "Content-Type: ${value}", only [application/json] are supported.`
  return failure(400, { reason })
}

/** The smallest store there can be: one function. */
function host () {
  const hour = 3_600_000
  const now = Date.now()
  const session = (id: string, expiresAt = now + hour, status: Session['status'] = 'active'): Session => ({
    id, subject: 'alice', status, createdAt: now - hour, expiresAt, keepUntil: now + 2 * hour
  })
  const sessions = new Map([
    ['live', session('s1')],
    ['live too', session('s2')],
    ['revoked', session('s3', now + hour, 'logged_out')],
    ['expired', session('s4', now - 1)],
    ['Ünïcödé \u{1f511}', session('s5')]
  ])
  const asked: string[] = []
  const events: LogoutEvent[] = []
  const options = {
    sessions: {
      logOut: async (token: string) => {
        asked.push(token)
        const before = sessions.get(token)
        if (before !== undefined) sessions.set(token, { ...before, status: 'logged_out' })
        return before
      }
    },
    onLogout: async (event: LogoutEvent) => { events.push(event) }
  } satisfies KratosLogoutOptions
  return { options, sessions, asked, events }
}

async function serve (t: Test, options: KratosLogoutOptions, server: FastifyServerOptions = {}, prefix = '') {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(kratosLogout, { ...options, prefix })
  const logOut = async (payload: unknown, headers: Record<string, string> = {}) => inject({
    method: 'DELETE', url: `${prefix}${path}`, payload: payload as string, headers: { 'content-type': 'application/json', ...headers }
  })
  const sendDelete = (headers: HeaderLines, body?: string | Buffer) => send(`DELETE ${prefix}${path}`, headers, body)
  return { app, inject, sendDelete, logOut }
}

t.test('a logout is an empty 204, and can be repeated', async t => {
  for (const prefix of ['', '/auth']) {
    const { options, sessions, events } = host()
    const { logOut, sendDelete } = await serve(t, options, {}, prefix)
    for (const token of ['live', 'revoked', 'expired', 'Ünïcödé \u{1f511}']) {
      t.strictSame(await logOut({ session_token: token }), done, `${prefix}: ${token}`)
      t.strictSame(await logOut({ session_token: token }), done, `${prefix}: ${token}, again`)
      t.equal(sessions.get(token)?.status, 'logged_out')
    }
    t.equal(sessions.get('live too')?.status, 'active', 'no other session is touched')
    const ended = events.map(event => event.scope === 'session' && event.session.id)
    t.strictSame(ended, ['s1', 's5'], 'onLogout is called for what was live, once')
    t.strictSame(await sendDelete([['Content-Type', 'application/json'], ['Content-Length', '28']], '{"session_token":"live too"}'), done)
  }
})

t.test('onLogout is called with the session as it was before, and the request', async t => {
  const { options, sessions } = host()
  const before = sessions.get('live')
  const told: unknown[] = []
  const { logOut } = await serve(t, { ...options, onLogout: (event, request) => { told.push(event, request.url) } })
  t.strictSame(await logOut({ session_token: 'live' }), done)
  t.strictSame(told, [{ scope: 'session', session: before }, path])
})

t.test('50 parallel logouts all get 204, and onLogout is called once', async t => {
  const { options, events } = host()
  const { logOut } = await serve(t, options)
  const answers = await Promise.all(Array.from({ length: 50 }, async () => logOut({ session_token: 'live' })))
  for (const answer of answers) t.strictSame(answer, done)
  t.equal(events.length, 1)
})

t.test('a store with a synchronous logOut is enough', async t => {
  const { sessions } = host()
  const { logOut } = await serve(t, { sessions: { logOut: token => sessions.get(token) } })
  t.strictSame(await logOut({ session_token: 'live' }), done)
  t.strictSame(await logOut({ session_token: 'live' }), done)
  t.strictSame(await logOut({ session_token: 'other' }), unknownToken)
})

t.test('an unknown, empty or missing token is 403', async t => {
  const { options, asked, events } = host()
  const { logOut } = await serve(t, options)
  const unknown = ['nobody\'s', ' live', 'LIVE', 'hasOwnProperty', '__proto__', ' ', 'x'.repeat(1_000_000), 'a\u0000b']
  for (const token of unknown) t.strictSame(await logOut(JSON.stringify({ session_token: token })), unknownToken, token.slice(0, 20))
  t.strictSame(asked, unknown, 'tokens are asked for letter for letter')
  asked.length = 0
  for (const body of [
    '{}', 'null', '{"session_token":""}', '{"session_token":null}', '{"Session_Token":"live"}', ' {} \n',
    '{"__proto__":{"session_token":"live"}}', '{"constructor":{"prototype":{"session_token":"live"}}}'
  ]) {
    t.strictSame(await logOut(body), unknownToken, body)
  }
  t.strictSame(asked, [], 'no token is not asked for')
  t.strictSame(events, [])
  t.equal(({} as Record<string, unknown>)['session_token'], undefined)
})

t.test('unknown members are ignored, and the last of two equal names is used', async t => {
  const { logOut } = await serve(t, host().options)
  t.strictSame(await logOut('{"session_token":"other","a":{"__proto__":1},"session_token":"live"}'), done)
})

t.test('a wrong body is a 400, checked in the order of Kratos', async t => {
  const { options, asked } = host()
  const { inject, logOut, sendDelete } = await serve(t, options)

  t.test('a missing body comes before the content type', async t => {
    t.strictSame(await inject({ method: 'DELETE', url: path }), noBody)
    for (const type of ['application/json', 'text/plain', 'rubbish', '']) {
      t.strictSame(await sendDelete([['Content-Type', type], ['Content-Length', '0']]), noBody, type)
      t.strictSame(await sendDelete([['Content-Type', type]]), noBody, `${type}, without a length`)
    }
  })

  t.test('another content type comes before the syntax of the body', async t => {
    for (const type of [
      'text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'application/vnd.api+json', 'application/jsonp', 'rubbish',
      'a "quoted\\" one', ','
    ]) {
      for (const body of ['{"session_token":"live"}', '{"broken', ' ']) {
        const answer = await sendDelete([['Content-Type', type], ['Content-Length', String(body.length)]], body)
        t.strictSame(answer, contentType(type), `${type}: ${body}`)
      }
    }
    t.strictSame(await sendDelete([['Content-Type', ''], ['Content-Length', '2']], '{}'), contentType(''))
    t.strictSame(await sendDelete([['Content-Length', '2']], '{}'), contentType(''), 'none at all')
    const noChunk = await sendDelete([['Content-Type', 'text/plain'], ['Transfer-Encoding', 'chunked']], '0\r\n\r\n')
    t.strictSame(noChunk, contentType('text/plain'), 'also in no chunk')
    const parameters = await sendDelete([['Content-Type', 'application/json;=;'], ['Content-Length', '2']], '{}')
    t.strictSame(parameters, unknownToken, 'parameters are not read')
  })

  t.test('parameters and letter case of the content type do not matter', async t => {
    for (const type of ['application/json; charset=utf-8', 'APPLICATION/Json', ' application/json ;x=y', 'application/json;']) {
      t.strictSame(await logOut('{}', { 'content-type': type }), unknownToken, type)
    }
  })

  t.test('a body that is not JSON', async t => {
    const noChunk = await sendDelete([['Content-Type', 'application/json'], ['Transfer-Encoding', 'chunked']], '0\r\n\r\n')
    t.strictSame(noChunk, eof, 'in no chunk')
    for (const body of [' ', '\r\n\t']) t.strictSame(await logOut(body), eof, JSON.stringify(body))
    for (const body of [
      '{"session_token":', '{}x', '{"session_token":"live"}{}', "{'session_token':'live'}", '<xml/>', '\u0000', 'undefined',
      '\ufeff{"session_token":"live"}'
    ]) {
      t.strictSame(await logOut(body), invalidJson, body)
    }
  })

  t.test('a body that is not an object with a string as session_token', async t => {
    for (const body of [
      '[]', '["live"]', '"live"', '5', 'true', 'false', '{"session_token":5}', '{"session_token":true}', '{"session_token":["live"]}',
      '{"session_token":{}}'
    ]) {
      t.strictSame(await logOut(body), noToken, body)
    }
  })

  t.test('a body of more than 5 MiB, or shorter than its Content-Length', async t => {
    const body = (bytes: number) => JSON.stringify({ other: 'x'.repeat(bytes - 12) })
    t.strictSame(await logOut(body(5 * 1024 * 1024)), unknownToken)
    const tooLarge = failure(400, { reason: 'Unable to read HTTP POST body: http: request body too large' })
    t.strictSame(await logOut(body(5 * 1024 * 1024 + 1)), tooLarge)
    const announced = await sendDelete([['Content-Type', 'application/json'], ['Content-Length', '5242881']], '{')
    t.strictSame(announced, tooLarge, 'refused by its announced length')
    t.strictSame(await logOut('{}', { 'content-length': '1' }), failure(400, { reason: 'Unable to read HTTP POST body: unexpected EOF' }))
  })

  t.strictSame(asked, [], 'the store is not asked')
})

t.test('a harmless X-Request-ID is repeated in the error', async t => {
  const { logOut, sendDelete } = await serve(t, host().options)
  const reason = 'The provided Ory Session Token could not be found, is invalid, or otherwise malformed.'
  for (const request of ['d7ef54b1-ec15-46e6-bccb-524b82c035e6', 'a.B_1:2-3', 'x'.repeat(128)]) {
    t.strictSame(await logOut('{}', { 'x-request-id': request }), failure(403, { reason, request }), request)
  }
  for (const request of ['', 'x'.repeat(129), 'a b', '<script>', '"', 'é', 'a\tb', 'a\n']) {
    t.strictSame(await logOut('{}', { 'x-request-id': request }), unknownToken, request)
  }
  const malformed = failure(400, { reason: 'Unable to decode JSON payload: invalid JSON', request: 'r1' })
  t.strictSame(await logOut('x', { 'x-request-id': 'r1' }), malformed)
  t.strictSame(await logOut({ session_token: 'live' }, { 'x-request-id': 'r1' }), done, 'not on a success')
  const twice = await sendDelete([['X-Request-ID', 'r1'], ['X-Request-ID', 'r2'], ['Content-Length', '0']])
  t.strictSame(twice, noBody, 'nor when there are two')
})

t.test('the host\'s Vary is kept', async t => {
  const varies: ReadonlyArray<readonly [own: string | string[], expected: string]> = [
    ['Origin', 'Origin, Cookie'], [['Origin', 'Accept'], 'Origin,Accept, Cookie'], ['X-Cookie', 'X-Cookie, Cookie'], ['', 'Cookie'],
    ['Origin, cookie', 'Origin, cookie'], ['Cookie', 'Cookie'], ['*', '*']
  ]
  for (const [own, expected] of varies) {
    const app = Fastify()
    t.teardown(() => app.close())
    const { inject } = wire(app)
    app.addHook('onRequest', async (_request, reply) => { reply.header('vary', own) })
    await app.register(kratosLogout, host().options)
    for (const [token, status] of [['live', 204], ['other', 403]] as const) {
      const answer = await inject({ method: 'DELETE', url: path, payload: { session_token: token } })
      t.strictSame([answer.status, answer.headers['vary']], [status, expected])
    }
  }
})

t.test('other methods are not served', async t => {
  const { options, asked } = host()
  const { inject } = await serve(t, options)
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'OPTIONS'] as const) {
    const payload = method === 'GET' || method === 'HEAD' ? {} : { payload: { session_token: 'live' } }
    t.equal((await inject({ method, url: path, ...payload })).status, 404, method)
  }
  t.strictSame(asked, [])
})

t.test('if the store fails, the response is 500 and the cause is only logged', async t => {
  const status = (statusCode: number) => Object.assign(new Error('secret'), { statusCode, code: 'FST_ERR_VALIDATION', reason: 'secret' })
  const failures: ReadonlyArray<readonly [name: string, failing: () => never]> = [
    ['throws', () => { throw new Error('secret') }],
    ['throws a 403', () => { throw status(403) }],
    ['throws a 200', () => { throw status(200) }],
    ['throws null', () => { throw null }], // eslint-disable-line no-throw-literal
    ['throws undefined', () => { throw undefined }], // eslint-disable-line no-throw-literal
    ['throws a text', () => { throw 'secret' }], // eslint-disable-line no-throw-literal
    ['throws what only a verifier may', () => { throw new TokenRejectedError('revoked') }],
    ['rejects', () => Promise.reject(new Error('secret')) as never],
    ['rejects with a 403', () => Promise.reject(status(403)) as never],
    ['rejects with null', () => Promise.reject(null) as never], // eslint-disable-line prefer-promise-reject-errors
    ['answers with a thenable that throws', () => ({ then: () => { throw status(403) } }) as never],
    ['never answers', () => new Promise(() => {}) as never]
  ]
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  for (const [name, failing] of failures) {
    const { logOut } = await serve(t, { sessions: { logOut: failing }, timeout: 20 }, { logger })
    t.strictSame(await logOut({ session_token: 'live' }), internal, name)
    t.equal(lines.length, 1, 'it is logged once')
    t.match(lines.pop(), /"event":"logout\.outage"/)
  }
})

t.test('a failure of onLogout is logged and does not change the response', async t => {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  const failing = [
    () => { throw new Error('secret') }, async () => { throw new TokenRejectedError('revoked') }, () => new Promise(() => {})
  ]
  for (const onLogout of failing) {
    const { logOut } = await serve(t, { ...host().options, onLogout, timeout: 20 }, { logger })
    t.strictSame(await logOut({ session_token: 'live' }), done)
    t.match(lines.pop(), /onLogout failed after a logout/)
  }
  t.strictSame(lines, [])
})

t.test('a 4xx of the host\'s hooks keeps its status and gets Kratos\' body', async t => {
  const expected: ReadonlyArray<readonly [thrown: unknown, answer: Answer]> = [
    [{ statusCode: 400 }, failure(400)],
    [{ statusCode: 401 }, failure(401)],
    [{ statusCode: 403 }, failure(403)],
    [{ statusCode: 404 }, failure(404)],
    [{ statusCode: 418 }, failure(418)],
    [{ statusCode: 499 }, failure(499)],
    [{ status: 401 }, failure(401)],
    [{ status: 503 }, internal],
    [{ statusCode: 302 }, internal],
    [{ statusCode: 503 }, internal],
    [{ statusCode: 'x' }, internal],
    [{}, internal]
  ]
  for (const [thrown, answer] of expected) {
    const lines: string[] = []
    const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
    t.teardown(() => app.close())
    const { inject } = wire(app)
    app.addHook('onRequest', async () => { throw Object.assign(new Error('a secret of a hook'), thrown) })
    await app.register(kratosLogout, host().options)
    t.strictSame(await inject({ method: 'DELETE', url: path, payload: '{}' }), answer, JSON.stringify(thrown))
    t.equal(lines.length, answer.status < 500 ? 0 : 1, 'what is the caller\'s fault is not in the log of errors')
  }
})

t.test('over HTTP/2 a body needs no length', async t => {
  const { options, sessions, asked } = host()
  const app = Fastify({ http2: true } as FastifyServerOptions)
  t.teardown(() => app.close())
  await app.register(kratosLogout, options)
  const logOut = async (body: readonly string[] | undefined, headers: Record<string, string> = { 'content-type': 'application/json' }) => {
    return sendHttp2(app, { method: 'DELETE', path, headers, ...body !== undefined && { body } })
  }

  t.strictSame(await logOut(['{"session_token":', '"live"}']), done)
  t.equal(sessions.get('live')?.status, 'logged_out')
  t.strictSame(await logOut(['{"session_token":"live too"}'], { 'content-type': 'application/json', 'content-length': '28' }), done)
  t.strictSame(await logOut(['{"session_token":"nobody\'s"}']), unknownToken)
  t.strictSame(asked, ['live', 'live too', 'nobody\'s'])

  t.strictSame(await logOut(undefined), noBody, 'the stream ended with the headers')
  t.strictSame(await logOut(undefined, {}), noBody)
  t.strictSame(await logOut([], { 'content-type': 'application/json', 'content-length': '0' }), noBody, 'the length is 0')
  t.strictSame(await logOut([]), eof, 'no frame had data')
  for (const body of [['{}'], [], ['x'.repeat(200_000)]]) {
    t.strictSame(await logOut(body, {}), contentType(''))
    t.strictSame(await logOut(body, { 'content-type': 'text/plain' }), contentType('text/plain'))
  }
  t.strictSame(await logOut(['x']), invalidJson)
  const tooLarge = failure(400, { reason: 'Unable to read HTTP POST body: http: request body too large' })
  t.strictSame(await logOut(Array.from({ length: 6 }, () => 'x'.repeat(1024 * 1024))), tooLarge)
  t.equal(asked.length, 3)
})

t.test('the body is read with the headers as the host\'s hooks left them', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async request => {
    request.headers = { ...request.headers, 'content-type': 'application/json; charset=utf-8', 'x-request-id': 'of-the-host' }
  })
  const { options } = host()
  const { inject } = wire(app)
  await app.register(kratosLogout, options)
  const send = (payload: string, type: string) => inject({ method: 'DELETE', url: path, payload, headers: { 'content-type': type } })
  t.strictSame(await send('{"session_token":"live"}', 'text/plain'), done)
  t.match(await send('{"session_token":"other"}', 'rubbish'), { status: 403, body: /"request":"of-the-host"/ })
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  await assertMisuse(t, kratosLogout, 'kratosLogout', { sessions: { logOut: () => undefined } }, {
    sessions: [undefined, null, {}, { logOut: true }, () => {}],
    onLogout: ['log', true, null, {}],
    timeout: [0, -1, NaN, Infinity, '5000', null, 2_147_483_648]
  })
})
