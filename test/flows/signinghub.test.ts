import Fastify, { type FastifyServerOptions } from 'fastify'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  signingHubLogout, type DeviceTokenOutcome, type DeviceTokenRemoval, type SigningHubActivity, type SigningHubLogoutOptions
} from '../../lib/flows/signinghub.ts'
import { TokenRejectedError, type Claims } from '../../lib/token-verifier.ts'
import { assertMisuse, withOption, type WrongOptions } from '../misuse.ts'
import { wire, type Answer, type HeaderLines } from '../wire.ts'

const denied = 'Request authorization denied'
const noUser = 'User authentication required'
const invalidToken = 'Bearer error="invalid_token"'
const invalidBody = failure(400, 'Model state validation failed.')
const unsupported = failure(415, 'Unsupported Media Type')
const internal = failure(500, 'An internal server error occurred while processing the request')
const done: Answer = { status: 200, headers: { 'cache-control': 'no-store', 'content-length': '0' }, body: '' }

function failure (status: number, message: string, challenge?: string): Answer {
  const body = JSON.stringify({ Message: message })
  return {
    status,
    body,
    headers: {
      ...(challenge !== undefined && { 'www-authenticate': challenge }),
      'cache-control': 'no-store',
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body))
    }
  }
}

const tokens: Readonly<Record<string, Claims>> = {
  alice: { sub: 'alice' },
  bob: { sub: 'bob' },
  application: { client_id: 'an application' },
  'no-subject': { sub: '' },
  'admin-for-alice': { sub: 'alice', act: { sub: 'admin' }, tenant: 'acme', sid: 's1', iat: 1000 },
  'stranger-for-alice': { sub: 'alice', act: { sub: 'stranger' } },
  'disabled-for-alice': { sub: 'alice', act: { sub: 'disabled' } },
  'admin-for-disabled': { sub: 'disabled', act: { sub: 'admin' } },
  disabled: { sub: 'disabled' },
  unknown: { sub: 'nobody' }
}

function verifyToken (token: string): Claims {
  const claims = tokens[token]
  if (claims === undefined) throw new TokenRejectedError('untrusted')
  return claims
}

const fail = async (): Promise<never> => { throw new Error('a secret of the database') }

/** A host that knows accounts and push tokens, and writes down what it is asked. */
function host () {
  const owners = new Map([['of-alice', 'alice'], ['of-bob', 'bob']])
  const steps: string[] = []
  const removals: DeviceTokenRemoval[] = []
  const activities: SigningHubActivity[] = []
  const options = {
    verifyToken,
    user: {
      isActive: async (user: string) => user === 'nobody' ? undefined : user !== 'disabled',
      mayActFor: async ({ actor }: { actor: string }) => actor !== 'stranger'
    },
    deviceToken: {
      remove: async (removal: DeviceTokenRemoval): Promise<DeviceTokenOutcome> => {
        steps.push('remove')
        removals.push(removal)
        const owner = owners.get(removal.deviceToken)
        if (owner === undefined) return 'not-found'
        if (owner !== removal.subject) return 'not-owner'
        owners.delete(removal.deviceToken)
        return 'removed'
      }
    },
    recordActivity: async (activity: SigningHubActivity) => {
      steps.push('recordActivity')
      activities.push(activity)
    },
    revoke: async () => { steps.push('revoke') },
    onLogout: async () => { steps.push('onLogout') }
  } satisfies SigningHubLogoutOptions
  return { options, owners, steps, removals, activities }
}

async function serve (t: Test, options: SigningHubLogoutOptions, server: FastifyServerOptions = {}) {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(signingHubLogout, options)
  const post = (payload?: unknown, headers: Record<string, string> = {}, url = '/v3/logout') => inject({
    method: 'POST',
    url,
    headers: { authorization: 'Bearer alice', ...headers },
    ...(payload !== undefined && { payload: payload as string })
  })
  const json = (payload: string, headers = {}) => post(payload, { 'content-type': 'application/json', ...headers })
  const sendPost = (headers: HeaderLines, body?: string | Buffer) => {
    return send('POST /v3/logout', [['Authorization', 'Bearer alice'], ...headers], body)
  }
  return { app, inject, send, sendPost, post, json }
}

t.test('a logout', async t => {
  t.test('is an empty 200 without a content type at both paths, and can be repeated', async t => {
    const { options, removals, activities } = host()
    const { post } = await serve(t, options)
    for (const url of ['/v3/logout', '/v3/logout', '/v4/logout', '/v4/logout']) {
      t.strictSame(await post({ device_token: 'of-alice' }, {}, url), done)
    }
    t.strictSame(removals, Array(4).fill({
      subject: 'alice', actor: 'alice', tenant: undefined, sessionId: undefined, issuedAt: undefined, deviceToken: 'of-alice'
    }))
    t.strictSame(
      activities.map(({ deviceToken }) => deviceToken), ['removed', 'not-found', 'not-found', 'not-found'], 'each repetition is recorded'
    )
  })

  t.test('records the user, the time, the address and the outcome for the push token', async t => {
    const { options, activities } = host()
    const { post } = await serve(t, options)
    const before = Date.now()
    await post({ device_token: 'of-alice' }, { authorization: 'Bearer admin-for-alice', 'user-agent': 'an app' })
    const [activity] = activities
    t.ok(activity !== undefined && activity.at >= before && activity.at <= Date.now())
    t.strictSame({ ...activity, at: 0 }, {
      at: 0,
      subject: 'alice',
      actor: 'admin',
      tenant: 'acme',
      sessionId: 's1',
      issuedAt: 1_000_000,
      ip: '127.0.0.1',
      userAgent: 'an app',
      deviceToken: 'removed'
    })
  })

  t.test('needs only a verifier, and warns once that push tokens are ignored', async t => {
    const lines: string[] = []
    const { post } = await serve(t, { verifyToken }, {
      logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } }
    })
    t.strictSame(await post({ device_token: 'of-alice' }), done)
    t.strictSame(await post({ device_token: 'of-alice' }), done)
    t.strictSame(await post(), done)
    t.equal(lines.length, 1)
    t.match(lines[0], /deviceToken\.remove/)
    t.strictSame(
      await post(undefined, { authorization: 'Bearer admin-for-alice' }), failure(401, denied, 'Bearer'), 'nobody may act for another'
    )
  })

  t.test('is served at the paths of the option "paths"', async t => {
    const { inject } = await serve(t, { verifyToken, route: { paths: ['/logout/'] } })
    const headers = { authorization: 'Bearer alice' }
    t.strictSame(await inject({ method: 'POST', url: '/logout/', headers }), done)
    t.equal((await inject({ method: 'POST', url: '/v3/logout', headers })).status, 404)
  })

  t.test('is not served for other methods', async t => {
    const { options, steps } = host()
    const { inject, send } = await serve(t, options)
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      t.equal((await inject({ method, url: '/v3/logout', headers: { authorization: 'Bearer alice' } })).status, 404, method)
    }
    t.equal((await send('HEAD /v3/logout', [['Authorization', 'Bearer alice']])).status, 404)
    t.strictSame(steps, [])
  })

  t.test('removes a push token in one of 50 parallel calls, and all get the same response', async t => {
    const { options, activities, owners } = host()
    const { post } = await serve(t, options)
    const answers = await Promise.all(Array.from({ length: 50 }, async () => post({ device_token: 'of-alice' })))
    for (const answer of answers) t.strictSame(answer, done)
    t.strictSame([...owners.keys()], ['of-bob'])
    t.equal(activities.filter(({ deviceToken }) => deviceToken === 'removed').length, 1)
    t.equal(activities.length, 50)
  })
})

t.test('the decision table: who can log out', async t => {
  const { options, steps } = host()
  const { post, send } = await serve(t, options)
  const refused: ReadonlyArray<readonly [name: string, authorization: string, expected: Answer]> = [
    ['an empty header', '', failure(401, denied, 'Bearer')],
    ['a blank header', '   ', failure(401, denied, 'Bearer')],
    ['another scheme', 'Basic YWxpY2U6', failure(401, denied, 'Bearer')],
    ['a scheme that only begins alike', 'BearerX alice', failure(401, denied, 'Bearer')],
    ['no scheme', 'alice', failure(401, denied, 'Bearer')],
    ['no token', 'Bearer', failure(401, denied, 'Bearer')],
    ['a blank token', 'Bearer   ', failure(401, denied, 'Bearer')],
    ['two tokens', 'Bearer alice bob', failure(401, denied, 'Bearer')],
    ['two credentials', 'Bearer alice, Bearer bob', failure(401, denied, 'Bearer')],
    ['two tokens with a comma', 'Bearer alice,bob', failure(401, denied, 'Bearer')],
    ['a tab for a blank', 'Bearer\talice', failure(401, denied, 'Bearer')],
    ['an unknown token', 'Bearer xyz', failure(401, denied, invalidToken)],
    ['a name of Object.prototype', 'Bearer hasOwnPropertyX', failure(401, denied, invalidToken)],
    ['a token of 1 MB', `Bearer ${'x'.repeat(1_000_000)}`, failure(401, denied, invalidToken)],
    ['a megabyte of blanks', `Bearer ${' '.repeat(1_000_000)},`, failure(401, denied, 'Bearer')],
    ['a non-ASCII token', 'Bearer \u00e9\u00df', failure(401, denied, invalidToken)],
    ['a token without a user', 'Bearer application', failure(401, noUser, 'Bearer')],
    ['a token with an empty subject', 'Bearer no-subject', failure(401, noUser, 'Bearer')],
    ['a token of an unknown user', 'Bearer unknown', failure(401, noUser, 'Bearer')],
    ['an actor who lost the privilege', 'Bearer stranger-for-alice', failure(401, denied, 'Bearer')],
    ['a disabled actor', 'Bearer disabled-for-alice', failure(403, 'Account is disabled')],
    ['a disabled subject of an actor', 'Bearer admin-for-disabled', failure(403, 'Account is disabled')],
    ['a disabled user', 'Bearer disabled', failure(403, 'Account is disabled')]
  ]
  for (const [name, authorization, expected] of refused) {
    t.strictSame(await post({ device_token: 'of-alice' }, { authorization }), expected, `not ${name}`)
    t.strictSame(
      await post('{"broken', { authorization, 'content-type': 'application/json' }), expected, `not ${name}, and the body is not looked at`
    )
  }
  t.strictSame(await send('POST /v3/logout', [['Content-Length', '0']]), failure(401, denied, 'Bearer'), 'not nobody')
  t.strictSame(
    await post({ access_token: 'alice' }, { authorization: '' }, '/v3/logout?access_token=alice'), failure(401, denied, 'Bearer'),
    'not a token in the query or the body'
  )
  t.strictSame(steps, [], 'and nothing happens')

  for (const authorization of ['Bearer alice', 'bearer alice', 'BEARER   alice', 'Bearer alice  ', 'Bearer admin-for-alice']) {
    t.strictSame(await post(undefined, { authorization }), done, authorization)
  }
  const both: HeaderLines = [['Authorization', 'Bearer alice'], ['Authorization', 'Bearer xyz'], ['Content-Length', '0']]
  t.strictSame(await send('POST /v3/logout', both), done, 'of two headers the first counts')
  t.strictSame(await send('POST /v3/logout', [['Authorization', ''], ...both]), failure(401, denied, 'Bearer'), 'also a blank one')
})

t.test('isActive and mayActFor are called in order, and only if needed', async t => {
  const asked: string[] = []
  const { post } = await serve(t, {
    verifyToken,
    user: {
      mayActFor: ({ actor }) => { asked.push(`mayActFor ${actor}`); return actor !== 'stranger' },
      isActive: user => { asked.push(`isActive ${user}`); return user !== 'disabled' }
    }
  })
  const questions = async (token: string) => {
    asked.length = 0
    await post(undefined, { authorization: `Bearer ${token}` })
    return asked.join(', ')
  }
  t.equal(await questions('alice'), 'isActive alice')
  t.equal(await questions('admin-for-alice'), 'mayActFor admin, isActive admin, isActive alice')
  t.equal(await questions('stranger-for-alice'), 'mayActFor stranger')
  t.equal(await questions('disabled-for-alice'), 'mayActFor disabled, isActive disabled')
  t.equal(await questions('application'), '')
})

t.test('the option "principal" reads the user from the claims', async t => {
  const { options, removals } = host()
  const { post } = await serve(t, { ...options, user: { principal: claims => ({ subject: `user:${String(claims['sub'])}` }) } })
  t.strictSame(await post({ device_token: 'of-alice' }), done)
  t.match(removals, [{ subject: 'user:alice', actor: 'user:alice', deviceToken: 'of-alice' }], 'who acts for nobody else is the subject')
})

t.test('a principal without a subject or an actor is refused as having no user', async t => {
  for (const principal of [{ subject: '' }, { subject: '', actor: 'admin' }, { actor: 'admin' }, { subject: 'alice', actor: '' }]) {
    const { post } = await serve(t, { verifyToken, user: { principal: () => principal, mayActFor: () => true } })
    t.strictSame(await post(), failure(401, noUser, 'Bearer'), JSON.stringify(principal))
  }
})

t.test('a body', async t => {
  const { options, removals } = host()
  const { json, post, sendPost } = await serve(t, options)
  const removed = async (answer: Promise<Answer>) => {
    removals.length = 0
    return { answer: await answer, removed: removals.map(({ deviceToken }) => deviceToken) }
  }

  t.test('can be missing, empty or blank, with any content type', async t => {
    const types = [
      'application/json', 'application/json; charset=utf-8', 'text/plain', 'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x', 'rubbish', '/', ';', ''
    ]
    for (const type of types) {
      for (const body of ['', ' ', '\r\n\t ', '\ufeff']) {
        t.strictSame(
          await removed(sendPost([['Content-Type', type], ['Content-Length', String(Buffer.byteLength(body))]], body)),
          { answer: done, removed: [] }, JSON.stringify([type, body])
        )
      }
      t.strictSame(
        await removed(sendPost([['Content-Type', type], ['Transfer-Encoding', 'chunked']], '0\r\n\r\n')), { answer: done, removed: [] },
        `${type} in no chunk`
      )
    }
    t.strictSame(await removed(post()), { answer: done, removed: [] })
    t.strictSame(await removed(sendPost([['Transfer-Encoding', 'chunked']], '0\r\n\r\n')), { answer: done, removed: [] })
    t.strictSame(await removed(sendPost([])), { answer: done, removed: [] })
  })

  t.test('can be without a push token', async t => {
    for (const body of [
      'null', '{}', '{"device_token":null}', '{"device_token":""}', '{"device_token":" \\t\\u00a0\\ufeff"}', '{"Device_Token":"x"}',
      '{"other":[1]}'
    ]) {
      t.strictSame(await removed(json(body)), { answer: done, removed: [] }, body)
    }
  })

  t.test('contains exactly the push token to remove', async t => {
    const device = [
      ' of-alice ', 'OF-ALICE', 'Ünïcödé \u{1f4f1}', 'constructor', '__proto__', 'a\u0000b', 'x'.repeat(4096), '\u{1f4f1}'.repeat(2048)
    ]
    for (const token of device) {
      t.strictSame(
        await removed(json(JSON.stringify({ device_token: token, other: {} }))), { answer: done, removed: [token] }, token.slice(0, 20)
      )
    }
    t.strictSame(await removed(json('{"device_token":"a","device_token":"b"}')), { answer: done, removed: ['b'] }, 'the last of two')
    t.strictSame(await removed(json('\ufeff{"device_token":"a"}')), { answer: done, removed: ['a'] }, 'behind a byte order mark')
    for (const type of [
      'application/json; charset=utf-8', 'APPLICATION/JSON', 'application/json;charset=latin1', 'application/json ; x=y',
      'application/json;'
    ]) {
      t.strictSame(await removed(json('{"device_token":"a"}', { 'content-type': type })), { answer: done, removed: ['a'] }, type)
    }
    const chunked = [['Content-Type', 'application/json'], ['Transfer-Encoding', 'chunked']] as const
    const chunks = '8\r\n{"device\r\nc\r\n_token":"a"}\r\n0\r\n\r\n'
    t.strictSame(await removed(sendPost(chunked, chunks)), { answer: done, removed: ['a'] }, 'in chunks')
    const twoTypes = [['Content-Type', 'application/json'], ['Content-Type', 'text/plain'], ['Content-Length', '20']] as const
    const answer = await removed(sendPost(twoTypes, '{"device_token":"a"}'))
    t.strictSame(answer, { answer: done, removed: ['a'] }, 'of two content types the first counts')
  })

  t.test('is refused with 400 if it does not match the schema, and nothing is done', async t => {
    const bodies = [
      '{"device_token":5}', '{"device_token":true}', '{"device_token":["a"]}', '{"device_token":{}}', '[]', '["device_token"]', '"text"',
      '5', 'true', 'false',
      '{"device_token":', '{}x', '{"a":1}{"a":1}', "{'device_token':'a'}", 'undefined', 'NaN', '<xml/>', '\u0000',
      '{"__proto__":{"device_token":"a"}}', '{"device_token":"a","__proto__":null}', '{"constructor":{"prototype":{"device_token":"a"}}}',
      '{"a":{"__proto__":1}}',
      JSON.stringify({ device_token: 'x'.repeat(4097) }), JSON.stringify({ device_token: '\u{1f4f1}'.repeat(2049) }),
      JSON.stringify({ device_token: 'x'.repeat(1_000_000) })
    ]
    for (const body of bodies) t.strictSame(await removed(json(body)), { answer: invalidBody, removed: [] }, body.slice(0, 60))
    t.strictSame(await removed(json('{}', { 'content-length': '1' })), { answer: invalidBody, removed: [] }, 'not as long as it said')
  })

  t.test('is refused if it is too large or of another media type', async t => {
    const large = JSON.stringify({ other: 'x'.repeat(1_048_576) })
    t.strictSame(await removed(json(large)), { answer: failure(413, 'Payload Too Large'), removed: [] })
    t.strictSame(await removed(post(large, { 'content-type': 'text/plain' })), { answer: failure(413, 'Payload Too Large'), removed: [] })
    for (const type of [
      'text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'application/jsonp', 'application/vnd.api+json', 'text/json',
      'application/json+x', 'rubbish', ',', ''
    ]) {
      t.strictSame(
        await removed(sendPost([['Content-Type', type], ['Content-Length', '20']], '{"device_token":"a"}')),
        { answer: unsupported, removed: [] }, type
      )
    }
    t.strictSame(
      await removed(sendPost([['Content-Length', '20']], '{"device_token":"a"}')), { answer: unsupported, removed: [] }, 'no media type'
    )
  })

  t.test('gets a JSON response whatever the Accept header says', async t => {
    for (const accept of ['text/html', '', '*/*', 'application/json;q=0']) {
      t.strictSame(await json('5', { accept }), invalidBody)
      t.strictSame(await json('{}', { accept }), done)
    }
  })
})

t.test('over HTTP/2 a body needs neither a length nor a type', async t => {
  const { options, removals } = host()
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(signingHubLogout, options)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => session.close())
  const post = async (headers: Record<string, string>, body?: string) => {
    const stream = session.request({ ':method': 'POST', ':path': '/v3/logout', authorization: 'Bearer alice', ...headers }, {
      endStream: body === undefined
    })
    if (body !== undefined) stream.end(body)
    const [received] = await once(stream, 'response') as unknown as [Record<string, unknown>]
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    return [received[':status'], text]
  }
  const [ok, refused] = [[200, ''], [415, unsupported.body]]
  const json = { 'content-type': 'application/json' }
  for (const headers of [{}, json, { 'content-type': 'text/plain' }, { 'content-type': 'rubbish' }]) {
    t.strictSame(await post(headers), ok, `no body: ${JSON.stringify(headers)}`)
    t.strictSame(await post(headers, ''), ok, `an empty body: ${JSON.stringify(headers)}`)
    t.strictSame(await post(headers, ' \r\n'), ok, `a blank body: ${JSON.stringify(headers)}`)
  }
  t.strictSame(removals, [])
  const body = '{"device_token":"of-alice"}'
  for (const headers of [
    {}, { 'content-type': 'text/plain' }, { 'content-type': 'rubbish' },
    { 'content-type': 'text/plain', 'content-length': String(body.length) }
  ]) {
    t.strictSame(await post(headers, body), refused, `a body that is not JSON: ${JSON.stringify(headers)}`)
  }
  t.strictSame(removals, [])
  t.strictSame(await post(json, body), ok)
  t.match(removals, [{ deviceToken: 'of-alice' }])
  t.strictSame(await post(json, '{"broken'), [400, invalidBody.body])
})

t.test('the audit entry has the address of a client that leaves early, and no address for a Unix socket', async t => {
  const { options, activities } = host()
  const verifying = new EventEmitter()
  const verifySlowly = async (token: string) => {
    verifying.emit('began')
    await once(verifying, 'go on')
    return verifyToken(token)
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(signingHubLogout, { ...options, verifyToken: verifySlowly })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const began = once(verifying, 'began')
  const headers = { authorization: 'Bearer alice' }
  const client = request({ port, host: '127.0.0.1', path: '/v3/logout', method: 'POST', headers }).on('error', () => {}).end()
  await began
  client.destroy()
  await sleep(50)
  verifying.emit('go on')
  for (let waited = 0; waited < 200 && activities.length === 0; waited++) await sleep(5)
  t.match(activities, [{ ip: '127.0.0.1' }])

  const { options: others, activities: local } = host()
  const { app: onSocket } = await serve(t, others)
  const directory = mkdtempSync(join(tmpdir(), 'fastify-logout-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const socketPath = join(directory, 'socket')
  await onSocket.listen({ path: socketPath })
  const [response] = await once(request({ socketPath, path: '/v3/logout', method: 'POST', headers }).end(), 'response')
  response.resume()
  t.equal(response.statusCode, 200)
  t.equal(local[0]?.ip, undefined)
})

t.test('only true from isActive and mayActFor allows a logout', async t => {
  for (const answer of [[], {}, 1, 'yes', 'true', NaN, 0, '', null, undefined]) {
    const acting = await serve(t, { ...host().options, user: { mayActFor: async () => answer as never } })
    const refused = await acting.post(undefined, { authorization: 'Bearer admin-for-alice' })
    t.strictSame(refused, failure(401, denied, 'Bearer'), `mayActFor: ${JSON.stringify(answer)}`)
    const active = await serve(t, { ...host().options, user: { isActive: async () => answer as never } })
    const expected = answer === undefined || answer === null ? failure(401, noUser, 'Bearer') : failure(403, 'Account is disabled')
    t.strictSame(await active.post(), expected, `isActive: ${JSON.stringify(answer)}`)
  }
})

t.test('if deviceToken.remove returns an unknown outcome, the response is 500 and nothing is revoked', async t => {
  for (const answer of [undefined, null, true, 1, 'deleted', 'Removed', {}]) {
    for (const remove of [() => answer as never, async () => answer as never]) {
      const lines: string[] = []
      const { options, steps, activities } = host()
      const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
      const { post } = await serve(t, { ...options, deviceToken: { remove } }, { logger })
      t.strictSame(await post({ device_token: 'of-alice' }), internal, String(answer))
      t.strictSame(steps, ['recordActivity'])
      t.equal(activities[0]?.deviceToken, 'failed')
      t.match(lines, [/signingHubLogout: option \\"deviceToken.remove\\" must return \\"removed\\", \\"not-found\\" or \\"not-owner\\"/])
    }
  }
})

t.test('numeric ids are converted to text', async t => {
  const { options, activities } = host()
  const asked: unknown[] = []
  const { post } = await serve(t, {
    ...options,
    user: {
      principal: () => ({ subject: 23, actor: 7n, tenant: 1, sessionId: 5 }) as never,
      mayActFor: user => { asked.push(user); return true },
      isActive: user => { asked.push(user); return true }
    }
  })
  t.strictSame(await post(), done)
  const user = { subject: '23', actor: '7', tenant: '1', sessionId: '5', issuedAt: undefined }
  t.strictSame(asked, [user, '7', '23'])
  t.match(activities, [user])
  for (const subject of [NaN, Infinity, {}, [], true, 1.5]) {
    const { post } = await serve(t, { ...options, user: { principal: () => ({ subject }) as never } })
    t.strictSame(await post(), failure(401, noUser, 'Bearer'), `not an id: ${String(subject)}`)
  }
})

t.test('with deviceToken.required a logout without a push token is refused', async t => {
  const { options, steps } = host()
  const { json, post } = await serve(t, { ...options, deviceToken: { ...options.deviceToken, required: true, maxLength: 8 } })
  for (const body of [
    '', ' ', 'null', '{}', '{"device_token":null}', '{"device_token":""}', '{"device_token":" \\t\\u00a0\\ufeff"}',
    '{"device_token":"123456789"}'
  ]) {
    t.strictSame(await json(body), invalidBody, body)
  }
  t.strictSame(await post(), invalidBody)
  t.strictSame(await post(' ', { 'content-type': 'text/plain' }), invalidBody)
  t.strictSame(steps, [])
  t.strictSame(await json('{"device_token":"of-alice"}'), done)
  t.strictSame(await json('{"device_token":"of-alice"}'), done)
})

t.test('a push token that is unknown or belongs to another user', async t => {
  t.test('is left alone, and the response is 200', async t => {
    const { options, owners, activities } = host()
    const { post } = await serve(t, options)
    t.strictSame(await post({ device_token: 'of-bob' }), done)
    t.strictSame(await post({ device_token: 'of-nobody' }), done)
    t.equal(owners.get('of-bob'), 'bob')
    t.strictSame(activities.map(({ deviceToken }) => deviceToken), ['not-owner', 'not-found'])
  })

  t.test('gets the vendor\'s 403 or 404 if the host asks for it, and nothing is recorded or revoked', async t => {
    const { options, steps } = host()
    const { post } = await serve(t, { ...options, deviceToken: { ...options.deviceToken, foreign: 'forbid', unknown: 'not-found' } })
    t.strictSame(await post({ device_token: 'of-bob' }), failure(403, 'Document does not belong to user'))
    t.strictSame(await post({ device_token: 'of-nobody' }), failure(404, 'Document not found'))
    t.strictSame(steps, ['remove', 'remove'])
    t.strictSame(await post(), done, 'no push token is neither')
    t.strictSame(await post({ device_token: 'of-alice' }), done)
  })

  t.test('the policies "foreign" and "unknown" are independent', async t => {
    const { options } = host()
    const forbidding = await serve(t, { ...options, deviceToken: { ...options.deviceToken, foreign: 'forbid' } })
    t.strictSame(await forbidding.post({ device_token: 'of-nobody' }), done)
    const missing = await serve(t, { ...options, deviceToken: { ...options.deviceToken, unknown: 'not-found' } })
    t.strictSame(await missing.post({ device_token: 'of-bob' }), done)
  })
})

t.test('steps that can be retried come first, revoking the token comes last', async t => {
  const device = { device_token: 'of-alice' }

  t.test('the order is: push token, activity, revocation, onLogout', async t => {
    const { options, steps } = host()
    const revoked: unknown[] = []
    const told: unknown[] = []
    const { post } = await serve(t, {
      ...options,
      revoke: (user, token) => { revoked.push([user.subject, token]); steps.push('revoke') },
      onLogout: (activity, request) => { told.push([activity.deviceToken, request.url]); steps.push('onLogout') }
    })
    t.strictSame(await post(device), done)
    t.strictSame(steps, ['remove', 'recordActivity', 'revoke', 'onLogout'])
    t.strictSame(revoked, [['alice', 'alice']])
    t.strictSame(told, [['removed', '/v3/logout']])
  })

  t.test('if the push token cannot be removed, the activity is recorded and nothing is revoked', async t => {
    const { options, steps, activities } = host()
    const { post } = await serve(t, { ...options, deviceToken: { remove: fail } })
    t.strictSame(await post(device), internal)
    t.strictSame(steps, ['recordActivity'])
    t.equal(activities[0]?.deviceToken, 'failed')
  })

  t.test('if the activity cannot be recorded, nothing is revoked', async t => {
    const { options, steps } = host()
    const { post } = await serve(t, { ...options, recordActivity: fail })
    t.strictSame(await post(device), internal)
    t.strictSame(steps, ['remove'])
  })

  t.test('if the revocation fails, the response is 500 and onLogout is not called', async t => {
    const { options, steps } = host()
    const { post } = await serve(t, { ...options, revoke: fail })
    t.strictSame(await post(device), internal)
    t.strictSame(steps, ['remove', 'recordActivity'])
  })

  t.test('a failure of onLogout is logged and does not change the response', async t => {
    const lines: string[] = []
    const { options } = host()
    const { post } = await serve(t, { ...options, onLogout: fail }, {
      logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
    })
    t.strictSame(await post(device), done)
    t.equal(lines.length, 1)
    t.match(lines[0], /onLogout failed.*a secret of the database/)
  })

  t.test('a retry succeeds after a failure', async t => {
    const { options, owners, steps } = host()
    let calls = 0
    const { post } = await serve(t, { ...options, recordActivity: async () => ++calls === 1 ? fail() : undefined })
    t.strictSame(await post(device), internal)
    t.strictSame(await post(device), done)
    t.notOk(owners.has('of-alice'))
    t.strictSame(steps, ['remove', 'remove', 'revoke', 'onLogout'])
  })
})

/** The options of a host with one function replaced. */
function replaced (name: string, by: () => never): SigningHubLogoutOptions {
  const { options } = host()
  return withOption(options, name.split('.'), by) as SigningHubLogoutOptions
}

t.test('if a function of the host fails, the response is 500 and the cause is only logged', async t => {
  const named = [
    'verifyToken', 'user.principal', 'user.mayActFor', 'user.isActive', 'deviceToken.remove', 'recordActivity', 'revoke'
  ] as const
  const status = (statusCode: number) => Object.assign(new Error('secret'), { statusCode, code: 'FST_ERR_VALIDATION' })
  const failures: ReadonlyArray<readonly [name: string, failing: () => never]> = [
    ['throws', () => { throw new Error('secret') }],
    ['throws a 401', () => { throw status(401) }],
    ['throws a 200', () => { throw status(200) }],
    ['throws null', () => { throw null }], // eslint-disable-line no-throw-literal
    ['throws undefined', () => { throw undefined }], // eslint-disable-line no-throw-literal
    ['throws a text', () => { throw 'secret' }], // eslint-disable-line no-throw-literal
    ['rejects', () => Promise.reject(new Error('secret')) as never],
    ['rejects with a 401', () => Promise.reject(status(401)) as never],
    ['rejects with null', () => Promise.reject(null) as never], // eslint-disable-line prefer-promise-reject-errors
    ['answers with a thenable that throws', () => ({ then: () => { throw status(401) } }) as never],
    ['never answers', () => new Promise(() => {}) as never]
  ]
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  for (const [name, failing] of failures) {
    await Promise.all(named.map(async option => {
      const { post } = await serve(t, { ...replaced(option, failing), timeout: 20 }, { logger })
      t.strictSame(await post({ device_token: 'of-alice' }, { authorization: 'Bearer admin-for-alice' }), internal, `${option} ${name}`)
    }))
    t.strictSame(
      lines.map(line => /([\w.]+) failed/.exec(line)?.[1]).sort(), [...named].sort(), `${name}: each is logged once`
    )
    lines.length = 0
  }
})

t.test('only the verifier can refuse a token: a TokenRejectedError from elsewhere is a 500', async t => {
  const refuse = () => { throw Object.assign(new TokenRejectedError('revoked'), { statusCode: 401 }) }
  for (const option of [
    'user.principal', 'user.mayActFor', 'user.isActive', 'deviceToken.remove', 'recordActivity', 'revoke'
  ] as const) {
    const { post } = await serve(t, replaced(option, refuse))
    t.strictSame(await post({ device_token: 'of-alice' }, { authorization: 'Bearer admin-for-alice' }), internal, option)
  }
  const { post } = await serve(t, { ...host().options, verifyToken: async () => refuse() })
  t.strictSame(await post(), failure(401, denied, invalidToken))
})

t.test('a verifier or principal that returns something else than an object is a 500', async t => {
  for (const wrong of [{ verifyToken: () => undefined as never }, { user: { principal: () => undefined as never } }]) {
    const { post } = await serve(t, { ...host().options, ...wrong })
    t.strictSame(await post(), internal)
  }
})

t.test('a call that takes longer than the timeout is a 500, and its late result changes nothing', async t => {
  const { options, steps } = host()
  const { post } = await serve(t, { ...options, timeout: 60, recordActivity: () => sleep(5) })
  t.strictSame(await post(), done)
  steps.length = 0
  const slow = new EventEmitter()
  const late = await serve(t, { ...options, timeout: 20, user: { isActive: async () => { await once(slow, 'answer'); return true } } })
  t.strictSame(await late.post(), internal)
  slow.emit('answer')
  await sleep(5)
  t.strictSame(steps, [])
})

t.test('a 4xx of the host\'s hooks keeps its status and gets the vendor\'s body', async t => {
  const expected: ReadonlyArray<readonly [thrown: unknown, answer: Answer]> = [
    [{ statusCode: 400 }, failure(400, 'Bad Request')],
    [{ statusCode: 401 }, failure(401, denied, 'Bearer')],
    [{ statusCode: 403 }, failure(403, 'Forbidden')],
    [{ statusCode: 418 }, failure(418, "I'm a Teapot")],
    [{ statusCode: 429 }, failure(429, 'Too Many Requests')],
    [{ statusCode: 499 }, failure(499, 'Bad Request')],
    [{ statusCode: 302 }, internal],
    [{ statusCode: 503 }, internal],
    [{ statusCode: 'x' }, internal],
    [{ status: 403 }, failure(403, 'Forbidden')],
    [{}, internal]
  ]
  for (const [thrown, answer] of expected) {
    const lines: string[] = []
    const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
    t.teardown(() => app.close())
    const { inject } = wire(app)
    app.addHook('onRequest', async () => { throw Object.assign(new Error('a secret of a hook'), thrown) })
    await app.register(signingHubLogout, { verifyToken })
    t.strictSame(await inject({ method: 'POST', url: '/v3/logout' }), answer, JSON.stringify(thrown))
    t.equal(lines.length, answer.status < 500 ? 0 : 1, 'what is the caller\'s fault is not in the log of errors')
  }
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const wrong: WrongOptions = {
    verifyToken: [undefined, 'secret', {}],
    principal: [() => ({})],
    isActive: [() => true],
    mayActFor: [() => true],
    paths: [['/logout']],
    security: [[]],
    user: [null, 'sub', []],
    'user.principal': ['sub', null],
    'user.isActive': [true],
    'user.mayActFor': [true],
    recordActivity: ['log'],
    revoke: [true, null, 'all'],
    onLogout: [[]],
    deviceToken: [null, 'ignore', false],
    'deviceToken.remove': [{ remove () {} }, null],
    'deviceToken.required': ['true', 1, null],
    'deviceToken.maxLength': [0, -1, 1.5, Infinity, '4096', NaN],
    'deviceToken.foreign': ['not-found', true],
    'deviceToken.unknown': ['forbid', ''],
    'revoke.revocations': [undefined, {}],
    'revoke.scope': ['others', null],
    'revoke.lifetime': [undefined, 0, '1h'],
    'revoke.clockTolerance': [-1, NaN],
    route: [null, '/logout'],
    'route.paths': [[], ['logout'], '/logout', [undefined], null],
    timeout: [0, -1, NaN, Infinity, '5000', 2_147_483_648]
  }
  const revoke = { revocations: { revoke: () => {} }, lifetime: 1000 }
  await assertMisuse(t, signingHubLogout, 'signingHubLogout', { verifyToken, revoke, deviceToken: {} }, wrong)
  await t.rejects(Promise.resolve(Fastify().register(signingHubLogout, {} as never)), /option "verifyToken" is missing/)
})
