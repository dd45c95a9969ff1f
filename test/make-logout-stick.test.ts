import { createSigner } from 'fast-jwt'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import type { RevocationReplica } from '../lib/internal/revocation/replica.ts'
import { withRedis } from './servers/redis.ts'
import { setCookies } from './session-host.ts'

const secret = process.env['SECRET'] = 'a secret of 32 characters at least'
const page = readFileSync('docs/guides/revocation.md', 'utf8')
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

t.test('the recipe for @fastify/jwt: a logout with either token ends both, clears the cookie, and can be repeated', async t => {
  const { app } = await run<{ app: FastifyInstance }>(t, 0, 'app')
  t.teardown(() => app.close())
  interface Device { readonly access: string, readonly refresh: string }
  const kept = (response: LightMyRequestResponse): Device => {
    return { access: response.json().access, refresh: response.cookies.find(({ name }) => name === 'refresh')?.value ?? '' }
  }
  const logIn = async () => kept(await app.inject({ method: 'POST', url: '/auth/login' }))
  const me = async ({ access }: Pick<Device, 'access'>) => {
    return (await app.inject({ url: '/me', headers: { authorization: `Bearer ${access}` } })).statusCode
  }
  const refreshed = ({ refresh }: Pick<Device, 'refresh'>) => app.inject({ method: 'POST', url: '/auth/refresh', cookies: { refresh } })
  const logOut = async ({ access, refresh }: Partial<Device>, scope = 'current') => {
    const response = await app.inject({
      method: 'POST',
      url: '/auth/logout',
      headers: { ...(access !== undefined && { authorization: `Bearer ${access}` }) },
      cookies: { ...(refresh !== undefined && { refresh }) },
      payload: { scope }
    })
    const cleared = setCookies(response).filter(({ removed }) => removed)
    return [response.statusCode, cleared.map(({ name, attributes }) => [name, attributes['path']])]
  }
  const cleared = [204, [['refresh', '/auth']]]

  for (const sent of [['access'], ['refresh'], ['access', 'refresh']] as const) {
    const [laptop, phone] = [await logIn(), await logIn()]
    const newer = kept(await refreshed(laptop))
    t.strictSame([await me(laptop), await me(newer), (await refreshed(newer)).statusCode], [200, 200, 200])
    const given = Object.fromEntries(sent.map(name => [name, laptop[name]]))
    for (let time = 0; time < 3; time++) t.strictSame(await logOut(given), cleared, `${sent}, time ${time}`)
    t.strictSame(await Promise.all([me(laptop), me(newer), me(phone)]), [401, 401, 200])
    const answers = await Promise.all([laptop, newer, phone].map(refreshed))
    t.strictSame(answers.map(({ statusCode }) => statusCode), [401, 401, 200])
  }

  const [laptop, phone] = [await logIn(), await logIn()]
  t.strictSame(await logOut(laptop, 'others'), [204, []])
  t.strictSame([await me(laptop), await me(phone), (await refreshed(phone)).statusCode], [200, 401, 401])
  t.strictSame(await logOut(laptop, 'all'), cleared)
  t.equal((await refreshed(laptop)).statusCode, 401)
  t.equal(await me({ access: (await logIn()).refresh }), 401, 'a refresh token is no access token')
  t.equal((await refreshed({ refresh: (await logIn()).access })).statusCode, 401)
})

t.test('the recipe for any verifier: the token is revoked by the logout, another is not, and the same again succeeds', async t => {
  const sign = createSigner({ key: secret, expiresIn: 900_000 })
  const { app } = await run<{ app: FastifyInstance }>(t, 1, 'app')
  t.teardown(() => app.close())
  app.get('/', async () => 'in')
  const ask = async (method: 'GET' | 'POST', url: string, token: string) =>
    (await app.inject({ method, url, headers: { authorization: `Bearer ${token}` } })).statusCode
  for (const claims of [{ sub: 'alice', jti: randomUUID() }, { sub: 'alice', nonce: randomUUID() }]) {
    const [token, other] = [sign(claims), sign({ ...claims, jti: randomUUID() })]
    t.equal(await ask('GET', '/', token), 200)
    for (let time = 0; time < 2; time++) t.equal(await ask('POST', '/logout', token), 204)
    t.equal(await ask('GET', '/', token), 401)
    t.equal(await ask('GET', '/', other), 200)
  }
  t.equal(await ask('GET', '/', 'none'), 401)
})

t.test('the recipe for more than one node', t => withRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  const app = Fastify()
  const { revocations } = await run<{ revocations: RevocationReplica }>(t, 2, 'revocations', { redis, app })
  const tokenId = randomUUID()
  await revocations.revoke({ tokenId, until: Date.now() + 60_000 })
  t.equal(revocations.check({ tokenId }), 'revoked')
  t.ok(revocations.staleness() < 2000)
  await app.close()
  t.equal(revocations.staleness(), Infinity)
}))
