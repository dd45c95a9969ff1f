import fastifySwagger from '@fastify/swagger'
import Fastify, { type FastifyInstance, type FastifyRequest, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { signingHubLogout } from '../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../lib/flows/tenant-status.ts'
import { revocationGuard } from '../lib/guards/revocation.ts'
import { tenantActivity } from '../lib/guards/tenant-activity.ts'
import type { Credential } from '../lib/revocation-store.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { registerFlows, secrets } from './every-flow.ts'

// Hosts, and the plugins they use, write into what they are given: @fastify/helmet's `onRoute` hook into `route.config`,
// documentation plugins into `route.schema`, a host's own function into an event.

/** Every object and array that can be reached from a value. Functions are left out: a host cannot change what they do. */
function reachable (value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null || found.has(value)) return found
  found.add(value)
  for (const key of Reflect.ownKeys(value)) reachable((value as Record<PropertyKey, unknown>)[key], found)
  return found
}

/** Writes into everything that can be reached from a route, as far as the route stays a valid one. */
function scribble (route: RouteOptions, word: string): void {
  route.config = Object.assign(route.config ?? {}, { [word]: word, rateLimit: false, helmet: { [word]: true } })
  for (const object of reachable(route.schema)) {
    if (!('type' in object || 'anyOf' in object || 'const' in object)) continue
    Object.assign(object, { [`x-${word}`]: word, description: word })
  }
  const schema = (route.schema ?? {}) as { tags?: string[], security?: object[] }
  schema.tags?.push(word)
  schema.security?.push({ [word]: [] })
}

async function serve (t: Test, prepare: (app: FastifyInstance) => unknown = () => {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await prepare(app)
  return app
}

t.test('no two routes of any flow share an object that a host can write to', async t => {
  const owners = new Map<object, string>()
  const security = [{ bearer: [] }]
  for (const server of ['one server', 'another server']) {
    await serve(t, async app => {
      app.addHook('onRoute', ({ method, url, config, schema, constraints, onRequest, preParsing, preValidation, preHandler, onSend }) => {
        const hooks = [onRequest, preParsing, preValidation, preHandler, onSend]
        const name = `${String(method)} ${url} of ${server}`
        for (const object of reachable([config, schema, constraints, ...hooks])) {
          if (Object.isFrozen(object)) continue
          t.equal(owners.get(object), undefined, `${name} shares nothing: ${JSON.stringify(object).slice(0, 80)}`)
          owners.set(object, name)
        }
      })
      await registerFlows(app)
      for (const prefix of ['/a', '/b']) await app.register(signingHubLogout, { prefix, verifyToken: () => ({}), route: { security } })
    })
  }
  t.ok(owners.size > 500)
})

t.test('what a host writes into one route does not appear in other routes, documents or servers', async t => {
  const documented = async (prepare: (app: FastifyInstance) => unknown) => {
    const app = await serve(t, async app => {
      await prepare(app)
      await app.register(fastifySwagger, {
        openapi: { openapi: '3.1.0', components: { securitySchemes: { graffiti: { type: 'http', scheme: 'bearer' } } } }
      })
      await registerFlows(app)
      await app.ready()
    })
    return JSON.stringify(app.swagger())
  }
  const before = await documented(() => {})
  const scribbled = await documented(app => app.addHook('onRoute', route => scribble(route, 'graffiti')))
  t.match(scribbled, '"description":"graffiti"')
  t.equal(await documented(() => {}), before)
  const one = JSON.parse(await documented(app => app.addHook('onRoute', route => {
    if (route.url === '/v3/logout') scribble(route, 'graffiti')
  })))
  for (const [path, item] of Object.entries(one.paths)) t.equal(JSON.stringify(item).includes('graffiti'), path === '/v3/logout', path)
})

t.test('a host that writes into the config or the hooks of routes', async t => {
  const hooks: Readonly<Record<string, (route: RouteOptions) => void>> = {
    'adds to the config': route => scribble(route, 'mine'),
    'gives every route a config of its own': route => { route.config = { mine: true } as object },
    'removes the config': route => { delete route.config },
    'copies the symbols of one config into all': (() => {
      const seen: object[] = []
      return (route: RouteOptions) => { seen.push({ ...route.config }); route.config = Object.assign({}, ...seen) }
    })(),
    'adds a schema to every logout route': route => {
      if (route.schema === undefined) return
      route.schema = { ...route.schema, headers: { type: 'object', required: ['x-mine'], properties: { 'x-mine': { type: 'string' } } } }
    },
    'adds handlers': route => {
      const handlers = [route.preHandler ?? []].flat()
      handlers.push(async () => {})
      route.preHandler = handlers
      route.onRequest = [async () => {}, ...[route.onRequest ?? []].flat()]
    }
  }
  for (const [name, hook] of Object.entries(hooks)) {
    const revocations = memoryRevocationStore()
    await revocations.revoke({ tokenId: 'revoked', until: Date.now() + 60_000 })
    const users = memoryUserStatusStore()
    await users.set({ tenant: 'acme', subject: 'bob' }, 'logged_out')
    const sightings: string[] = []
    const credential = ({ headers }: FastifyRequest): Credential | undefined => {
      const tokenId = headers['x-token-id']
      return tokenId === undefined ? undefined : { tokenId: String(tokenId) }
    }
    const app = await serve(t, async app => {
      app.addHook('onRoute', hook)
      await app.register(revocationGuard, { revocations, credential })
      await app.register(tenantActivity, { users, user: ({ url }) => { sightings.push(url); return undefined } })
      app.get('/before', async () => 'in')
      await registerFlows(app)
      app.get('/behind', async () => 'in')
    })
    const headers = { 'x-token-id': 'revoked' }
    for (const url of ['/before', '/behind']) {
      t.equal((await app.inject({ url, headers })).statusCode, 401, `${name}: the guard guards ${url}`)
      t.equal((await app.inject({ url })).statusCode, 200)
    }
    t.ok(sightings.includes('/before') && sightings.includes('/behind'), `${name}: use of the host's routes counts`)
    sightings.length = 0
    const tenant = { 'x-tenant-token': secrets.tenant, 'x-token': secrets.user }
    t.equal(
      (await app.inject({ url: '/auth/logout', headers: { ...headers, ...tenant } })).statusCode, 200,
      `${name}: a logout route is not guarded`
    )
    t.equal((await app.inject({
      method: 'POST', url: '/v3/logout', headers: { ...headers, authorization: `Bearer ${secrets.bearer}` }
    })).statusCode, 200, name)
    t.strictSame(sightings, [], `${name}: a logout is not activity`)
  }
})

/** Writes into each member of what a function of the host was given. */
function overwrite (given: unknown): void {
  if (typeof given !== 'object' || given === null) return
  for (const key of Object.keys(given)) Reflect.set(given, key, 'graffiti')
}

t.test('if a function of the host writes into its arguments, the next functions do not see it', async t => {
  const seen: Array<readonly [string, unknown]> = []
  const note = (name: string, given: object) => {
    seen.push([name, { ...given }])
    overwrite(given)
  }
  const user = { subject: 'alice', actor: 'admin', tenant: 'acme', sessionId: 's1', issuedAt: 1000 }
  const app = await serve(t, async app => {
    await app.register(signingHubLogout, {
      verifyToken: () => ({}),
      user: { principal: () => user, mayActFor: user => { note('mayActFor', user); return true } },
      deviceToken: { remove: removal => { note('remove', removal); return 'removed' } },
      recordActivity: activity => { note('recordActivity', activity) },
      revoke: user => { note('revoke', user) },
      onLogout: activity => { note('onLogout', activity) }
    })
    const users = memoryUserStatusStore()
    await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
    const { get, compareAndSet } = users
    await app.register(tenantStatusLogout, {
      users: {
        get: user => { const record = get({ ...user }); note('users.get', user); return record },
        compareAndSet: (user, ...change) => {
          const written = compareAndSet({ ...user }, ...change)
          note('users.compareAndSet', user)
          return written
        }
      },
      verifyToken: () => ({}),
      authenticateTenant: () => 'acme',
      user: {
        principal: () => user,
        isRestricted: query => { note('isRestricted', { ...query, request: undefined }); overwrite(query); return false },
        beforeLogOut: event => { note('beforeLogOut', { ...event, at: 0 }); overwrite(event) }
      },
      onLogout: event => { note('onLogout', { ...event, at: 0 }) }
    })
  })
  const signingHub = {
    method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer token' }, payload: { device_token: 'phone' }
  } as const
  t.equal((await app.inject(signingHub)).statusCode, 200)
  t.strictSame(seen.map(([name]) => name), ['mayActFor', 'remove', 'recordActivity', 'revoke', 'onLogout'])
  for (const [name, given] of seen.splice(0)) t.match(given, user, name)
  t.equal((await app.inject({ url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': 'token' } })).statusCode, 200)
  t.strictSame(seen.map(([name]) => name), ['isRestricted', 'beforeLogOut', 'users.get', 'users.compareAndSet', 'onLogout'])
  for (const [name, given] of seen) t.match(given, { tenant: 'acme', subject: 'alice' }, name)
})
