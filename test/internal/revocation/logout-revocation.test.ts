import fastifyWebsocket from '@fastify/websocket'
import { createSigner, createVerifier } from 'fast-jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { signingHubLogout } from '../../../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../../../lib/flows/tenant-status.ts'
import { revocationGuard } from '../../../lib/guards/revocation.ts'
import { credentialOf } from '../../../lib/internal/revocation/logout-marks.ts'
import { credentialOfPrincipal, logoutRevocation, type LogoutRevocation } from '../../../lib/internal/revocation/logout-revocation.ts'
import type { Credential, Mark, RevocationStore } from '../../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { TokenRejectedError, type Claims } from '../../../lib/token-verifier.ts'
import { memoryUserStatusStore } from '../../../lib/user-status-stores/memory.ts'

const key = 'a key for tests alone'
const lifetime = 3_600_000
const sign = createSigner({ key })
const verify: (token: string) => Claims = createVerifier({ key })
const earlier = Math.floor(Date.now() / 1000) - 10
const tokenOf = (subject: string, claims: object = {}) => sign({ sub: subject, tenant: 'acme', jti: randomUUID(), iat: earlier, ...claims })

interface Logout {
  readonly name: string
  readonly logOut: (token: string) => Promise<number>
  readonly app: FastifyInstance
  readonly logouts: string[]
}

/** One host with both flows, a guard, and a route of each kind. */
async function host (t: Test, revoke: LogoutRevocation, guarded: Pick<RevocationStore, 'check'>): Promise<Logout[]> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHttpMethod('PROPFIND')
  await app.register(fastifyWebsocket)
  const logouts: string[] = []
  const users = memoryUserStatusStore()
  for (const subject of ['alice', 'bob']) await users.set({ tenant: 'acme', subject }, 'logged_in')

  const verifyToken = (token: string): Claims => {
    try {
      return verify(token)
    } catch (cause) {
      throw new TokenRejectedError('untrusted', { cause })
    }
  }
  app.decorateRequest('credential', null)
  app.addHook('onRequest', async request => {
    const token = request.headers.authorization?.slice('Bearer '.length) ?? ''
    if (token !== '') request.setDecorator<Credential>('credential', credentialOf(verifyToken(token), token))
  })
  const credential = (request: FastifyRequest) => request.getDecorator<Credential | null>('credential')
  await app.register(revocationGuard, { revocations: guarded, credential })
  await app.register(signingHubLogout, { verifyToken, revoke, onLogout: ({ subject }) => { logouts.push(subject) } })
  await app.register(tenantStatusLogout, {
    users,
    verifyToken,
    revoke,
    authenticateTenant: () => 'acme',
    route: { rateLimit: { max: 1000 } },
    onLogout: ({ subject }) => { logouts.push(subject) }
  })
  for (const [method, url] of routes) app.route({ method, url, handler: async () => 'in' })
  app.get('/stream', async () => Readable.from(['i', 'n']))
  app.get('/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.end('data: in\n\n')
  })
  app.get('/constrained', { constraints: { version: '1.0.0' } }, async () => 'in')
  app.get('/socket', { websocket: true }, socket => { socket.send('in') })
  app.route({ method: 'GET', url: '/both', handler: async () => 'in', wsHandler: socket => { socket.send('in') } })
  await app.register(async scope => {
    scope.get('/', async () => 'in')
    scope.get('/socket', { websocket: true }, socket => { socket.send('in') })
    await scope.register(async inner => { inner.all('/*', async () => 'in') }, { prefix: '/:id' })
  }, { prefix: '/scope' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return [
    {
      name: 'SigningHub',
      app,
      logouts,
      async logOut (token) {
        return (await app.inject({ method: 'POST', url: '/v3/logout', headers: { authorization: `Bearer ${token}` } })).statusCode
      }
    },
    {
      name: 'tenant-status',
      app,
      logouts,
      async logOut (token) {
        return (await app.inject({ url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': token } })).statusCode
      }
    }
  ]
}

const routes = [
  ['GET', '/'], ['POST', '/'], ['PUT', '/things/:id'], ['PATCH', '/things/:id'], ['DELETE', '/things/:id'], ['OPTIONS', '/'],
  ['PROPFIND', '/'], ['GET', '/files/*']
] as const

/** How a token is answered on every kind of route: an upgrade that is accepted counts as 200. */
async function statuses (app: FastifyInstance, token: string): Promise<Set<number>> {
  const headers = { authorization: `Bearer ${token}` }
  const others = [
    ['HEAD', '/'], ['GET', '/stream'], ['GET', '/events'], ['GET', '/constrained'], ['GET', '/both'], ['GET', '/scope'],
    ['HEAD', '/scope'], ['GET', '/scope/'], ['POST', '/scope/1/deep']
  ] as const
  const answers = await Promise.all([...routes, ...others].map(async ([method, url]) => {
    const answer = await app.inject({
      method: method as 'GET',
      url: url.replace(':id', '1').replace('*', 'a/b'),
      headers: url === '/constrained' ? { ...headers, 'accept-version': '1.x' } : headers
    })
    return answer.statusCode
  }))
  return new Set([...answers, ...await Promise.all(['/socket', '/both', '/scope/socket'].map(path => upgrade(app, path, headers)))])
}

async function upgrade (app: FastifyInstance, path: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(`${app.listeningOrigin.replace('http', 'ws')}${path}`, { headers })
  try {
    const refused = once(socket, 'unexpected-response').then(([, response]) => [response.statusCode])
    const [message] = await Promise.race([once(socket, 'message'), refused])
    return String(message) === 'in' ? 200 : Number(message)
  } finally {
    socket.on('error', () => {})
    socket.terminate()
  }
}

t.test('by default the token that was sent and its session are revoked on every kind of route, others are live', async t => {
  const store = memoryRevocationStore()
  for (const { name, logOut, app } of await host(t, { revocations: store, lifetime }, store)) {
    const sid = randomUUID()
    const [token, sameSession] = [tokenOf('alice', { sid }), tokenOf('alice', { sid })]
    const [other, withoutId] = [tokenOf('alice'), tokenOf('alice', { jti: undefined })]
    t.strictSame(await statuses(app, token), new Set([200]), name)
    t.equal(await logOut(token), 200)
    t.strictSame(await statuses(app, token), new Set([401]), name)
    t.strictSame(await statuses(app, sameSession), new Set([401]))
    t.strictSame(await statuses(app, other), new Set([200]))
    t.equal(await logOut(token), 200, 'and again')
    t.equal(await logOut(withoutId), 200)
    t.strictSame(await statuses(app, withoutId), new Set([401]), 'a token without an id is known by its digest')
  }
})

t.test('with the scope "all" everything of the user that was issued until now is revoked, a later login is live', async t => {
  for (const index of [0, 1]) {
    const store = memoryRevocationStore()
    const { logOut, app } = (await host(t, { revocations: store, lifetime, scope: 'all' }, store))[index] as Logout
    const [token, other, bob] = [tokenOf('alice'), tokenOf('alice', { sid: 's' }), tokenOf('bob')]
    const elsewhere = tokenOf('alice', { tenant: 'umbrella' })
    const later = tokenOf('alice', { iat: Math.ceil(Date.now() / 1000) + 1 })
    t.equal(await logOut(token), 200)
    for (const revoked of [token, other]) t.strictSame(await statuses(app, revoked), new Set([401]))
    for (const live of [bob, elsewhere, later]) t.strictSame(await statuses(app, live), new Set([200]))
    t.equal(await logOut(token), 200, 'and again')
  }
})

t.test('a store that rejects marks makes the logout fail; the retry succeeds, and the host is notified once', async t => {
  const good = memoryRevocationStore()
  for (const index of [0, 1]) {
    let down = true
    const store = {
      async revoke (...marks: readonly Mark[]) {
        if (down) throw new Error('secret detail')
        return good.revoke(...marks)
      }
    }
    const { name, logOut, logouts, app } = (await host(t, { revocations: store, lifetime }, good))[index] as Logout
    const token = tokenOf('alice')
    t.equal(await logOut(token), 500, name)
    t.strictSame(await statuses(app, token), new Set([200]))
    down = false
    t.equal(await logOut(token), 200)
    t.strictSame(await statuses(app, token), new Set([401]))
    t.strictSame(logouts, ['alice'])
  }
})

t.test('misuse is a TypeError that names the option', async t => {
  const store = memoryRevocationStore()
  const wrong = {
    'revoke.revocations': { lifetime },
    'revoke.scope': { revocations: store, lifetime, scope: 'subject' },
    'revoke.lifetime': { revocations: store },
    'revoke.clockTolerance': { revocations: store, lifetime, clockTolerance: -1 }
  }
  for (const [option, revocation] of Object.entries(wrong)) {
    await t.rejects(host(t, revocation as LogoutRevocation, store), { name: 'TypeError', message: new RegExp(`"${option}"`) })
  }
  await t.rejects(host(t, { revocations: store, lifetime: 0 }, store), { name: 'TypeError', message: /"revoke.lifetime"/ })
})

t.test('the credential of a flow has the user that the host names, and the ids and instants of the token', async t => {
  const claims = { jti: 'j', sub: 'x', sid: 'sid', iss: 'i', iat: 10, auth_time: 5, exp: 20 }
  const user = { subject: 'alice', tenant: 'acme', sessionId: 's', issuedAt: 12_000 }
  const expected = { tokenId: 'j', ...user, issuer: 'i', loggedInAt: 5000, expiresAt: 20_000 }
  t.same(credentialOfPrincipal(claims, 'token', user), expected)
  t.same(credentialOfPrincipal(claims, 'token', { ...user, issuedAt: undefined }), { ...expected, issuedAt: 10_000 })
  t.equal(credentialOfPrincipal(claims, 'token', { subject: 'alice' }).sessionId, undefined)
})

t.test('a token of another issuer with the same ids stays live', async t => {
  const store = memoryRevocationStore()
  for (const { logOut, app } of await host(t, { revocations: store, lifetime, scope: 'all' }, store)) {
    const [token, sameIds] = [tokenOf('alice', { iss: 'https://a.example' }), tokenOf('alice', { iss: 'https://b.example' })]
    t.equal(await logOut(token), 200)
    t.strictSame(await statuses(app, token), new Set([401]))
    t.strictSame(await statuses(app, sameIds), new Set([200]))
  }
})

t.test('a lifetime may be longer than any timer', async t => {
  const marks: Mark[] = []
  const revocations = { revoke: (...added: readonly Mark[]) => { marks.push(...added) } }
  const thirtyDays = 30 * 24 * 3_600_000
  const revoke = logoutRevocation({ revocations, lifetime: thirtyDays }, 'test', (_question, answer) => answer())
  await revoke?.(() => ({ tokenId: 'j' }))
  t.ok((marks[0]?.until ?? 0) >= Date.now() + thirtyDays - 1000)
})
