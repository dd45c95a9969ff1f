// A tenant-status-style logout: the user becomes logged_out, and later use of the token undoes it.
import { createSigner } from 'fast-jwt'
import Fastify from 'fastify'
import { tenantActivity, tenantStatusLogout, TokenRejectedError } from 'fastify-logout'
import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/** @type {import('fastify').FastifySchema & Record<string, unknown>} */
const meSchema = {
  operationId: 'me',
  summary: 'Use the token, which logs the user in again',
  tags: ['host'],
  security: [{ userToken: [] }],
  response: {
    200: { description: 'Who the user is', type: 'object', required: ['user'], properties: { user: { type: 'string' }, status: { type: 'string' } } },
    '4xx': { description: 'The token is missing or refused', type: 'object', required: ['error'], properties: { error: { type: 'string' }, message: { type: 'string' } } },
    '5xx': { description: 'Try again', type: 'object', required: ['error'], properties: { error: { type: 'string' }, message: { type: 'string' } } }
  }
}

/**
 * @param {import('fastify').FastifyInstance} app
 * @param {import('fastify-logout').UserStatusStore} [users]
 * @param {import('fastify-logout').LogoutRateLimit} [rateLimit]
 */
export async function add (app, users = memoryUserStatusStore(), rateLimit = {}) {
  const key = randomBytes(32).toString('hex')
  const issuer = 'https://login.example'
  const audience = 'https://api.example'
  const verifyToken = fastJwtVerifier({ key, algorithms: ['HS256'], issuer, audience })
  const tenantToken = 'acme-tenant-token'

  await app.register(tenantStatusLogout, {
    users,
    route: { rateLimit, security: [{ tenantToken: [], userToken: [] }] },
    verifyToken,
    authenticateTenant: token => token === tenantToken ? 'acme' : undefined
  })

  // The host's own routes, with the host's own authentication: their use shows that the user is active.
  await app.register(async (host) => {
    host.decorateRequest('claims', null)
    host.addHook('onRequest', async (request, reply) => {
      try {
        request.setDecorator('claims', await verifyToken(String(request.headers['x-token'] ?? '')))
      } catch (error) {
        if (!(error instanceof TokenRejectedError)) throw error
        return reply.code(401).send({ error: 'Who are you?' })
      }
    })
    await host.register(tenantActivity, {
      users,
      user: (request) => {
        const { sub, tenant, iat } = request.getDecorator('claims')
        return { subject: sub, tenant, issuedAt: iat * 1000 }
      }
    })
    host.get('/me', { schema: meSchema }, async (request) => {
      const { sub, tenant } = request.getDecorator('claims')
      return { user: sub, status: (await users.get({ tenant, subject: sub }))?.status }
    })
  })

  await users.compareAndSet({ tenant: 'acme', subject: 'alice' }, undefined, { status: 'logged_in', at: Date.now(), requestId: 'sign-in' })
  const sign = createSigner({ key, algorithm: 'HS256', iss: issuer, aud: audience, expiresIn: 3_600_000 })
  return { users, tenantToken, token: sign({ sub: 'alice', tenant: 'acme' }) }
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  return { app, ...await add(app) }
}

/** @param {string} address @param {{ tenantToken: string, token: string }} tokens */
export function curls (address, { tenantToken, token }) {
  return `Tenant-status-style: the user is logged out, until the token is used again
  200  curl -i ${address}/auth/logout -H 'x-tenant-token: ${tenantToken}' -H 'x-token: ${token}'
  200  curl -i ${address}/me -H 'x-token: ${token}'
  401  curl -i ${address}/auth/logout -H 'x-token: ${token}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
