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
    const credential = credentialOf({ iat: Math.floor(Date.now() / 1000), ...claims }, token)
    revocations.revoke(...logoutMarks(credential, { lifetime, scope: 'sub' in claims ? 'all' : 'current' }))
    for (let time = 0; time < 2; time++) {
      const refused = await ask(app, token)
      t.equal(refused.statusCode, 401)
      t.equal(refused.json().code, 'FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED')
    }
    t.equal((await ask(app, other)).body, 'in')
  }
})

t.test('if the store fails, the response is 503 or the token is trusted, within the timeout and never 401', async t => {
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

function revoke (app: FastifyInstance, revocations: Pick<RevocationStore, 'revoke'>, token: string) {
  const { jwt } = app as unknown as { jwt: { decode (token: string): Record<string, unknown> } }
  return revocations.revoke(...logoutMarks(credentialOf(jwt.decode(token), token), { lifetime }))
}

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

t.test('no other token in the request makes a revoked one pass, or a live one fail', async t => {
  const cookie = { cookieName: 'token', signed: false }
  const places: Array<[Setting, (token: string) => Record<string, string>]> = [
    [{ jwt: { cookie }, options: { onlyCookie: true } }, token => ({ cookie: `token=${token}` })],
    [{ options: { extractToken: (request: FastifyRequest) => request.headers['x-token'] } }, token => ({ 'x-token': token })],
    [{ jwt: { verify: { extractToken: request => request.headers['x-token'] as string } } }, token => ({ 'x-token': token })]
  ]
  for (const [setting, place] of places) {
    const revocations = memoryRevocationStore()
    const app = await host(t, { revocations }, setting)
    const token = sign(app, { n: 1 })
    const [header = '', payload = ''] = token.split('.')
    const encoded = (text: string) => Buffer.from(text).toString('base64url')
    const claims = Buffer.from(payload, 'base64url').toString()
    const decoys = [
      sign(app, { n: 2 }), 'not-a-token', 'a.b.c',
      `${encoded('{"alg":"HS256","kid":"x"}')}.${payload}.AAAA`, // the same claims, not signed
      `${header}.${encoded(` ${claims}`)}.AAAA`,
      `${header}.${encoded('{}')}.AAAA`,
      `${header}.${encoded('{"n":1}')}.AAAA`
    ]
    const send = (decoy: string) => app.inject({ url: '/', headers: { authorization: `Bearer ${decoy}`, ...place(token) } })
    for (const decoy of decoys) t.equal((await send(decoy)).body, 'in')
    await revoke(app, revocations, decoys[0] ?? '')
    for (const decoy of decoys) t.equal((await send(decoy)).body, 'in', 'not refused for another token that is revoked')
    await revoke(app, revocations, token)
    for (const decoy of decoys) t.equal((await send(decoy)).statusCode, 401, decoy)
  }
})

t.test('both encodings of one signature are one token', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  const token = sign(app, { n: 1 })
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const spellings = [1, 2, 3].map(bits => `${token.slice(0, -1)}${digits[digits.indexOf(token.at(-1) ?? '') ^ bits]}`)
  for (const spelling of spellings) t.equal((await ask(app, spelling)).body, 'in', 'it verifies')
  await revoke(app, revocations, token)
  for (const spelling of [token, ...spellings]) t.equal((await ask(app, spelling)).statusCode, 401)
})

t.test('a token without a jti is recognised wherever it comes from, and however it is verified', async t => {
  const formatUser = ({ payload }: { payload: object }) => payload
  const publicKey = (_request: unknown, _token: unknown, found: (error: null, key: string) => void) => found(null, 'secret')
  const settings: Array<[string, Setting]> = [
    ['authorization', { jwt: { namespace: 'access' }, verify: 'accessJwtVerify' }],
    ['x-token', { jwt: { verify: { extractToken: request => request.headers['x-token'] as string | undefined } } }],
    ['authorization', { jwt: { cookie: { cookieName: 'token', signed: false } } }],
    ['authorization', { jwt: { secret: publicKey } as unknown as Partial<FastifyJWTOptions> }],
    ['authorization', { jwt: { verify: { complete: true } } as unknown as Partial<FastifyJWTOptions> }],
    ['authorization', { jwt: { verify: { cache: false } } }],
    ['authorization', { jwt: { verify: { cache: 0 } } }],
    ['authorization', { jwt: { verify: { cache: true, complete: true }, formatUser } as never }],
    ['authorization', { options: { complete: true } }]
  ]
  for (const [header, setting] of settings) {
    const revocations = memoryRevocationStore()
    const app = await host(t, { revocations }, setting)
    const signer = await host(t, { revocations })
    const tokens = [sign(signer, { n: 1, roles: [] }), sign(signer, { z: 1, 2: 'b', 1: 'a', roles: ['\u00e4', 1e21, -0, 0.1] })]
    for (const token of tokens) {
      const send = () => app.inject({ url: '/', headers: { [header]: header === 'authorization' ? `Bearer ${token}` : token } })
      for (let time = 0; time < 2; time++) t.equal((await send()).body, 'in')
      revocations.revoke(...logoutMarks(credentialOf({}, token), { lifetime }))
      for (let time = 0; time < 2; time++) t.equal((await send()).statusCode, 401)
    }
  }
})

t.test('claims that imitate the result of verify.complete are treated as claims', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations })
  const inner = { jti: 'inner', sid: 'inner' }
  const input = `x.${Buffer.from('{"jti":"live"}').toString('base64url')}`
  const token = sign(app, { header: { alg: 'HS256' }, payload: inner, signature: 'x', input })
  t.equal((await ask(app, token)).body, 'in')
  revocations.revoke(...logoutMarks(credentialOf({}, token), { lifetime }))
  t.equal((await ask(app, token)).statusCode, 401)
})

t.test('cached claims without a jti are refused whatever the policy, because the host may have changed them', async t => {
  const cached: Setting[] = [
    { jwt: { verify: { cache: true } } }, { jwt: { verify: { cache: 10 } } },
    { jwt: { verify: { cache: true }, namespace: 'access' }, verify: 'accessJwtVerify' }
  ]
  for (const setting of cached) {
    const app = await host(t, { revocations: memoryRevocationStore(), whenUnavailable: 'allow' }, setting)
    const refused = await ask(app, sign(app, { n: 1 }))
    t.equal(refused.statusCode, 500)
    t.match(refused.json().message, /"verify.cache" need "verify.complete" too, or the option "credential"/)
    t.equal((await ask(app, sign(app, { n: 1, jti: 'j' }))).body, 'in')
  }
})

t.test('a credential without any id is refused whatever the policy', async t => {
  const wrong: unknown[] = [() => ({}), () => undefined, () => null, async () => ({ tokenId: 't' })]
  for (const credential of wrong as Array<NonNullable<TrustedByOptions['credential']>>) {
    const app = await host(t, { revocations: memoryRevocationStore(), whenUnavailable: 'allow', credential })
    const refused = await ask(app, sign(app, { jti: 'j' }))
    t.equal(refused.statusCode, 500)
    t.match(refused.json().message, /^trustedBy: option "credential" must/)
  }
})

t.test('the option "credential" replaces the default', async t => {
  const revocations = memoryRevocationStore()
  const app = await host(t, { revocations, credential: claims => ({ sessionId: String(claims['session']) }) })
  const token = sign(app, { session: 7 })
  revocations.revoke({ sessionId: '7', until: Date.now() + lifetime })
  t.equal((await ask(app, token)).statusCode, 401)
})

t.test('a wrong option throws a TypeError that names it', async t => {
  const revocations = memoryRevocationStore()
  for (const [option, change] of Object.entries({ revocations: {}, whenUnavailable: 'maybe', credential: 1, timeout: -1 })) {
    const options = { revocations, [option]: change } as TrustedByOptions
    t.throws(() => trustedBy(options), { name: 'TypeError', message: new RegExp(`^trustedBy: option "${option}"`) })
  }
})
