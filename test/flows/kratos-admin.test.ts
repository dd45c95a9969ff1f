import swagger from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { kratosAdmin, type KratosAdminOptions } from '../../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../../lib/flows/kratos-browser.ts'
import { kratosSessions } from '../../lib/flows/kratos-sessions.ts'
import { alice, bob, empty, failing, failure, host, id, people } from '../kratos-host.ts'
import { wire } from '../wire.ts'

const forbidden = failure(403)
const notFound = failure(404, { message: 'Unable to locate the resource' })
const badId = failure(400, { message: 'uuid: incorrect UUID length 7 in string "BADUUID"' })
const key = { authorization: 'Bearer admin' }

async function serve (t: Test, options: Partial<KratosAdminOptions>, server: FastifyServerOptions = {}, prefix = '') {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const { inject } = wire(app)
  const sessions = failing(() => { throw new Error('not asked') })
  const authorize: KratosAdminOptions['authorize'] = async ({ headers }) => headers.authorization === key.authorization
  await app.register(kratosAdmin, { sessions, authorize, ...options, prefix })
  const ask = (method: 'GET' | 'DELETE' | 'HEAD' | 'POST', path: string, headers: Record<string, string> = key) => {
    return inject({ method, url: prefix + path, headers })
  }
  return { app, ask }
}

const routes = [
  ['DELETE', `/admin/sessions/${people.laptop.id}`],
  ['DELETE', `/admin/identities/${alice}/sessions`],
  ['GET', `/admin/identities/${alice}/sessions`]
] as const

for (const prefix of ['', '/auth']) {
  t.test(`a session is logged out by its id, repeatably, at ${prefix || 'the root'}`, async t => {
    const { sessions, events, onLogout, isLive } = await host()
    const { ask } = await serve(t, { sessions, onLogout }, {}, prefix)
    const before = await sessions.find(people.laptop.token)
    for (let time = 0; time < 2; time++) t.strictSame(await ask('DELETE', `/admin/sessions/${people.laptop.id}`), empty())
    t.notOk(await isLive(people.laptop))
    t.ok(await isLive(people.phone))
    t.strictSame(events, [{ scope: 'session', session: before }])
    t.strictSame(await ask('DELETE', `/admin/sessions/{${people.bobs.id.toUpperCase()}}`), empty())
    t.notOk(await isLive(people.bobs))
    t.strictSame(await ask('DELETE', `/admin/sessions/${people.expired.id}`), empty(), 'an expired one is known')
    t.strictSame(await ask('DELETE', `/admin/sessions/${id('0')}`), notFound)
    t.strictSame(await ask('DELETE', '/admin/sessions/BADUUID'), badId)
    t.equal(events.length, 2)
  })

  t.test(`every session of a subject is logged out, at ${prefix || 'the root'}`, async t => {
    const { sessions, events, onLogout, isLive } = await host()
    const { ask } = await serve(t, { sessions, onLogout }, {}, prefix)
    t.strictSame(await ask('DELETE', `/admin/identities/${alice}/sessions`), empty())
    for (const person of [people.laptop, people.phone, people.tablet]) t.notOk(await isLive(person))
    t.ok(await isLive(people.bobs))
    t.strictSame(await ask('DELETE', `/admin/identities/${alice}/sessions`), notFound, 'none is left')
    t.strictSame(await ask('DELETE', `/admin/identities/${id('0')}/sessions`), notFound, 'there never was any')
    t.strictSame(await ask('DELETE', '/admin/identities/BADUUID/sessions'), badId)
    t.strictSame(events, [{ scope: 'all', subject: alice, count: 3 }])
  })
}

t.test('a store without a count: the response is 204', async t => {
  const { sessions, events, onLogout } = await host()
  const { ask } = await serve(t, { sessions: { ...sessions, logOutSubject: () => undefined }, onLogout })
  t.strictSame(await ask('DELETE', `/admin/identities/${alice}/sessions`), empty())
  t.strictSame(events, [{ scope: 'all', subject: alice, count: undefined }])
})

t.test('the live sessions of a subject are listed, page by page', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions, identity: subject => ({ id: subject, traits: {} }) }, {}, '/auth')
  const list = async (query: string, subject = alice) => {
    const { status, body, headers } = await ask('GET', `/admin/identities/${subject}/sessions${query}`)
    t.equal(status, 200)
    return { ids: (JSON.parse(body) as Array<{ id: string }>).map(session => session.id), link: String(headers['link']), body }
  }
  const { laptop, phone, tablet } = people
  const all = [laptop.id, phone.id, tablet.id]
  for (const query of ['', '?active=true', '?active=1', '?active=T', '?active=']) t.strictSame((await list(query)).ids, all, query)
  for (const query of ['?active=false', '?active=0', '?active=F']) t.strictSame((await list(query)).ids, [], query)
  t.strictSame((await list('', bob)).ids, [people.bobs.id])
  t.strictSame((await list('', id('0'))).ids, [])
  t.match(JSON.parse((await list('')).body)[0], {
    id: laptop.id, active: true, identity: { id: alice, traits: {} }, devices: [{ user_agent: 'laptop' }]
  })

  const first = await list('?page_size=2')
  t.strictSame(first.ids, [laptop.id, phone.id])
  const next = /<\/auth\/admin\/identities\/[^/]+\/sessions(\?[^>]+)>; rel="next"/.exec(first.link)?.[1]
  t.strictSame((await list(String(next))).ids, [tablet.id])

  const url = `/admin/identities/${alice}/sessions`
  t.strictSame(await ask('GET', `${url}?active=maybe`), failure(400, { message: 'could not parse parameter active' }))
  const badPage = failure(400, { reason: 'The page cannot be read. Follow the Link header of the previous page.' })
  for (const query of ['page_token=x', 'page_token=x&active=false']) t.strictSame(await ask('GET', `${url}?${query}`), badPage)
  t.strictSame(await ask('GET', '/admin/identities/BADUUID/sessions'), badId)
})

t.test('with ids: \'any\' ids need not be UUIDs', async t => {
  const { sessions } = await host()
  const now = Date.now()
  await sessions.create('odd', { id: 's.1', subject: 'alice@example.com', createdAt: now, expiresAt: now + 1000, keepUntil: now + 1000 })
  const { ask } = await serve(t, { sessions, ids: 'any' })
  t.equal(JSON.parse((await ask('GET', '/admin/identities/alice%40example.com/sessions')).body).length, 1)
  t.strictSame(await ask('DELETE', '/admin/sessions/s.1'), empty())
  t.strictSame(await ask('DELETE', '/admin/identities/alice%40example.com/sessions'), notFound)
})

t.test('ids are found in the form in which the host stores and lists them', async t => {
  const { sessions, events, onLogout, isLive } = await host()
  const { ask } = await serve(t, { sessions, onLogout })
  const now = Date.now()
  const plain = 'abcdefab000040008000000000000'
  for (const [index, stored] of [`${plain}0a1`, `${plain}0A2`.toUpperCase(), 'ABCDEFAB-0000-4000-8000-0000000000A3'].entries()) {
    const token = `form-${index}`
    const session = { id: stored, subject: stored, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 }
    await sessions.create(token, session)
    const { body } = await ask('GET', `/admin/identities/${stored}/sessions`)
    t.match(JSON.parse(body), [{ id: stored, identity: { id: stored } }], 'it is listed as it is stored')
    t.strictSame(await ask('DELETE', `/admin/sessions/${stored}`), empty())
    t.notOk(await isLive({ token }), stored)
    await sessions.create(`${token}-again`, { ...session, id: id(`d${index}`) })
    t.strictSame(await ask('DELETE', `/admin/identities/${stored}/sessions`), empty())
    t.notOk(await isLive({ token: `${token}-again` }), stored)
    t.strictSame(await ask('DELETE', `/admin/identities/${stored}/sessions`), notFound)
    t.match(events.splice(0), [{ scope: 'session', session: { id: stored } }, { scope: 'all', subject: stored, count: 1 }])
  }
  for (const form of [alice.toUpperCase(), alice.replaceAll('-', ''), `{${alice}}`, `urn:uuid:${alice}`]) {
    const { body } = await ask('GET', `/admin/identities/${encodeURIComponent(form)}/sessions`)
    t.match(JSON.parse(body)[0], { identity: { id: alice } }, `${form} is Alice, who is stored as Kratos would`)
  }
  t.strictSame(await ask('DELETE', `/admin/identities/{${alice.toUpperCase()}}/sessions`), empty())
  t.notOk(await isLive(people.phone))
})

t.test('a store without a count is asked for every spelling of an id', async t => {
  const asked: string[] = []
  const logOutSubject = async ({ subject }: { subject: string }) => { asked.push(subject); return undefined }
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions: { ...sessions, logOutSubject } })
  t.strictSame(await ask('DELETE', `/admin/identities/${alice.toUpperCase()}/sessions`), empty())
  t.strictSame(asked, [alice.toUpperCase(), alice])
})

t.test('with ids: \'any\' ids can have any length', async t => {
  const { sessions, isLive, events, onLogout } = await host()
  const now = Date.now()
  const ids = ['x'.repeat(100), 'x'.repeat(101), `${'\u00e4'.repeat(150)}/sessions`, `/${'a/'.repeat(80)}sessions/sessions`]
  const { ask, app } = await serve(t, { sessions, ids: 'any', onLogout }, {}, '/auth')
  for (const name of ids) {
    const session = { id: name, subject: name, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 }
    await sessions.create(name, session)
    await sessions.create(`${name} too`, { ...session, id: `${name} too` })
    const encoded = encodeURIComponent(name)
    t.strictSame(await ask('DELETE', `/admin/sessions/${encoded}`, {}), forbidden)
    t.strictSame(await ask('DELETE', `/admin/identities/${encoded}/sessions`, {}), forbidden)
    t.strictSame(await ask('DELETE', `/admin/sessions/${encoded}`), empty(), name.slice(0, 20))
    t.notOk(await isLive({ token: name }))
    t.match(JSON.parse((await ask('GET', `/admin/identities/${encoded}/sessions`)).body), [{ id: `${name} too` }])
    t.strictSame(await ask('DELETE', `/admin/identities/${encoded}/sessions`), empty())
    t.notOk(await isLive({ token: `${name} too` }))
    t.strictSame(await ask('DELETE', `/admin/identities/${encoded}/sessions`), notFound)
  }
  t.equal(events.length, 2 * ids.length)
  t.strictSame(await ask('DELETE', `/admin/sessions/${'x'.repeat(4000)}`), notFound)

  const long = 'x'.repeat(101)
  for (const path of [
    `/admin/sessions/${long}/sessions`, `/admin/identities/${long}`, `/admin/identities/${long}/session`,
    `/admin/identities/a/${long}/sessions`, `/admin/identities/${long}/sessions/`, `/admin/identities/${long}%2Fsessions`
  ]) {
    for (const headers of [key, {}]) {
      const { statusCode, body } = await app.inject({ method: 'DELETE', url: `/auth${path}`, headers })
      t.strictSame([statusCode, JSON.parse(body).message], [404, `Route DELETE:/auth${path} not found`], 'the host\'s 404')
    }
  }
  t.equal((await app.inject({ method: 'DELETE', url: '/auth/admin/identities/%E0%A4%A/sessions', headers: key })).statusCode, 400)
})

t.test('an empty id is a 400', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions, ids: 'any' })
  const empty = failure(400, { message: 'the id is empty' })
  for (const path of ['/admin/sessions/', '/admin/identities//sessions']) t.strictSame(await ask('DELETE', path), empty, path)
})

t.test('a host can raise maxParamLength', async t => {
  const { sessions } = await host()
  const { ask } = await serve(t, { sessions, ids: 'any' }, { routerOptions: { maxParamLength: 5000 } })
  t.strictSame(await ask('DELETE', `/admin/sessions/${'x'.repeat(4000)}`), notFound)
})

t.test('long ids are found by a router that ignores slashes and case', async t => {
  const { sessions } = await host()
  const routerOptions = { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false }
  const { ask } = await serve(t, { sessions, ids: 'any' }, { routerOptions })
  const id = `${'X'.repeat(150)}`
  t.strictSame(await ask('DELETE', `/Admin//sessions/${id}/`), notFound)
  t.strictSame(await ask('DELETE', `/admin/identities//${id}/sessions/`), notFound)
})

t.test('only true from authorize allows a request: otherwise it is a 403, and the store is not called', async t => {
  for (const answer of [false, undefined, null, 1, 'true', {}, async () => true] as unknown[]) {
    const { ask } = await serve(t, { authorize: () => answer as boolean })
    for (const [method, path] of routes) t.strictSame(await ask(method, path), forbidden)
  }
  const { ask } = await serve(t, {})
  for (const [method, path] of routes) t.strictSame(await ask(method, path, {}), forbidden)
  for (const path of ['/admin/sessions/BADUUID', '/admin/identities/BADUUID/sessions']) {
    t.strictSame(await ask('DELETE', path, {}), forbidden, 'nor is the id looked at')
  }
  for (const [, path] of routes) for (const method of ['HEAD', 'POST'] as const) t.equal((await ask(method, path)).status, 404)
})

t.test('authorize is called after the host\'s hooks and sees what they set', async t => {
  const { sessions } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('role', '')
  app.addHook('preHandler', async request => { request.setDecorator('role', request.headers['x-role']) })
  const { inject } = wire(app)
  await app.register(kratosAdmin, { sessions, authorize: request => request.getDecorator('role') === 'admin' })
  const url = `/admin/sessions/${people.laptop.id}`
  t.strictSame(await inject({ method: 'DELETE', url, headers: { 'x-role': 'user' } }), forbidden)
  t.strictSame(await inject({ method: 'DELETE', url, headers: { 'x-role': 'admin' } }), empty())
})

t.test('if a function of the host fails, the response is 500, logged once', async t => {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  const { sessions } = await host()
  const failures: ReadonlyArray<() => never> = [
    () => { throw new Error('down') },
    () => Promise.reject(new Error('down')) as never,
    () => new Promise(() => {}) as never,
    () => { throw Object.assign(new Error('secret'), { statusCode: 200 }) }
  ]
  for (const how of failures) {
    for (const options of [{ sessions: failing(how) }, { sessions, authorize: how }]) {
      const { ask } = await serve(t, { ...options, timeout: 20 }, { logger })
      for (const [method, path] of routes) {
        t.strictSame(await ask(method, path), failure(500))
        t.match(lines.splice(0), [/"event":"logout.outage"/])
      }
    }
  }
  const { ask } = await serve(t, { sessions, identity: () => { throw new Error('down') } }, { logger })
  t.strictSame(await ask('GET', `/admin/identities/${alice}/sessions`), failure(500))
  const told = await serve(t, { sessions, onLogout: () => { throw new Error('down') } }, { logger })
  t.strictSame(await told.ask('DELETE', `/admin/identities/${alice}/sessions`), empty())
  t.match(lines, [/logout.outage/, /onLogout failed/])
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const { sessions } = await host()
  const authorize = () => true
  for (const [options, message] of [
    [{ authorize }, /^kratosAdmin: option "sessions" is missing: pass a session store/],
    [{ authorize, sessions: { list: sessions.list } }, /option "sessions" is missing/],
    [{ sessions }, /option "authorize" is missing: pass a function that returns true for requests that may end the sessions of every user/],
    [{ sessions, authorize: true }, /option "authorize" is missing/],
    [{ sessions, authorize, identity: {} }, /option "identity" must be a function/],
    [{ sessions, authorize, security: [] }, /option "security" must be a member of the option "route"/],
    [{ sessions, authorize, route: [] }, /option "route" must be an object/],
    [{ sessions, authorize, ids: '' }, /option "ids" must be/],
    [{ sessions, authorize, onLogout: 1 }, /option "onLogout" must be/],
    [{ sessions, authorize, timeout: '1' }, /option "timeout" must be/]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    const register = async () => { await app.register(kratosAdmin, options as unknown as KratosAdminOptions) }
    await t.rejects(register, { name: 'TypeError', message }, String(message))
  }
})

for (const security of [undefined, [{ admin: [] }]]) {
  t.test(`the OpenAPI document of a host with the Kratos flows is valid, ${security ? 'with' : 'without'} a security scheme`, async t => {
    const { sessions } = await host()
    const app = Fastify()
    t.teardown(() => app.close())
    const components = { securitySchemes: { admin: { type: 'http', scheme: 'bearer' } } } as const
    await app.register(swagger, { openapi: { openapi: '3.1.0', info: { title: 'a host', version: '1' }, components } })
    for (const prefix of ['', '/auth']) {
      const urls = { publicUrl: 'https://login.example', returnUrls: { default: 'https://app.example/' } }
      await app.register(kratosBrowserLogout, { prefix, sessions, ...urls })
      await app.register(kratosSessions, { prefix, sessions, route: { security }, ids: 'any' })
      await app.register(kratosAdmin, { prefix, sessions, authorize: () => true, route: { security }, ids: 'any' })
    }
    await app.ready()
    const document = JSON.parse(JSON.stringify(app.swagger()))
    const { valid, errors } = await new Validator().validate(document)
    t.ok(valid, JSON.stringify(errors))
    const operations = Object.values<Record<string, Record<string, unknown>>>(document.paths).flatMap(path => Object.values(path))
    t.equal(operations.length, 18)
    t.equal(new Set(operations.map(({ operationId }) => operationId)).size, 18)
    t.strictSame(operations.filter(operation => operation['security']).length, security ? 14 : 0)
  })
}
