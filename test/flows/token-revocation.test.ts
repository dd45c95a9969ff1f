import Fastify, { type FastifyRequest, type FastifyServerOptions } from 'fastify'
import * as oauth from 'oauth4webapi'
import t, { type Test } from 'tap'
import { tokenRevocation, type TokenRevocationOptions, type TokenToRevoke } from '../../lib/flows/token-revocation.ts'
import type { ClientCredentials } from '../../lib/internal/oauth/client-credentials.ts'
import { sendHttp2 } from '../http2-request.ts'
import { assertMisuse } from '../misuse.ts'
import { wire, type Answer } from '../wire.ts'

const path = '/oauth/revoke'
const form = 'application/x-www-form-urlencoded'
const challenge = { 'www-authenticate': 'Basic realm="token revocation", charset="UTF-8"' }
const fail = async (): Promise<never> => { throw new Error('a 5ecret of the database') }
const hang = async (): Promise<never> => new Promise<never>(() => {})

const done: Answer = { status: 200, headers: { 'cache-control': 'no-store', 'content-length': '0' }, body: '' }

function failure (status: number, error: string, description?: string, headers: object = {}): Answer {
  const body = JSON.stringify({ error, error_description: description })
  return {
    status,
    headers: {
      ...headers,
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(body.length)
    },
    body
  }
}

const invalid = (description: string) => failure(400, 'invalid_request', description)
const unauthorized = (description: string, headers?: object) => failure(401, 'invalid_client', description, headers)
const unavailable = failure(503, 'temporarily_unavailable', undefined, { 'retry-after': '5' })

const formEncoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64')}`
})
const shop = basic('shop', 'the secret')

/** Clients and tokens of an authorization server. */
function world () {
  const asked: ClientCredentials[] = []
  const revocations: TokenToRevoke[] = []
  const secrets = new Map<string, string | undefined>([['shop', 'the secret'], ['bakery', 'another secret'], ['an app', undefined]])
  const tokens = new Map([['refresh-shop', 'shop'], ['access-shop', 'shop'], ['refresh-bakery', 'bakery'], ['refresh-app', 'an app']])
  const options: TokenRevocationOptions = {
    authenticateClient: credentials => {
      asked.push(credentials)
      return secrets.has(credentials.id) && secrets.get(credentials.id) === credentials.secret ? credentials.id : undefined
    },
    revokeToken: revocation => {
      revocations.push(revocation)
      if (revocation.token === 'a permanent token') return 'unsupported'
      if (tokens.get(revocation.token) !== revocation.clientId) return undefined
      tokens.delete(revocation.token)
      return 'revoked'
    }
  }
  return { asked, revocations, tokens, options }
}

interface ServeOptions extends Partial<TokenRevocationOptions> {
  readonly server?: FastifyServerOptions
  readonly prefix?: string
}

async function serve (t: Test, { server = {}, ...changes }: ServeOptions = {}) {
  const host = world()
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } }, ...server })
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(tokenRevocation, { ...host.options, ...changes })
  const post = (payload: string | Buffer, headers: Record<string, string> = {}) => inject({
    method: 'POST', url: path, payload, headers: { 'content-type': form, ...headers }
  })
  const logged = () => lines.map(line => JSON.parse(line) as Record<string, unknown>)
  return { ...host, app, inject, send, post, lines, logged }
}

t.test('V1: a token of the client is revoked, and the response is 200 only after the host said so', async t => {
  const steps: string[] = []
  let ready = () => {}
  const stored = new Promise<void>(resolve => { ready = resolve })
  const { post, asked } = await serve(t, {
    revokeToken: async revocation => {
      steps.push(JSON.stringify(revocation))
      await stored
      steps.push('stored')
      return 'revoked' as const
    }
  })
  const answer = post('token=refresh-shop', shop).then(received => { steps.push('answered'); return received })
  setImmediate(() => ready())
  t.strictSame(await answer, done)
  t.strictSame(steps, ['{"token":"refresh-shop","clientId":"shop"}', 'stored', 'answered'])
  t.strictSame(asked, [{ id: 'shop', secret: 'the secret' }])
})

t.test('V1: the same request again is a 200 again, also of 50 in parallel', async t => {
  const { post, tokens, revocations } = await serve(t)
  t.strictSame(await post('token=refresh-shop', shop), done)
  t.strictSame(await post('token=refresh-shop', shop), done)
  t.notOk(tokens.has('refresh-shop'))
  t.ok(tokens.has('access-shop'))
  for (const answer of await Promise.all(Array.from({ length: 50 }, () => post('token=access-shop', shop)))) t.strictSame(answer, done)
  t.notOk(tokens.has('access-shop'))
  t.equal(revocations.length, 52)
})

t.test('V1: both functions are called with the request, and what they return is awaited', async t => {
  const seen: Array<[string, string]> = []
  const note = (name: string, { headers, ip }: FastifyRequest) => seen.push([name, `${headers['x-certificate']} ${ip}`])
  const { post } = await serve(t, {
    authenticateClient: async (_credentials, request) => { note('authenticateClient', request); return 'the id of the host' },
    revokeToken: async ({ clientId }, request) => { note(clientId, request); return undefined }
  })
  t.strictSame(await post('token=x&client_id=y', { 'x-certificate': 'cn=shop' }), done)
  t.strictSame(seen, [['authenticateClient', 'cn=shop 127.0.0.1'], ['the id of the host', 'cn=shop 127.0.0.1']])
})

t.test('V2: unknown tokens, tokens that were revoked before and tokens of another client are 200 without effect', async t => {
  const { post, tokens, lines } = await serve(t)
  for (const token of ['unknown', 'refresh-bakery', '%E2%82%AC', 'a+b', 'x'.repeat(20_000)]) {
    t.strictSame(await post(`token=${token}`, shop), done, token.slice(0, 20))
  }
  t.ok(tokens.has('refresh-bakery'))
  t.strictSame(lines, [])
  t.strictSame(await (await serve(t, { revokeToken: (() => null) as never })).post('token=x', shop), done, 'null')
})

t.test('V3: the hint is passed as it came, and an unknown one changes nothing', async t => {
  const { post, tokens, revocations } = await serve(t)
  const ask = async (hint: string) => {
    t.strictSame(await post(`token=access-shop&token_type_hint=${hint}`, shop), done)
    return revocations.at(-1)
  }
  t.strictSame(await ask('refresh_token'), { token: 'access-shop', clientId: 'shop', hint: 'refresh_token' })
  t.notOk(tokens.has('access-shop'))
  t.strictSame(await ask('my+kind%21'), { token: 'access-shop', clientId: 'shop', hint: 'my kind!' })
  t.strictSame(await ask(''), { token: 'access-shop', clientId: 'shop' }, 'one without a value counts as left out')
})

t.test('V4: no token, an empty one, several, and JSON are 400, and nobody is asked', async t => {
  const { post, inject, asked, revocations, logged } = await serve(t)
  for (const body of ['', 'token=', 'token', 'Token=x', 'refresh_token=x', '&', 'token_type_hint=token', 'callback=x']) {
    t.strictSame(await post(body, shop), invalid('missing'), body)
  }
  for (const body of ['token=x&token=x', 'token=&token=x', 'tok%65n=x&token=y']) {
    t.strictSame(await post(body, shop), invalid('repeated'), body)
  }
  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', 'rubbish', '']) {
    t.strictSame(await post('token=x', { ...shop, 'content-type': type }), invalid('missing'), type)
  }
  t.strictSame(await post('{"token":"x"}', { ...shop, 'content-type': 'application/json' }), invalid('missing'))
  t.strictSame(await inject({ method: 'POST', url: path, headers: shop }), invalid('missing'), 'no body')
  t.strictSame(await inject({ method: 'POST', url: `${path}?token=x`, headers: shop }), invalid('missing'), 'not from the query')
  t.strictSame([asked, revocations], [[], []])
  t.match(logged()[0], {
    level: 40, event: 'token-revocation.refused', clientId: 'unknown', code: 'missing', msg: 'a request to revoke a token was refused'
  })
})

t.test('V4: a parameter that is known occurs once at most; others are ignored', async t => {
  const { post } = await serve(t)
  for (const name of ['token_type_hint', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type']) {
    t.strictSame(await post(`token=x&${name}=a&${name}=a`, shop), invalid('repeated'), name)
  }
  t.strictSame(await post('x=1&x=2&token=refresh-shop&=&resource=a&resource=b', shop), done)
})

t.test('V4: what cannot be decoded, and control characters, are malformed', async t => {
  const { post, asked } = await serve(t)
  for (const body of ['token=%', 'token=%zz', Buffer.from([0x74, 0x3d, 0xc3, 0x28])]) {
    t.strictSame(await post(body, shop), invalid('malformed'), String(body))
  }
  for (const name of ['token', 'token_type_hint', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type']) {
    for (const character of ['%00', '%0a', '%7f', '%C2%85']) {
      const body = new URLSearchParams({ token: 'x', client_id: 'shop' })
      body.delete(name)
      t.strictSame(await post(`${body}&${name}=a${character}`), invalid('malformed'), name + character)
    }
  }
  t.strictSame(await post('token=x', { ...shop, 'content-encoding': 'gzip' }), invalid('malformed'))
  t.strictSame(asked, [])
})

t.test('V4: a body of more than 64 KiB is 413', async t => {
  const { post } = await serve(t)
  t.strictSame(await post(`token=${'x'.repeat(65_530)}`, shop), done)
  t.strictSame(await post(`token=${'x'.repeat(65_531)}`, shop), failure(413, 'payload_too_large'))
})

t.test('V5: a client that the host does not know, or whose secret is wrong, is 401', async t => {
  const { post, revocations, logged } = await serve(t)
  t.strictSame(await post('token=refresh-shop', basic('shop', 'wrong')), unauthorized('refused', challenge))
  t.strictSame(await post('token=refresh-shop', basic('nobody', 'the secret')), unauthorized('refused', challenge))
  t.strictSame(await post('token=refresh-shop&client_id=shop&client_secret=wrong'), unauthorized('refused'), 'no challenge')
  t.strictSame(await post('token=refresh-shop&client_id=shop'), unauthorized('refused'), 'a secret is left out')
  t.strictSame(await post('token=refresh-shop&client_id=shop&client_secret='), unauthorized('refused'))
  t.strictSame(await post('token=refresh-shop&client_id=shop', { authorization: 'Bearer x' }), unauthorized('refused'))
  t.strictSame(revocations, [])
  t.match(logged(), Array(6).fill({ event: 'token-revocation.refused', clientId: 'unknown', code: 'refused' }))
})

t.test('V5: for a request that names no client nobody is asked', async t => {
  const { post, asked } = await serve(t)
  t.strictSame(await post('token=x'), unauthorized('unnamed'))
  t.strictSame(await post('token=x&client_id='), unauthorized('unnamed'))
  t.strictSame(await post('token=x&client_secret=the+secret'), unauthorized('unnamed'))
  t.strictSame(await post('token=x', { authorization: 'Bearer a.b.c' }), unauthorized('unnamed'))
  t.strictSame(await post('token=x', { authorization: 'Basic' }), unauthorized('unnamed', challenge))
  t.strictSame(await post('token=x', { authorization: 'Basic !' }), unauthorized('unnamed', challenge))
  t.strictSame(await post('token=x', basic('', 'the secret')), unauthorized('unnamed', challenge))
  t.strictSame(asked, [])
})

t.test('V5: null and false refuse a client; anything else that is not an id is a 500, and revokes nothing', async t => {
  for (const returned of [null, false, undefined]) {
    const { post, revocations } = await serve(t, { authenticateClient: () => returned as undefined })
    t.strictSame(await post('token=x', shop), unauthorized('refused', challenge))
    t.strictSame(revocations, [])
  }
  for (const returned of [true, '', 1, {}, ['shop']]) {
    const { post, revocations, logged } = await serve(t, { authenticateClient: () => returned as string })
    t.strictSame(await post('token=x', shop), failure(500, 'server_error'), JSON.stringify(returned))
    t.strictSame(revocations, [])
    t.match(logged(), [{ event: 'logout.outage', err: { message: /^tokenRevocation: option "authenticateClient" must return the id/ } }])
  }
})

t.test('V6: two proofs at once, or two clients, are 400', async t => {
  const { post, asked } = await serve(t)
  const assertion = 'client_assertion_type=urn:x&client_assertion=a.b.c'
  t.strictSame(await post('token=x&client_secret=the+secret', shop), invalid('several'))
  t.strictSame(await post('token=x&client_id=shop&client_secret=the+secret', { authorization: 'Basic !' }), invalid('several'))
  t.strictSame(await post(`token=x&${assertion}`, shop), invalid('several'))
  t.strictSame(await post('token=x&client_assertion=a.b.c', shop), invalid('several'))
  t.strictSame(await post('token=x&client_assertion_type=urn:x', shop), invalid('several'))
  t.strictSame(await post(`token=x&client_id=shop&client_secret=y&${assertion}`), invalid('several'))
  t.strictSame(await post('token=x&client_id=bakery', shop), invalid('contradiction'))
  t.strictSame(await post('token=x&client_id=shop&client_assertion=a.b.c'), invalid('incomplete'))
  t.strictSame(asked, [])
  t.strictSame(await post('token=x&client_id=shop', shop), done, 'the same client twice')
})

t.test('V7: id and secret in Basic are decoded as in a form, and an empty secret is none', async t => {
  const { post, asked } = await serve(t, { authenticateClient: credentials => { asked.push(credentials); return credentials.id } })
  const ask = async (authorization: string) => {
    t.strictSame(await post('token=x', { authorization }), done, authorization)
    return asked.at(-1)
  }
  t.strictSame(await ask(basic('https://a.example/?b=c', 'p:ss w+rd%41€').authorization),
    { id: 'https://a.example/?b=c', secret: 'p:ss w+rd%41€' })
  const encoded = (text: string) => Buffer.from(text).toString('base64')
  t.strictSame(await ask(`basic ${encoded('shop:a:b+c%3Ad')}`), { id: 'shop', secret: 'a:b c:d' })
  t.strictSame(await ask(`BASIC   ${encoded('shop:')}`), { id: 'shop' })
})

t.test("V8: 'unsupported' is 400 unsupported_token_type, and the log names the client", async t => {
  const { post, logged } = await serve(t)
  t.strictSame(await post('token=a+permanent+token', shop), failure(400, 'unsupported_token_type', 'unsupported'))
  t.match(logged(), [{ event: 'token-revocation.refused', clientId: 'shop', code: 'unsupported' }])
})

t.test('V9: an outage of either function is 503 with Retry-After, and its error does not leave', async t => {
  for (const broken of [fail, hang, () => { throw new Error('a 5ecret of the database') }]) {
    for (const name of ['authenticateClient', 'revokeToken'] as const) {
      const { post, revocations, logged } = await serve(t, { [name]: broken, timeout: 20 })
      t.strictSame(await post('token=refresh-shop', shop), unavailable)
      t.strictSame(revocations, [])
      t.match(logged(), [{ level: 50, event: 'logout.outage', msg: 'a token could not be revoked' }])
    }
  }
})

t.test('V9: after an outage the same request succeeds', async t => {
  let attempts = 0
  const { post, tokens } = await serve(t, {
    revokeToken: async ({ token }) => {
      if (++attempts === 1) return fail()
      tokens.delete(token)
      return 'revoked' as const
    }
  })
  t.strictSame(await post('token=refresh-shop', shop), unavailable)
  t.strictSame(await post('token=refresh-shop', shop), done)
  t.notOk(tokens.has('refresh-shop'))
})

t.test('V9: an unknown outcome of revokeToken is a 500, never a success', async t => {
  for (const returned of [true, false, 'ok', 1, {}, 'Revoked']) {
    const { post, logged } = await serve(t, { revokeToken: () => returned as 'revoked' })
    t.strictSame(await post('token=x', shop), failure(500, 'server_error'), JSON.stringify(returned))
    t.match(logged(), [{ err: { message: /^tokenRevocation: option "revokeToken" must return/ } }])
  }
})

t.test('V10: GET and other methods are the 404 of the host; no CORS header, no JSONP', async t => {
  const { inject, post } = await serve(t)
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'] as const) {
    t.equal((await inject({ method, url: `${path}?token=refresh-shop&callback=x`, headers: shop })).status, 404, method)
  }
  t.strictSame(await post('token=refresh-shop&callback=x', { ...shop, origin: 'https://evil.example' }), done)
})

// Assertions

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const jwt = (payload: unknown) => `${encoded({ alg: 'none' })}.${encoded(payload)}.`
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

t.test('an assertion is passed to the host, with the client that it names', async t => {
  const { post, asked } = await serve(t, { authenticateClient: credentials => { asked.push(credentials); return credentials.id } })
  const ask = async (value: string, id = '') => {
    const body = new URLSearchParams({ token: 'x', client_assertion_type: jwtBearer, client_assertion: value, client_id: id })
    return [(await post(String(body))).status, asked.at(-1)]
  }
  const assertion = (value: string) => ({ type: jwtBearer, value })
  t.strictSame(await ask(jwt({ sub: 'shop' })), [200, { id: 'shop', assertion: assertion(jwt({ sub: 'shop' })) }])
  t.strictSame(await ask(jwt({ sub: 'shop' }), 'named'), [200, { id: 'named', assertion: assertion(jwt({ sub: 'shop' })) }])
  t.strictSame(await ask('<saml/>', 'named'), [200, { id: 'named', assertion: assertion('<saml/>') }])
  asked.length = 0
  for (const value of ['<saml/>', 'a.b.c', jwt({}), jwt({ sub: '' }), jwt({ sub: 5 }), jwt({ sub: 'a\u0000' }), jwt(null), jwt([])]) {
    t.strictSame(await ask(value), [401, undefined], value)
  }
})

// The plugin

t.test('no token and no secret is in the log or in an answer', async t => {
  const { post, lines } = await serve(t, { server: { logger: undefined } as object, revokeToken: () => 'unsupported' })
  const answers = [
    await post('token=tok5ecret&client_id=shop&client_secret=cl5ecret'),
    await post('token=tok5ecret', basic('cl5ecret', 'cl5ecret')),
    await post('token=tok5ecret&token=tok5ecret'),
    await post('token=tok5ecret', shop)
  ]
  t.notMatch(JSON.stringify([answers, lines]), /5ecret/)
})

t.test('the refusals and outages are published', async t => {
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  const messages: unknown[] = []
  const listen = (message: unknown) => { messages.push(message) }
  for (const name of ['refusal', 'outage']) subscribe(`fastify-logout:${name}`, listen)
  t.teardown(() => { for (const name of ['refusal', 'outage']) unsubscribe(`fastify-logout:${name}`, listen) })
  const { app } = await serve(t, { revokeToken: fail })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const post = (body: string) => fetch(address + path, { method: 'POST', headers: shop, body: new URLSearchParams(body) })
  t.strictSame([(await post('')).status, (await post('token=x')).status], [400, 503])
  t.match(messages, [
    { plugin: 'tokenRevocation', status: 400 },
    { plugin: 'tokenRevocation', question: 'revokeToken' },
    { plugin: 'tokenRevocation', status: 503 }
  ])
})

t.test('over HTTP/2, with and without a length', async t => {
  const { app, tokens } = await serve(t, { server: { http2: true } as object })
  const body = 'token=refresh-shop'
  for (const headers of [{}, { 'content-length': `${body.length}` }]) {
    const { status } = await sendHttp2(app, { method: 'POST', path, headers: { 'content-type': form, ...shop, ...headers }, body: [body] })
    t.equal(status, 200)
  }
  t.notOk(tokens.has('refresh-shop'))
})

t.test('the path, the prefix and a rate limit can be chosen', async t => {
  const { inject, logged } = await serve(t, { route: { path: '/revoke', rateLimit: { max: 2 } }, prefix: '/auth' })
  const post = () => inject({ method: 'POST', url: '/auth/revoke', payload: 'token=x', headers: { 'content-type': form, ...shop } })
  t.strictSame([(await post()).status, (await post()).status], [200, 200])
  const refused = await post()
  t.match(refused, { status: 429, headers: { 'retry-after': '60' }, body: '{"error":"too_many_requests"}' })
  t.strictSame(logged(), [])
})

t.test('without a limit, 310 requests of one address pass; the standard limit is 300 a minute', async t => {
  for (const [options, refused] of [[{}, 0], [{ route: { rateLimit: {} } }, 10]] as const) {
    const { post } = await serve(t, options)
    const statuses: number[] = []
    for (let sent = 0; sent < 310; sent++) statuses.push((await post('token=x', shop)).status)
    t.equal(statuses.filter(status => status === 429).length, refused)
  }
})

t.test('wrong options are a TypeError that names the option', async t => {
  await assertMisuse(t, tokenRevocation, 'tokenRevocation', world().options, {
    authenticateClient: [undefined, null, 'x', {}],
    revokeToken: [undefined, null, 'x', {}],
    path: ['/x'],
    rateLimit: [{}],
    security: [[]],
    route: [null, 'x'],
    'route.path': ['', 'revoke', 5, null],
    timeout: [0, -1, '5', NaN, null],
    'route.rateLimit': [null, 5],
    'route.rateLimit.max': [0, 1.5]
  })
})

t.test('the OpenAPI operation is named after prefix and path, and its security is the host\'s', async t => {
  const schemas: Array<Readonly<Record<string, unknown>>> = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRoute', ({ schema }) => { schemas.push({ ...schema }) })
  const { options } = world()
  await app.register(tokenRevocation, options)
  await app.register(tokenRevocation, { ...options, prefix: '/auth', route: { path: '/revoke', security: [{ client: [] }] } })
  t.strictSame(schemas.map(({ operationId, security, tags }) => ({ operationId, security, tags })), [
    { operationId: 'tokenRevocation', security: undefined, tags: ['logout'] },
    { operationId: 'tokenRevocationAuthRevoke', security: [{ client: [] }], tags: ['logout'] }
  ])
})

// A real client

t.test('oauth4webapi revokes a token with each way to authenticate', async t => {
  const { privateKey } = await oauth.generateKeyPair('ES256')
  const { app, asked, revocations } = await serve(t, {
    authenticateClient: credentials => { asked.push(credentials); return credentials.secret === 'wrong' ? undefined : credentials.id }
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const server = { issuer: address, revocation_endpoint: address + path }
  const client = { client_id: 'the shop:1' }
  const secret = 'p:ss w+rd%41'
  const revoke = async (authentication: oauth.ClientAuth) => {
    const options = { [oauth.allowInsecureRequests]: true, additionalParameters: { token_type_hint: 'refresh_token' } }
    const response = await oauth.revocationRequest(server, client, authentication, 'a+token', options)
    await oauth.processRevocationResponse(response)
    return [asked.at(-1), revocations.at(-1)]
  }
  const revoked = { token: 'a+token', hint: 'refresh_token', clientId: client.client_id }
  t.strictSame(await revoke(oauth.ClientSecretBasic(secret)), [{ id: client.client_id, secret }, revoked])
  t.strictSame(await revoke(oauth.ClientSecretPost(secret)), [{ id: client.client_id, secret }, revoked])
  t.strictSame(await revoke(oauth.None()), [{ id: client.client_id }, revoked])
  t.match(await revoke(oauth.PrivateKeyJwt(privateKey)), [{ id: client.client_id, assertion: { type: jwtBearer } }, revoked])
  await t.rejects(revoke(oauth.ClientSecretPost('wrong')), { name: 'ResponseBodyError', cause: { error: 'invalid_client' } })
  await t.rejects(revoke(oauth.ClientSecretBasic('wrong')), { cause: [{ scheme: 'basic', parameters: { realm: 'token revocation' } }] })
})
