import fastifyAuth from '@fastify/auth'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { notRevoked, type NotRevokedOptions } from '../../lib/bridges/fastify-auth.ts'
import { trustedBy, type TrustedByOptions } from '../../lib/bridges/fastify-jwt.ts'
import { credentialOf, logoutMarks } from '../../lib/logout-marks.ts'
import type { RevocationStore } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

const lifetime = 600_000
type Verify = FastifyRequest & { jwtVerify (): Promise<Record<string, unknown>>, user: Record<string, unknown> }

async function host (t: Test, trusted: TrustedByOptions | undefined, auth?: NotRevokedOptions, relation: 'and' | 'or' = 'and'): Promise<FastifyInstance> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: 'secret', ...(trusted !== undefined && { trusted: trustedBy(trusted) }) })
  await app.register(fastifyAuth)
  const verify = async (request: FastifyRequest) => { await (request as Verify).jwtVerify() }
  const guards = auth === undefined ? verify : app.auth([verify, notRevoked(auth)], { relation })
  app.get('/', { preHandler: guards }, async () => 'in')
  app.register(async scope => {
    scope.setErrorHandler((error: Error, _request, reply) => reply.send({ told: error.message }))
    scope.get('/own-errors', { preHandler: guards }, async () => 'in')
  })
  await app.ready()
  return app
}

function sign (app: FastifyInstance, claims: Record<string, unknown>): string {
  return (app as unknown as { jwt: { sign (claims: unknown): string } }).jwt.sign(claims)
}

async function ask (app: FastifyInstance, token: string, url = '/') {
  return app.inject({ url, headers: { authorization: `Bearer ${token}` } })
}

const failing: Record<string, RevocationStore['check']> = {
  throws () { throw new Error('secret detail') },
  rejects: async () => { throw new Error('secret detail') },
  hangs: () => new Promise(() => {})
}
const user = (request: FastifyRequest) => credentialOf((request as Verify).user)

t.test('@fastify/jwt: a revoked token is untrusted, by its jti, its session, its subject, or its digest', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  for (const claims of [{ jti: 'j' }, { sid: 's' }, { sub: 'ann' }, { nothing: 'of these' }]) {
    const token = sign(app, claims)
    const other = sign(app, { jti: 'other', sid: 'other', sub: 'bob' })
    t.equal((await ask(app, token)).body, 'in')
    const facts = credentialOf({ iat: Math.floor(Date.now() / 1000), ...claims }, token)
    revocations.revoke(...logoutMarks(facts, { lifetime, scope: 'sub' in claims ? 'subject' : 'current' }))
    for (let time = 0; time < 2; time++) {
      const refused = await ask(app, token)
      t.equal(refused.statusCode, 401)
      t.equal(refused.json().code, 'FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED')
    }
    t.equal((await ask(app, other)).body, 'in')
  }
})

t.test('@fastify/jwt: while the store cannot tell, it is 503 or trusted, in time, and never unauthorized', async t => {
  for (const [name, check] of Object.entries(failing)) {
    const app = await host(t, { revocations: { check }, deadline: 20 })
    const refused = await ask(app, sign(app, { jti: 'j' }))
    t.equal(refused.statusCode, 503, name)
    t.notMatch(refused.body, 'secret')
    const lenient = await host(t, { revocations: { check }, deadline: 20, whenUnknown: 'allow' })
    t.equal((await ask(lenient, sign(lenient, { jti: 'j' }))).body, 'in', name)
    t.equal((await ask(lenient, 'not.a.token')).statusCode, 401, 'a token that is none is refused all the same')
  }
})

t.test('@fastify/jwt: the host reads the facts itself', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations, credential: claims => ({ sessionId: String(claims['session']) }) })
  const token = sign(app, { session: 7 })
  revocations.revoke({ sessionId: '7', until: Date.now() + lifetime })
  t.equal((await ask(app, token)).statusCode, 401)
})

t.test('@fastify/auth: a revoked credential fails, behind the function that verifies it', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, undefined, { revocations, credential: user })
  const token = sign(app, { jti: 'j' })
  t.equal((await ask(app, token)).body, 'in')
  revocations.revoke({ tokenId: 'j', until: Date.now() + lifetime })
  const refused = await ask(app, token)
  t.equal(refused.statusCode, 401)
  t.equal(refused.headers['www-authenticate'], 'Bearer error="invalid_token"')
  t.equal((await ask(app, 'not.a.token')).statusCode, 401)
})

t.test('@fastify/auth: an outage is 503 or passes, never 401', async t => {
  for (const [name, check] of Object.entries(failing)) {
    const app = await host(t, undefined, { revocations: { check }, deadline: 20, credential: user })
    const refused = await ask(app, sign(app, { jti: 'j' }))
    t.equal(refused.statusCode, 503, name)
    t.notMatch(refused.body, 'secret')
    t.equal((await ask(app, sign(app, { jti: 'j' }), '/own-errors')).statusCode, 503, 'also where the host answers errors itself')
    const lenient = await host(t, undefined, { revocations: { check }, deadline: 20, whenUnknown: 'allow', credential: user })
    t.equal((await ask(lenient, sign(lenient, { jti: 'j' }))).body, 'in', name)
  }
})

t.test('@fastify/auth: without a credential it opens nothing', async t => {
  for (const credential of [() => undefined, () => null]) {
    const app = await host(t, undefined, { revocations: memoryRevocationStore(), credential }, 'or')
    t.equal((await app.inject('/')).statusCode, 401)
  }
})

t.test('misuse is a TypeError that names the option', async t => {
  const revocations = memoryRevocationStore()
  for (const [option, change] of Object.entries({ revocations: {}, whenUnknown: 'maybe', credential: 1, deadline: -1 })) {
    t.throws(() => trustedBy({ revocations, [option]: change } as TrustedByOptions), { name: 'TypeError', message: new RegExp(`"${option}"`) })
    t.throws(() => notRevoked({ revocations, credential: user, [option]: change } as NotRevokedOptions), { name: 'TypeError', message: new RegExp(`"${option}"`) })
  }
})
