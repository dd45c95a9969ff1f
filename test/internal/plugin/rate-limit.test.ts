import rateLimit, { type FastifyRateLimitOptions, type FastifyRateLimitStore } from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { tenantStatusLogout } from '../../../lib/flows/tenant-status.ts'
import type { LogoutRateLimit } from '../../../lib/internal/plugin/rate-limit.ts'
import { assertMisuse } from '../../misuse.ts'
import { alice, answered, credentials, failure, internal, limited, path, serve, success, tenantHost, tooMany } from '../../tenant-host.ts'
import { wire } from '../../wire.ts'

const { options } = tenantHost()
const failureOf = (remaining: number) => failure(401, 'MISSING_TENANT_TOKEN', 'Missing tenant token', limited(remaining))

/** A store of the host that counts in a map, and the keys it was asked for. */
function countingStore () {
  const counts = new Map<string, number>()
  const settings: FastifyRateLimitOptions[] = []
  class Store implements FastifyRateLimitStore {
    constructor (options: FastifyRateLimitOptions) { settings.push(options) }

    incr (key: string, callback: Parameters<FastifyRateLimitStore['incr']>[1], timeWindow: number) {
      const current = (counts.get(key) ?? 0) + 1
      counts.set(key, current)
      callback(undefined as never, { current, ttl: timeWindow })
    }

    child (): never { throw new Error('not asked for') }
  }
  return { counts, settings, Store }
}

/** A store whose count is not to be had. */
function failingStore (failing: (callback: Parameters<FastifyRateLimitStore['incr']>[1]) => void) {
  return class implements FastifyRateLimitStore {
    incr (_key: string, callback: Parameters<FastifyRateLimitStore['incr']>[1]) { failing(callback) }
    child () { return this }
  }
}

t.test('the default limit is 30 requests per hour and address: the 31st gets 429', async t => {
  const { options, asked, statusOf } = tenantHost()
  const { logOut } = await serve(t, options)
  for (let remaining = 29; remaining >= 0; remaining--) {
    t.strictSame(await logOut({}), failureOf(remaining), 'counted before authentication')
  }
  t.strictSame(await logOut(), tooMany())
  t.strictSame(await logOut({}), tooMany(), 'and again')
  t.strictSame(asked, [])
  t.equal(statusOf('alice'), 'logged_in')
  t.strictSame(await logOut(credentials, '127.0.0.2'), success(), 'another address is not concerned')
})

t.test('the window begins with the first request and has a fixed length', async t => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const wait = (milliseconds: number) => { const stopped = Date.now() + milliseconds; Date.now = () => stopped }
  wait(0)
  const { logOut } = await serve(t, { ...options, route: { rateLimit: { max: 2, window: 8000 } } })
  t.strictSame(await logOut(), success(limited(1, 2, 8)))
  wait(3500)
  t.strictSame(await logOut(), success(limited(0, 2, 5)), 'whole seconds, rounded up')
  wait(4000)
  t.strictSame(await logOut(), tooMany(1, 2))
  wait(500)
  t.strictSame(await logOut(), success(limited(1, 2, 8)), 'neither a counted nor a refused request lengthens it')
})

t.test('addresses', async t => {
  t.test('an IPv6 address counts by its /64, a mapped IPv4 address as IPv4', async t => {
    const { logOut } = await serve(t, options)
    t.strictSame(await logOut(credentials, '2001:db8:1:2::1'), success())
    t.strictSame(await logOut(credentials, '2001:db8:1:2:ffff::2'), success(limited(28)))
    t.strictSame(await logOut(credentials, '2001:db8:1:3::1'), success())
    t.strictSame(await logOut(credentials, '10.0.0.1'), success())
    t.strictSame(await logOut(credentials, '::ffff:10.0.0.1'), success(limited(28)))
  })

  t.test('the address comes from X-Forwarded-For if the host trusts the proxy', async t => {
    const { logOut } = await serve(t, options, { server: { trustProxy: '127.0.0.1' } })
    t.strictSame(await logOut({ ...credentials, 'x-forwarded-for': '10.0.0.1' }), success())
    t.strictSame(await logOut({ ...credentials, 'x-forwarded-for': '10.0.0.2' }), success())
    t.strictSame(
      await logOut({ ...credentials, 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }), success(limited(28)), 'a client cannot choose its own'
    )
    const { logOut: straight } = await serve(t, options)
    t.strictSame(await straight({ ...credentials, 'x-forwarded-for': '10.0.0.1' }), success())
    t.strictSame(
      await straight({ ...credentials, 'x-forwarded-for': '10.0.0.2' }), success(limited(28)), 'where none is trusted nobody is believed'
    )
  })

  t.test('an address with a port counts like the address without it', async t => {
    const { logOut } = await serve(t, options, { server: { trustProxy: '127.0.0.1' } })
    let remaining = 29
    for (const address of ['10.0.0.1', '10.0.0.1:5678', '10.0.0.1:5679', '10.0.0.1:1']) {
      t.strictSame(await logOut({ ...credentials, 'x-forwarded-for': address }), success(limited(remaining--)), address)
    }
    remaining = 29
    for (const address of ['2001:db8:1:2::1', '[2001:db8:1:2::1]:5678', '[2001:db8:1:2::1]', '[2001:db8:1:2:ffff::2]:5679']) {
      t.strictSame(await logOut({ ...credentials, 'x-forwarded-for': address }), success(limited(remaining--)), address)
    }
    for (const other of ['10.0.0.2:5678', '10.0.0.1:5678 x', '1:2', '[2001:db8:1:3::1]:5678']) {
      t.strictSame(await logOut({ ...credentials, 'x-forwarded-for': other }), success(), `${other} is another one`)
    }
  })

  t.test('all clients on a Unix socket count as one', async t => {
    const { app } = await serve(t, options)
    const directory = mkdtempSync(join(tmpdir(), 'fastify-logout-')) // The path of a socket must be short.
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const socketPath = join(directory, 'socket')
    await app.listen({ path: socketPath })
    for (const remaining of ['29', '28']) {
      const [response] = await once(request({ socketPath, path, headers: credentials }).end(), 'response')
      response.resume()
      t.equal(response.statusCode, 200)
      t.equal(response.headers['x-ratelimit-remaining'], remaining)
    }
  })

  t.test('keyGenerator replaces the address', async t => {
    const { logOut } = await serve(t, {
      ...options, route: { rateLimit: { keyGenerator: async ({ headers }) => String(headers['x-device-id']) } }
    })
    t.strictSame(await logOut({ ...credentials, 'x-device-id': 'a' }), success())
    t.strictSame(await logOut({ ...credentials, 'x-device-id': 'b' }), success())
    t.strictSame(await logOut({ ...credentials, 'x-device-id': 'a' }, '127.0.0.9'), success(limited(28)))
  })
})

t.test('the option "headers" selects the headers of responses', async t => {
  const ietf = (remaining: number, limit: number) => ({
    ratelimit: `"logout";r=${remaining};t=3600`, 'ratelimit-policy': `"logout";q=${limit};w=3600`
  })
  for (const [headers, of] of [
    ['legacy', limited], ['ietf', ietf], ['none', () => ({})],
    ['both', (remaining: number, limit: number) => ({ ...limited(remaining, limit), ...ietf(remaining, limit) })]
  ] as const) {
    const { logOut } = await serve(t, { ...options, route: { rateLimit: { max: 2, headers } } })
    t.strictSame(await logOut(), success(of(1, 2)), headers)
    t.strictSame(await logOut({}), { ...failureOf(0), headers: failure(401, '', '', of(0, 2)).headers }, headers)
    t.strictSame(await logOut(), { ...tooMany(), headers: failure(429, '', '', { ...of(0, 2), 'retry-after': '3600' }).headers }, headers)
  }
  const { logOut } = await serve(t, { ...options, route: { rateLimit: { headers: 'ietf', window: 1500 } } })
  t.match(
    (await logOut()).headers, { ratelimit: '"logout";r=29;t=2', 'ratelimit-policy': '"logout";q=30;w=2' }, 'whole seconds, rounded up'
  )
})

t.test('registrations under different prefixes count separately', async t => {
  for (const store of [undefined, countingStore().Store]) {
    const app = Fastify({ genReqId: () => 'req-7' })
    t.teardown(() => app.close())
    const { inject } = wire(app)
    for (const prefix of ['/a', '/b']) {
      await app.register(tenantStatusLogout, {
        ...options, prefix, route: { rateLimit: { max: 2, store } }
      })
    }
    const logOut = async (prefix: string) => answered(await inject({ method: 'GET', url: prefix + path, headers: credentials }))
    t.strictSame(await logOut('/a'), success(limited(1, 2)))
    t.strictSame(await logOut('/a'), success(limited(0, 2)))
    t.strictSame(await logOut('/a'), tooMany(3600, 2))
    t.strictSame(await logOut('/b'), success(limited(1, 2)))
  }
})

t.test('beside a limiter of the host', async t => {
  const hosts = {
    global: false, max: 3, keyGenerator: () => 'everybody', errorResponseBuilder: () => ({ statusCode: 429, hosts: 'too many' }), ban: 0
  }
  const own = (app: FastifyInstance) => app.get('/own', { config: { rateLimit: { max: 1 } } }, async () => 'own')
  const ways: Readonly<Record<string, { before?: (app: FastifyInstance) => unknown, after?: (app: FastifyInstance) => unknown }>> = {
    'registered without being global': { before: async app => { await app.register(rateLimit, hosts); own(app) } },
    'registered globally': { before: async app => { await app.register(rateLimit, { ...hosts, global: true, max: 100 }); own(app) } },
    'registered globally, without a key of its own': { before: async app => { await app.register(rateLimit, { max: 100 }); own(app) } },
    'registered behind the flow': { after: async app => { await app.register(rateLimit, { ...hosts, global: true }); own(app) } },
    'and none': {}
  }
  for (const [name, { before, after }] of Object.entries(ways)) {
    for (const rateLimit of [{ max: 2 }, { max: 2, store: countingStore().Store, headers: 'both' }] as const) {
      const { app, logOut } = await serve(t, { ...options, route: { rateLimit } }, { ...(before !== undefined && { before }) })
      await after?.(app)
      const headersOf = (remaining: number) => 'headers' in rateLimit
        ? { ...limited(remaining, 2), ratelimit: `"logout";r=${remaining};t=3600`, 'ratelimit-policy': '"logout";q=2;w=3600' }
        : limited(remaining, 2)
      t.strictSame(await logOut(credentials, '10.0.0.1'), success(headersOf(1)), name)
      t.strictSame(await logOut(credentials, '10.0.0.2'), success(headersOf(1)), `${name}: our key`)
      t.strictSame(await logOut(credentials, '10.0.0.1'), success(headersOf(0)), name)
      t.strictSame(
        await logOut(credentials, '10.0.0.1'),
        { ...tooMany(), headers: failure(429, '', '', { ...headersOf(0), 'retry-after': '3600' }).headers },
        `${name}: our limit and our words`
      )
      if (name === 'and none') continue

      const theirs = [await app.inject('/own'), await app.inject({ url: '/own', remoteAddress: '10.0.0.1' })]
      const perAddress = name.endsWith('its own')
      t.strictSame(theirs.map(({ statusCode }) => statusCode), [200, perAddress ? 200 : 429], name)
      t.equal(
        theirs[1]?.body, perAddress ? 'own' : '{"statusCode":429,"hosts":"too many"}',
        `${name}: the host's route keeps its limit, its key and its words`
      )
      t.equal(theirs[0]?.headers['x-ratelimit-limit'], '1')
      t.equal(theirs[0]?.headers['ratelimit-policy'], undefined)
    }
  }

  t.test('the host\'s global limit applies to the logout route, with the vendor\'s body', async t => {
    const { logOut } = await serve(t, options, {
      before: app => app.register(rateLimit, {
        ...hosts, global: true, ban: -1, max: 1, errorResponseBuilder: () => Object.assign(new Error('secret'), { statusCode: 429 })
      })
    })
    t.strictSame(await logOut(credentials, '10.0.0.1'), success())
    t.equal((await logOut(credentials, '10.0.0.2')).body, tooMany().body)
  })

  t.test('a refusal by the host\'s limiter has its headers only', async t => {
    for (const [headers, store] of [
      ['legacy', countingStore().Store], ['ietf', undefined], ['both', undefined], ['none', undefined]
    ] as const) {
      const { logOut } = await serve(t, { ...options, route: { rateLimit: { headers, store, max: 7 } } }, {
        before: app => app.register(rateLimit, { global: true, max: 1, timeWindow: 60_000 })
      })
      const first = await logOut()
      t.equal(first.headers['x-ratelimit-limit'], headers === 'legacy' || headers === 'both' ? '7' : undefined)
      const refused = await logOut()
      t.equal(refused.status, 429)
      t.match(refused.headers, { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0', 'retry-after': '60' }, headers)
      for (const name of ['ratelimit', 'ratelimit-policy']) t.equal(refused.headers[name], undefined, `${headers}: ${name}`)
    }
  })

  t.test('a limiter that a hook adds to every route works, too', async t => {
    const { counts, Store } = countingStore()
    const { logOut } = await serve(t, { ...options, route: { rateLimit: { store: Store } } }, {
      before: app => app.addHook('onRoute', route => { route.config = { ...route.config, rateLimit: { max: 1 } } })
    })
    t.strictSame(await logOut(), success(limited(0, 1)))
    t.strictSame(await logOut(), tooMany(3600, 1))
    t.strictSame([...counts], [[`${path}-127.0.0.1`, 2]], 'our store counts')
  })
})

t.test('the option "store"', async t => {
  t.test('counts this route only, by address', async t => {
    const { counts, settings, Store } = countingStore()
    const { logOut } = await serve(t, { ...options, route: { rateLimit: { store: Store } } }, { prefix: '/api' })
    t.strictSame(await logOut(), success())
    t.strictSame(await logOut(), success(limited(28)))
    t.strictSame([...counts], [['/api/auth/logout-127.0.0.1', 2]])
    t.match(settings, [{ max: 30, timeWindow: 3_600_000 }])
  })

  const secret = new Error('secret: redis://user:password@host')
  const failing: Readonly<Record<string, Parameters<typeof failingStore>[0]>> = {
    fails: callback => callback(secret),
    'fails with a status': callback => callback(Object.assign(new Error('secret'), { statusCode: 404 })),
    throws: () => { throw secret },
    'answers nothing': callback => callback(null),
    'never answers': () => {}
  }
  for (const [name, answer] of Object.entries(failing)) {
    t.test(`that ${name}`, async t => {
      const lines: string[] = []
      const server = { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }
      for (const headers of ['legacy', 'ietf', 'both', 'none'] as const) {
        const { options, users } = tenantHost()
        const { logOut } = await serve(t, {
          ...options, timeout: 20, route: { rateLimit: { store: failingStore(answer), headers } }
        }, { server })
        t.strictSame(await logOut(), success({}), 'lets through, without headers')
        t.equal(users.get(alice)?.status, 'logged_out')
        t.equal(lines.length, 1)
        t.match(lines.pop(), 'logout.rate-limit-outage')
      }

      const { options, users } = tenantHost()
      const { logOut } = await serve(
        t, { ...options, timeout: 20, route: { rateLimit: { store: failingStore(answer), whenUnavailable: 'refuse' } } }, { server }
      )
      t.strictSame(await logOut(), internal({}), 'or, where the host asks for it, refuses')
      t.equal(users.get(alice)?.status, 'logged_in')
    })
  }

  t.test('that fails does not affect a limiter of the host', async t => {
    const { logOut } = await serve(t, { ...options, route: { rateLimit: { store: failingStore(callback => callback(secret)) } } }, {
      before: app => app.register(rateLimit, { max: 100 })
    })
    t.strictSame(await logOut(), success({}), 'the limit of the host is not taken for ours')
  })

  t.test('that responds after the timeout changes nothing', async t => {
    let late = () => {}
    const { logOut } = await serve(t, {
      ...options,
      timeout: 20,
      route: {
        rateLimit: { store: failingStore(callback => { late = () => callback(null, { current: 99, ttl: 1 }) }) }
      }
    })
    t.strictSame(await logOut(), success({}))
    late()
    await sleep(1)
  })
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const wrong: Readonly<Record<keyof LogoutRateLimit, readonly unknown[]>> = {
    max: [0, -1, 1.5, '30', NaN, null],
    window: [0, '1 hour', Infinity],
    headers: ['IETF', true, ''],
    whenUnavailable: ['open', true, null],
    keyGenerator: ['ip'],
    store: [{ incr () {} }]
  }
  for (const [option, values] of Object.entries(wrong)) {
    await assertMisuse(t, tenantStatusLogout, 'tenantStatusLogout', options, { [`route.rateLimit.${option}`]: values })
  }
  await assertMisuse(t, tenantStatusLogout, 'tenantStatusLogout', options, { 'route.rateLimit': [null, 30, 'off', false] })
})
