import { Kind, type TSchema } from '@sinclair/typebox'
import fc, { type Arbitrary } from 'fast-check'
import Fastify, { type FastifyError, type FastifyInstance, type InjectOptions } from 'fastify'
import assert from 'node:assert/strict'
import t from 'tap'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { kratosLogout } from '../lib/flows/kratos-native.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import { frontChannelLogout } from '../lib/flows/openid-front-channel.ts'
import { rpInitiatedLogout } from '../lib/flows/openid-rp-initiated.ts'
import { sessionLogout } from '../lib/flows/session.ts'
import { signingHubLogout } from '../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../lib/flows/tenant-status.ts'
import { logoutUrlToken } from '../lib/internal/kratos/logout-url-token.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import type { Session, SessionStore } from '../lib/session-store.ts'
import { TokenRejectedError } from '../lib/token-verifier.ts'
import { survivesOddRequests } from './openid/odd-requests.ts'
import { assertDeclared } from './wire.ts'

// `FUZZ_RUNS=5000 npx tap test/fuzz.test.ts` looks longer; `FUZZ_SEED` and `FUZZ_PATH` repeat what a failure prints.
const { FUZZ_RUNS: runs = '150', FUZZ_SEED: seed, FUZZ_PATH: path } = process.env

/** Stands in every error of the host's functions. */
const secret = 'the password of the database'
const live = 'ory_st_live'
const tokens = { live, loggedOut: 'ory_st_logged_out', unknown: 'ory_st_unknown', boom: 'ory_st_boom', hang: 'ory_st_hang' }
const ids = {
  own: '00000000-0000-4000-8000-000000000001',
  other: '00000000-0000-4000-8000-000000000002',
  unknown: '00000000-0000-4000-8000-000000000003',
  boom: '00000000-0000-4000-8000-00000000b003'
}

// The host: what its functions do depends on what they are asked for, so that every answer stays within reach.

function trouble (asked: string): Promise<never> | undefined {
  if (asked === tokens.boom || asked === ids.boom) throw new Error(secret)
  return asked === tokens.hang ? new Promise<never>(() => {}) : undefined
}

function session (id: string, status: Session['status']): Session {
  const now = Date.now()
  return {
    id,
    subject: ids.own,
    status,
    createdAt: now - 1000,
    expiresAt: now + 3_600_000,
    keepUntil: now + 7_200_000,
    device: { userAgent: 'fuzz' }
  }
}

function byToken (token: string) {
  const known = { [live]: session(ids.own, 'active'), [tokens.loggedOut]: session(ids.own, 'logged_out') }
  return trouble(token) ?? known[token]
}

const sessions: Omit<SessionStore, 'create'> = {
  find: byToken,
  logOut: byToken,
  logOutById: ({ id }) => trouble(id) ?? (id === ids.other ? session(id, 'active') : undefined),
  logOutSubject: ({ subject }) => trouble(subject) ?? (subject === ids.unknown ? 0 : 2),
  list: ({ subject, limit }) => trouble(subject) ?? Array.from({ length: Math.min(limit, 3) }, () => session(ids.other, 'active'))
}

function verifyToken (token: string) {
  const known = { [live]: { sub: 'alice', tenant: live }, [tokens.loggedOut]: { sub: 'alice', tenant: 'another' } }
  const claims = trouble(token) ?? known[token]
  if (claims === undefined) throw new TokenRejectedError('untrusted')
  return claims
}

interface Route {
  readonly method: string
  readonly url: string
  readonly schema: Readonly<Record<'response', Record<string, TSchema>> & Partial<Record<'body' | 'querystring' | 'params', TSchema>>>
}

/** A host with each flow, its routes with their schemas, and how to learn which route answered. */
async function host () {
  const app = Fastify()
  const routes: Route[] = []
  let answering: string | undefined
  app.addHook('onRoute', ({ method, url, schema }) => {
    if (schema?.response === undefined) return
    for (const name of [method].flat()) routes.push({ method: name, url, schema: schema as Route['schema'] })
  })
  app.addHook('onRequest', async ({ is404, routeOptions }) => {
    answering = is404 ? undefined : `${String(routeOptions.method)} ${routeOptions.url}`
  })
  app.setNotFoundHandler((_request, reply) => { reply.code(404).send('not found, says the host') })
  app.setErrorHandler<FastifyError>((error, _request, reply) => { reply.code(error.statusCode ?? 500).send('failed, says the host') })
  await registerFlows(app)
  await app.ready()

  return {
    app,
    routes,
    async inject (request: InjectOptions) {
      answering = undefined
      const { statusCode, headers, body } = await app.inject(request)
      return { answer: { status: statusCode, headers, body }, answeredBy: answering }
    }
  }
}

async function registerFlows (app: FastifyInstance) {
  const timeout = 5
  const browser = {
    sessions,
    timeout,
    publicUrl: 'https://login.example',
    returnUrls: { default: 'https://app.example/', allowed: ['https://app.example/'] }
  }
  await app.register(signingHubLogout, {
    verifyToken,
    deviceToken: {
      remove: ({ deviceToken }) => trouble(deviceToken) ?? (deviceToken === live ? 'removed' : 'not-found'),
      unknown: 'not-found'
    },
    timeout
  })
  await app.register(kratosLogout, { sessions, timeout })
  await app.register(kratosBrowserLogout, browser)
  await app.register(kratosBrowserLogout, {
    ...browser, prefix: '/pages', returnUrls: { default: 'https://app.example/', error: 'https://app.example/error' }
  })
  await app.register(kratosSessions, { sessions, timeout })
  await app.register(kratosAdmin, {
    sessions, timeout, authorize: ({ headers }) => trouble(String(headers['x-admin'])) ?? headers['x-admin'] === live
  })
  await app.register(tenantStatusLogout, {
    authenticateTenant: token => trouble(token) ?? (token === live ? live : undefined),
    verifyToken,
    users: { get: () => ({ status: 'logged_in', version: 1 }), compareAndSet: () => true },
    route: { rateLimit: { max: 1_000_000 } },
    timeout
  })
  const source = sessionStoreSource(sessions, { cookie: { name: 'ory_kratos_session' } })
  const issuer = 'https://provider.example'
  await app.register(rpInitiatedLogout, {
    sessions: source,
    timeout,
    route: { path: '/openid/logout', returnPath: '/openid/return', allowGet: true },
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: `${issuer}/logout` }],
    provider: session => trouble(String(session?.id)) ?? { issuer, idToken: 'a hint' },
    publicUrl: 'https://login.example',
    returnUrls: { default: '/', allowed: ['https://app.example/'] },
    csrf: { trustSameSite: true }
  })
  await app.register(frontChannelLogout, {
    issuers: [{ issuer }],
    index: { logOut: ({ sid }) => trouble(String(sid)) ?? [{ sessionId: live, subject: 'alice' }] },
    sessions,
    sessionLifetime: 1000,
    timeout,
    route: { rateLimit: { max: 1_000_000 } }
  })
  await app.register(async scope => {
    // The host shapes the errors of this flow.
    scope.setErrorHandler<FastifyError>((error, _request, reply) => {
      reply.code(error.statusCode ?? 500).send({ message: error.message })
    })
    await scope.register(sessionLogout, { sessions: source, timeout, returnUrls: { allowed: ['https://app.example/'] } })
  })
}

// What is sent: near to what is right, and sometimes far from it.

const words: Readonly<Record<string, readonly string[]>> = {
  token: [logoutUrlToken(live), logoutUrlToken(tokens.unknown)],
  return_to: ['https://app.example/there', 'https://elsewhere.example/', '//elsewhere.example', 'https://app.example\\@elsewhere.example'],
  page_size: ['1', '0', '1001', '-1', '1e3', 'ten'],
  page_token: ['eyJpZCI6MX0', Buffer.from('{"id":"a","createdAt":1}').toString('base64url')],
  active: ['true', 'false', '2'],
  scope: ['current', 'others', 'all'],
  id: Object.values(ids),
  iss: ['https://provider.example', 'https://elsewhere.example'],
  sid: Object.values(tokens),
  session_token: Object.values(tokens),
  device_token: Object.values(tokens)
}

const mostly = <T, U>(usual: Arbitrary<T>, unusual: Arbitrary<U>, weight = 4) => {
  return fc.oneof({ arbitrary: usual, weight }, { arbitrary: unusual, weight: 1 })
}
const text = fc.oneof(
  fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.string(),
  fc.constantFrom('', ' ', 'null', '__proto__', '\0', 'x'.repeat(5000))
)
const latin = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).filter(code => code !== 0x7f).map(code => String.fromCharCode(code)), maxLength: 60
})
const headerText = mostly(
  latin, fc.constantFrom('ory_kratos_session=%zz', '%', '=;=;;', 'Bearer', 'Bearer a b', '"', '*/*;q=2', 'x'.repeat(9000)), 2
)

/** Values of a schema. A member whose name has words of its own gets them as often as not. */
function valueOf (schema: TSchema, name = ''): Arbitrary<unknown> {
  if (Array.isArray(schema['anyOf'])) return fc.oneof(...schema['anyOf'].map((one: TSchema) => valueOf(one, name)))
  const known = words[name]
  if (known !== undefined) return mostly(fc.constantFrom(...known), text, 3)
  switch (schema['type']) {
    case 'object': {
      const members = Object.entries<TSchema>(schema['properties'] ?? {}).map(
        ([member, inner]) => [member, valueOf(inner, member)] as const
      )
      return fc.record(Object.fromEntries(members), { requiredKeys: schema['required'] ?? [] })
    }
    case 'null': return fc.constant(null)
    case 'integer': return fc.integer()
    case 'boolean': return fc.boolean()
    default: return text
  }
}

/** The same text with a piece of it replaced. */
function mutated (original: Arbitrary<string>): Arbitrary<string> {
  return fc.tuple(
    original, fc.nat(), fc.nat(6), fc.oneof(text, fc.constantFrom('', '"', '{', ']', ',', '\\', '\u2028', '9'.repeat(400)))
  ).map(([whole, at, length, piece]) => {
    const start = at % (whole.length + 1)
    return whole.slice(0, start) + piece + whole.slice(start + length)
  })
}

function payloadOf (schema: TSchema | undefined): Arbitrary<string | Buffer | undefined> {
  const right = schema === undefined ? fc.constant(undefined) : valueOf(schema).map(value => JSON.stringify(value))
  const json = right.map(value => value ?? '{}')
  const junk: Array<Arbitrary<string | Buffer | undefined>> = [
    mutated(json), fc.json(), text, fc.uint8Array().map(bytes => Buffer.from(bytes)), json.map(value => `\uFEFF${value}`),
    fc.constantFrom(
      undefined, '', '{"__proto__":{"session_token":"ory_st_live"}}', '{"session_token":"ory_st_live","session_token":5}',
      '['.repeat(20_000)
    )
  ]
  return fc.oneof({ arbitrary: right, weight: 60 }, ...junk.map(arbitrary => ({ arbitrary, weight: 6 })), { arbitrary: huge, weight: 1 })
}

/** Larger than any route takes, or almost. */
const lengths = [1_048_000, 1_048_577, 5 * 1_048_576 + 1]
const huge = fc.constantFrom(...lengths).map(length => JSON.stringify({ session_token: 'x'.repeat(length - 20) }))

const credential = fc.oneof(
  { arbitrary: fc.constant(live), weight: 24 }, { arbitrary: fc.constantFrom(...Object.values(tokens).slice(1)), weight: 4 },
  { arbitrary: headerText, weight: 1 },
  { arbitrary: mutated(fc.constant(live)).map(value => value.replace(/[^\u0020-\u007e]/g, '?')), weight: 1 }
)
const headers = fc.record({
  authorization: mostly(credential.map(token => `Bearer ${token}`), headerText, 9),
  'x-session-token': credential,
  cookie: mostly(credential.map(token => `a=b; ory_kratos_session=${encodeURIComponent(token)}`), headerText, 9),
  'x-tenant-token': credential,
  'x-token': credential,
  'x-admin': credential,
  'content-type': mostly(fc.constantFrom('application/json', 'application/json; charset=utf-8'), fc.oneof(
    headerText,
    fc.constantFrom('', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json,text/plain')
  ), 9),
  accept: fc.oneof(fc.constantFrom('application/json', 'text/html', '*/*', 'application/json;q=0, text/html'), headerText),
  'x-request-id': fc.oneof(fc.uuid(), headerText),
  'sec-fetch-site': fc.constant('same-origin'),
  'sec-fetch-mode': fc.constant('navigate')
}, { requiredKeys: ['authorization', 'x-tenant-token', 'x-token', 'x-admin', 'content-type'] })
const rareHeaders = fc.record({
  'sec-fetch-site': fc.constantFrom('same-origin', 'same-site', 'cross-site', 'none', ''),
  'sec-fetch-mode': fc.constantFrom('navigate', 'cors'),
  origin: fc.constantFrom('null', 'https://localhost', 'https://evil.example'),
  'hx-request': fc.constant('true'),
  'sec-purpose': fc.constantFrom('prefetch', 'prefetch;prerender', 'none'),
  'content-length': fc.constantFrom('0', '1', '999999999'),
  'transfer-encoding': fc.constant('chunked'),
  'content-encoding': fc.constantFrom('gzip', 'identity'),
  expect: fc.constant('100-continue'),
  'accept-version': fc.constant('2.x'),
  host: headerText,
  'x-forwarded-for': headerText
}, { requiredKeys: [] })
const allHeaders = fc.tuple(headers, mostly(fc.constant({}), rareHeaders, 9)).map(([usual, rare]) => ({ ...usual, ...rare }))

const pathText = fc.stringMatching(/^[\w.~!$&'()*+,;=:@/%-]{0,40}$/)
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'] as const

function urlOf ({ url, schema: { params, querystring } }: Route): Arbitrary<string> {
  const place = (params === undefined ? fc.constant({}) : valueOf(params) as Arbitrary<Record<string, string>>).map(values =>
    url.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(Reflect.get(values, name))))
  const query = (querystring === undefined ? fc.constant({}) : valueOf(querystring) as Arbitrary<Record<string, unknown>>).map(values =>
    new URLSearchParams(Object.entries(values).map(([name, value]): [string, string] => [name, String(value)])).toString())
  const search = mostly(query, fc.oneof(query.map(once => `${once}&${once}`), mutated(query).map(once => encodeURI(once)), pathText), 6)
  const right = fc.tuple(place, search).map(parts => parts.join('?'))
  return mostly(right, fc.tuple(place, pathText).map(parts => parts.join('')), 14)
}

function requestTo (route: Route) {
  return fc.record({
    method: mostly(fc.constant(route.method as typeof methods[number]), fc.constantFrom(...methods), 14),
    url: urlOf(route),
    headers: allHeaders,
    payload: payloadOf(route.schema.body)
  }).map(({ payload, ...rest }) => ({ ...rest, ...(payload !== undefined && { payload }) }))
}

/** What no answer has: a word of the host's errors, a place in some code, or a token. */
const leak = new RegExp(`${secret}|says the host|FST_ERR|node_modules|\\.[jt]s:\\d|\\n {4}at |ory_st_`)

const { app, routes, inject } = await host()
t.teardown(() => app.close())
const declared = new Map(routes.map(({ method, url, schema }) => [`${method} ${url}`, schema.response]))
const rejections: unknown[] = []
process.on('unhandledRejection', reason => { rejections.push(reason) })

for (const route of routes) {
  t.test(`${route.method} ${route.url} answers whatever comes with what it declares`, async t => {
    const seen = new Set<string>()
    await fc.assert(fc.asyncProperty(requestTo(route), async request => {
      const { answer, answeredBy } = await inject(request)
      const responses = declared.get(answeredBy ?? '')
      if (responses === undefined) {
        assert([400, 404, 413, 414, 415].includes(answer.status), `${answer.status} without a route: ${answer.body}`)
        return
      }
      assertDeclared(responses, answer, request.method)
      assert.doesNotMatch(JSON.stringify([answer.body, answer.headers]), leak)
      if (answer.status >= 500) assert.match(JSON.stringify(request), /boom|hang|b003/i, `nothing was in trouble: ${answer.body}`)
      if (responses === route.schema.response) seen.add(`${String(answer.status)[0]}xx`)
    }), { numRuns: Number(runs), ...(seed !== undefined && { seed: Number(seed) }), ...(path !== undefined && { path }) })
    t.strictSame(rejections, [])
    t.ok(
      path !== undefined || ['2xx', '3xx', '4xx', '5xx'].filter(kind => seen.has(kind)).length >= 3 || /^\/pages|\/return$/.test(route.url),
      `it succeeded, refused and failed: ${[...seen]}`
    )
  })
}

t.test('what providers and browsers send to a relying party, a little wrong', t => survivesOddRequests(t, 10 * Number(runs)))

t.test('every flow was fuzzed, and the check detects an undeclared response', async t => {
  t.ok(routes.length >= 17, `${routes.length} routes`)
  const [route] = routes
  const responses = route?.schema.response ?? {}
  t.ok(Object.values(responses).some(schema => schema[Kind] !== undefined))
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  t.throws(() => assertDeclared(responses, { status: 302, headers, body: '' }))
  t.throws(() => assertDeclared(responses, {
    status: 500, headers, body: '{"statusCode":500,"error":"Internal Server Error","message":"x"}'
  }))
  t.match(`Error: x\n    at file:///app/lib/flows/x.ts:1:2 ${secret}`, leak)
})
