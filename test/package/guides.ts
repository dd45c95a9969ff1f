import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { blocksOf } from '../docs/pages.ts'
import { setCookies } from '../session-host.ts'

// The hosts of the guides, as they stand in the pages, with the built package. Needs `npm run build`.

process.env['SECRET'] = 'a secret of 32 characters at least'

/** Runs the blocks of a page that have one of these texts as one program, and gives its `app`. */
async function host (t: Test, path: string, parts: readonly string[]): Promise<FastifyInstance> {
  const blocks = blocksOf({ path, text: readFileSync(path, 'utf8') }).filter(({ language }) => language === 'js')
  const code = parts.map(part => blocks.find(block => block.code.includes(part))?.code ?? `throw new Error('no block has ${part}')`)
  const folder = t.testdir({ 'host.mjs': [...code, 'export { app }'].join('\n') })
  const { app } = await import(pathToFileURL(join(folder, 'host.mjs')).href)
  t.teardown(() => app.close())
  return app
}

type Cookies = Record<string, string>
const cookiesOf = (response: LightMyRequestResponse): Cookies => {
  return Object.fromEntries(response.cookies.map(({ name, value }) => [name, value]))
}

t.test('the host of docs/guides/fastify-session.md logs out as often as it is asked, and a password change ends the others', async t => {
  const app = await host(t, 'docs/guides/fastify-session.md', ['protectSessionStore(new MemoryStore()'])
  const logIn = async () => cookiesOf(await app.inject({ method: 'POST', url: '/login' }))
  const me = async (cookies: Cookies) => (await app.inject({ url: '/me', cookies })).statusCode
  const [laptop, phone, tablet] = [await logIn(), await logIn(), await logIn()]
  t.strictSame([await me(laptop), await me(phone), await me(tablet), await me({})], [200, 200, 200, 401])
  for (const cookies of [phone, phone, {}]) {
    const response = await app.inject({ method: 'POST', url: '/logout', cookies })
    t.equal(response.statusCode, 204)
    t.match(setCookies(response), [{ name: 'sessionId', removed: true }])
  }
  t.strictSame([await me(phone), await me(laptop)], [401, 200])
  t.equal((await app.inject({ method: 'POST', url: '/password', cookies: laptop })).statusCode, 200)
  t.strictSame([await me(tablet), await me(laptop)], [401, 200])
})

for (const [path, part] of [
  ['docs/guides/fastify-session.md', 'protectSessionStore(new MemoryStore()'],
  ['docs/guides/secure-session.md', 'secureSessionSource('],
  ['docs/guides/passport.md', 'new Authenticator()']
] as const) {
  t.test(`the host of ${path} logs out one device, the others and all, each however often, and its user can log in again`, async t => {
    const app = await host(t, path, [part])
    const logIn = async () => cookiesOf(await app.inject({ method: 'POST', url: '/login' }))
    const me = async (cookies: Cookies) => (await app.inject({ url: '/me', cookies })).statusCode
    const logOut = async (cookies: Cookies, scope: string) => {
      return (await app.inject({ method: 'POST', url: '/logout', cookies, payload: { scope } })).statusCode
    }
    const [laptop, phone, tablet] = [await logIn(), await logIn(), await logIn()]
    t.strictSame([await me(laptop), await me(phone), await me(tablet), await me({})], [200, 200, 200, 401])
    t.strictSame([await logOut(phone, 'current'), await logOut(phone, 'current'), await logOut({}, 'current')], [204, 204, 204])
    t.strictSame([await me(phone), await me(laptop), await me(tablet)], [401, 200, 200])
    t.equal(await logOut(laptop, 'others'), 204)
    t.strictSame([await me(laptop), await me(tablet)], [200, 401])
    t.equal(await logOut(laptop, 'all'), 204)
    t.equal(await me(laptop), 401)
    t.equal(await me(await logIn()), 200, 'a mark covers no later login')
  })
}

/** The host of the guide, and what its devices do. */
async function tokenHost (t: Test) {
  const app = await host(t, 'docs/guides/access-and-refresh-tokens.md', ['setTokens = ', 'claimOnce'])
  const post = (url: string, cookies: Cookies, payload = {}) => app.inject({ method: 'POST', url, cookies, payload })
  const me = async (cookies: Cookies) => (await app.inject({ url: '/me', cookies })).statusCode
  return { post, me, logIn: async () => cookiesOf(await post('/auth/login', {})) }
}

t.test('the host of docs/guides/access-and-refresh-tokens.md ends both tokens by either of them, and clears both cookies', async t => {
  const { post, me, logIn } = await tokenHost(t)
  for (const sent of ['access', 'refresh']) {
    const [laptop, phone, tablet] = [await logIn(), await logIn(), await logIn()]
    const newer = cookiesOf(await post('/auth/refresh', laptop))
    t.strictSame([await me(laptop), await me(newer), await me(phone)], [200, 200, 200])
    for (let time = 0; time < 3; time++) {
      const response = await post('/auth/logout', { [sent]: laptop[sent] ?? '' })
      t.equal(response.statusCode, 204)
      t.match(setCookies(response), [
        { name: 'access', removed: true, attributes: { path: '/' } }, { name: 'refresh', removed: true, attributes: { path: '/auth' } }
      ])
    }
    t.strictSame([await me(laptop), await me(newer), await me(phone)], [401, 401, 200])
    t.strictSame([(await post('/auth/refresh', newer)).statusCode, (await post('/auth/refresh', phone)).statusCode], [401, 200])
    t.equal((await post('/auth/logout', phone, { scope: 'others' })).statusCode, 204)
    t.strictSame([await me(tablet), await me(phone)], [401, 200])
    t.equal((await post('/auth/logout', phone, { scope: 'all' })).statusCode, 204)
    t.equal(await me(phone), 401)
  }
  const { access = '', refresh = '' } = await logIn()
  t.equal(await me({ access: refresh }), 401)
  t.equal((await post('/auth/refresh', { refresh: access })).statusCode, 401)
})

t.test('a refresh token of docs/guides/access-and-refresh-tokens.md that is used twice ends its login', async t => {
  const { post, me, logIn } = await tokenHost(t)
  const [first, phone] = [await logIn(), await logIn()]
  const second = cookiesOf(await post('/auth/rotate', first))
  const third = cookiesOf(await post('/auth/rotate', second))
  t.strictSame([await me(third), await me(phone)], [200, 200])
  t.equal((await post('/auth/rotate', first)).statusCode, 401)
  t.strictSame([await me(third), await me(phone)], [401, 200])
  t.equal((await post('/auth/rotate', third)).statusCode, 401)
})

t.test('the host of docs/guides/openapi.md has a document with routes of Zod and of the library, and both validate', async t => {
  const app = await host(t, 'docs/guides/openapi.md', ['jsonSchemaTransform'])
  await app.ready()
  t.match((app as FastifyInstance & { swagger (): object }).swagger(), {
    paths: {
      '/hello': { post: { requestBody: { content: { 'application/json': { schema: { properties: { name: { type: 'string' } } } } } } } },
      '/logout': { post: { operationId: 'logout', responses: { 204: {} } } }
    }
  })
  const post = async (url: string, payload: object) => (await app.inject({ method: 'POST', url, payload })).statusCode
  t.strictSame([await post('/hello', { name: 'alice' }), await post('/hello', {})], [200, 400])
  t.strictSame([await post('/logout', {}), await post('/logout', { scope: 'wrong' })], [204, 400])
})
