import type { FastifyInstance } from 'fastify'
import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { blocksOf, pages } from '../docs/pages.ts'
import { newDevice, setCookies } from '../session-host.ts'

// The recipes of docs/flows/session.md, with the package's names led to its sources.

process.env['SECRET'] = 'a secret of 32 characters at least'
const page = 'docs/flows/session.md'
const recipes = pages().filter(({ path }) => path === page).flatMap(blocksOf).filter(({ language }) => language === 'js')

async function run<Made> (t: Test, marker: string, exported: string): Promise<Made> {
  const code = (recipes.find(({ code }) => code.includes(marker))?.code ?? '')
    .replace("'fastify-logout'", "'../../lib/index.ts'")
    .replace(/'fastify-logout\/(.*)'/g, '\'../../lib/$1.ts\'')
  const file = fileURLToPath(new URL(`recipe-${marker.replace(/\W/g, '')}-${process.pid}.mjs`, import.meta.url))
  t.teardown(() => rmSync(file))
  writeFileSync(file, `${code}\nexport { ${exported} }\n`)
  return import(pathToFileURL(file).href)
}

t.test('the recipe for @fastify/secure-session: one device, the others, a copy of the cookie, and a login after a logout', async t => {
  const { app } = await run<{ app: FastifyInstance }>(t, 'secureSessionSource', 'app')
  t.teardown(() => app.close())
  const logIn = async (device = newDevice(app)) => {
    await device.send({ method: 'POST', url: '/login' })
    return device
  }
  const me = async (device: ReturnType<typeof newDevice>) => {
    const response = await device.copy().send({ url: '/me' })
    return response.statusCode === 200 ? response.json().user : response.statusCode
  }
  const [laptop, phone] = [await logIn(), await logIn()]
  t.strictSame([await me(laptop), await me(phone)], ['alice', 'alice'])
  const copy = phone.copy()
  for (let time = 0; time < 2; time++) {
    const response = await phone.send({ method: 'POST', url: '/logout' })
    t.strictSame([response.statusCode, setCookies(response).map(({ name, removed }) => [name, removed])], [204, [['session', true]]])
  }
  t.strictSame([await me(copy), await me(phone), await me(laptop)], [401, 'nobody', 'alice'])
  await logIn(copy)
  t.equal(await me(copy), 'alice', 'a browser that kept the old cookie logs in')
  t.equal((await laptop.send({ method: 'POST', url: '/logout', payload: { scope: 'others' } })).statusCode, 204)
  t.strictSame([await me(copy), await me(laptop)], [401, 'alice'])
})

t.test('the recipe for a table of the host: one device, the others, all', async t => {
  const { app, table } = await run<{ app: FastifyInstance, table: Map<string, object> }>(t, 'const table', 'app, table')
  t.teardown(() => app.close())
  for (const id of [1, 2, 3]) table.set(`token-${id}`, { id, subject: 7 })
  table.set('token-4', { id: 4, subject: 8 })
  const send = (id: number, scope = 'current') => {
    return app.inject({ method: 'POST', url: '/logout', headers: { cookie: `sid=token-${id}` }, payload: { scope } })
  }
  const live = () => [...table.values()].flatMap(row => 'endedAt' in row ? [] : (row as { readonly id: number }).id)
  for (let time = 0; time < 2; time++) {
    const response = await send(1)
    t.strictSame([response.statusCode, setCookies(response).map(({ name, removed }) => [name, removed])], [204, [['sid', true]]])
  }
  t.strictSame(live(), [2, 3, 4])
  t.equal((await send(1, 'others')).statusCode, 401)
  t.equal((await send(2, 'others')).statusCode, 204)
  t.strictSame(live(), [2, 4])
  t.equal((await send(2, 'all')).statusCode, 204)
  t.strictSame(live(), [4])
})
