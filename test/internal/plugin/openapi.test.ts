import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { build } from '../../../examples/server.js'
import {
  kratosAdmin, kratosBrowserLogout, kratosLogout, kratosSessions, sessionLogout, signingHubLogout, tenantStatusLogout, tokenRevocation
} from '../../../lib/index.ts'
import { sessionStoreSource } from '../../../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../../../lib/session-stores/memory.ts'

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: string[]
  readonly security?: object[]
  readonly responses: Record<string, { description: string, content?: object }>
}

/** The document of a host with every flow, at the root and under a prefix. */
async function documentOf (openapi: NonNullable<FastifyDynamicSwaggerOptions['openapi']>, secured: boolean) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, { openapi })
  const verifyToken = () => ({})
  for (const prefix of ['', '/auth']) {
    await app.register(signingHubLogout, {
      prefix, verifyToken, deviceToken: { required: prefix === '/auth' }, ...(secured && { route: { security: [{ bearer: [] }] } })
    })
    const sessions = memorySessionStore()
    await app.register(kratosLogout, { prefix, sessions })
    await app.register(kratosBrowserLogout, {
      prefix,
      sessions,
      publicUrl: 'http://127.0.0.1',
      returnUrls: { default: 'http://127.0.0.1/' },
      ...(secured && {
        route: { security: [{ bearer: [] }] }
      })
    })
    await app.register(kratosSessions, { prefix, sessions, ...(secured && { route: { security: [{ bearer: [] }] } }) })
    await app.register(kratosAdmin, { prefix, sessions, authorize: () => true, ...(secured && { route: { security: [{ bearer: [] }] } }) })
    await app.register(sessionLogout, {
      prefix, sessions: sessionStoreSource(sessions, { header: 'authorization' }), ...(secured && { route: { security: [{ bearer: [] }] } })
    })
    await app.register(tenantStatusLogout, {
      prefix,
      verifyToken,
      authenticateTenant: () => 'acme',
      users: { get: () => undefined, compareAndSet: () => true },
      ...(secured && { route: { security: [{ tenantToken: [], userToken: [] }] } })
    })
    await app.register(tokenRevocation, {
      prefix, authenticateClient: () => undefined, revokeToken: () => undefined, ...(secured && { route: { security: [{ client: [] }] } })
    })
  }
  await app.ready()
  const document = JSON.parse(JSON.stringify(app.swagger()))
  const operations: Operation[] = Object.values<Record<string, Operation>>(document.paths).flatMap(path => Object.values(path))
  return { document, operations }
}

const info = { title: 'a host', version: '1.0.0' }
const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer' },
  client: { type: 'http', scheme: 'basic' },
  tenantToken: { type: 'apiKey', in: 'header', name: 'x-tenant-token' },
  userToken: { type: 'apiKey', in: 'header', name: 'x-token' }
} as const

for (const openapi of ['3.0.3', '3.1.0']) {
  t.test(`OpenAPI ${openapi}: the document of a host with security schemes is valid, and describes each route completely`, async t => {
    const { document, operations } = await documentOf({ openapi, info, components: { securitySchemes } }, true)
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))

    t.equal(operations.length, 30)
    t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length, 'each operationId is unique')
    for (const { operationId, summary, tags, security, responses } of operations) {
      t.ok(summary && security && tags.length === 1, operationId)
      t.ok(
        responses['4XX'] && responses['5XX'] && (responses['200'] ?? responses['204']), `${operationId} declares success and every failure`
      )
      t.ok(
        Object.values(responses).every(({ description }) => description !== 'Default Response'), `${operationId} describes each response`
      )
    }
  })

  t.test(`H4: OpenAPI ${openapi}: the document describes the session logout`, async t => {
    const { document, operations } = await documentOf({ openapi, info }, false)
    t.strictSame(operations.map(({ operationId }) => operationId).filter(name => /^logout/.test(name)), ['logout', 'logoutAuth'])
    const { post } = document.paths['/logout']
    t.strictSame(Object.keys(post.requestBody.content), ['application/json', 'application/x-www-form-urlencoded'])
    t.match(post.requestBody.content['application/json'].schema.properties, {
      scope: { type: 'string', enum: ['current', 'others', 'all'], default: 'current' }, return_to: { type: 'string' }
    })
    t.strictSame(Object.keys(post.responses).sort(), ['204', '303', '401', '4XX', '5XX'])
  })

  t.test(`OpenAPI ${openapi}: the document of a host without security schemes is valid`, async t => {
    const { document } = await documentOf({ openapi, info }, false)
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))
  })
}

const session = ['sessionToken', 'sessionCookie']
/** Each route of the example server, and the credentials that it takes: any of them. */
const credentials: Record<string, string[]> = {
  'POST /v3/logout': ['bearer'],
  'POST /v4/logout': ['bearer'],
  'POST /logout': ['sessionCookie'],
  'DELETE /self-service/logout/api': [],
  'GET /self-service/logout/browser': session,
  'GET /self-service/logout': session,
  'GET /sessions/whoami': session,
  'GET /sessions': session,
  'DELETE /sessions': session,
  'DELETE /sessions/{id}': session,
  'DELETE /admin/sessions/{id}': ['adminKey'],
  'DELETE /admin/identities/{id}/sessions': ['adminKey'],
  'GET /admin/identities/{id}/sessions': ['adminKey'],
  'GET /auth/logout': ['tenantToken and userToken'],
  'GET /me': ['userToken'],
  'POST /backchannel-logout': [],
  'GET /frontchannel-logout': [],
  'POST /logout/provider': ['sessionCookie'],
  'GET /logout/provider/return': ['sessionCookie'],
  'POST /global-token-revocation': ['provider'],
  'POST /security-events': [],
  'POST /oauth/revoke': [],
  'POST /demo/sign-in': []
}

for (const version of [undefined, '3.0.3']) {
  t.test(`OpenAPI ${version ?? '3.1.0'}: the document of the example server is valid, and describes each route completely`, async t => {
    const { app } = await build({}, undefined, undefined, version)
    t.teardown(() => app.close())
    const { statusCode, headers, json } = await app.inject({ url: '/docs/json' })
    t.equal(statusCode, 200)
    t.match(headers['content-type'], /^application\/json/)
    const document = json()
    t.equal(document.openapi, version ?? '3.1.0')
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))

    const described = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, operations]) => {
      return Object.entries(operations).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, ...operation }))
    })
    t.strictSame(described.map(({ name }) => name).sort(), [...Object.keys(credentials)].sort())
    t.equal(new Set(described.map(({ operationId }) => operationId)).size, described.length)
    for (const { name, operationId, summary, tags, security, responses } of described) {
      t.ok(operationId && summary && tags.length === 1, name)
      t.strictSame(security?.map(requirement => Object.keys(requirement).join(' and ')), credentials[name], name)
      const success = name === 'GET /logout/provider/return' ? '303' : name === 'POST /security-events' ? '202' : /^20[04]$/
      t.ok(Object.keys(responses).some(status => status.match(success)), `${name} declares success`)
      t.ok(responses['4XX'] && responses['5XX'], `${name} declares every failure`)
      t.ok(
        Object.values(responses).every(({ description }) => description && description !== 'Default Response'),
        `${name} describes each response`
      )
    }
  })
}
