import Fastify, { type FastifyInstance } from 'fastify'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { tenantStatusLogout, type TenantStatusLogoutOptions } from '../../lib/flows/tenant-status.ts'
import { TokenRejectedError } from '../../lib/token-verifier.ts'
import {
  alice, answered, credentials, failure, internal, invalidTenantToken, invalidUserToken, limited, path, serve, success, tenantHost,
  unexpected, withoutLogOut
} from '../tenant-host.ts'
import { assertMisuse, type WrongOptions } from '../misuse.ts'
import { wire, type Answer } from '../wire.ts'

type Options = Partial<TenantStatusLogoutOptions>

const missingTenantToken = failure(401, 'MISSING_TENANT_TOKEN', 'Missing tenant token')
const missingUserToken = failure(401, 'MISSING_USER_TOKEN', 'Missing user token')
const restricted = (name = 'logout') => failure(403, 'RESTRICTED_CAPABILITY', `Capability ${name} is restricted`)
const rejected = new TokenRejectedError('untrusted')

t.test('a logout is a 200 and can be repeated, and onLogout is called once', async t => {
  for (const prefix of ['', '/api']) {
    for (const roundTrips of ['one', 'two']) {
      const { options, users, logouts, statusOf } = tenantHost()
      const { logOut } = await serve(t, { ...options, users: roundTrips === 'one' ? users : withoutLogOut(users) }, { prefix })
      const before = Date.now()
      t.strictSame(await logOut(), success())
      t.equal(statusOf('alice'), 'logged_out')
      const { version, loggedOutAt = 0 } = users.get(alice) ?? {}
      t.ok(loggedOutAt >= before && loggedOutAt <= Date.now())

      t.strictSame(await logOut(), success(limited(28)))
      t.equal(statusOf('alice'), 'logged_out')
      t.not(users.get(alice)?.version, version, 'the second logout moves the barrier')

      t.strictSame(logouts, [{ ...alice, at: loggedOutAt, requestId: 'req-7' }])
      t.equal(users.get({ tenant: 'umbrella', subject: 'alice' })?.status, 'logged_in', 'the same name in another tenant is somebody else')
    }
  }
})

t.test('three options are enough, with a store of two functions', async t => {
  const { options: { authenticateTenant, verifyToken, users: { get, compareAndSet } }, statusOf } = tenantHost()
  const { logOut } = await serve(t, { authenticateTenant, verifyToken, users: { get, compareAndSet } })
  t.strictSame(await logOut(), success())
  t.equal(statusOf('alice'), 'logged_out')
})

t.test('each refusal has its exact response, and no user is logged out', async t => {
  const rows: ReadonlyArray<readonly [name: string, headers: Record<string, string | undefined>, answer: Answer, options?: Options]> = [
    ['neither token: the tenant is asked for first', {}, missingTenantToken],
    ['no tenant token', { 'x-token': 'alice-token' }, missingTenantToken],
    ['a blank tenant token', { ...credentials, 'x-tenant-token': ' \t' }, missingTenantToken],
    ['an unknown tenant token', { ...credentials, 'x-tenant-token': 'other' }, invalidTenantToken],
    ['an unknown tenant token, and no user token', { 'x-tenant-token': 'other' }, invalidTenantToken],
    ['a tenant refused by null', credentials, invalidTenantToken, { authenticateTenant: () => null }],
    ['a tenant refused by an empty name', credentials, invalidTenantToken, { authenticateTenant: () => '' }],
    ['a tenant refused by an error', credentials, invalidTenantToken, { authenticateTenant: () => { throw rejected } }],
    ['a tenant refused by a late error', credentials, invalidTenantToken, { authenticateTenant: async () => { throw rejected } }],
    ['no user token', { 'x-tenant-token': 'acme-token' }, missingUserToken],
    ['a blank user token', { ...credentials, 'x-token': '  ' }, missingUserToken],
    ['a malformed user token', { ...credentials, 'x-token': 'malformed' }, invalidUserToken],
    ['an untrusted user token', { ...credentials, 'x-token': 'untrusted' }, invalidUserToken],
    ['an expired user token', { ...credentials, 'x-token': 'expired' }, invalidUserToken],
    ['a revoked user token', { ...credentials, 'x-token': 'revoked' }, invalidUserToken],
    ['a user token refused at once', credentials, invalidUserToken, { verifyToken: () => { throw rejected } }],
    ['a user token refused by null', credentials, invalidUserToken, { verifyToken: () => null as never }],
    ['a user token of another tenant', { ...credentials, 'x-token': 'umbrella-alice-token' }, invalidUserToken],
    ['a user token of no tenant', { ...credentials, 'x-token': 'no-tenant-token' }, invalidUserToken],
    ['a principal without a tenant', credentials, invalidUserToken, { user: { principal: () => ({ subject: 'alice' }) } }],
    ['a user token behind Bearer', { ...credentials, 'x-token': 'Bearer alice-token' }, invalidUserToken],
    ['Bearer and no token', { ...credentials, 'x-token': 'Bearer' }, invalidUserToken, { wire: { acceptBearerPrefix: true } }],
    ['a user token of 1 MB', { ...credentials, 'x-token': 'x'.repeat(1_048_576) }, invalidUserToken],
    ['a tenant token of 1 MB', { ...credentials, 'x-tenant-token': 'x'.repeat(1_048_576) }, invalidTenantToken],
    ['a user token that is not ASCII', { ...credentials, 'x-token': 'ädä-token' }, invalidUserToken],
    ['a token without a user', { ...credentials, 'x-token': 'no-user-token' }, unexpected],
    ['a token without a user, whoever may not log out', { ...credentials, 'x-token': 'no-user-token' }, unexpected, {
      user: { isRestricted: () => true }
    }],
    ['a principal with an empty subject', credentials, unexpected, { user: { principal: () => ({ tenant: 'acme', subject: '' }) } }],
    ['a restricted capability', credentials, restricted(), { user: { isRestricted: () => true } }],
    ['a restricted capability, late', credentials, restricted(), { user: { isRestricted: async () => true } }],
    ...[undefined, null, 0, '', 'no', [], {}].map(answer => [
      `a policy that answers ${JSON.stringify(answer)}: only false lets a logout through`, credentials, restricted(),
      { user: { isRestricted: () => answer as never } }
    ] as const),
    ['a restricted capability of another name', credentials, restricted('sign-off'), {
      user: { isRestricted: ({ capability }) => capability === 'sign-off' }, wire: { capability: 'sign-off' }
    }],
    ['no capability check without both authentications', { 'x-tenant-token': 'acme-token' }, missingUserToken, {
      user: { isRestricted: () => true }
    }],
    ['a user without a record', { ...credentials, 'x-token': 'stranger-token' }, unexpected],
    ['a suspended user', { ...credentials, 'x-token': 'suspended-token' }, unexpected],
    ['a terminated user', { ...credentials, 'x-token': 'terminated-token' }, unexpected],
    ['a user in a state of the host', { ...credentials, 'x-token': 'blocked-token' }, unexpected],
    ['a user in another state of the host', { ...credentials, 'x-token': 'pending-token' }, unexpected]
  ]
  for (const [name, headers, answer, overriding] of rows) {
    const { options, users, logouts, statusOf } = tenantHost()
    for (const store of [users, withoutLogOut(users)]) {
      const { logOut } = await serve(t, { ...options, users: store, ...overriding })
      t.strictSame(await logOut(headers), answer, name)
    }
    t.strictSame(
      ['alice', 'suspended', 'terminated', 'blocked', 'pending', 'stranger'].map(statusOf),
      ['logged_in', 'suspended', 'terminated', 'blocked', 'pending', undefined], name
    )
    t.strictSame(logouts, [], name)
  }
})

t.test('numeric ids are converted to text, and null counts as no record', async t => {
  const { options, users, logouts } = tenantHost()
  users.set({ tenant: '1', subject: '23' }, 'logged_in')
  const numbers = { ...options, authenticateTenant: () => 1 as never, user: { principal: () => ({ tenant: 1, subject: 23 }) as never } }
  t.strictSame(await (await serve(t, numbers)).logOut(), success())
  t.match(logouts, [{ tenant: '1', subject: '23' }])
  t.equal(users.get({ tenant: '1', subject: '23' })?.status, 'logged_out')

  for (const tenant of [NaN, {}, true, [], 1.5]) {
    const { logOut } = await serve(t, { ...options, authenticateTenant: () => tenant as never })
    t.strictSame(await logOut(), invalidTenantToken, `not a tenant: ${String(tenant)}`)
  }
  for (const store of [
    { get: () => null, compareAndSet: () => true }, { get: () => null, compareAndSet: () => true, logOut: () => null }
  ]) {
    const { logOut } = await serve(t, { ...options, users: store as never })
    t.strictSame(await logOut(), unexpected)
  }
})

t.test('a header without exactly one token is refused before the verifier is called', async t => {
  const { options, asked, statusOf } = tenantHost()
  const { logOut, send } = await serve(t, options)
  let remaining = 30
  for (const words of ['a, b', 'a,b', 'a b', 'a\tb', 'Bearer a', 'Bearer  a']) {
    t.strictSame(
      await logOut({ ...credentials, 'x-tenant-token': words }),
      { ...invalidTenantToken, headers: { ...invalidTenantToken.headers, ...limited(--remaining) } }, words
    )
    t.strictSame(asked, [])
    t.strictSame(
      await logOut({ ...credentials, 'x-token': words }),
      { ...invalidUserToken, headers: { ...invalidUserToken.headers, ...limited(--remaining) } }, words
    )
    t.strictSame(asked.splice(0), ['acme-token'])
  }

  const twice = [['X-Tenant-Token', 'acme-token'], ['X-Token', 'alice-token'], ['X-Token', 'alice-token']] as const
  t.strictSame(answered(await send(`GET ${path}`, twice)), {
    ...invalidUserToken, headers: { ...invalidUserToken.headers, ...limited(--remaining) }
  })
  const tenants = [['X-Tenant-Token', 'acme-token'], ['X-Tenant-Token', 'acme-token'], ['X-Token', 'alice-token']] as const
  t.strictSame(answered(await send(`GET ${path}`, tenants)), {
    ...invalidTenantToken, headers: { ...invalidTenantToken.headers, ...limited(--remaining) }
  })
  const blanks = [['X-Tenant-Token', ' \t'], ['X-Token', 'alice-token']] as const
  t.strictSame(answered(await send(`GET ${path}`, blanks)), {
    ...missingTenantToken, headers: { ...missingTenantToken.headers, ...limited(--remaining) }
  })
  t.strictSame(asked, ['acme-token'])
  t.equal(statusOf('alice'), 'logged_in')

  const once = [['x-tenant-token', ' acme-token '], ['x-token', ' alice-token ']] as const
  t.strictSame(answered(await send(`GET ${path}`, once)), success(limited(--remaining)))
})

t.test('a header of 1 MB gets 431 from Node before routing', async t => {
  const { options, asked } = tenantHost()
  const { sendUnchecked } = await serve(t, options)
  const { status } = await sendUnchecked(`GET ${path}`, [['X-Token', 'x'.repeat(1_048_576)]])
  t.equal(status, 431)
  t.strictSame(asked, [])
})

t.test('the options of the wire', async t => {
  t.test('acceptBearerPrefix accepts Bearer before the user token', async t => {
    for (const token of ['Bearer alice-token', 'bearer  alice-token', 'alice-token']) {
      const { options } = tenantHost()
      const { logOut } = await serve(t, { ...options, wire: { acceptBearerPrefix: true } })
      t.strictSame(await logOut({ ...credentials, 'x-token': token }), success(), token)
    }
  })

  t.test('tenantHeader renames the header of the tenant token', async t => {
    const { options } = tenantHost()
    const { logOut } = await serve(t, { ...options, wire: { tenantHeader: 'X-Organisation' } })
    t.strictSame(await logOut({ 'x-organisation': 'acme-token', 'x-token': 'alice-token' }), success())
    t.strictSame(await logOut(), failure(401, 'MISSING_TENANT_TOKEN', 'Missing tenant token', limited(28)))
  })

  t.test('errorCodes changes the codes of refused tokens', async t => {
    const { options } = tenantHost()
    const all = await serve(t, { ...options, wire: { errorCodes: { tenant: 'BAD_TENANT', user: 'BAD_USER', expired: 'TOO_OLD' } } })
    t.strictSame(await all.logOut({ 'x-tenant-token': 'other' }), failure(401, 'BAD_TENANT', 'Invalid tenant token'))
    t.strictSame(await all.logOut({ ...credentials, 'x-token': 'malformed' }), failure(401, 'BAD_USER', 'Invalid user token', limited(28)))
    t.strictSame(await all.logOut({ ...credentials, 'x-token': 'expired' }), failure(401, 'TOO_OLD', 'Invalid user token', limited(27)))
    const one = await serve(t, { ...options, wire: { errorCodes: { user: 'BAD_USER' } } })
    t.strictSame(await one.logOut({ ...credentials, 'x-token': 'expired' }), failure(401, 'BAD_USER', 'Invalid user token'))
  })

  t.test('wwwAuthenticate is sent with each 401 and with no other response', async t => {
    const { options } = tenantHost()
    const { logOut } = await serve(t, { ...options, wire: { wwwAuthenticate: 'Tenant realm="acme"' } })
    for (const [headers, status] of [
      [{}, 401], [{ 'x-tenant-token': 'other' }, 401], [{ ...credentials, 'x-token': 'expired' }, 401],
      [{ ...credentials, 'x-token': 'stranger-token' }, 500], [credentials, 200]
    ] as const) {
      const answer = await logOut(headers)
      t.equal(answer.status, status)
      t.equal(answer.headers['www-authenticate'], status === 401 ? 'Tenant realm="acme"' : undefined)
    }
  })

  t.test('clientHeaders are checked before the tokens', async t => {
    const { options, asked } = tenantHost()
    const { logOut } = await serve(t, { ...options, wire: { clientHeaders: ['X-Locale', 'x-country', 'x-device-id'] } })
    const refusal = (remaining: number, validation: object) => failure(
      400, 'VALIDATION_ERROR', 'The request could not be processed', limited(remaining), validation
    )
    t.strictSame(await logOut({}), refusal(29, {
      'x-locale': ['x-locale is required'], 'x-country': ['x-country is required'], 'x-device-id': ['x-device-id is required']
    }))
    t.strictSame(await logOut({ ...credentials, 'x-locale': 'en', 'x-country': ' ', 'x-device-id': 'd' }), refusal(28, {
      'x-country': ['x-country is required']
    }))
    t.strictSame(asked, [])
    t.strictSame(await logOut({ ...credentials, 'x-locale': 'en', 'x-country': 'NO', 'x-device-id': 'd' }), success(limited(27)))
  })

  t.test('the functions of the host are called with the user and the request', async t => {
    const { options } = tenantHost()
    const told: unknown[] = []
    const { logOut } = await serve(t, {
      ...options,
      authenticateTenant: (token, { url }) => { told.push([token, url]); return 'acme' },
      user: {
        isRestricted: ({ request, ...query }) => { told.push([query, request.url]); return false },
        beforeLogOut: ({ at, ...user }, { url }) => { told.push([user, url]) },
        principal: claims => { told.push(claims); return { tenant: 'acme', subject: 'alice' } }
      },
      onLogout: ({ at, ...user }, { url }) => { told.push([user, url]) }
    })
    t.strictSame(await logOut(), success())
    const user = { ...alice, requestId: 'req-7' }
    t.strictSame(told, [
      ['acme-token', path], { sub: 'alice', tenant: 'acme' }, [{ ...alice, capability: 'logout' }, path], [user, path], [user, path]
    ])
  })
})

t.test('other methods are not served, and prefetches are refused', async t => {
  const { options, asked, statusOf } = tenantHost()
  const { inject, logOut } = await serve(t, options)
  for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
    t.equal((await inject({ method, url: path, headers: credentials })).status, 404, method)
  }
  for (const [index, purpose] of [
    { 'sec-purpose': 'prefetch' }, { 'sec-purpose': 'prefetch;prerender' }, { purpose: 'prefetch' }, { 'x-purpose': 'preview' },
    { 'x-moz': 'prefetch' }
  ].entries()) {
    t.strictSame(
      await logOut({ ...credentials, ...purpose }), failure(403, 'FORBIDDEN', 'Forbidden', limited(29 - index)), JSON.stringify(purpose)
    )
  }
  const query = '?x-token=alice-token&x-tenant-token=acme-token&token=alice-token'
  t.equal((await inject({ method: 'GET', url: `${path}${query}` })).status, 401, 'tokens in the query are not seen')
  t.strictSame(asked, [])
  t.equal(statusOf('alice'), 'logged_in')
})

t.test('a body of any media type is ignored', async t => {
  for (const [type, body] of [
    ['application/json', '{"broken'], ['application/json', '{"__proto__":1}'], ['text/csv', 'a;b'], ['nonsense', '[]'],
    ['application/json', '']
  ] as const) {
    const { options } = tenantHost()
    const { inject, send } = await serve(t, options)
    t.strictSame(
      answered(await inject({ method: 'GET', url: path, headers: { ...credentials, 'content-type': type }, payload: body })), success(),
      body
    )
    const lines = [...Object.entries(credentials), ['Content-Type', type], ['Content-Length', String(body.length)]] as const
    t.strictSame(answered(await send(`GET ${path}`, lines as never, body)), success(limited(28)), 'over a socket')
  }
})

t.test('50 parallel logouts all get 200, and onLogout is called once', async t => {
  const { options, users, logouts } = tenantHost()
  const late = {
    get: async (user: typeof alice) => { await sleep(1); return users.get(user) },
    compareAndSet: async (...change: Parameters<typeof users.compareAndSet>) => { await sleep(1); return users.compareAndSet(...change) }
  }
  for (const store of [users, withoutLogOut(users), late]) {
    users.set(alice, 'logged_in')
    logouts.length = 0
    const { logOut } = await serve(t, { ...options, users: store, route: { rateLimit: { max: 50 } } })
    const answers = await Promise.all(Array.from({ length: 50 }, async () => logOut()))
    t.ok(answers.every(({ status }) => status === 200))
    t.equal(logouts.length, 1)
    t.equal(users.get(alice)?.status, 'logged_out')
  }
})

t.test('a concurrent write between reading and writing the record', async t => {
  /** A store where somebody else writes before each of the first writes of the flow. */
  function contended (users: ReturnType<typeof tenantHost>['users'], writes: ReadonlyArray<() => void>) {
    const waiting = [...writes]
    let tried = 0
    const compareAndSet: typeof users.compareAndSet = (...change) => {
      tried++
      waiting.shift()?.()
      return users.compareAndSet(...change)
    }
    return { store: { get: users.get, compareAndSet }, tries: () => tried }
  }

  t.test('is retried up to four times', async t => {
    const { options, users, logouts } = tenantHost()
    const activity = () => { users.set(alice, 'logged_in') }
    const { store, tries } = contended(users, [activity, activity, activity, activity])
    const { logOut } = await serve(t, { ...options, users: store })
    t.strictSame(await logOut(), success())
    t.equal(tries(), 5)
    t.equal(users.get(alice)?.status, 'logged_out')
    t.equal(logouts.length, 1)
  })

  t.test('is a 500 if it happens on every attempt', async t => {
    const { options, users, logouts } = tenantHost()
    const { store, tries } = contended(users, Array.from({ length: 9 }, () => () => { users.set(alice, 'logged_in') }))
    const { logOut } = await serve(t, { ...options, users: store })
    t.strictSame(await logOut(), internal())
    t.equal(tries(), 5)
    t.equal(users.get(alice)?.status, 'logged_in')
    t.strictSame(logouts, [])
  })

  t.test('that logs the user out makes the logout succeed without a second onLogout', async t => {
    const { options, users, logouts } = tenantHost()
    const { store, tries } = contended(users, [() => { users.set(alice, 'logged_out') }])
    const { logOut } = await serve(t, { ...options, users: store })
    t.strictSame(await logOut(), success())
    t.equal(tries(), 1)
    t.strictSame(logouts, [])
  })

  t.test('that suspends the user is not overwritten', async t => {
    const { options, users, logouts } = tenantHost()
    const { store } = contended(users, [() => { users.set(alice, 'suspended') }])
    const { logOut } = await serve(t, { ...options, users: store })
    t.strictSame(await logOut(), unexpected)
    t.equal(users.get(alice)?.status, 'suspended')
    t.strictSame(logouts, [])
  })

  t.test('that removes the user makes the logout fail', async t => {
    const { options, users } = tenantHost()
    const { store } = contended(users, [() => { users.remove(alice) }])
    const { logOut } = await serve(t, { ...options, users: store })
    t.strictSame(await logOut(), unexpected)
    t.equal(users.get(alice), undefined)
  })
})

t.test('a repeated logout updates the time of the logout, and onLogout is not called', async t => {
  const { options, users, logouts } = tenantHost()
  users.logOut(alice, { at: 1, requestId: 'long ago' })
  const { logOut } = await serve(t, { ...options, users: withoutLogOut(users) })
  t.strictSame(await logOut(), success())
  t.ok((users.get(alice)?.loggedOutAt ?? 0) > 1)
  t.strictSame(logouts, [])
})

t.test('if a function of the host fails, the response is 500 and the cause is only logged', async t => {
  const status = (statusCode: number) => Object.assign(new Error('secret'), { statusCode, status: statusCode })
  const failures: ReadonlyArray<readonly [name: string, failing: () => never]> = [
    ['throws', () => { throw new Error('secret') }],
    ['throws a 401', () => { throw status(401) }],
    ['throws null', () => { throw null }], // eslint-disable-line no-throw-literal
    ['rejects', () => Promise.reject(new Error('secret')) as never],
    ['rejects with a 403', () => Promise.reject(status(403)) as never],
    ['rejects with a 200', () => Promise.reject(status(200)) as never],
    ['rejects with a text', () => Promise.reject('secret') as never], // eslint-disable-line prefer-promise-reject-errors
    ['never answers', () => new Promise(() => {}) as never]
  ]
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  for (const [name, failing] of failures) {
    const { options, users, logouts } = tenantHost()
    const { get, compareAndSet } = users
    const broken: Readonly<Record<string, Options>> = {
      authenticateTenant: { authenticateTenant: failing },
      verifyToken: { verifyToken: failing },
      'user.isRestricted': { user: { isRestricted: failing } },
      'user.beforeLogOut': { user: { beforeLogOut: failing } },
      'users.get': { users: { get: failing, compareAndSet } },
      'users.compareAndSet': { users: { get, compareAndSet: failing } },
      'users.logOut': { users: { get, compareAndSet, logOut: failing } },
      'route.rateLimit.keyGenerator': { route: { rateLimit: { keyGenerator: failing } } },
      ...(name !== 'never answers' && !name.startsWith('rejects') && { 'user.principal': { user: { principal: failing } } })
    }
    await Promise.all(Object.entries(broken).map(async ([named, overriding]) => {
      const { logOut } = await serve(t, { ...options, timeout: 20, ...overriding }, { server: { logger } })
      t.strictSame(await logOut(), internal(named === 'route.rateLimit.keyGenerator' ? {} : limited(29)), `${named} ${name}`)
    }))
    t.strictSame(lines.map(line => /([\w.]+) failed/.exec(line)?.[1]).sort(), Object.keys(broken).sort(), `${name}: each is logged once`)
    t.equal(users.get(alice)?.status, 'logged_in', name)
    t.strictSame(logouts, [], name)
    lines.length = 0
  }
})

t.test('only authenticateTenant and verifyToken can refuse a token: a TokenRejectedError from elsewhere is a 500', async t => {
  const refuse = () => { throw rejected }
  const { options, users } = tenantHost()
  for (const overriding of [
    { user: { principal: refuse } }, { user: { isRestricted: refuse } }, { user: { beforeLogOut: refuse } },
    { users: { ...users, logOut: refuse } }
  ]) {
    const { logOut } = await serve(t, { ...options, ...overriding })
    t.strictSame(await logOut(), internal(), Object.keys(overriding).join())
  }
  t.equal(users.get(alice)?.status, 'logged_in')
})

t.test('a failure or timeout of onLogout is logged and does not change the response', async t => {
  for (const onLogout of [
    () => { throw new Error('secret') }, async () => { throw new Error('secret') }, () => { throw rejected }, () => new Promise(() => {})
  ]) {
    const lines: string[] = []
    const { options, statusOf } = tenantHost()
    const { logOut } = await serve(t, { ...options, onLogout, timeout: 20 }, {
      server: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }
    })
    t.strictSame(await logOut(), success())
    t.equal(statusOf('alice'), 'logged_out')
    t.equal(lines.length, 1)
    t.match(lines[0], /logout\.hook-failed.*onLogout failed after a logout/)
  }
})

t.test('onLogout is awaited', async t => {
  const { options } = tenantHost()
  let told = false
  const { logOut } = await serve(t, { ...options, onLogout: async () => { await sleep(10); told = true } })
  t.strictSame(await logOut(), success())
  t.ok(told)
})

t.test('a result after the timeout changes nothing, and a retry succeeds', async t => {
  const { options, statusOf, logouts } = tenantHost()
  const slow = new EventEmitter()
  let calls = 0
  const { logOut } = await serve(t, {
    ...options, timeout: 20, user: { beforeLogOut: async () => { if (++calls === 1) await once(slow, 'answer') } }
  })
  t.strictSame(await logOut(), internal())
  slow.emit('answer')
  await sleep(5)
  t.equal(statusOf('alice'), 'logged_in')
  t.strictSame(await logOut(), success(limited(28)))
  t.equal(logouts.length, 1)
})

t.test('an error of the host\'s hooks keeps its status and gets the vendor\'s body', async t => {
  const coded = (statusCode: unknown) => () => { throw Object.assign(new Error('secret'), { statusCode }) }
  type Failing = (request: unknown, reply: { code: (status: number) => unknown }) => unknown
  const unusable: readonly Failing[] = [
    ...[200, 302, 399, 600, 400.5, 'x', undefined, null].map(coded),
    () => { throw null }, // eslint-disable-line no-throw-literal
    () => { throw 'secret' } // eslint-disable-line no-throw-literal
  ]
  const rows: ReadonlyArray<readonly [name: string, failing: Failing, status: number, code: string, message: string]> = [
    ['400', coded(400), 400, 'BAD_REQUEST', 'Bad Request'],
    ['401', coded(401), 401, 'UNAUTHORIZED', 'Unauthorized'],
    ['403', coded(403), 403, 'FORBIDDEN', 'Forbidden'],
    ['404', coded(404), 404, 'NOT_FOUND', 'Not Found'],
    ['408', coded(408), 408, 'REQUEST_TIMEOUT', 'Request Timeout'],
    ['409', coded(409), 409, 'CONFLICT', 'Conflict'],
    ['413', coded(413), 413, 'PAYLOAD_TOO_LARGE', 'Payload Too Large'],
    ['418', coded(418), 418, 'IM_A_TEAPOT', "I'm a Teapot"],
    ['422', coded(422), 422, 'UNPROCESSABLE_ENTITY', 'Unprocessable Entity'],
    ['429', coded(429), 429, 'TOO_MANY_REQUESTS', 'Too many requests'],
    ['499, which has no name', coded(499), 499, 'BAD_REQUEST', 'Bad Request'],
    ['500', coded(500), 500, 'INTERNAL_SERVER', 'Something went wrong on our side.'],
    ['503', coded(503), 503, 'SERVICE_UNAVAILABLE', 'Service Unavailable'],
    ['599, which has no name', coded(599), 599, 'INTERNAL_SERVER', 'Something went wrong on our side.'],
    ['the status of the reply', (_request, reply) => { reply.code(403); throw new Error('secret') }, 403, 'FORBIDDEN', 'Forbidden'],
    ...unusable.map((failing, index) => {
      return [`no usable status, ${index}`, failing, 500, 'INTERNAL_SERVER', 'Something went wrong on our side.'] as const
    })
  ]
  for (const [name, failing, status, code, message] of rows) {
    const { options, statusOf } = tenantHost()
    for (const hook of ['onRequest', 'preHandler'] as const) {
      const { logOut } = await serve(t, options, {
        before: app => app.addHook(hook, async (request, reply) => { failing(request, reply) })
      })
      t.strictSame(await logOut(), failure(status, code, message, hook === 'onRequest' ? {} : limited(29)), `${name} in ${hook}`)
    }
    t.equal(statusOf('alice'), 'logged_in')
  }

  const { options } = tenantHost()
  const failingLate = await serve(t, options, {
    before: app => app.addHook('onSend', async (_request, reply) => {
      if (reply.statusCode === 200) throw Object.assign(new Error('secret'), { statusCode: 503 })
    })
  })
  t.strictSame(await failingLate.logOut(), failure(503, 'SERVICE_UNAVAILABLE', 'Service Unavailable'), 'in onSend')

  const outage = await serve(t, { ...options, verifyToken: async () => { throw new Error('secret') } }, {
    before: app => app.addHook('onRequest', async (_request, reply) => { reply.code(404) })
  })
  t.strictSame(await outage.logOut(), internal(), 'a status that a hook left behind is not that of an outage')

  const timedOut = await serve(t, { ...options, verifyToken: async () => { await sleep(60); return {} } }, {
    server: { handlerTimeout: 20 }
  })
  t.strictSame(await timedOut.logOut(), failure(503, 'SERVICE_UNAVAILABLE', 'Service Unavailable'), 'the handler timeout of the host')
})

t.test('the host\'s parsers, serializers and handlers do not change the route, and the route does not change the host', async t => {
  const own = async (app: FastifyInstance) => {
    app.setErrorHandler(async (error, _request, reply) => reply.code(409).send({ hosts: String(error) }))
    app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ hosts: 'not found' }))
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => { done(null, 'parsed by the host') })
    app.setValidatorCompiler(({ schema }) => (schema as { safeParse: () => never }).safeParse)
    app.setSerializerCompiler(({ schema }) => (schema as { encode: { bind: () => () => string } }).encode.bind())
    app.setReplySerializer(() => '"serialized by the host"')
    app.addHook('onRequest', async (_request, reply) => { reply.serializer(() => '"serialized by a hook"') })
    app.addHook('preSerialization', async (_request, _reply, payload) => ({ wrapped: payload }))
    app.post('/own', async ({ body }) => body)
    app.get('/failing', async () => { throw new Error('own') })
  }
  const alone = Fastify()
  t.teardown(() => alone.close())
  await own(alone)

  const { options } = tenantHost()
  const { app, logOut } = await serve(t, options, {
    before: own, server: { ajv: { customOptions: { removeAdditional: false, coerceTypes: false } } }
  })
  t.strictSame(await logOut(), success())
  t.strictSame(await logOut({}), failure(401, 'MISSING_TENANT_TOKEN', 'Missing tenant token', limited(28)))
  t.strictSame(
    await logOut({ ...credentials, 'x-token': 'stranger-token' }), failure(500, 'UNEXPECTED_STATE', 'Missing user context', limited(27))
  )

  for (const request of [
    { method: 'POST', url: '/own', payload: 'x', headers: { 'content-type': 'text/odd' } },
    { method: 'GET', url: '/failing' }, { method: 'HEAD', url: '/failing' }, { method: 'POST', url: path },
    { method: 'GET', url: '/nowhere' }
  ] as const) {
    const [beside, without] = await Promise.all([app.inject(request), alone.inject(request)])
    const { date: _1, ...headers } = beside.headers
    const { date: _2, ...plain } = without.headers
    t.strictSame([beside.statusCode, headers, beside.body], [without.statusCode, plain, without.body], `${request.method} ${request.url}`)
  }
})

t.test('the request id is that of the log, converted to text', async t => {
  for (const [server, headers, id] of [
    [{ genReqId: () => 12 as never }, {}, '12'],
    [{ genReqId: () => '"\n\u2028é' }, {}, '\\"\\n\u2028é'],
    [{ genReqId: () => 'mine', requestIdHeader: 'x-request-id' }, { 'x-request-id': 'theirs' }, 'theirs'],
    [{ genReqId: () => 'mine' }, { 'x-request-id': 'theirs' }, 'mine']
  ] as const) {
    const { options } = tenantHost()
    const { logOut } = await serve(t, options, { server })
    t.strictSame(await logOut({ ...credentials, ...headers }), success(limited(29), id))
  }
  const { options } = tenantHost()
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject } = wire(app)
  await app.register(tenantStatusLogout, options)
  t.strictSame(answered(await inject({ url: path, headers: credentials })), success(limited(29), 'req-1'))
})

t.test('no log line of any level contains a token', async t => {
  const lines: string[] = []
  const logger = { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } }
  const { options } = tenantHost()
  const { logOut } = await serve(t, { ...options, user: { isRestricted: () => { throw new Error('down') } } }, { server: { logger } })
  for (const headers of [credentials, { ...credentials, 'x-token': 'expired' }, { ...credentials, 'x-tenant-token': 'other-token' }, {}]) {
    await logOut(headers)
  }
  t.ok(lines.length >= 8)
  t.notMatch(lines.join(''), /(alice|acme|other)-token|expired/)
})

t.test('a wrong option throws a TypeError at registration that names it', async t => {
  const { options } = tenantHost()
  const wrong: WrongOptions = {
    users: [undefined, null, {}, { get () {} }, { compareAndSet () {} }],
    authenticateTenant: [undefined, 'acme'],
    verifyToken: [undefined, 'secret', {}],
    principal: [() => ({})],
    isRestricted: [() => true],
    beforeLogOut: [() => {}],
    rateLimit: [{}],
    security: [[]],
    user: [null, 'sub', []],
    'user.principal': ['sub', null],
    'user.isRestricted': [true],
    'user.beforeLogOut': ['audit'],
    onLogout: [[]],
    wire: [null, 'x-tenant'],
    'wire.capability': [null, 5],
    'wire.tenantHeader': ['', 'x tenant', 'x:tenant'],
    'wire.clientHeaders': [true, 'x-locale'],
    'wire.acceptBearerPrefix': [null, 'yes'],
    'wire.errorCodes': [null, 'BAD'],
    route: [null, 30],
    'route.rateLimit': [null, 30],
    revoke: [null, true],
    'revoke.revocations': [undefined],
    timeout: [0, NaN, '5s', 2_147_483_648]
  }
  await assertMisuse(t, tenantStatusLogout, 'tenantStatusLogout', options, wrong)
})
