import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { revocationGuard, type RevocationGuardOptions } from '../../lib/guards/revocation.ts'
import { noActivity } from '../../lib/internal/plugin/no-activity.ts'
import type { Credential, RevocationStore } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

const until = Date.now() + 3_600_000
const never = new Promise<never>(() => {})

/** The host's authentication: a header with the facts. */
function credential (request: FastifyRequest): Credential | undefined {
  const { facts } = request.headers
  return typeof facts === 'string' ? JSON.parse(facts) : undefined
}

function as (facts: Credential) {
  return { headers: { facts: JSON.stringify(facts) } }
}

async function host (t: Test, options: Partial<RevocationGuardOptions> = {}, routes: (app: FastifyInstance) => void = plainRoutes) {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(revocationGuard, { revocations: memoryRevocationStore(), credential, ...options })
  routes(app)
  await app.ready()
  return app
}

function plainRoutes (app: FastifyInstance) {
  app.get('/', async () => 'in')
  app.get('/allow', { config: { revocation: 'allow' } }, async () => 'in')
  app.get('/refuse', { config: { revocation: 'refuse' } }, async () => 'in')
  app.get('/open', { config: { revocation: false } }, async () => 'in')
  app.register(async scope => {
    noActivity(scope)
    scope.post('/logout', async () => 'out')
  })
}

t.test('what is revoked is refused, what is live passes, and so does who is nobody', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  await revocations.revoke({ tokenId: 'dead', until })
  for (let time = 0; time < 2; time++) {
    const refused = await app.inject({ url: '/', ...as({ tokenId: 'dead' }) })
    t.equal(refused.statusCode, 401)
    t.equal(refused.headers['www-authenticate'], 'Bearer error="invalid_token"')
    t.equal(refused.headers['cache-control'], 'no-store')
    t.same(refused.json(), { statusCode: 401, code: 'LOGOUT_TOKEN_REJECTED', error: 'Unauthorized', message: 'the token was rejected: revoked' })
    t.equal((await app.inject({ url: '/', ...as({ tokenId: 'live' }) })).body, 'in')
    t.equal((await app.inject({ url: '/' })).body, 'in')
  }
})

t.test('one lookup for each request with a credential, none without', async t => {
  let lookups = 0
  const app = await host(t, { revocations: { check () { lookups++; return 'live' } } }, app => {
    plainRoutes(app)
    app.register(async scope => { plainRoutes(scope) }, { prefix: '/scope' })
  })
  await app.inject({ url: '/', ...as({ tokenId: 't', sessionId: 's', subject: 'u' }) })
  t.equal(lookups, 1)
  await app.inject({ url: '/', method: 'HEAD', ...as({ tokenId: 't' }) })
  t.equal(lookups, 2)
  await app.inject({ url: '/' })
  await app.inject({ url: '/open', ...as({ tokenId: 't' }) })
  t.equal(lookups, 2)
  await app.inject({ url: '/scope', ...as({ tokenId: 't' }) })
  await app.inject({ url: '/scope/', ...as({ tokenId: 't' }) })
  t.equal(lookups, 4)
})

t.test('while the store cannot tell, each route does what its policy says, and nobody is called unauthorized', async t => {
  const failures: Record<string, RevocationStore['check']> = {
    throws () { throw new Error('secret detail') },
    rejects: async () => { throw new Error('secret detail') },
    hangs: () => never
  }
  for (const [name, check] of Object.entries(failures)) {
    const app = await host(t, { revocations: { check }, timeout: 20, retryAfter: 7 })
    const strict = await host(t, { revocations: { check }, timeout: 20, whenUnavailable: 'allow' })
    const started = Date.now()
    for (const refused of [await app.inject({ url: '/', ...as({ tokenId: 't' }) }), await strict.inject({ url: '/refuse', ...as({ tokenId: 't' }) })]) {
      t.equal(refused.statusCode, 503, name)
      t.equal(refused.headers['www-authenticate'], undefined)
      t.notMatch(refused.body, 'secret')
    }
    t.equal((await app.inject({ url: '/', ...as({ tokenId: 't' }) })).headers['retry-after'], '7')
    for (const allowed of [await app.inject({ url: '/allow', ...as({ tokenId: 't' }) }), await strict.inject({ url: '/', ...as({ tokenId: 't' }) })]) {
      t.equal(allowed.statusCode, 200, name)
    }
    t.equal((await app.inject({ url: '/' })).statusCode, 200, 'an anonymous request needs no store')
    t.ok(Date.now() - started < 2000)
  }
})

t.test('an answer in time, by promise, is as good as a plain one', async t => {
  const app = await host(t, { revocations: { check: async ({ tokenId }) => tokenId === 'dead' ? 'revoked' : 'live' } })
  t.equal((await app.inject({ url: '/', ...as({ tokenId: 'dead' }) })).statusCode, 401)
  t.equal((await app.inject({ url: '/', ...as({ tokenId: 'live' }) })).statusCode, 200)
})

t.test('a credential that no mark could reach is not let through unseen', async t => {
  const app = await host(t)
  t.equal((await app.inject({ url: '/', ...as({ tenant: 'x', issuedAt: 1 }) })).statusCode, 503)
})

t.test('the host chooses the body, directly or by its error handler', async t => {
  const revocations = memoryRevocationStore()
  await revocations.revoke({ tokenId: 'dead', until })
  const direct = await host(t, { revocations, body: ({ status, reason }, request) => ({ status, reason, path: request.url }) })
  const refused = await direct.inject({ url: '/', ...as({ tokenId: 'dead' }) })
  t.same([refused.statusCode, refused.json()], [401, { status: 401, reason: 'revoked', path: '/' }])
  const unknown = await direct.inject({ url: '/', ...as({}) })
  t.same([unknown.statusCode, unknown.json(), unknown.headers['retry-after']], [503, { status: 503, reason: 'unknown', path: '/' }, '5'])

  const handled = await host(t, { revocations }, app => {
    app.setErrorHandler((error: Error & { reason?: string, statusCode?: number }, _request, reply) => reply.send({ oops: error.reason ?? error.statusCode }))
    plainRoutes(app)
  })
  const answer = await handled.inject({ url: '/', ...as({ tokenId: 'dead' }) })
  t.same([answer.statusCode, answer.json(), answer.headers['www-authenticate']], [401, { oops: 'revoked' }, 'Bearer error="invalid_token"'])
  t.same((await handled.inject({ url: '/', ...as({}) })).json(), { oops: 503 })
})

t.test('a function of the host that throws is the host\'s own error, and answers', async t => {
  for (const check of [() => 'revoked' as const, async () => 'revoked' as const]) {
    const app = await host(t, { revocations: { check }, body () { throw Object.assign(new Error('no body'), { statusCode: 418 }) } })
    t.equal((await app.inject({ url: '/', ...as({ tokenId: 't' }) })).json().message, 'no body')
  }
  const app = await host(t, { credential () { throw new Error('no facts') } })
  t.equal((await app.inject({ url: '/' })).statusCode, 500)
})

t.test('nothing is added to routes that are not guarded, nor to those outside its scope', async t => {
  const hooks: Record<string, unknown> = {}
  const app = fastify()
  t.teardown(() => app.close())
  app.get('/before', async () => 'in')
  await app.register(async scope => {
    await scope.register(revocationGuard, { revocations: { check: () => 'revoked' }, credential })
    scope.addHook('onRoute', route => { hooks[`${String(route.method)} ${route.url}`] = route.preHandler })
    plainRoutes(scope)
  })
  app.get('/beside', async () => 'in')
  await app.ready()
  t.equal(hooks['GET /open'], undefined)
  t.equal(hooks['POST /logout'], undefined)
  t.match(hooks['GET /'], [Function])
  for (const url of ['/before', '/beside', '/open']) t.equal((await app.inject({ url, ...as({ tokenId: 't' }) })).body, 'in')
  t.equal((await app.inject({ method: 'POST', url: '/logout', ...as({ tokenId: 't' }) })).body, 'out')
  t.equal((await app.inject({ url: '/', ...as({ tokenId: 't' }) })).statusCode, 401)
})

t.test('it looks behind the authentication of the instance and of the route', async t => {
  const revocations = memoryRevocationStore()
  await revocations.revoke({ subject: 'alice', cutoff: Date.now(), until })
  for (const hook of ['onRequest', 'preValidation', 'preHandler'] as const) {
    const app = await host(t, { revocations, hook, credential: request => request.getDecorator<Credential | null>('who') }, app => {
      const authenticate = async (request: FastifyRequest) => { request.setDecorator('who', { subject: 'alice' }) }
      app.decorateRequest('who', null)
      app.get('/one', { [hook]: authenticate }, async () => 'in')
      app.get('/list', { [hook]: [authenticate] }, async () => 'in')
      app.get('/anonymous', async () => 'in')
      app.register(async scope => {
        scope.addHook(hook, authenticate)
        scope.get('/scope', async () => 'in')
      })
    })
    for (const url of ['/one', '/list', '/scope']) t.equal((await app.inject(url)).statusCode, 401, `${hook} ${url}`)
    t.equal((await app.inject('/anonymous')).statusCode, 200)
  }
})

t.test('misuse is a TypeError that names the option', async t => {
  const wrong: Array<[string, Record<string, unknown>]> = [
    ['revocations', { revocations: undefined }], ['revocations', { revocations: {} }], ['credential', { credential: undefined }],
    ['whenUnavailable', { whenUnavailable: 'maybe' }], ['hook', { hook: 'onSend' }], ['retryAfter', { retryAfter: -1 }], ['timeout', { timeout: 0 }], ['body', { body: {} }]
  ]
  for (const [option, change] of wrong) {
    const options = { revocations: memoryRevocationStore(), credential, ...change } as RevocationGuardOptions
    await t.rejects(async () => { await fastify().register(revocationGuard, options) }, { name: 'TypeError', message: new RegExp(`"${option}"`) })
  }
  await t.rejects(host(t, {}, app => { app.get('/', { config: { revocation: 'maybe' } }, async () => 'in') }), { name: 'TypeError', message: /"config.revocation" of the route \// })
})
