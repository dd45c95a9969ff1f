import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { revocationGuard, type RevocationGuardOptions } from '../../lib/guards/revocation.ts'
import { noActivity } from '../../lib/internal/plugin/no-activity.ts'
import type { Credential, RevocationStore } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

const until = Date.now() + 3_600_000
const never = new Promise<never>(() => {})

/** The host's authentication: a header with the credential. */
function credential (request: FastifyRequest): Credential | undefined {
  const { credential } = request.headers
  return typeof credential === 'string' ? JSON.parse(credential) : undefined
}

function as (credential: object) {
  return { headers: { credential: JSON.stringify(credential) } }
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

t.test('a revoked credential is refused, a live one passes, and so does an anonymous request', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  await revocations.revoke({ tokenId: 'revoked', until })
  for (let time = 0; time < 2; time++) {
    const refused = await app.inject({ url: '/', ...as({ tokenId: 'revoked' }) })
    t.equal(refused.statusCode, 401)
    t.equal(refused.headers['www-authenticate'], 'Bearer error="invalid_token"')
    t.equal(refused.headers['cache-control'], 'no-store')
    t.same(refused.json(), {
      statusCode: 401, code: 'LOGOUT_TOKEN_REJECTED', error: 'Unauthorized', message: 'the token was rejected: revoked'
    })
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

t.test('if the store fails, each route follows its policy, and no response is 401', async t => {
  const failures: Record<string, RevocationStore['check']> = {
    throws () { throw new Error('secret detail') },
    rejects: async () => { throw new Error('secret detail') },
    hangs: () => never
  }
  for (const [name, check] of Object.entries(failures)) {
    const app = await host(t, { revocations: { check }, timeout: 20, retryAfter: 7 })
    const lenient = await host(t, { revocations: { check }, timeout: 20, whenUnavailable: 'allow' })
    const started = Date.now()
    const sent = as({ tokenId: 't' })
    for (const refused of [await app.inject({ url: '/', ...sent }), await lenient.inject({ url: '/refuse', ...sent })]) {
      t.equal(refused.statusCode, 503, name)
      t.equal(refused.headers['www-authenticate'], undefined)
      t.notMatch(refused.body, 'secret')
    }
    t.equal((await app.inject({ url: '/', ...sent })).headers['retry-after'], '7')
    for (const allowed of [await app.inject({ url: '/allow', ...sent }), await lenient.inject({ url: '/', ...sent })]) {
      t.equal(allowed.statusCode, 200, name)
    }
    t.equal((await app.inject({ url: '/' })).statusCode, 200, 'an anonymous request needs no store')
    t.ok(Date.now() - started < 20_000)
  }
})

t.test('a store that resolves in time works like a synchronous one', async t => {
  const app = await host(t, { revocations: { check: async ({ tokenId }) => tokenId === 'revoked' ? 'revoked' : 'live' } })
  t.equal((await app.inject({ url: '/', ...as({ tokenId: 'revoked' }) })).statusCode, 401)
  t.equal((await app.inject({ url: '/', ...as({ tokenId: 'live' }) })).statusCode, 200)
})

t.test('a credential without any id is never let through, whatever the policy', async t => {
  const odd = [{}, { tenant: 'x', issuer: 'i', issuedAt: 1 }, { tokenId: null, sessionId: '', subject: {} }]
  for (const whenUnavailable of ['refuse', 'allow'] as const) {
    const app = await host(t, { whenUnavailable })
    for (const url of ['/', '/allow', '/refuse']) {
      for (const credential of odd) {
        const refused = await app.inject({ url, ...as(credential) })
        t.equal(refused.statusCode, 500)
        t.match(refused.json().message, 'revocationGuard: option "credential" must return a credential with a token id')
      }
    }
    t.equal((await app.inject({ url: '/', ...as({ subject: 7 }) })).body, 'in', 'a number is an id')
  }
})

t.test('an async "credential" is refused, whether it resolves or rejects', async t => {
  const rejections: unknown[] = []
  const onRejection = (error: unknown) => rejections.push(error)
  process.on('unhandledRejection', onRejection)
  t.teardown(() => process.off('unhandledRejection', onRejection))
  for (const answer of [async () => ({ tokenId: 't' }), async () => undefined, async () => { throw new Error('no user') }]) {
    const app = await host(t, { whenUnavailable: 'allow', credential: answer as unknown as () => Credential })
    const refused = await app.inject('/')
    t.equal(refused.statusCode, 500)
    t.match(refused.json().message, 'revocationGuard: option "credential" must not be async')
  }
  await new Promise(resolve => setImmediate(resolve))
  t.same(rejections, [])
})

t.test('the body comes from the option "body" or from the error handler of the host', async t => {
  const revocations = memoryRevocationStore()
  await revocations.revoke({ tokenId: 'revoked', until })
  const check = (credential: Credential) => {
    if (credential.tokenId === 'unknown') throw new Error('down')
    return revocations.check(credential)
  }
  const body: RevocationGuardOptions['body'] = ({ status, reason }, request) => ({ status, reason, path: request.url })
  const direct = await host(t, { revocations: { check }, body })
  const refused = await direct.inject({ url: '/', ...as({ tokenId: 'revoked' }) })
  t.same([refused.statusCode, refused.json()], [401, { status: 401, reason: 'revoked', path: '/' }])
  const unknown = await direct.inject({ url: '/', ...as({ tokenId: 'unknown' }) })
  t.same([unknown.statusCode, unknown.json()], [503, { status: 503, reason: 'unknown', path: '/' }])
  t.equal(unknown.headers['retry-after'], '5')

  const handled = await host(t, { revocations: { check } }, app => {
    app.setErrorHandler((error: Error & { reason?: string, statusCode?: number }, _request, reply) =>
      reply.send({ oops: error.reason ?? error.statusCode }))
    plainRoutes(app)
  })
  const answer = await handled.inject({ url: '/', ...as({ tokenId: 'revoked' }) })
  t.same([answer.statusCode, answer.json()], [401, { oops: 'revoked' }])
  t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"')
  t.same((await handled.inject({ url: '/', ...as({ tokenId: 'unknown' }) })).json(), { oops: 503 })
})

t.test('an error of the host\'s functions goes to the error handler of the host', async t => {
  for (const check of [() => 'revoked' as const, async () => 'revoked' as const]) {
    const app = await host(t, { revocations: { check }, body () { throw Object.assign(new Error('no body'), { statusCode: 418 }) } })
    t.equal((await app.inject({ url: '/', ...as({ tokenId: 't' }) })).json().message, 'no body')
  }
  const app = await host(t, { credential () { throw new Error('no user') } })
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

t.test('it runs after the authentication of the instance and of the route', async t => {
  const revocations = memoryRevocationStore()
  await revocations.revoke({ subject: 'alice', cutoff: Date.now(), until })
  for (const hook of ['onRequest', 'preValidation', 'preHandler'] as const) {
    const read: RevocationGuardOptions['credential'] = request => request.getDecorator<Credential | null>('who')
    const app = await host(t, { revocations, hook, credential: read }, app => {
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

t.test('a wrong option throws a TypeError that names it', async t => {
  const wrong: Array<[string, Record<string, unknown>]> = [
    ['revocations', { revocations: undefined }],
    ['revocations', { revocations: {} }],
    ['revocations', { revocations: null }],
    ['credential', { credential: undefined }],
    ['whenUnavailable', { whenUnavailable: 'maybe' }],
    ['whenUnavailable', { whenUnavailable: null }],
    ['hook', { hook: 'onSend' }],
    ['retryAfter', { retryAfter: -1 }],
    ['timeout', { timeout: 0 }],
    ['body', { body: {} }]
  ]
  for (const [option, change] of wrong) {
    const options = { revocations: memoryRevocationStore(), credential, ...change } as RevocationGuardOptions
    const message = new RegExp(`^revocationGuard: option "${option}"`)
    await t.rejects(async () => { await fastify().register(revocationGuard, options) }, { name: 'TypeError', message })
  }
  const wrongRoute = (app: FastifyInstance) => { app.get('/', { config: { revocation: 'maybe' } }, async () => 'in') }
  await t.rejects(host(t, {}, wrongRoute), { name: 'TypeError', message: /"config.revocation" of the route \// })
})
