import fastifyCookie from '@fastify/cookie'
import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { trustedBy, type TrustedByOptions } from '../../lib/bridges/fastify-jwt.ts'
import { credentialOf, logoutMarks } from '../../lib/internal/revocation/logout-marks.ts'
import type { RevocationStore } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { ask, failing } from './bearer-host.ts'

const lifetime = 600_000
type Verify = FastifyRequest & { [verify: string]: (options?: object) => Promise<unknown> }

interface Setting {
  /** Further options of @fastify/jwt. */
  readonly jwt?: Partial<FastifyJWTOptions>
  /** What the routes call, and with what. */
  readonly verify?: string
  readonly options?: object
}

async function host (t: Test, trusted: TrustedByOptions, { jwt, verify = 'jwtVerify', options }: Setting = {}): Promise<FastifyInstance> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie, { secret: 'a secret for cookies' })
  await app.register(fastifyJwt, { secret: 'secret', ...jwt, trusted: trustedBy(trusted) })
  app.addHook('onRequest', async request => { await (request as Verify)[verify]?.(options) })
  app.get('/', async request => {
    const { user } = request as unknown as { user: { roles?: string[], seen?: true } }
    user.seen = true
    user.roles?.push('reader')
    return 'in'
  })
  await app.ready()
  return app
}

type Sign = (claims: unknown) => string

function sign (app: FastifyInstance, claims: Record<string, unknown>): string {
  const { jwt } = app as unknown as { jwt: { sign?: Sign, access: { sign: Sign } } }
  return (jwt.sign ?? jwt.access.sign)(claims)
}

t.test('a revoked token is untrusted, by its jti, its session, its subject, or its digest', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  for (const claims of [{ jti: 'j' }, { sid: 's' }, { sub: 'alice' }, { nothing: 'of these' }]) {
    const token = sign(app, claims)
    const other = sign(app, { jti: 'other', sid: 'other', sub: 'bob' })
    t.equal((await ask(app, token)).body, 'in')
    const facts = credentialOf({ iat: Math.floor(Date.now() / 1000), ...claims }, token)
    revocations.revoke(...logoutMarks(facts, { lifetime, scope: 'sub' in claims ? 'all' : 'current' }))
    for (let time = 0; time < 2; time++) {
      const refused = await ask(app, token)
      t.equal(refused.statusCode, 401)
      t.equal(refused.json().code, 'FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED')
    }
    t.equal((await ask(app, other)).body, 'in')
  }
})

t.test('while the store cannot tell, it is 503 or trusted, in time, and never unauthorized', async t => {
  for (const [name, check] of Object.entries(failing)) {
    const app = await host(t, { revocations: { check }, timeout: 20 })
    const refused = await ask(app, sign(app, { jti: 'j' }))
    t.equal(refused.statusCode, 503, name)
    t.notMatch(refused.body, 'secret')
    const lenient = await host(t, { revocations: { check }, timeout: 20, whenUnavailable: 'allow' })
    t.equal((await ask(lenient, sign(lenient, { jti: 'j' }))).body, 'in', name)
    t.equal((await ask(lenient, 'not.a.token')).statusCode, 401, 'a token that is none is refused all the same')
  }
})

const revoke = (app: FastifyInstance, revocations: Pick<RevocationStore, 'revoke'>, token: string) =>
  revocations.revoke(...logoutMarks(credentialOf((app as unknown as { jwt: { decode (token: string): Record<string, unknown> } }).jwt.decode(token), token), { lifetime }))
const cookieOf = (app: FastifyInstance, token: string) => ({ cookie: `token=${encodeURIComponent(app.signCookie(token))}` })

t.test('a token in a cookie is refused after its logout, with a jti and without', async t => {
  const cookies: Setting[] = [
    { jwt: { cookie: { cookieName: 'token', signed: false } } },
    { jwt: { cookie: { cookieName: 'token', signed: true } } },
    { jwt: { cookie: { cookieName: 'token', signed: false }, verify: { onlyCookie: true } } },
    { jwt: { cookie: { cookieName: 'token', signed: false } }, options: { onlyCookie: true } }
  ]
  for (const setting of cookies) {
    const revocations = memoryRevocationStore()
    const app = await host(t, { revocations }, setting)
    const send = (token: string, headers: object = {}) => {
      const cookie = setting.jwt?.cookie?.signed === true ? cookieOf(app, token).cookie : `token=${token}`
      return app.inject({ url: '/', headers: { cookie, ...headers } })
    }
    for (const claims of [{ jti: 'j', n: 1 }, { n: 2 }, { sid: 's', n: 3 }]) {
      const token = sign(app, claims)
      t.equal((await send(token)).body, 'in')
      await revoke(app, revocations, token)
      for (let time = 0; time < 2; time++) t.equal((await send(token)).json().code, 'FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED')
      t.equal((await send(sign(app, { n: 4 }))).body, 'in', 'another is another')
    }
  }
})

t.test('a second token in the request hides nothing: neither a stranger nor a forged twin', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations }, { jwt: { cookie: { cookieName: 'token', signed: false } }, options: { onlyCookie: true } })
  const token = sign(app, { n: 1 })
  const [, payload = ''] = token.split('.')
  const twin = `${Buffer.from('{"alg":"HS256","kid":"x"}').toString('base64url')}.${payload}.AAAA`
  const others = [sign(app, { n: 2 }), 'not-a-token', 'a.b.c', twin]
  const send = (authorization: string) => app.inject({ url: '/', headers: { cookie: `token=${token}`, authorization: `Bearer ${authorization}` } })
  for (const other of others) t.equal((await send(other)).body, 'in')
  await revoke(app, revocations, sign(app, { n: 2 }))
  t.equal((await send(others[0] ?? '')).body, 'in', 'nor is it refused for a stranger that is revoked')
  await revoke(app, revocations, token)
  for (const other of others) t.equal((await send(other)).statusCode, 401)
})

t.test('both spellings of one signature are one token', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  const token = sign(app, { n: 1 })
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const spellings = [1, 2, 3].map(bits => `${token.slice(0, -1)}${digits[digits.indexOf(token.at(-1) ?? '') ^ bits]}`)
  for (const spelling of spellings) t.equal((await ask(app, spelling)).body, 'in', 'it verifies')
  await revoke(app, revocations, token)
  for (const spelling of [token, ...spellings]) t.equal((await ask(app, spelling)).statusCode, 401)
})

t.test('namespaces, an extractToken of the host\'s, a header besides a cookie, and claims that the host adds to', async t => {
  const settings: Array<[string, Setting]> = [
    ['authorization', { jwt: { namespace: 'access' }, verify: 'accessJwtVerify' }],
    ['x-token', { jwt: { verify: { extractToken: request => request.headers['x-token'] as string | undefined } } }],
    ['authorization', { jwt: { cookie: { cookieName: 'token', signed: false } } }],
    ['authorization', { jwt: { verify: { cache: true } } }]
  ]
  for (const [header, setting] of settings) {
    const revocations = memoryRevocationStore()
    const app = await host(t, { revocations }, setting)
    const token = sign(app, { n: 1, roles: [] })
    const send = () => app.inject({ url: '/', headers: { [header]: header === 'authorization' ? `Bearer ${token}` : token } })
    for (let time = 0; time < 2; time++) t.equal((await send()).body, 'in')
    revocations.revoke(...logoutMarks(credentialOf({}, token), { lifetime }))
    t.equal((await send()).statusCode, 401)
  }
})

t.test('a token that has no jti and cannot be found is 503, and never trusted in silence', async t => {
  const extractToken = (request: FastifyRequest) => request.headers['x-token']
  const app = await host(t, { revocations: memoryRevocationStore() }, { options: { extractToken } })
  const send = (token: string, headers: object = {}) => app.inject({ url: '/', headers: { 'x-token': token, ...headers } })
  t.equal((await send(sign(app, { n: 1 }))).statusCode, 503)
  t.equal((await send(sign(app, { n: 1, sid: 's' }))).statusCode, 503)
  t.equal((await send(sign(app, { n: 1 }), { authorization: `Bearer ${sign(app, { n: 2 })}` })).statusCode, 503, 'another token in the header is not the one that was verified')
  t.equal((await send(sign(app, { n: 1, jti: 'j' }))).body, 'in')
  const mended = await host(t, { revocations: memoryRevocationStore(), credential: (claims, request) => credentialOf(claims, String(extractToken(request))) }, { options: { extractToken } })
  t.equal((await mended.inject({ url: '/', headers: { 'x-token': sign(mended, { n: 1 }) } })).body, 'in')

  const alone = trustedBy({ revocations: memoryRevocationStore() })
  const request = { server: {}, headers: {}, log: { error () {} } } as unknown as FastifyRequest
  await t.rejects(async () => alone(request, { sub: 'alice' }), { statusCode: 503, cause: { message: /"credential"/ } })
})

t.test('the host reads the facts itself', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations, credential: claims => ({ sessionId: String(claims['session']) }) })
  const token = sign(app, { session: 7 })
  revocations.revoke({ sessionId: '7', until: Date.now() + lifetime })
  t.equal((await ask(app, token)).statusCode, 401)
})

t.test('misuse is a TypeError that names the option', async t => {
  const revocations = memoryRevocationStore()
  for (const [option, change] of Object.entries({ revocations: {}, whenUnavailable: 'maybe', credential: 1, timeout: -1 })) {
    t.throws(() => trustedBy({ revocations, [option]: change } as TrustedByOptions), { name: 'TypeError', message: new RegExp(`"${option}"`) })
  }
})
