import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import { createSigner } from 'fast-jwt'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { Redis } from 'ioredis'
import Fastify from 'fastify'
import { protectSessionStore, type ProtectSessionStoreOptions } from '../lib/bridges/express-session.ts'
import { logoutMarks } from '../lib/internal/revocation/logout-marks.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import type { RevocationReplica } from '../lib/internal/revocation/replica.ts'
import { withRedis } from './servers/redis.ts'

const secret = process.env['SECRET'] = 'a secret of 32 characters at least'
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const [page = ''] = readme.slice(readme.indexOf('## Make logout stick')).split('\n## Write')
const blocks = [...page.matchAll(/```js\n(.*?)```/gs)].map(([, code = '']) => code)

/** Runs one block of the page, with the package's names led to its sources, and gives what it made. */
async function run<Made> (t: Test, block: number, exported: string, given: Record<string, unknown> = {}): Promise<Made> {
  const code = (blocks[block] ?? '')
    .replace("'fastify-logout'", "'../lib/index.ts'")
    .replace(/'fastify-logout\/(.*)'/g, '\'../lib/$1.ts\'')
  const file = fileURLToPath(new URL(`block-${block}-${process.pid}.mjs`, import.meta.url))
  t.teardown(() => rmSync(file))
  Object.assign(globalThis, given)
  writeFileSync(file, `${code}\nexport { ${exported} }\n`)
  return import(pathToFileURL(file).href)
}

t.test('the recipes for @fastify/jwt and for plain fast-jwt: the token is revoked by the logout, another is not', async t => {
  const sign = createSigner({ key: secret, expiresIn: 900_000 })
  for (const block of [0, 2]) {
    const { app } = await run<{ app: FastifyInstance }>(t, block, 'app')
    t.teardown(() => app.close())
    app.get('/', async () => 'in')
    const ask = async (method: 'GET' | 'POST', url: string, token: string) =>
      (await app.inject({ method, url, headers: { authorization: `Bearer ${token}` } })).statusCode
    for (const claims of [{ sub: 'alice', jti: randomUUID() }, { sub: 'alice', nonce: randomUUID() }]) {
      const [token, other] = [sign(claims), sign({ ...claims, jti: randomUUID() })]
      t.equal(await ask('GET', '/', token), 200)
      t.equal(await ask('POST', '/logout', token), 200)
      t.equal(await ask('GET', '/', token), 401)
      t.equal(await ask('GET', '/', other), 200)
    }
    t.equal(await ask('GET', '/', 'none'), 401)
  }
})

t.test('the recipe for @fastify/session: the session is ended, also if a request of it is still running', async t => {
  const { app } = await run<{ app: FastifyInstance }>(t, 1, 'app')
  t.teardown(() => app.close())
  const sessionOf = (request: FastifyRequest) => (request as unknown as { session: Record<string, unknown> }).session
  let finish = () => {}
  let begun = () => {}
  app.post('/login', async request => { sessionOf(request)['user'] = 'alice'; return 'in' })
  app.get('/', async request => sessionOf(request)['user'] ?? 'nobody')
  app.get('/slow', async () => {
    begun()
    await new Promise<void>(resolve => { finish = resolve })
    return 'done'
  })
  const https = { 'x-forwarded-proto': 'https' }
  const { cookies: [cookie] } = await app.inject({ method: 'POST', url: '/login', headers: https })
  const headers = { ...https, cookie: `${cookie?.name}=${cookie?.value}` }
  t.equal((await app.inject({ url: '/', headers })).body, 'alice')
  const started = new Promise<void>(resolve => { begun = resolve })
  const slow = app.inject({ url: '/slow', headers })
  await started
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers })).body, 'logged out')
  finish()
  t.equal((await slow).body, 'done')
  t.equal((await app.inject({ url: '/', headers })).body, 'nobody')
})

t.test('the option that ends a session together with all sessions of its user', async t => {
  const [, option = ''] = /`credential: (session => \(\{.*?\}\))`/.exec(page) ?? []
  interface Module { readonly default: ProtectSessionStoreOptions['credential'] }
  const { default: credential } = await import(`data:text/javascript,export default ${encodeURIComponent(option)}`) as Module
  const revocations = memoryRevocationStore()
  const sessions = protectSessionStore(new fastifySession.MemoryStore(), revocations, { credential })
  t.ok({ secret, store: sessions } satisfies FastifySessionOptions, 'its types are those that the plugin asks for')
  const loggedInAt = Date.now() - 1000
  const users = [['phone', 'alice'], ['laptop', 'alice'], ['other', 'bob']] as const
  for (const [id, user] of users) await sessions.set(id, { user, loggedInAt })
  await sessions.destroy('phone')
  t.match(await sessions.get('laptop'), { user: 'alice' }, 'one logout is one session')
  await revocations.revoke(...logoutMarks({ subject: 'alice' }, { scope: 'all', lifetime: 60_000 }))
  t.notOk(await sessions.get('laptop'))
  t.match(await sessions.get('other'), { user: 'bob' })
  await sessions.set('later', { user: 'alice', loggedInAt: Date.now() + 1 })
  t.match(await sessions.get('later'), { user: 'alice' }, 'a later login lives')
})

t.test('the recipe for more than one node', t => withRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  const app = Fastify()
  const { revocations } = await run<{ revocations: RevocationReplica }>(t, 3, 'revocations', { redis, app })
  const tokenId = randomUUID()
  await revocations.revoke({ tokenId, until: Date.now() + 60_000 })
  t.equal(revocations.check({ tokenId }), 'revoked')
  t.ok(revocations.staleness() < 2000)
  await app.close()
  t.equal(revocations.staleness(), Infinity)
}))
