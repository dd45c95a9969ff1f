// A real OpenID provider in a process of its own, so that it can be stopped, frozen and slowed down. Argument: its port.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
// @ts-expect-error it has no types
import Provider from 'oidc-provider'

import { clientSecret, keyClientPublicJwk, signedResource } from './openid-provider.ts'

interface Order {
  readonly rotate?: boolean
  readonly delay?: number
  readonly user?: { readonly sub: string, readonly resource: string, readonly ttl: number }
}

const port = Number(process.argv[2])
const issuer = `http://127.0.0.1:${port}`
const seen: Record<string, number> = {}
let delay = 0
let provider = makeProvider()

/** Each provider has fresh keys. All providers of this process share their tokens. */
function makeProvider () {
  const signing = [
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  ].map(key => ({ ...key.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig' }))
  return new Provider(issuer, {
    jwks: { keys: signing },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    clients: [
      { client_id: 'app', client_secret: clientSecret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
      { client_id: 'api:basic', client_secret: clientSecret, grant_types: [], redirect_uris: [], response_types: [] },
      {
        client_id: 'api-post',
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: [],
        redirect_uris: [],
        response_types: []
      },
      {
        client_id: 'api-key',
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [keyClientPublicJwk] },
        grant_types: [],
        redirect_uris: [],
        response_types: []
      }
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    extraTokenClaims: () => ({ tenant: 'acme' }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_context: unknown, resource: string) => resourceServer(resource, 300) }
    }
  })
}

function resourceServer (resource: string, accessTokenTTL: number) {
  const format = resource === signedResource
    ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
    : { accessTokenFormat: 'opaque' }
  return { audience: resource, scope: 'read', accessTokenTTL, identifier: () => resource, ...format }
}

async function userToken ({ sub, resource, ttl }: NonNullable<Order['user']>): Promise<string> {
  const client = await provider.Client.find('app')
  const grant = new provider.Grant({ accountId: sub, clientId: 'app' })
  grant.addResourceScope(resource, 'read')
  const grantId = await grant.save()
  const token = new provider.AccessToken({ accountId: sub, client, grantId, gty: 'authorization_code', scope: 'read' })
  token.resourceServer = resourceServer(resource, ttl)
  return token.save()
}

async function obey (order: Order): Promise<unknown> {
  if (order.rotate) provider = makeProvider()
  delay = order.delay ?? delay
  return { seen, token: order.user && await userToken(order.user) }
}

async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = String(request.url)
  if (path === '/orders') {
    response.end(JSON.stringify(await obey(await json(request) as Order)))
    return
  }
  seen[path] = (seen[path] ?? 0) + 1
  await sleep(delay)
  provider.callback()(request, response)
}

createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error)
    response.writeHead(500).end()
  })
}).listen(port, '127.0.0.1')
