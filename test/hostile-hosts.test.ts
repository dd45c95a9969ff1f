import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { z, type ZodType } from 'zod'
import { logoutUrlToken } from '../lib/internal/kratos/logout-url-token.ts'
import { eventToken, logoutTokenOf, registerFlows, secrets } from './every-flow.ts'
import { wire, type Answer } from './wire.ts'

// What is asked of our flows

const json = { 'content-type': 'application/json' }
const bearer = { authorization: `Bearer ${secrets.bearer}` }
const bodies = [
  `{"session_token":"${secrets.session}","device_token":"${secrets.device}"}`,
  `{"session_token":"${secrets.session}","device_token":"${secrets.device}"}`,
  `{"session_token":"${secrets.unknownSession}"}`, `{"session_token":"${secrets.down}"}`, '{"session_token":5,"device_token":5}',
  '{"session_token":["a"],"device_token":["a"]}', '{"unknown":1}', '[]', '5', 'null', '""', ' ', '', `{"session_token":"${secrets.session}`,
  '{"__proto__":{"a":1}}',
  JSON.stringify({ other: 'x'.repeat(1_100_000) })
]

const requests: readonly InjectOptions[] = [
  ...bodies.flatMap((payload): InjectOptions[] => [
    { method: 'POST', url: '/v3/logout', headers: { ...json, ...bearer }, payload },
    { method: 'DELETE', url: '/self-service/logout/api', headers: json, payload }
  ]),
  ...['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'rubbish'].flatMap((type): InjectOptions[] => [
    { method: 'POST', url: '/v3/logout', headers: { 'content-type': type, ...bearer }, payload: secrets.device },
    { method: 'DELETE', url: '/self-service/logout/api', headers: { 'content-type': type }, payload: secrets.session }
  ]),
  { method: 'POST', url: '/v4/logout', headers: bearer },
  { method: 'POST', url: '/v3/logout' },
  { method: 'POST', url: '/v3/logout', headers: { ...json, authorization: `Bearer ${secrets.refusedBearer}` }, payload: '{"' },
  { method: 'POST', url: '/v3/logout', headers: { authorization: `Bearer ${secrets.down}` } },
  { method: 'DELETE', url: '/self-service/logout/api' },
  { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secrets.tenant, 'x-token': secrets.user } },
  { method: 'GET', url: '/auth/logout', headers: { ...json, 'x-tenant-token': secrets.tenant, 'x-token': secrets.user } },
  { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secrets.tenant, 'x-token': secrets.refusedUser } },
  { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secrets.tenant, 'x-token': secrets.down } },
  { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secrets.refusedTenant } },
  { method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': secrets.tenant } },
  { method: 'GET', url: '/auth/logout' }
]

const sessionCookie = { cookie: `ory_kratos_session=${secrets.cookie}` }
const submission = `/self-service/logout?token=${logoutUrlToken(secrets.cookie)}`

/** What is asked of the routes for sessions, in this order. */
const sessionRequests: readonly InjectOptions[] = [
  ...(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).map((method): InjectOptions => ({
    method,
    url: '/sessions/whoami',
    headers: { ...sessionCookie, ...(method !== 'GET' && { 'content-type': 'application/json' }) },
    ...(method !== 'GET' && { payload: '{"' })
  })),
  { method: 'POST', url: '/sessions/whoami', headers: { 'content-type': 'rubbish' }, payload: 'x' },
  { url: '/sessions/whoami' },
  { url: '/sessions?page_size=1', headers: sessionCookie },
  { url: '/sessions?page_size=1&page_size[]=2&page_token=x', headers: sessionCookie },
  { method: 'DELETE', url: '/sessions/c1', headers: sessionCookie },
  {
    method: 'DELETE',
    url: '/sessions/c1',
    headers: { ...sessionCookie, 'content-type': 'text/plain' },
    payload: 'a body of more than eight bytes'
  },
  { method: 'DELETE', url: '/sessions/c0', headers: sessionCookie },
  { method: 'DELETE', url: '/sessions', headers: { ...sessionCookie, 'content-type': 'application/json' } },
  { method: 'DELETE', url: '/sessions' },
  { url: '/admin/identities/carol/sessions', headers: { 'x-admin': 'yes' } },
  { url: '/admin/identities/carol/sessions' },
  { method: 'DELETE', url: '/admin/sessions/c2', headers: { 'x-admin': 'yes' } },
  { method: 'DELETE', url: '/admin/sessions/c9', headers: { 'x-admin': 'yes' } },
  { url: '/self-service/logout/browser?return_to=/x&return_to[]=y', headers: sessionCookie },
  {
    url: '/self-service/logout/browser?return_to=https%3A%2F%2Flogin.example%2Fself-service%2Fx',
    headers: { ...sessionCookie, 'content-type': 'application/json' }
  },
  { url: '/self-service/logout/browser', headers: { cookie: `ory_kratos_session=${secrets.down}` } },
  { url: '/self-service/logout', headers: sessionCookie },
  { url: '/self-service/logout?token=x', headers: sessionCookie },
  { url: submission, headers: { ...sessionCookie, purpose: 'prefetch' } },
  { url: submission, headers: sessionCookie },
  { url: submission, headers: { ...sessionCookie, 'content-type': 'application/json' } },
  {
    url: `/self-service/logout?token=${logoutUrlToken(secrets.otherCookie)}`,
    headers: { cookie: `ory_kratos_session=${secrets.otherCookie}` }
  },
  { method: 'DELETE', url: '/admin/identities/carol/sessions', headers: { 'x-admin': 'yes' } }
]

const ownForm = { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' }

/** What is asked of the OpenID Connect logout, in this order. */
const openidRequests: readonly InjectOptions[] = [
  ...([
    { headers: ownForm, payload: 'return_to=//evil.example' },
    { headers: ownForm, payload: 'return_to=%' },
    { headers: { ...ownForm, ...json }, payload: '{"' },
    { headers: { ...ownForm, 'content-type': 'text/plain' }, payload: 'x' },
    { headers: { ...ownForm, 'sec-fetch-site': 'cross-site' } },
    { headers: ownForm, payload: `x=${'x'.repeat(9000)}` },
    { headers: { ...ownForm, cookie: `sid=${secrets.down}` } },
    { headers: { ...ownForm, cookie: `sid=${secrets.thirdCookie}` }, payload: 'return_to=/bye' },
    { headers: { ...ownForm, accept: 'application/json' } },
    { headers: { 'sec-fetch-site': 'same-origin', 'hx-request': 'true' } }
  ] satisfies InjectOptions[]).map(request => ({ method: 'POST' as const, url: '/openid/logout', ...request })),
  { url: '/openid/logout?return_to=/a&return_to=/b', headers: { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' } },
  { url: '/openid/logout?return_to=/a', headers: { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' } },
  { url: '/openid/logout' },
  { url: '/openid/logout/return?state=x', headers: { cookie: '__Host-logout-state=x.L2J5ZQ' } },
  { url: '/openid/logout/return?state[]=x' },
  ...[
    '', '?iss=https://provider.example', '?iss=https://evil.example&sid=x', '?iss=https://provider.example&sid=x&sid[]=y',
    '?iss=https://provider.example&sid=x&sid=y', `?iss=https://provider.example&sid=${secrets.down}`
  ].map(query => ({ url: `/frontchannel-logout${query}` })),
  { url: '/frontchannel-logout?iss=https://provider.example&sid=x', headers: { 'sec-fetch-dest': 'image' } },
  ...[
    `logout_token=${logoutTokenOf('x')}`, `logout_token=${logoutTokenOf(secrets.down)}`, `logout_token=${logoutTokenOf('x')}x`,
    'logout_token=%', 'logout_token=a&logout_token=b', '', 'x'.repeat(70_000)
  ].flatMap(payload => ['application/x-www-form-urlencoded', 'application/json'].map((type): InjectOptions => ({
    method: 'POST', url: '/backchannel-logout', headers: { 'content-type': type }, payload
  })))
]

const event = { 'content-type': 'application/secevent+jwt' }
const command = '{"sub_id":{"format":"opaque","id":"1"}}'

/** What identity providers send, in this order. */
const eventRequests: readonly InjectOptions[] = [
  ...[command, '{"', '[]', '', 'null', JSON.stringify({ other: 'x'.repeat(70_000) })].map((payload): InjectOptions => {
    return { method: 'POST', url: '/global-token-revocation', headers: { ...json, ...bearer }, payload }
  }),
  ...['text/plain', 'rubbish'].map((type): InjectOptions => {
    return { method: 'POST', url: '/global-token-revocation', headers: { 'content-type': type, ...bearer }, payload: command }
  }),
  { method: 'POST', url: '/global-token-revocation', headers: json, payload: '{"' },
  { method: 'POST', url: '/global-token-revocation', headers: { ...json, authorization: `Bearer ${secrets.down}` }, payload: command },
  ...[eventToken, eventToken, 'rubbish', '', 'x'.repeat(70_000)].map((payload): InjectOptions => {
    return { method: 'POST', url: '/security-events', headers: event, payload }
  }),
  { method: 'POST', url: '/security-events', headers: json, payload: eventToken },
  { method: 'POST', url: '/security-events', headers: { 'content-type': 'rubbish' }, payload: eventToken },
  { method: 'POST', url: '/security-events' }
]

const client = `client_id=app&client_secret=${secrets.client}`

/** What clients of an authorization server send, in this order. */
const revocationRequests: readonly InjectOptions[] = [
  ...[
    `token=x&${client}`, `token=${secrets.user}&${client}`, `token=${secrets.down}&${client}`, `token=x&token=x&${client}`, 'token=%', '',
    'token=x', 'token=x&client_id=app&client_secret=x', `token=${'x'.repeat(70_000)}`
  ].flatMap(payload => ['application/x-www-form-urlencoded', 'application/json', 'rubbish'].map((type): InjectOptions => ({
    method: 'POST', url: '/oauth/revoke', headers: { 'content-type': type }, payload
  }))),
  ...[`Basic ${Buffer.from(`app:${secrets.client}`).toString('base64')}`, 'Basic x', bearer.authorization].map(authorization => ({
    method: 'POST' as const,
    url: '/oauth/revoke',
    headers: { 'content-type': 'application/x-www-form-urlencoded', authorization },
    payload: 'token=x'
  })),
  { method: 'POST', url: '/oauth/revoke' }
]

const own = (token: string) => ({ cookie: `sid=${token}` })
const form = { 'content-type': 'application/x-www-form-urlencoded' }

/** What is asked of the session logout, in this order. Its errors are shaped by the host's error handler. */
const ownRequests: readonly InjectOptions[] = [
  { headers: { ...own(secrets.cookie), ...json }, payload: '{"scope":"everything"}' },
  { headers: { ...own(secrets.cookie), ...json }, payload: '{"' },
  { headers: { ...own(secrets.cookie), 'content-type': 'text/plain' }, payload: 'x' },
  { headers: { ...own(secrets.cookie), ...form }, payload: 'return_to=//evil.example' },
  { headers: { ...own(secrets.cookie), 'sec-fetch-site': 'cross-site' } },
  { headers: { ...own(secrets.cookie), purpose: 'prefetch' } },
  { headers: { ...own(secrets.down), ...form }, payload: 'scope=others' },
  { headers: form, payload: 'scope=all' },
  { headers: { ...own(secrets.cookie), ...form }, payload: 'scope=others' },
  { headers: { ...own(secrets.cookie), 'content-type': 'rubbish', accept: 'text/html' } },
  { headers: { ...own(secrets.otherCookie), ...json }, payload: '{"return_to":"/bye","__proto__":{"scope":"all"}}' },
  { headers: { ...own(secrets.cookie), ...json }, payload: '' },
  { headers: { 'hx-request': 'true' } },
  {}
].map(request => ({ method: 'POST', url: '/logout', ...request }))

// Hosts that have their own ways

interface Host {
  readonly server?: FastifyServerOptions
  readonly prepare?: (app: FastifyInstance) => unknown
  /** Headers that the host sets on every response, its own and ours. */
  readonly headers?: readonly string[]
}

const seen = Symbol('seen')
const wrap = async (_request: unknown, _reply: unknown, payload: unknown) => ({ wrapped: payload })

const hosts: Readonly<Record<string, Host>> = {
  'an error handler': { prepare: app => app.setErrorHandler((error, _request, reply) => reply.code(599).send({ mine: String(error) })) },
  'an error handler and no override of it': {
    server: { allowErrorHandlerOverride: false },
    prepare: app => app.setErrorHandler((_error, _request, reply) => reply.code(599).send('mine'))
  },
  'zod compilers': {
    prepare: app => {
      app.setValidatorCompiler<ZodType>(({ schema }) => {
        if (!(schema instanceof z.ZodType)) throw new TypeError('this is no zod schema')
        return data => {
          const { success, data: value, error } = schema.safeParse(data)
          return success ? { value } : { error }
        }
      })
      app.setSerializerCompiler<ZodType>(({ schema }) => {
        if (!(schema instanceof z.ZodType)) throw new TypeError('this is no zod schema')
        return data => JSON.stringify(schema.parse(data))
      })
      app.post(
        '/zod', { schema: { body: z.object({ n: z.coerce.number() }), response: { 200: z.object({ n: z.number() }) } } },
        async request => request.body
      )
    }
  },
  'a wildcard parser': {
    prepare: app => app.addContentTypeParser('*', (_request, payload, done) => {
      payload.resume()
      payload.on('end', () => done(null, 'anything'))
    })
  },
  'a parser of texts and forms': {
    prepare: app => {
      app.removeContentTypeParser('text/plain')
      app.addContentTypeParser(
        ['text/plain', 'application/x-www-form-urlencoded', 'application/xml'], { parseAs: 'string' },
        (_request, body, done) => done(null, { body })
      )
    }
  },
  'a JSON parser': {
    prepare: app => {
      const parser = async (_request: unknown, body: Buffer) => ({ bytes: body.length })
      app.addContentTypeParser('application/json', { parseAs: 'buffer' }, parser)
    }
  },
  'no parsers': { prepare: app => app.removeAllContentTypeParsers() },
  'a preSerialization hook that wraps': { prepare: app => app.addHook('preSerialization', wrap) },
  'a reply serializer': { prepare: app => app.setReplySerializer(payload => `mine ${JSON.stringify(payload)}`) },
  'a reply serializer set by a hook': {
    prepare: app => app.addHook('onRequest', async (_request, reply) => {
      reply.serializer((payload: unknown) => `mine ${JSON.stringify(payload)}`)
    })
  },
  'a content type set by a hook': {
    prepare: app => app.addHook('onRequest', async (_request, reply) => { reply.type('application/json; charset=utf-8') })
  },
  'Ajv options that coerce and strip': {
    server: { ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all', useDefaults: true, allErrors: true } } }
  },
  'Ajv options that do not': { server: { ajv: { customOptions: { coerceTypes: false, removeAdditional: false } } } },
  'a formatter of schema errors': {
    server: { schemaErrorFormatter: () => new Error('mine') }, prepare: app => app.setSchemaErrorFormatter(() => new Error('mine too'))
  },
  'a rate limit': {
    prepare: app => app.register(rateLimit, {
      global: true, max: 10_000, keyGenerator: () => 'everybody', errorResponseBuilder: () => ({ mine: true })
    }),
    headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']
  },
  'a not-found handler': { prepare: app => app.setNotFoundHandler((_request, reply) => reply.code(404).send('nothing of mine')) },
  'attachValidation on every route': { prepare: app => app.addHook('onRoute', route => { route.attachValidation = true }) },
  'no HEAD routes': { server: { exposeHeadRoutes: false } },
  'no request logging': { server: { disableRequestLogging: true } },
  'a forgiving router': { server: { routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } } },
  'a small body limit': { server: { bodyLimit: 8 } },
  'request ids of its own': { server: { requestIdHeader: 'x-request-id', genReqId: () => 'a "quoted" id' } },
  'prototype poisoning allowed': { server: { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'remove' } },
  'an onSend hook that adds headers': {
    prepare: app => app.addHook('onSend', async (_request, reply, payload) => { reply.header('x-powered-by', 'a host'); return payload }),
    headers: ['x-powered-by']
  },
  'a preParsing hook that copies the body': {
    prepare: app => app.addHook('preParsing', async (_request, _reply, payload) => payload.pipe(new PassThrough()))
  },
  'a hook that replaces the headers': {
    prepare: app => app.addHook('onRequest', async request => { request.headers = { ...request.headers, 'x-mine': '1' } })
  },
  'hooks that add headers in every phase': {
    prepare: app => {
      app.addHook('onRequest', async request => { request.headers = { 'x-mine': '1' } })
      app.addHook('preParsing', async request => { request.headers = { 'x-mine': '2' } })
      app.addHook('preValidation', async request => { request.headers = { 'x-mine': '3' } })
    }
  },
  'a query parser': { server: { routerOptions: { querystringParser: () => ({ token: ['mine'], return_to: {}, page_size: -1 }) } } },
  'hooks that read and decorate': {
    prepare: app => {
      app.decorateRequest(seen, null)
      app.addHook('onRequest', async request => { request.setDecorator(seen, request.mediaType ?? 'none') })
      app.addHook('onError', async () => {})
      app.addHook('onResponse', async request => { request.getDecorator(seen) })
    }
  }
}

async function build ({ server = {}, prepare }: Host) {
  const app = Fastify(server)
  await prepare?.(app)
  return { app }
}

/** The state of a logout at an OpenID Provider, in a URL and in a cookie. */
const state = /(\bstate=)[\w-]{22}/g

/** What stays the same from call to call, without what the host adds to every response. */
function lasting ({ status, headers, body }: Answer, added: readonly string[] = []): unknown {
  const text = body.replace(/"requestId":"(?:[^"\\]|\\.)*","timestamp":"[^"]*"/, '"requestId":"","timestamp":""')
  const known = Object.entries(JSON.parse(JSON.stringify(headers).replace(state, '$1'))).filter(
    ([name]) => name !== 'content-length' && name !== 'x-ratelimit-reset' && !added.includes(name)
  )
  const length = headers['content-length']
  return {
    status,
    headers: Object.fromEntries(known),
    body: text,
    length: length === undefined ? 'none' : Number(length) === Buffer.byteLength(body)
  }
}

const everyRequest = [...requests, ...openidRequests, ...eventRequests, ...revocationRequests, ...sessionRequests]

async function askFlows (host: Host, added?: readonly string[]): Promise<unknown[]> {
  const { app } = await build(host)
  const { inject } = wire(app)
  await registerFlows(app)
  const answers = []
  for (const request of everyRequest) answers.push(lasting(await inject(request), added))
  await app.close()
  return answers
}

t.test('the responses of the flows are the same on every host', async t => {
  for (const [name, host] of Object.entries(hosts)) {
    const [plain, hostile] = [await askFlows({}, host.headers), await askFlows(host, host.headers)]
    everyRequest.forEach((request, index) => {
      t.strictSame(
        hostile[index], plain[index], `${name}: ${request.method} ${String(request.url)} ${String(request.payload).slice(0, 60)}`
      )
    })
  }
})

t.test('a session logout succeeds in the same way on every host, and its errors have the same headers', async t => {
  const kept = ['cache-control', 'vary', 'retry-after', 'set-cookie']
  const ask = async (host: Host) => {
    const { app } = await build(host)
    await registerFlows(app)
    const answers = []
    for (const request of ownRequests) {
      const { statusCode: status, headers: { date, connection, ...headers }, body } = await app.inject(request)
      answers.push(status >= 400 ? kept.map(name => headers[name]) : lasting({ status, headers, body }, host.headers))
      if (status < 400) t.strictSame([body, headers['content-type']], ['', undefined])
    }
    await app.close()
    return answers
  }
  const plain = await ask({})
  for (const [name, host] of Object.entries(hosts)) {
    const hostile = await ask(host)
    ownRequests.forEach((request, index) => { t.strictSame(hostile[index], plain[index], `${name}: ${String(request.payload)}`) })
  }
})

// What is asked of the host

const ofHost: readonly InjectOptions[] = [
  { url: '/own' }, { method: 'HEAD', url: '/own' }, { url: '/own?n=5' }, { url: '/own?n=x' }, { url: '/own/failure' }, { url: '/nothing' },
  { url: '/v3' },
  { method: 'POST', url: '/own', payload: { a: '1', b: 2 } }, { method: 'POST', url: '/own', payload: { a: [] } },
  { method: 'POST', url: '/own', headers: json, payload: '{"' },
  { method: 'POST', url: '/own', headers: json, payload: '' },
  { method: 'POST', url: '/own', headers: { 'content-type': 'text/plain' }, payload: 'text' },
  { method: 'POST', url: '/own', headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: 'a=b' },
  { method: 'POST', url: '/own', headers: json, payload: '{"__proto__":{"a":1}}' },
  { method: 'DELETE', url: '/own', headers: json, payload: '{"a":1}' },
  { method: 'POST', url: '/zod', payload: { n: '5' } }, { method: 'POST', url: '/zod', payload: { n: 'x' } }
]

async function askHost (host: Host, withFlows: boolean) {
  const { app } = await build(host)
  const zod = host === hosts['zod compilers']
  const ran: string[] = []
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onResponse', 'onError', 'onTimeout'] as const) {
    app.addHook(hook as 'onRequest', (request, _reply, ...rest) => { ran.push(`${hook} ${request.url}`); (rest.at(-1) as () => void)() })
  }
  if (withFlows) await registerFlows(app)
  const querystring = { type: 'object', properties: { n: { type: 'integer' } } }
  const body = { type: 'object', properties: { a: { type: 'string' } } }
  app.get('/own', zod ? {} : { schema: { querystring } }, async ({ query }) => ({ query, list: [1] }))
  app.post('/own', zod ? {} : { schema: { body } }, async ({ body }, reply) => reply.code(201).send({ body: body ?? 'none' }))
  app.delete('/own', async ({ body }) => ({ body }))
  app.get('/own/failure', async () => { throw Object.assign(new Error('mine'), { statusCode: 409 }) })
  await app.ready()
  const answers = []
  for (const request of ofHost) {
    const { statusCode, headers: { date, 'x-ratelimit-reset': reset, ...headers }, body } = await app.inject(request)
    answers.push({ statusCode, headers, body })
  }
  const routes = app.printRoutes({ commonPrefix: false, includeHooks: true }).split('\n').map(line => line.replace(/^[ │├└─]*/, ''))
  const known = {
    keys: Reflect.ownKeys(app).map(String),
    decorators: ['createRateLimit', 'rateLimit', 'user', 'session', 'logout', 'logOut'].map(name => [
      app.hasDecorator(name), app.hasRequestDecorator(name), app.hasReplyDecorator(name)
    ]),
    parsers: ['application/json', 'text/plain', '*', 'application/x-www-form-urlencoded'].map(type => app.hasContentTypeParser(type)),
    schemas: app.getSchemas()
  }
  await app.close()
  return { answers, ran, routes, known }
}

t.test('the responses of the host\'s own routes are the same with and without the flows', async t => {
  for (const [name, host] of Object.entries({ 'a plain host': {}, ...hosts })) {
    const [alone, together] = [await askHost(host, false), await askHost(host, true)]
    for (const [index, request] of ofHost.entries()) {
      const title = `${name}: ${request.method ?? 'GET'} ${String(request.url)}`
      t.strictSame(together.answers[index], alone.answers[index], title)
    }
    t.strictSame(together.ran, alone.ran, `${name}: hooks`)
    t.strictSame(together.known, alone.known, `${name}: what is registered`)
    t.strictSame(alone.routes.filter(line => !together.routes.includes(line)), [], `${name}: routes`)
  }
})

t.test('an error that a hook of the host throws gets the flow\'s body', async t => {
  const generic: Readonly<Record<number, readonly string[]>> = {
    401: ['{"Message":"Request authorization denied"}', 'The request could not be authorized', 'UNAUTHORIZED'],
    403: ['{"Message":"Forbidden"}', 'The requested action was forbidden', 'FORBIDDEN'],
    418: ['{"Message":"I\'m a Teapot"}', "I'm a Teapot", 'IM_A_TEAPOT'],
    500: [
      '{"Message":"An internal server error occurred while processing the request"}', 'An internal server error occurred', 'INTERNAL_SERVER'
    ]
  }
  const thrown: ReadonlyArray<readonly [value: unknown, status: number, style?: 'promise' | 'callback']> = [
    [Object.assign(new Error('5ecret'), { statusCode: 401 }), 401],
    [Object.assign(new Error('5ecret'), { statusCode: 403 }), 403],
    [Object.assign(new Error('5ecret'), { statusCode: 418 }), 418],
    [Object.assign(new Error('5ecret'), { statusCode: 500 }), 500],
    [new Error('5ecret'), 500],
    [null, 500],
    ['5ecret', 500],
    [undefined, 500],
    ['5ecret', 500, 'callback']
  ]
  const calls = requests.filter(
    ({ url, payload }, index) => (payload === bodies[0] && index < 2) || (url === '/auth/logout' && index === requests.length - 7)
  )
  t.equal(calls.length, 3)
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onSend'] as const) {
    for (const [value, status, style = 'promise'] of thrown) {
      const app = Fastify()
      let armed = true
      const fail = () => {
        if (!armed) return
        armed = hook !== 'onSend'
        throw value
      }
      if (style === 'promise') app.addHook(hook as 'onRequest', async () => fail())
      else app.addHook(hook as 'onRequest', (_request, _reply, ...rest) => { fail(); (rest.at(-1) as () => void)() })
      const { inject } = wire(app)
      await registerFlows(app)
      for (const [index, call] of calls.entries()) {
        armed = true
        const answer = await inject(call)
        t.equal(answer.status, status, `${hook} throws ${String(value)} ${status}`)
        t.match(answer.body, generic[status]?.[index] ?? 'nothing')
        t.notMatch(answer.body, /5ecret/)
      }
      await app.close()
    }
  }
})

t.test('no log line contains a token, even at the level trace', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  const { inject } = wire(app)
  await registerFlows(app)
  for (const request of requests) await inject(request)
  t.ok(lines.filter(line => line.includes('"msg":"incoming request"')).length === requests.length, 'each request is logged')
  t.equal(lines.filter(line => line.includes('logout.outage')).length, 3, 'so is each outage')
  for (const request of [...sessionRequests, ...ownRequests]) await inject(request)
  await app.inject({ method: 'HEAD', url: submission, headers: sessionCookie })
  t.equal(lines.filter(line => line.includes('logout.outage')).length, 5)
  t.strictSame(lines.filter(line => line.includes('5ecret') || line.includes(logoutUrlToken(secrets.cookie))), [])
})
