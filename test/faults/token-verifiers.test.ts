import Fastify from 'fastify'
import { createPublicKey, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import type { Client } from '../../lib/internal/oauth/client-authentication.ts'
import { signingHubLogout } from '../../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../../lib/flows/tenant-status.ts'
import { principalOf } from '../../lib/principal.ts'
import { TokenRejectedError, type VerifyToken } from '../../lib/token-verifier.ts'
import { fastJwtVerifier } from '../../lib/token-verifiers/fast-jwt.ts'
import { introspectionVerifier, type IntrospectionVerifierOptions } from '../../lib/token-verifiers/introspection.ts'
import { jwksVerifier, type JwksVerifierOptions } from '../../lib/token-verifiers/jwks.ts'
import { memoryUserStatusStore } from '../../lib/user-status-stores/memory.ts'
import {
  clientSecret, discoveryPath, jwksPath, keyClientKey, opaqueResource, signedResource, startOpenidProvider
} from '../servers/openid-provider.ts'

const provider = await startOpenidProvider()
t.teardown(() => provider.remove())

const client: Client = { id: 'api:basic', secret: clientSecret, method: 'basic' }

function byJwks (options: Partial<JwksVerifierOptions> = {}): VerifyToken {
  return jwksVerifier({ issuers: [{ issuer: provider.issuer, audience: signedResource, algorithms: ['ES256'] }], ...options })
}

function byIntrospection (options: Partial<IntrospectionVerifierOptions> = {}): VerifyToken {
  const { introspectionEndpoint: endpoint, issuer } = provider
  return introspectionVerifier({ endpoint, client, issuer, audience: opaqueResource, ...options })
}

async function byKey (acceptExpiredFor = 0): Promise<VerifyToken> {
  const jwk = (await provider.keys()).find(key => key.kty === 'EC') ?? {}
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  return fastJwtVerifier({ key, algorithms: ['ES256'], issuer: provider.issuer, audience: signedResource, claims: { acceptExpiredFor } })
}

/** The subject, the reason of a refusal, or `outage`. */
async function outcome (verify: VerifyToken, token: string): Promise<unknown> {
  try {
    return (await verify(token))['sub']
  } catch (error) {
    return error instanceof TokenRejectedError ? error.reason : 'outage'
  }
}

t.test("a user's token has a user with each verifier, an application's own token has none", async (t) => {
  const ways = [[byJwks(), signedResource], [await byKey(), signedResource], [byIntrospection(), opaqueResource]] as const
  for (const [verify, resource] of ways) {
    const user = principalOf(await verify(await provider.userToken(resource)))
    t.match(user, { subject: 'alice', actor: 'alice' })
    t.ok(Math.abs(Date.now() - Number(user.issuedAt)) < 5000)
    const claims = await verify(await provider.applicationToken(resource))
    t.equal(claims['client_id'], 'app')
    t.equal(principalOf(claims).subject, undefined)
  }
})

t.test('each method of client authentication works with the provider, and wrong credentials are an outage', async (t) => {
  const token = await provider.userToken(opaqueResource)
  const clients: readonly Client[] = [
    client, { id: 'api-post', secret: clientSecret, method: 'post' },
    { id: 'api-key', privateKey: keyClientKey, method: 'private_key_jwt', algorithm: 'ES256', keyId: 'mine' },
    { id: 'api-key', privateKey: keyClientKey, method: 'private_key_jwt', algorithm: 'ES256', audience: provider.issuer }
  ]
  for (const client of clients) {
    const verify = byIntrospection({ client })
    t.equal(await outcome(verify, token), 'alice', client.method)
    t.equal(await outcome(verify, token), 'alice', `${client.method} again`)
  }
  t.equal(await outcome(byIntrospection({ client: { ...client, secret: 'wrong' } }), token), 'outage')
})

t.test('a revoked token, a stranger\'s and a JWT are refused by introspection', async (t) => {
  const verify = byIntrospection()
  const token = await provider.userToken(opaqueResource)
  t.equal(await outcome(verify, token), 'alice')
  await provider.revoke(token)
  t.equal(await outcome(verify, token), 'revoked')
  t.equal(await outcome(verify, randomBytes(32).toString('base64url')), 'revoked')
  t.equal(await outcome(verify, await provider.userToken(signedResource)), 'revoked', 'the provider knows no JWTs there')
})

/** A token with a key id that nobody published, issued so many seconds ago. */
function forged (kid: string, age = 0): string {
  const claims = { iss: provider.issuer, aud: signedResource, sub: 'mallory', iat: Math.floor(Date.now() / 1000) - age, exp: 9_999_999_999 }
  const parts = [{ alg: 'ES256', kid }, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
  return `${parts.join('.')}.${randomBytes(64).toString('base64url')}`
}

t.test('no good token is refused while keys rotate under load and among forged tokens', async (t) => {
  const verify = byJwks({ cooldown: 20 })
  const before = await provider.count(jwksPath)
  const outcomes: unknown[] = []
  const over = new AbortController()
  let rotations = 0
  const client = async () => {
    while (!over.signal.aborted) {
      const rotationsBefore = rotations
      const token = await provider.userToken(signedResource)
      const answers = await Promise.all([outcome(verify, token), outcome(verify, token), outcome(verify, token)])
      // A token that was signed just before its key was withdrawn may rightly be refused.
      if (rotations === rotationsBefore) outcomes.push(...answers)
    }
  }
  const forger = async () => {
    for (let i = 0; !over.signal.aborted; i++) {
      t.not(await outcome(verify, forged(`forged ${i}`)), 'mallory')
      await sleep(30)
    }
  }
  const load = [client(), client(), client(), client(), forger()]
  for (let i = 0; i < 4; i++) {
    await sleep(120)
    rotations++
    await provider.rotate()
    rotations++
  }
  await sleep(120)
  over.abort()
  await Promise.all(load)
  t.ok(outcomes.length > 20, `${outcomes.length} tokens`)
  t.same(outcomes.filter(answer => answer === 'untrusted'), [])
  t.ok(outcomes.includes('alice'))
  const asked = await provider.count(jwksPath) - before
  t.ok(asked >= 5, `asked ${asked} times`)
  t.equal(await provider.count(discoveryPath) > 0, true)
})

t.test('after a flood of forged tokens a rotated key is an outage until the cooldown allows to ask, and never a refusal', async (t) => {
  const verify = byJwks({ cooldown: 500 })
  t.equal(await outcome(verify, await provider.userToken(signedResource)), 'alice')
  const before = await provider.count(jwksPath)
  const outcomes: unknown[] = []
  for (let i = 0; i < 1000; i++) outcomes.push(await outcome(verify, forged(`forged ${i}`)))
  t.ok(outcomes.every(answer => answer === 'untrusted' || answer === 'outage'))
  t.same(outcomes.slice(0, 10), Array(10).fill('untrusted'))
  const asked = await provider.count(jwksPath) - before
  t.ok(asked >= 10 && asked < 100, `asked ${asked} times`)
  await provider.rotate()
  const rotated = await provider.userToken(signedResource)
  const answers: unknown[] = []
  while (answers.at(-1) !== 'alice' && answers.length < 1000) {
    answers.push(await outcome(verify, rotated))
    await sleep(10)
  }
  t.equal(answers.at(-1), 'alice')
  t.notOk(answers.includes('untrusted'))
  t.equal(await outcome(verify, forged('old', 120)), 'untrusted', 'a token that is older than the keys is refused without asking')
})

t.test('10,000 concurrent tokens of unknown key ids cause no more than two requests', async (t) => {
  const verify = byJwks()
  const good = await provider.userToken(signedResource)
  t.equal(await outcome(verify, good), 'alice')
  const before = await provider.count(jwksPath)
  const answers = await Promise.all(Array.from({ length: 10_000 }, (_, i) => outcome(verify, forged(`forged ${i}`))))
  t.same([...new Set(answers)], ['untrusted'])
  t.ok(await provider.count(jwksPath) - before <= 2)
  t.equal(await outcome(verify, good), 'alice')
})

t.test('concurrent callers share a request to a slow provider, which is an outage after the timeout', async (t) => {
  const [signed, opaque] = [await provider.userToken(signedResource), await provider.userToken(opaqueResource)]
  await provider.slow(150)
  t.same(await Promise.all([outcome(byJwks(), signed), outcome(byIntrospection(), opaque)]), ['alice', 'alice'])
  const before = await provider.count('/token/introspection')
  const verify = byIntrospection()
  await Promise.all(Array.from({ length: 20 }, () => outcome(verify, opaque)))
  t.equal(await provider.count('/token/introspection') - before, 1)
  t.equal(await outcome(byJwks({ http: { timeout: 50 } }), signed), 'outage')
  t.equal(await outcome(byIntrospection({ http: { timeout: 50 } }), opaque), 'outage')
  await provider.slow(0)
})

t.test('while the provider is frozen, keys at hand serve and everything else is an outage in time', async (t) => {
  const warm = byJwks({ http: { timeout: 200 }, cooldown: 10, refreshAfter: 10 })
  const [cold, introspecting] = [byJwks({ http: { timeout: 200 }, cooldown: 10 }), byIntrospection({ http: { timeout: 200 } })]
  const [signed, opaque] = [await provider.userToken(signedResource), await provider.userToken(opaqueResource)]
  t.equal(await outcome(warm, signed), 'alice')
  const [, payload, signature] = signed.split('.')
  const unknown = `${Buffer.from('{"alg":"ES256","kid":"unknown"}').toString('base64url')}.${payload}.${signature}`
  provider.freeze()
  try {
    const begun = Date.now()
    const outcomes = await Promise.all([outcome(cold, signed), outcome(introspecting, opaque), outcome(warm, unknown)])
    t.same(outcomes, ['outage', 'outage', 'outage'])
    t.ok(Date.now() - begun < 10_000, `${Date.now() - begun} ms`)
    t.match(warm(signed), { sub: 'alice' }, 'at once')
  } finally {
    provider.thaw()
  }
  await sleep(50)
  t.same([await outcome(cold, signed), await outcome(introspecting, opaque), await outcome(warm, unknown)], ['alice', 'alice', 'untrusted'])
})

t.test('a provider that comes back with other keys works again without a restart of the host', async (t) => {
  const [warm, cold, introspecting] = [byJwks({ cooldown: 10 }), byJwks({ cooldown: 10 }), byIntrospection()]
  const [signed, opaque] = [await provider.userToken(signedResource), await provider.userToken(opaqueResource)]
  t.equal(await outcome(warm, signed), 'alice')
  await provider.kill()
  t.same([await outcome(warm, signed), await outcome(cold, signed), await outcome(introspecting, opaque)], ['alice', 'outage', 'outage'])
  await provider.start()
  await sleep(20)
  t.equal(await outcome(cold, signed), 'untrusted', 'its key is gone')
  const fresh = await provider.userToken(signedResource)
  t.same([await outcome(warm, fresh), await outcome(cold, fresh), await outcome(warm, signed)], ['alice', 'alice', 'untrusted'])
  t.equal(await outcome(introspecting, await provider.userToken(opaqueResource)), 'alice')
})

/** A host with each flow that takes a verifier: what it answers to a token. */
async function hostWith (verifyToken: VerifyToken) {
  const app = Fastify()
  const users = memoryUserStatusStore()
  users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
  const principal: typeof principalOf = claims => ({ ...principalOf(claims), tenant: 'acme' })
  const deviceToken = { remove: () => 'removed' as const }
  await app.register(signingHubLogout, { verifyToken, user: { isActive: () => true }, deviceToken, recordActivity: () => {} })
  await app.register(tenantStatusLogout, { verifyToken, user: { principal }, users, authenticateTenant: () => 'acme' })
  return {
    close: () => app.close(),
    async statusOf (token: string) {
      const signingHub = await app.inject({ method: 'POST', url: '/v3/logout', headers: { authorization: `Bearer ${token}` } })
      const tenantStatus = await app.inject({ method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': token } })
      return { signingHub, tenantStatus, both: [signingHub.statusCode, tenantStatus.statusCode] }
    }
  }
}

t.test('every flow that takes a verifier, with each of the three', async (t) => {
  const verifiers: ReadonlyArray<[string, string, (acceptExpiredFor: number) => VerifyToken | Promise<VerifyToken>]> = [
    ['fastJwtVerifier', signedResource, byKey],
    ['jwksVerifier', signedResource, acceptExpiredFor => byJwks({ claims: { acceptExpiredFor }, cooldown: 10 })],
    ['introspectionVerifier', opaqueResource, acceptExpiredFor => byIntrospection({ claims: { acceptExpiredFor } })]
  ]
  const brief = new Map([signedResource, opaqueResource].map(resource => [resource, provider.userToken(resource, 'alice', 1)]))
  await Promise.all(brief.values())
  await sleep(2000)

  for (const [name, resource, make] of verifiers) {
    const host = await hostWith(await make(0))
    const lenient = await hostWith(await make(60_000))
    t.teardown(() => Promise.all([host.close(), lenient.close()]))
    const good = await provider.userToken(resource)
    const expired = String(await brief.get(resource))
    t.same((await host.statusOf(good)).both, [200, 200], `${name}: a good token`)
    t.same((await host.statusOf(good)).both, [200, 200], `${name}: the same again`)
    t.same((await host.statusOf('garbage')).both, [401, 401], `${name}: garbage`)
    t.same((await host.statusOf(`${good.slice(0, -8)}AAAAAAAA`)).both, [401, 401], `${name}: an altered token`)
    t.equal((await host.statusOf(await provider.applicationToken(resource))).signingHub.body, '{"Message":"User authentication required"}')
    t.same((await host.statusOf(expired)).both, [401, 401], `${name}: an expired token`)
    // No option brings back a token that the provider no longer calls active.
    const forgiven = name === 'introspectionVerifier' ? [401, 401] : [200, 200]
    t.same((await lenient.statusOf(expired)).both, forgiven, `${name}: an expired token where the host accepts it for a minute`)
  }

  await provider.kill()
  for (const [name, verify] of [['jwksVerifier', byJwks()], ['introspectionVerifier', byIntrospection()]] as const) {
    const host = await hostWith(verify)
    t.teardown(() => host.close())
    const { signingHub, tenantStatus } = await host.statusOf(name === 'jwksVerifier' ? String(await brief.get(signedResource)) : 'opaque')
    t.equal(signingHub.statusCode, 500, `${name}: an outage`)
    t.same(Object.keys(signingHub.json()), ['Message'], 'in the words of the vendor')
    t.ok(tenantStatus.statusCode >= 500, `${name}: an outage is ${tenantStatus.statusCode}`)
    for (const { body } of [signingHub, tenantStatus]) t.notMatch(body, /127\.0\.0\.1|fetch|ECONN|keys of|authorization server/)
  }
})
