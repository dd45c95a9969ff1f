import fastifyAuth from '@fastify/auth'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { notRevoked, type NotRevokedOptions } from '../../lib/bridges/fastify-auth.ts'
import { credentialOf } from '../../lib/internal/revocation/logout-marks.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { ask, failing } from './bearer-host.ts'

const lifetime = 600_000
type Verify = FastifyRequest & { jwtVerify (): Promise<Record<string, unknown>>, user: Record<string, unknown> }

async function host (t: Test, auth: NotRevokedOptions, relation: 'and' | 'or' = 'and'): Promise<FastifyInstance> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: 'secret' })
  await app.register(fastifyAuth)
  const verify = async (request: FastifyRequest) => { await (request as Verify).jwtVerify() }
  const preHandler = app.auth([verify, notRevoked(auth)], { relation })
  app.get('/', { preHandler }, async () => 'in')
  app.register(async scope => {
    scope.setErrorHandler((error: Error, _request, reply) => reply.send({ told: error.message }))
    scope.get('/own-errors', { preHandler }, async () => 'in')
  })
  await app.ready()
  return app
}

function sign (app: FastifyInstance, claims: Record<string, unknown>): string {
  return (app as unknown as { jwt: { sign (claims: unknown): string } }).jwt.sign(claims)
}

const user = (request: FastifyRequest) => credentialOf((request as Verify).user)

t.test('a revoked credential is refused after the function that verifies it', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations, credential: user })
  const token = sign(app, { jti: 'j' })
  t.equal((await ask(app, token)).body, 'in')
  revocations.revoke({ tokenId: 'j', until: Date.now() + lifetime })
  const refused = await ask(app, token)
  t.equal(refused.statusCode, 401)
  t.equal(refused.headers['www-authenticate'], 'Bearer error="invalid_token"')
  t.equal((await ask(app, 'not.a.token')).statusCode, 401)
})

t.test('an outage is 503 or passes, never 401', async t => {
  for (const [name, check] of Object.entries(failing)) {
    const app = await host(t, { revocations: { check }, timeout: 20, credential: user })
    const refused = await ask(app, sign(app, { jti: 'j' }))
    t.equal(refused.statusCode, 503, name)
    t.notMatch(refused.body, 'secret')
    t.equal((await ask(app, sign(app, { jti: 'j' }), '/own-errors')).statusCode, 503, 'also where the host answers errors itself')
    const lenient = await host(t, { revocations: { check }, timeout: 20, whenUnavailable: 'allow', credential: user })
    t.equal((await ask(lenient, sign(lenient, { jti: 'j' }))).body, 'in', name)
  }
})

t.test('a request without a credential is refused', async t => {
  for (const credential of [() => undefined, () => null]) {
    const app = await host(t, { revocations: memoryRevocationStore(), credential }, 'or')
    t.equal((await app.inject('/')).statusCode, 401)
  }
})

t.test('a credential without any id is a 500, whatever the policy', async t => {
  const throws = () => { throw new Error('no user') }
  const wrong: unknown[] = [() => ({}), async () => ({ tokenId: 't' }), throws, () => credentialOf({ sub: 'alice' })]
  for (const credential of wrong as Array<NotRevokedOptions['credential']>) {
    const app = await host(t, { revocations: memoryRevocationStore(), credential, whenUnavailable: 'allow' })
    t.equal((await ask(app, sign(app, { jti: 'j' }))).statusCode, 500)
  }
})

t.test('a wrong option throws a TypeError that names it', async t => {
  const revocations = memoryRevocationStore()
  const wrong = { revocations: {}, whenUnavailable: 'maybe', credential: 1, timeout: -1 }
  for (const [option, change] of Object.entries(wrong)) {
    const options = { revocations, credential: user, [option]: change } as NotRevokedOptions
    t.throws(() => notRevoked(options), { name: 'TypeError', message: new RegExp(`^notRevoked: option "${option}"`) })
  }
  t.throws(() => notRevoked(undefined as unknown as NotRevokedOptions), { name: 'TypeError', message: /"revocations" is missing/ })
})
