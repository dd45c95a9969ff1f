// The OpenAPI document of the server, and a viewer for it at /docs. Both want to be registered before the routes.
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'

// The names are the host's own. Each flow is told in its option `security` which of them its routes take.
/** @type {import('@fastify/swagger').FastifyDynamicSwaggerOptions['openapi'] & { components: object }} */
const document = {
  info: { title: 'fastify-logout, all flows', version: '1.0.0' },
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', description: 'The token of a user' },
      sessionToken: { type: 'apiKey', in: 'header', name: 'x-session-token', description: 'The session of an app' },
      sessionCookie: { type: 'apiKey', in: 'cookie', name: 'demo_session', description: 'The session of a browser' },
      adminKey: { type: 'http', scheme: 'bearer', description: 'The key of an administrator' },
      provider: { type: 'http', scheme: 'bearer', description: 'A token that an identity provider signs' },
      tenantToken: { type: 'apiKey', in: 'header', name: 'x-tenant-token' },
      userToken: { type: 'apiKey', in: 'header', name: 'x-token' }
    }
  },
  tags: [
    { name: 'logout', description: 'The routes of fastify-logout' },
    { name: 'host', description: 'Routes of the server\'s own' }
  ]
}

/**
 * @param {import('fastify').FastifyInstance} app
 * @param {string} [openapi] the version that the document is written in
 */
export async function add (app, openapi = '3.1.0') {
  await app.register(swagger, { openapi: { openapi, ...document } })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    uiConfig: { validatorUrl: null, tagsSorter: 'alpha' }
  })
}
