import fastifySecureSession from '@fastify/secure-session'
import fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { secureSessionCredential, type SecureSessionCredentialOptions } from '../../lib/bridges/secure-session.ts'
import { revocationGuard } from '../../lib/guards/revocation.ts'
import { logoutMarks } from '../../lib/internal/revocation/logout-marks.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

type Session = { get (key: string): string | undefined, set (key: string, value: unknown): void, delete (): void }
const sessionOf = (request: FastifyRequest) => (request as unknown as { session: Session }).session

async function host (t: Test, options: SecureSessionCredentialOptions = {}, signed = false) {
  const app = fastify()
  t.teardown(() => app.close())
  const revocations = memoryRevocationStore()
  const credential = secureSessionCredential({ cookieName: 'session', ...options })
  await app.register(fastifySecureSession, { key: Buffer.alloc(32, 7), cookie: { path: '/', signed } })
  await app.register(revocationGuard, { revocations, credential })
  app.post('/login', { config: { revocation: false } }, async request => {
    sessionOf(request).set('user', 'alice')
    sessionOf(request).set('id', 'session-1')
    return 'in'
  })
  app.get('/me', async request => sessionOf(request).get('user') ?? 'nobody')
  app.post('/touch', async request => {
    sessionOf(request).set('seen', Date.now())
    return 'touched'
  })
  app.post('/logout', async request => {
    const found = credential(request)
    if (found !== undefined) await revocations.revoke(...logoutMarks(found, { lifetime: 86_401_000 }))
    sessionOf(request).delete()
    return 'out'
  })
  const send = async (method: 'GET' | 'POST', url: string, cookie?: string) => {
    const response = await app.inject({ method, url, headers: cookie === undefined ? {} : { cookie: `session=${cookie}` } })
    const values = response.cookies.map(({ value }) => encodeURIComponent(value))
    return { status: response.statusCode, body: response.body, cookie: values.find(value => value !== '') }
  }
  return { send }
}

t.test('a copied cookie is revoked by the logout, however it is encoded', async t => {
  for (const signed of [false, true]) {
    const { send } = await host(t, {}, signed)
    const { cookie = '' } = await send('POST', '/login')
    const { cookie: other } = await send('POST', '/login')
    t.equal((await send('GET', '/me', cookie)).body, 'alice')
    t.equal((await send('POST', '/logout', cookie)).body, 'out')
    t.equal((await send('GET', '/me', cookie)).status, 401)
    const spellings = [
      cookie.replace(/%3D$/, ''), cookie.replace('%3B', '%20%3B%20'), `${cookie}%20`, `${cookie}%3Bmore`, `${cookie}AAAA`
    ]
    for (const spelling of signed ? [] : spellings) t.not((await send('GET', '/me', spelling)).body, 'alice', spelling)
    t.equal((await send('GET', '/me', other)).body, 'alice')
    t.equal((await send('GET', '/me')).body, 'nobody')
  }
})

t.test('without an id in the session an earlier cookie of it stays valid; with one they are all revoked', async t => {
  const bare = await host(t)
  const first = (await bare.send('POST', '/login')).cookie
  const second = (await bare.send('POST', '/touch', first)).cookie
  await bare.send('POST', '/logout', second)
  t.equal((await bare.send('GET', '/me', second)).status, 401)
  t.equal((await bare.send('GET', '/me', first)).body, 'alice', 'this is why the documentation asks for an id')

  const safe = await host(t, { credential: request => ({ sessionId: sessionOf(request).get('id') }) })
  const one = (await safe.send('POST', '/login')).cookie
  const two = (await safe.send('POST', '/touch', one)).cookie
  await safe.send('POST', '/logout', two)
  for (const cookie of [one, two]) t.equal((await safe.send('GET', '/me', cookie)).status, 401)
})

const asked = (cookies: unknown) => ({ cookies }) as unknown as FastifyRequest
const nonce = Buffer.alloc(24, 1).toString('base64')

t.test('without a cookie that could be valid the credential is undefined', async t => {
  const credential = secureSessionCredential()
  for (const cookies of [{}, { session: '' }, { session: 'abc' }, { session: 'abc;ZGVm' }, { other: `abc;${nonce}` }]) {
    t.equal(credential(asked(cookies)), undefined)
  }
  const [plain, signed] = [`abc;${nonce}`, `abc;${nonce}.c2lnbmF0dXJl`].map(session => credential(asked({ session })))
  t.same(plain, signed, 'a signature behind it makes it no other cookie')
  t.ok(secureSessionCredential({ cookieName: 'other' })(asked({ other: `abc;${nonce}` }))?.tokenId)
})

t.test('a session with an id is checked by it, also if the cookie has another name than expected', async t => {
  const credential = secureSessionCredential({ credential: () => ({ sessionId: 's' }) })
  t.same(credential(asked({ sid: `abc;${nonce}` })), { sessionId: 's' })
})

t.test('a wrong option throws a TypeError that says what to do', async t => {
  t.throws(() => secureSessionCredential({ cookieName: '' }), { name: 'TypeError', message: /option "cookieName" must be/ })
  const message = /option "credential" must be a function/
  t.throws(() => secureSessionCredential({ credential: 1 as never }), { name: 'TypeError', message })
  const wrong = secureSessionCredential({ credential: (async () => ({ sessionId: 's' })) as never })
  t.throws(() => wrong(asked({})), { name: 'TypeError', message: /option "credential" must not be async/ })
  for (const cookies of [undefined, null]) {
    const message = /register @fastify\/secure-session before the guard/
    t.throws(() => secureSessionCredential()(asked(cookies)), { name: 'TypeError', message })
  }
})
