// An authorization server whose clients give tokens back (RFC 7009). Refresh tokens are in a table; access tokens are JWTs,
// which a guard refuses once they are revoked.
import { createSigner } from 'fast-jwt'
import Fastify from 'fastify'
import { credentialOf, isTokenRejected, logoutMarks, revocationGuard, tokenDigest, tokenRevocation } from 'fastify-logout'
import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

const issuer = 'https://login.example'
const audience = 'https://api.example'
const lifetime = 600_000

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  const key = randomBytes(32).toString('hex')
  const verify = fastJwtVerifier({ key, algorithms: ['HS256'], issuer, audience })
  /** The claims of an access token, or `undefined`. @param {string} token */
  const claimsOf = token => {
    try {
      return verify(token)
    } catch (error) {
      if (isTokenRejected(error)) return undefined
      throw error
    }
  }
  const sign = createSigner({ key, algorithm: 'HS256', iss: issuer, aud: audience, expiresIn: lifetime })
  // With several nodes, keep the marks in Redis or Postgres.
  const revocations = memoryRevocationStore()

  /** Clients by their id, with the digests of their secrets. */
  const clients = new Map([['shop', tokenDigest('secret-of-the-shop')], ['mail', tokenDigest('secret-of-mail')]])
  /** Refresh tokens by their digests. Every access token of a grant has its id as `sid`. */
  const refreshTokens = new Map([[tokenDigest('refresh-token-of-alice'), { clientId: 'shop', grant: 'grant-of-alice' }]])

  /** @param {string} token @param {string} clientId */
  const revokeRefreshToken = async (token, clientId) => {
    const digest = tokenDigest(token)
    const found = refreshTokens.get(digest)
    if (found?.clientId !== clientId) return undefined
    await revocations.revoke({ issuer, sessionId: found.grant, until: Date.now() + lifetime })
    refreshTokens.delete(digest)
    return 'revoked'
  }

  /** @param {string} token @param {string} clientId */
  const revokeAccessToken = async (token, clientId) => {
    const claims = claimsOf(token)
    if (claims === undefined || claims.client_id !== clientId) return undefined
    await revocations.revoke(...logoutMarks({ ...credentialOf(claims), sessionId: undefined }, { scope: 'current', lifetime }))
    return 'revoked'
  }

  await app.register(tokenRevocation, {
    authenticateClient: ({ id, secret = '' }) => {
      const digest = clients.get(id)
      if (digest === undefined) return undefined
      return timingSafeEqual(Buffer.from(digest), Buffer.from(tokenDigest(secret))) ? id : undefined
    },
    revokeToken: async ({ token, clientId }) => {
      return await revokeRefreshToken(token, clientId) ?? revokeAccessToken(token, clientId)
    }
  })

  /** @type {WeakMap<import('fastify').FastifyRequest, import('fastify-logout').Credential>} */
  const callers = new WeakMap()
  await app.register(revocationGuard, { revocations, credential: request => callers.get(request) })
  app.get('/me', {
    onRequest: async request => {
      const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
      const claims = claimsOf(token)
      if (claims === undefined) throw Object.assign(new Error('log in first'), { statusCode: 401 })
      callers.set(request, credentialOf(claims))
    }
  }, async request => ({ user: callers.get(request)?.subject }))

  /** @param {string} sid */
  const accessToken = sid => sign({ jti: randomUUID(), sub: 'alice', client_id: 'shop', sid })
  return { app, accessToken: accessToken('grant-of-alice'), otherAccessToken: accessToken('another-grant') }
}

/** @param {string} address @param {{ accessToken: string, otherAccessToken: string }} tokens */
export function curls (address, { accessToken, otherAccessToken }) {
  return `The client gives back an access token, then a refresh token with every access token of its grant
  200  curl -i -X POST ${address}/oauth/revoke -u shop:secret-of-the-shop -d 'token=${otherAccessToken}'
  401  curl -i ${address}/me -H 'Authorization: Bearer ${otherAccessToken}'
  200  curl -i -X POST ${address}/oauth/revoke -u shop:secret-of-the-shop -d 'token=refresh-token-of-alice' -d 'token_type_hint=refresh_token'
  401  curl -i ${address}/me -H 'Authorization: Bearer ${accessToken}'
  401  curl -i -X POST ${address}/oauth/revoke -u mail:wrong -d 'token=refresh-token-of-alice'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
