import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { EventEmitter, once } from 'node:events'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { tenantStatusLogout } from '../../lib/flows/tenant-status.ts'
import { tenantActivity, type ActiveUser, type TenantActivityOptions } from '../../lib/guards/tenant-activity.ts'
import type { StatusChange, UserKey } from '../../lib/user-status-store.ts'
import { assertMisuse, type WrongOptions } from '../misuse.ts'
import { alice, credentials, failure, path, tenantHost } from '../tenant-host.ts'
import { wire } from '../wire.ts'

type Options = Partial<TenantActivityOptions>

interface Setting {
  /** Where the host authenticates. */
  readonly authenticate?: 'onRequest' | 'preValidation'
  readonly server?: FastifyServerOptions
  readonly guard?: 'before the flow' | 'behind the flow'
}

const unavailable = { status: 503, body: failure(503, 'SERVICE_UNAVAILABLE', 'Service Unavailable').body }
const denied = { status: 401, body: failure(401, 'INVALID_USER_TOKEN', 'Invalid user token').body }

/** A host that authenticates by a header, with routes that wait where a test wants them to. */
async function serve (
  t: Test, options: Options = {}, { authenticate = 'onRequest', server = {}, guard = 'before the flow' }: Setting = {}
) {
  const { users, options: flow } = tenantHost()
  const events = new EventEmitter().setMaxListeners(0)
  const ran: string[] = []
  const app = Fastify({ genReqId: () => 'req-7', ...server })
  t.teardown(() => app.close())
  const { inject } = wire(app)
  const reached = async (stage: string, { headers }: FastifyRequest) => {
    if (headers['x-wait'] !== stage) return
    setImmediate(() => events.emit(stage))
    await once(events, 'go on')
  }
  const authenticated = new WeakMap<FastifyRequest, ActiveUser>()
  app.addHook(authenticate, async request => {
    await reached('authentication', request)
    const { 'x-user': subject, 'x-issued-at': issuedAt } = request.headers
    if (subject !== undefined) {
      authenticated.set(request, {
        tenant: 'acme', subject: String(subject), issuedAt: issuedAt === undefined ? undefined : Number(issuedAt)
      })
    }
  })

  const register = {
    guard: async () => app.register(tenantActivity, { users, user: request => authenticated.get(request), ...options }),
    flow: async () => app.register(tenantStatusLogout, flow)
  }
  await (guard === 'before the flow' ? register.guard() : register.flow())
  await (guard === 'before the flow' ? register.flow() : register.guard())
  app.all<{ Querystring: { status?: number } }>('/own', async (request, reply) => {
    await reached('handler', request)
    ran.push(request.method)
    return reply.code(Number(request.query.status ?? 200)).send('own')
  })

  const use = async (headers: Record<string, string> = {}, url = '/own') => {
    const answer = await app.inject({ url, headers: { 'x-user': 'alice', ...headers } })
    await sleep(2) // onResponse runs behind the answer
    return { status: answer.statusCode, body: answer.body.replace(/\d{4}-[^"]+Z/, 'now'), headers: answer.headers }
  }
  const logOut = async () => {
    t.equal((await inject({ method: 'GET', url: path, headers: { ...credentials, 'x-user': 'alice' } })).status, 200)
    await sleep(2)
    t.equal(users.get(alice)?.status, 'logged_out', 'logged out')
  }
  /** Starts a request and resolves when it waits at a stage; call what it resolves to let it go on. */
  const begin = async (stage: 'authentication' | 'handler') => {
    const waiting = once(events, stage)
    const answer = use({ 'x-wait': stage })
    await waiting
    return async () => { events.emit('go on'); return answer }
  }
  return { app, users, use, logOut, begin, ran, status: (subject = 'alice') => users.get({ tenant: 'acme', subject })?.status }
}

t.test('use after a logout logs the user in again', async t => {
  for (const guard of ['before the flow', 'behind the flow'] as const) {
    for (const whenUnavailable of ['allow', 'refuse'] as const) {
      const { use, logOut, users, status } = await serve(t, { whenUnavailable }, { guard })
      await logOut()
      const { loggedOutAt } = users.get(alice) ?? {}
      t.match(await use(), { status: 200, body: 'own' })
      t.equal(status(), 'logged_in')
      t.equal(users.get(alice)?.loggedOutAt, loggedOutAt, 'the barrier stays')
      await logOut()
      t.equal(status(), 'logged_out')
    }
  }
})

t.test('a request that began before a logout does not undo it', async t => {
  t.test('an activity that is written after the logout', async t => {
    const { begin, logOut, status } = await serve(t)
    const goOn = await begin('handler')
    await logOut()
    t.match(await goOn(), { status: 200, body: 'own' })
    t.equal(status(), 'logged_out')
  })

  t.test('an activity after an earlier logout, if there is a later one', async t => {
    const { begin, logOut, status } = await serve(t)
    await logOut()
    const goOn = await begin('handler')
    await logOut()
    t.match(await goOn(), { status: 200 })
    t.equal(status(), 'logged_out')
  })

  t.test('the logout itself, wherever the guard is registered', async t => {
    for (const guard of ['before the flow', 'behind the flow'] as const) {
      const asked: UserKey[] = []
      const { users: { get, compareAndSet } } = tenantHost()
      const { app, logOut } = await serve(t, { users: { get: user => { asked.push(user); return get(user) }, compareAndSet } }, { guard })
      await logOut()
      await logOut()
      const refused = await app.inject({ url: path, headers: { 'x-user': 'alice' } })
      t.equal(refused.statusCode, 401)
      t.strictSame(asked, [], 'not even looked up')
    }
  })

  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    t.test(`a request whose body takes its time${whenUnavailable === 'refuse' ? ', where the host asks for certainty' : ''}`, async t => {
      const { app, logOut, status } = await serve(t, { whenUnavailable })
      const payload = new PassThrough()
      const answer = app.inject({ method: 'POST', url: '/own', headers: { 'x-user': 'alice', 'content-type': 'text/plain' }, payload })
      payload.write('slow')
      await sleep(10)
      await logOut()
      payload.end()
      t.equal((await answer).statusCode, 200)
      await sleep(2)
      t.equal(status(), 'logged_out')
    })
  }

  t.test('one of 20 such requests', async t => {
    const { begin, logOut, use, status } = await serve(t)
    await use()
    const pending = []
    for (let index = 0; index < 20; index++) pending.push(await begin('handler'))
    await logOut()
    const [first, ...others] = pending
    await first?.()
    await Promise.all(others.map(async goOn => goOn()))
    t.equal(status(), 'logged_out')
  })
})

t.test('a request that authenticates after a logout counts as use after it', async t => {
  for (const authenticate of ['onRequest', 'preValidation'] as const) {
    const { begin, logOut, status } = await serve(t, {}, { authenticate })
    const goOn = await begin('authentication')
    await logOut()
    t.match(await goOn(), { status: 200 })
    t.equal(status(), 'logged_in')
  }
})

t.test('one of many requests after a logout is enough to undo it', async t => {
  const { use, logOut, status } = await serve(t)
  await logOut()
  await Promise.all(Array.from({ length: 20 }, async () => use()))
  t.equal(status(), 'logged_in')
})

t.test('the status of the response decides whether a request counts as use', async t => {
  for (const [code, shows] of [
    [200, true], [204, true], [302, true], [304, true], [400, true], [401, false], [403, true], [404, true], [429, false], [499, true],
    [500, false], [503, false]
  ] as const) {
    const { use, logOut, status } = await serve(t)
    await logOut()
    t.equal((await use({}, `/own?status=${code}`)).status, code)
    t.equal(status(), shows ? 'logged_in' : 'logged_out', `${code}`)
  }
  const { use, logOut, status } = await serve(t)
  await logOut()
  t.equal((await use({}, '/nowhere')).status, 404)
  t.equal(status(), 'logged_in', 'an unknown path too')
})

t.test('the activity of a user does not change other users', async t => {
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    const writes: unknown[] = []
    const { users } = tenantHost()
    const spied = {
      get: users.get,
      compareAndSet: (...[user, expected, change]: Parameters<typeof users.compareAndSet>) => {
        writes.push(user)
        return users.compareAndSet(user, expected, change)
      }
    }
    const { use } = await serve(t, { users: spied, whenUnavailable })
    for (const subject of ['suspended', 'terminated', 'blocked', 'pending', 'stranger']) {
      t.match(await use({ 'x-user': subject }), { status: 200, body: 'own' })
    }
    t.strictSame(writes, [])
    t.equal(users.get({ tenant: 'acme', subject: 'suspended' })?.status, 'suspended')

    for (const nobody of [undefined, null]) {
      const asked: unknown[] = []
      const { use } = await serve(t, {
        whenUnavailable,
        user: async () => nobody,
        users: { get: user => { asked.push(user); return undefined }, compareAndSet: () => false }
      })
      t.match(await use(), { status: 200, body: 'own' })
      t.strictSame(asked, [], 'an anonymous request asks no store')
    }
  }
})

t.test('a request is recorded once', async t => {
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    const { users } = tenantHost()
    let [reads, writes] = [0, 0]
    const { use } = await serve(t, {
      whenUnavailable,
      users: {
        get: user => { reads++; return users.get(user) }, compareAndSet: (...change) => { writes++; return users.compareAndSet(...change) }
      }
    })
    await use()
    t.strictSame([reads, writes], [1, 1])
  }
})

t.test('with unknownUsers: \'create\' a user without a record is created', async t => {
  for (const [unknownUsers, expected] of [['create', 'logged_in'], ['ignore', undefined], [undefined, undefined]] as const) {
    const { use, status } = await serve(t, { unknownUsers })
    t.match(await use({ 'x-user': 'stranger' }), { status: 200 })
    t.equal(status('stranger'), expected)
  }
})

t.test('the last activity is written once per interval, but a logout is undone at once', async t => {
  const { users } = tenantHost()
  const changes: StatusChange[] = []
  const { use } = await serve(t, {
    users: {
      get: users.get,
      compareAndSet: (user, expected, change) => { changes.push(change); return users.compareAndSet(user, expected, change) }
    }
  })
  const before = Date.now()
  await use()
  await use()
  await use()
  t.match(changes, [{ status: 'logged_in', requestId: 'req-7' }])
  t.ok((changes[0]?.at ?? 0) >= before && (changes[0]?.at ?? 0) <= Date.now())

  users.logOut(alice, { at: Date.now(), requestId: '' })
  await use()
  t.equal(users.get(alice)?.status, 'logged_in')
  t.equal(changes.length, 2)

  const record = (lastSeenAt?: number) => ({ status: 'logged_in', version: 1, lastSeenAt })
  for (const [lastSeenAt, interval, due] of [
    [undefined, undefined, true], [Date.now() - 59_000, undefined, false], [Date.now() - 60_000, undefined, true],
    [Date.now() - 1000, 1000, true]
  ] as const) {
    let writes = 0
    const { use } = await serve(t, { interval, users: { get: () => record(lastSeenAt), compareAndSet: () => { writes++; return true } } })
    await use()
    t.equal(writes, due ? 1 : 0)
  }
})

t.test('tokens issued at or before the last logout can be denied', async t => {
  const second = 1_700_000_000_000
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    const { users, use, status, logOut, ran } = await serve(t, { denyLoggedOut: true, whenUnavailable })
    t.match(await use(), { status: 200 }, 'nobody was logged out')
    users.logOut(alice, { at: second + 500, requestId: '' })
    ran.length = 0
    for (const issuedAt of [second - 1, second, second + 500, second + 999]) {
      t.match(await use({ 'x-issued-at': String(issuedAt) }), denied, `issued at ${issuedAt}`)
    }
    t.match(await use(), denied, 'a token that does not say when it was issued')
    t.strictSame(ran, [])
    t.equal(status(), 'logged_out', 'a denied token is no use')
    t.match(await use({ 'x-issued-at': String(second + 1000) }), { status: 200, body: 'own' }, 'a newer token')
    t.equal(status(), 'logged_in')
    t.match(await use({ 'x-issued-at': String(second) }), denied, 'the barrier outlives the next login')

    await logOut()
    await logOut()
    t.match(await use({ 'x-issued-at': String(second + 1000) }), denied, 'logging out again with such a token is a 200')
  }
  const { use, logOut } = await serve(t)
  await logOut()
  t.match(await use({ 'x-issued-at': '0' }), { status: 200 }, 'and are not, unless the host asks for it')
})

t.test('if the store fails', async t => {
  const { users } = tenantHost()
  const due = { status: 'logged_out', version: 1 }
  const outages: Readonly<Record<string, Options>> = {
    'the read fails': {
      users: { get: async () => { throw Object.assign(new Error('secret'), { statusCode: 404 }) }, compareAndSet: users.compareAndSet }
    },
    'the read throws': { users: { get: () => { throw new Error('secret') }, compareAndSet: users.compareAndSet } },
    'the read is late': { users: { get: () => new Promise(() => {}), compareAndSet: users.compareAndSet } },
    'the write fails': { users: { get: () => due, compareAndSet: async () => { throw new Error('secret') } } },
    'the write is late': { users: { get: () => due, compareAndSet: () => new Promise(() => {}) } },
    'the user is not to be had': { user: () => { throw new Error('secret') } },
    'the user is late': { user: () => new Promise(() => {}) }
  }
  const own: Readonly<Record<string, (app: FastifyInstance) => unknown>> = {
    'GET /own': () => {},
    'HEAD /own': () => {},
    'GET /stream': app => app.get('/stream', async () => Readable.from(['own'])),
    'GET /unchanged': app => app.get('/unchanged', async (_request, reply) => reply.code(304).send())
  }
  for (const [name, options] of Object.entries(outages)) {
    for (const whenUnavailable of [undefined, 'refuse'] as const) {
      for (const [route, add] of Object.entries(own)) {
        const lines: string[] = []
        let handled = 0
        const { app } = await serve(t, { ...options, whenUnavailable, timeout: 20 }, {
          server: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }
        })
        app.addHook('preHandler', async () => { handled++ })
        await add(app)
        const [method, url] = route.split(' ')
        const answer = await app.inject({ method: method as 'GET', url: String(url), headers: { 'x-user': 'alice' } })
        await sleep(name === 'the write is late' ? 30 : 2)
        const body = answer.body.replace(/\d{4}-[^"]+Z/, 'now')
        if (whenUnavailable === 'refuse') {
          t.strictSame(
            [answer.statusCode, body, handled], [503, method === 'HEAD' ? '' : unavailable.body, 0],
            `${name}: ${route} is a 503, and its handler did not run`
          )
          t.equal(answer.headers['cache-control'], 'no-store')
        } else {
          t.strictSame(
            [answer.statusCode, body], [url === '/unchanged' ? 304 : 200, method === 'HEAD' || url === '/unchanged' ? '' : 'own'],
            `${name}: ${route} answers as usual`
          )
        }
        t.equal(lines.length, 1, `${name}: logged once`)
        t.match(lines[0], /activity\.outage/)
      }
    }
  }
})

t.test('if the record could not be read in time, it is not read again for this request', async t => {
  const { users } = tenantHost()
  let reads = 0
  const { app, logOut, status } = await serve(t, {
    users: { get: async user => { if (++reads === 1) throw new Error('down'); return users.get(user) }, compareAndSet: users.compareAndSet }
  })
  const payload = new PassThrough()
  const answer = app.inject({ method: 'POST', url: '/own', headers: { 'x-user': 'alice', 'content-type': 'text/plain' }, payload })
  await sleep(10)
  await logOut()
  payload.end('slow')
  t.equal((await answer).statusCode, 200)
  await sleep(2)
  t.equal(reads, 1)
  t.equal(status(), 'logged_out')
})

t.test('a guard that is registered twice writes the same record', async t => {
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    const { app, users, use, logOut, begin, status } = await serve(t, { whenUnavailable })
    await app.register(tenantActivity, {
      users, user: ({ headers }) => ({ tenant: 'acme', subject: String(headers['x-user']) }), whenUnavailable
    })
    await logOut()
    const goOn = await begin('handler')
    await logOut()
    await goOn()
    t.equal(status(), 'logged_out')
    t.match(await use(), { status: 200, body: 'own' })
    t.equal(status(), 'logged_in')
  }
})

t.test('the responses of the host\'s routes are the same without the guard', async t => {
  const own = (app: FastifyInstance) => {
    app.setErrorHandler(async (error, _request, reply) => reply.code(409).send({ hosts: String(error) }))
    app.get('/json', async () => ({ own: true }))
    app.get('/stream', async (_request, reply) => reply.header('etag', '"1"').type('text/plain').send(Readable.from(['own'])))
    app.get('/unchanged', async (_request, reply) => reply.code(304).send())
    app.get('/failing', async () => { throw new Error('own') })
    app.post('/echo', async ({ body }) => body)
    app.get('/hijacked', (_request, reply) => { reply.hijack(); reply.raw.end('raw') })
  }
  const alone = Fastify()
  t.teardown(() => alone.close())
  own(alone)
  for (const options of [{}, { whenUnavailable: 'refuse', denyLoggedOut: true }] as const) {
    const { app } = await serve(t, options)
    own(app)
    for (const request of [
      { url: '/json' }, { method: 'HEAD', url: '/json' }, { url: '/stream' }, { method: 'HEAD', url: '/stream' }, { url: '/unchanged' },
      { url: '/failing' }, { url: '/nowhere' },
      { url: '/hijacked' }, { method: 'POST', url: '/echo', payload: { a: 1 } },
      { method: 'POST', url: '/echo', payload: '{"a', headers: { 'content-type': 'application/json' } }
    ] as const) {
      const call = { ...request, headers: { ...('headers' in request && request.headers), 'x-user': 'alice' } }
      const [guarded, plain] = await Promise.all([app.inject(call), alone.inject(call)])
      const { date: _guarded, ...headers } = guarded.headers
      const { date: _plain, ...expected } = plain.headers
      t.strictSame([guarded.statusCode, headers, guarded.body], [plain.statusCode, expected, plain.body], request.url)
    }
  }
})

t.test('the guard sees the requests of its scope, and no others', async t => {
  const { users } = tenantHost()
  users.set(alice, 'logged_out')
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/open', async () => 'open')
  await app.register(async scope => {
    await scope.register(tenantActivity, { users, user: () => alice })
    scope.get('/watched', async () => 'watched')
  })
  await app.inject('/open')
  await sleep(2)
  t.equal(users.get(alice)?.status, 'logged_out')
  await app.inject('/watched')
  await sleep(2)
  t.equal(users.get(alice)?.status, 'logged_in')
})

/** A host whose hooks and handlers a test puts together itself. `wait` stops until `goOn`. */
async function compose (t: Test, options: Options, prepare: (app: FastifyInstance, tools: Tools) => unknown) {
  const { users, options: flow } = tenantHost()
  const events = new EventEmitter()
  const authenticated = new WeakMap<FastifyRequest, ActiveUser>()
  const authenticate = async (request: FastifyRequest) => { authenticated.set(request, alice) }
  const wait = async () => {
    events.emit('waiting')
    await once(events, 'go on')
  }
  const app = Fastify({ genReqId: () => 'req-7' })
  t.teardown(() => app.close())
  await app.register(tenantStatusLogout, flow)
  const register = async (scope: FastifyInstance) => {
    await scope.register(tenantActivity, { users, user: request => authenticated.get(request), ...options })
  }
  await app.register(async scope => { await prepare(scope, { authenticate, wait, register }) })
  const logOut = async () => {
    t.equal((await app.inject({ url: path, headers: credentials })).statusCode, 200)
    t.equal(users.get(alice)?.status, 'logged_out', 'logged out')
  }
  const logOutMeanwhile = async (url: string) => {
    const waiting = once(events, 'waiting')
    const answer = app.inject({ method: 'POST', url, headers: { 'content-type': 'text/plain' }, payload: 'a body' })
    await waiting
    await logOut()
    events.emit('go on')
    return (await answer).statusCode
  }
  const eventually = async (status: string) => {
    for (let waited = 0; waited < 200 && users.get(alice)?.status !== status; waited++) await sleep(5)
    t.equal(users.get(alice)?.status, status)
  }
  return { app, users, events, logOut, logOutMeanwhile, eventually, status: () => users.get(alice)?.status }
}

interface Tools {
  readonly authenticate: (request: FastifyRequest) => Promise<void>
  readonly wait: () => Promise<void>
  readonly register: (scope: FastifyInstance) => Promise<void>
}

const phases = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

t.test('a hook that waits after the authentication does not make a request undo a logout', async t => {
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    for (const [index, authenticating] of phases.entries()) {
      for (const waiting of phases.slice(index)) {
        const name = `${whenUnavailable}: authenticated in ${authenticating}, and ${waiting} waits`
        const instance = await compose(t, { whenUnavailable }, async (app, { authenticate, wait, register }) => {
          app.addHook(authenticating as 'onRequest', authenticate)
          await register(app)
          app.addHook(waiting as 'onRequest', wait)
          app.post('/own', async () => 'own')
        })
        t.equal(await instance.logOutMeanwhile('/own'), 200)
        await sleep(2)
        t.equal(instance.status(), 'logged_out', `${name}: hooks of the instance`)

        const route = await compose(t, { whenUnavailable }, async (app, { authenticate, wait, register }) => {
          await register(app)
          const hooks = authenticating === waiting
            ? { [waiting]: [authenticate, wait] }
            : { [authenticating]: authenticate, [waiting]: [wait] }
          app.post('/own', hooks, async () => 'own')
        })
        t.equal(await route.logOutMeanwhile('/own'), 200)
        await sleep(2)
        t.equal(route.status(), 'logged_out', `${name}: hooks of the route`)
      }
    }
  }
})

t.test('a response of a hook after the authentication counts as use, unless it is a 401, a 429 or a 5xx', async t => {
  for (const [index, authenticating] of phases.entries()) {
    for (const answering of phases.slice(index)) {
      for (const [code, expected] of [
        [403, 'logged_in'], [200, 'logged_in'], [401, 'logged_out'], [429, 'logged_out'], [500, 'logged_out']
      ] as const) {
        const { app, logOut, status } = await compose(t, {}, async (app, { authenticate, register }) => {
          app.addHook(authenticating as 'onRequest', authenticate)
          await register(app)
          app.addHook(answering as 'onRequest', async (_request, reply) => reply.code(code).send('an early answer'))
          app.get('/own', async () => 'own')
        })
        await logOut()
        t.equal((await app.inject('/own')).statusCode, code)
        await sleep(2)
        t.equal(status(), expected, `authenticated in ${authenticating}, answered ${code} in ${answering}`)
      }
    }
  }
})

t.test('a user function that fails before the host has authenticated is called again', async t => {
  for (const whenUnavailable of ['allow', 'refuse'] as const) {
    for (const failing of ['throws', 'rejects']) {
      const { app, logOut, eventually } = await compose(t, {
        whenUnavailable,
        user: request => {
          if (request.mediaType === undefined) return alice
          const failure = new Error('there are no claims yet')
          if (failing === 'throws') throw failure
          return Promise.reject(failure)
        }
      }, async (app, { register }) => {
        await register(app)
        app.addHook('preValidation', async request => { Object.defineProperty(request, 'mediaType', { value: undefined }) })
        app.post('/own', async () => 'own')
      })
      await logOut()
      t.equal((await app.inject({ method: 'POST', url: '/own', headers: { 'content-type': 'text/plain' }, payload: 'x' })).statusCode, 200)
      await eventually('logged_in')
    }
  }
})

t.test('use without an onResponse hook counts', async t => {
  const streams: Readable[] = []
  const listening = async (t: Test, options: Options = {}) => {
    const host = await compose(t, options, async (app, { authenticate, wait, register }) => {
      await app.register(fastifyWebsocket)
      app.addHook('onRequest', authenticate)
      await register(app)
      app.addHook('preHandler', async ({ headers }, reply) => {
        if (headers['x-refused'] !== undefined) return reply.code(Number(headers['x-refused'])).send('refused')
      })
      app.get('/socket', { websocket: true }, socket => { socket.on('message', () => { socket.send('echo') }) })
      app.get('/slow', wait)
      app.get('/events', (_request, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
        reply.raw.write('data: hello\n\n')
      })
      app.get('/stream', async (_request, reply) => {
        const stream = new PassThrough()
        streams.push(stream)
        stream.write('the first half')
        return reply.send(stream)
      })
    })
    await host.app.listen({ port: 0, host: '127.0.0.1' })
    return { ...host, port: (host.app.server.address() as AddressInfo).port }
  }

  t.test('a WebSocket counts as soon as it is open', async t => {
    const { port, logOut, eventually } = await listening(t)
    await logOut()
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`)
    await once(socket, 'open')
    await eventually('logged_in')
    await logOut()
    socket.send('what is open already is no new request')
    await once(socket, 'message')
    socket.terminate()
    await sleep(20)
    await eventually('logged_out')
  })

  t.test('a WebSocket that is refused with 401 does not count', async t => {
    for (const [code, expected] of [['401', 'logged_out'], ['403', 'logged_in']] as const) {
      const { port, logOut, eventually } = await listening(t)
      await logOut()
      const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { 'x-refused': code } })
      const [error] = await once(socket, 'error')
      t.match(error, { message: `Unexpected server response: ${code}` })
      await sleep(20)
      await eventually(expected)
    }
  })

  t.test('an event stream counts as soon as its handler takes the connection over', async t => {
    const { port, logOut, eventually } = await listening(t)
    await logOut()
    const [response] = await once(request({ port, path: '/events' }).end(), 'response')
    await eventually('logged_in')
    response.destroy()
  })

  t.test('a request whose client leaves before the response counts', async t => {
    const { port, events, logOut, eventually } = await listening(t)
    await logOut()
    const waiting = once(events, 'waiting')
    const client = request({ port, path: '/slow' }).on('error', () => {}).end()
    await waiting
    client.destroy()
    await eventually('logged_in')
    events.emit('go on')
  })

  t.test('a stream that breaks on either side counts', async t => {
    for (const side of ['client', 'server'] as const) {
      const { port, logOut, eventually } = await listening(t)
      await logOut()
      const [response] = await once(request({ port, path: '/stream' }).end(), 'response')
      response.on('error', () => {})
      await once(response, 'data')
      if (side === 'client') response.destroy()
      else streams.at(-1)?.destroy(new Error('the source broke'))
      await eventually('logged_in')
    }
  })

  t.test('a request that began before a logout does not count, however it ends', async t => {
    const { port, events, logOut, status } = await listening(t)
    const waiting = once(events, 'waiting')
    const client = request({ port, path: '/slow' }).on('error', () => {}).end()
    await waiting
    await logOut()
    client.destroy()
    await sleep(30)
    t.equal(status(), 'logged_out')
    events.emit('go on')
  })
})

t.test('numeric ids are converted to text, and null counts as no record', async t => {
  const { users } = tenantHost()
  users.set({ tenant: '1', subject: '23' }, 'logged_out')
  const { app } = await compose(t, { users, user: () => ({ tenant: 1, subject: 23 }) as never }, async (app, { register }) => {
    await register(app)
    app.get('/own', async () => 'own')
  })
  t.equal((await app.inject('/own')).statusCode, 200)
  await sleep(2)
  t.equal(users.get({ tenant: '1', subject: '23' })?.status, 'logged_in')

  const versions: unknown[] = []
  const nullish = await compose(t, {
    unknownUsers: 'create', users: { get: () => null as never, compareAndSet: (_user, version) => { versions.push(version); return true } }
  }, async (app, { authenticate, register }) => {
    app.addHook('onRequest', authenticate)
    await register(app)
    app.get('/own', async () => 'own')
  })
  await nullish.app.inject('/own')
  await sleep(2)
  t.strictSame(versions, [undefined])

  for (const user of [{ tenant: 'acme' }, { tenant: '', subject: 'alice' }, { tenant: 'acme', subject: {} }, 'alice']) {
    const wrong = await compose(t, { whenUnavailable: 'refuse', user: () => user as never }, async (app, { register }) => {
      await register(app)
      app.get('/own', async () => 'own')
    })
    t.equal((await wrong.app.inject('/own')).statusCode, 503, JSON.stringify(user))
  }
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const { users } = tenantHost()
  const options = { users, user: () => undefined }
  const wrong: WrongOptions = {
    users: [undefined, null, {}, { get () {} }],
    user: [undefined, 'alice'],
    unknownUsers: ['keep', true, null],
    denyLoggedOut: ['yes', 1, null],
    whenUnavailable: ['open', true, null],
    interval: [0, '1m', NaN],
    timeout: [0, '5s', Infinity]
  }
  await assertMisuse(t, tenantActivity, 'tenantActivity', options, wrong)
})
