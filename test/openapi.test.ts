import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { kratosAdmin, kratosBrowserLogout, kratosLogout, kratosSessions, signingHubLogout, tenantStatusLogout } from '../lib/index.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'

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
      prefix, verifyToken, requireDeviceToken: prefix === '/auth', ...(secured && { security: [{ bearer: [] }] })
    })
    const sessions = memorySessionStore()
    await app.register(kratosLogout, { prefix, sessions })
    await app.register(kratosBrowserLogout, { prefix, sessions, publicUrl: 'http://127.0.0.1', defaultReturnUrl: 'http://127.0.0.1/', ...(secured && { security: [{ bearer: [] }] }) })
    await app.register(kratosSessions, { prefix, sessions, ...(secured && { security: [{ bearer: [] }] }) })
    await app.register(kratosAdmin, { prefix, sessions, authorize: () => true, ...(secured && { security: [{ bearer: [] }] }) })
    await app.register(tenantStatusLogout, {
      prefix,
      verifyToken,
      authenticateTenant: () => 'acme',
      users: { get: () => undefined, compareAndSet: () => true },
      ...(secured && { security: [{ tenantToken: [], userToken: [] }] })
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
  tenantToken: { type: 'apiKey', in: 'header', name: 'x-tenant-token' },
  userToken: { type: 'apiKey', in: 'header', name: 'x-token' }
} as const

for (const openapi of ['3.0.3', '3.1.0']) {
  t.test(`the OpenAPI ${openapi} document of a host that declares security schemes is valid, and says everything of each route`, async (t) => {
    const { document, operations } = await documentOf({ openapi, info, components: { securitySchemes } }, true)
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))

    t.equal(operations.length, 26)
    t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length, 'each operationId is unique')
    for (const { operationId, summary, tags, security, responses } of operations) {
      t.ok(summary && security && tags.length === 1, operationId)
      t.ok(responses['4XX'] && responses['5XX'] && (responses['200'] ?? responses['204']), `${operationId} declares success and every failure`)
      t.ok(Object.values(responses).every(({ description }) => description !== 'Default Response'), `${operationId} describes each response`)
    }
  })

  t.test(`the OpenAPI ${openapi} document of a host that declares no security schemes is valid`, async (t) => {
    const { document } = await documentOf({ openapi, info }, false)
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))
  })
}
