import Fastify, { type FastifyRequest, type InjectOptions } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { kratosLogout } from '../lib/flows/kratos-native.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import { frontChannelLogout } from '../lib/flows/openid-front-channel.ts'
import { sessionLogout } from '../lib/flows/session.ts'
import { signingHubLogout } from '../lib/flows/signinghub.ts'
import { tenantStatusLogout } from '../lib/flows/tenant-status.ts'
import type { Awaitable, LogoutMessage, Mark } from '../lib/index.ts'
import { logoutUrlToken } from '../lib/internal/kratos/logout-url-token.ts'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import type { Session } from '../lib/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { withoutLogOut } from './tenant-host.ts'

// A store that is paused for longer than the timeout, and then does what it was asked for: the client got a 5xx, and the
// logout happened.

const timeout = 60
const users = ['alice', 'bob', 'carol', 'mallory']
const lifetime = 60_000
const verifyToken = (token: string) => ({ sub: token, tenant: 'acme', jti: `id of ${token}` })

/** A server of which some functions can be paused. */
async function pausableHost (t: Test) {
  let resume: (() => void) | undefined
  let paused: Promise<void> | undefined
  /** The function, which begins its work only when the server is not paused. */
  const pausable = <Args extends readonly unknown[], Value>(work: (...args: Args) => Awaitable<Value>) => async (...args: Args) => {
    await paused
    return work(...args)
  }
  const told: string[] = []
  const published: LogoutMessage[] = []
  const listener = (message: unknown) => { published.push(message as LogoutMessage) }
  subscribe('fastify-logout:logout', listener)
  const app = Fastify()
  t.teardown(() => {
    unsubscribe('fastify-logout:logout', listener)
    return app.close()
  })
  return {
    app,
    told,
    published,
    pausable,
    pause () { paused = new Promise(resolve => { resume = resolve }) },
    async resume () {
      resume?.()
      paused = undefined
      await sleep(5)
    }
  }
}

type Host = Awaited<ReturnType<typeof pausableHost>>

/** Sessions of several users, two of each, with tokens that name them. */
async function sessionsOfAll ({ pausable }: Host) {
  const store = memorySessionStore()
  const times = { createdAt: Date.now(), expiresAt: Date.now() + lifetime, keepUntil: Date.now() + lifetime }
  for (const subject of users) {
    for (const device of ['phone', 'laptop']) {
      await store.create(`${subject}-${device}`, { id: `${subject} on a ${device}`, subject, ...times })
    }
  }
  return {
    ...store,
    logOut: pausable((token: string) => store.logOut(token)),
    logOutById: pausable(store.logOutById),
    logOutSubject: pausable(store.logOutSubject)
  }
}

type Flow = (host: Host) => Promise<(subject: string) => InjectOptions>

const onSession = (told: string[]) => (event: { scope: string, session?: { subject: string | number }, subject?: string }) => {
  told.push(String(event.session?.subject ?? event.subject))
}

const flows: Readonly<Record<string, Flow>> = {
  'Kratos, native': async host => {
    await host.app.register(kratosLogout, { sessions: await sessionsOfAll(host), timeout, onLogout: onSession(host.told) })
    return subject => ({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: `${subject}-phone` } })
  },
  'Kratos, browser': async host => {
    await host.app.register(kratosBrowserLogout, {
      sessions: await sessionsOfAll(host),
      timeout,
      publicUrl: 'https://login.example',
      returnUrls: { default: 'https://app.example/' },
      onLogout: onSession(host.told)
    })
    return subject => ({
      url: `/self-service/logout?token=${logoutUrlToken(`${subject}-phone`)}`,
      headers: { accept: 'application/json', cookie: `ory_kratos_session=${subject}-phone` }
    })
  },
  'Kratos, one of the other sessions': async host => {
    await host.app.register(kratosSessions, { sessions: await sessionsOfAll(host), timeout, ids: 'any', onLogout: onSession(host.told) })
    return subject => ({
      method: 'DELETE', url: `/sessions/${encodeURIComponent(`${subject} on a phone`)}`, headers: { 'x-session-token': `${subject}-laptop` }
    })
  },
  'Kratos, all other sessions': async host => {
    await host.app.register(kratosSessions, { sessions: await sessionsOfAll(host), timeout, onLogout: onSession(host.told) })
    return subject => ({ method: 'DELETE', url: '/sessions', headers: { 'x-session-token': `${subject}-laptop` } })
  },
  'Kratos, any session, by an administrator': async host => {
    const options = {
      sessions: await sessionsOfAll(host), timeout, ids: 'any', authorize: () => true, onLogout: onSession(host.told)
    } as const
    await host.app.register(kratosAdmin, options)
    return subject => ({ method: 'DELETE', url: `/admin/sessions/${encodeURIComponent(`${subject} on a phone`)}` })
  },
  'Kratos, everything of a user, by an administrator': async host => {
    const options = {
      sessions: await sessionsOfAll(host), timeout, ids: 'any', authorize: () => true, onLogout: onSession(host.told)
    } as const
    await host.app.register(kratosAdmin, options)
    return subject => ({ method: 'DELETE', url: `/admin/identities/${subject}/sessions` })
  },
  'session, this one': async host => {
    const sessions = await sessionsOfAll(host)
    const tokenOf = ({ headers }: FastifyRequest) => String(headers['x-session'])
    const live = (session: Session | undefined) => session?.status === 'active' ? session : undefined
    await host.app.register(sessionLogout<Session>({
      sessions: {
        find: async request => live(await sessions.find(tokenOf(request))),
        logOut: async request => live(await sessions.logOut(tokenOf(request)))
      },
      csrf: 'off',
      timeout,
      onLogout: onSession(host.told)
    }))
    return subject => ({ method: 'POST', url: '/logout', headers: { 'x-session': `${subject}-phone` } })
  },
  'OpenID Connect, front channel': async host => {
    const sessions = await sessionsOfAll(host)
    const index = memoryProviderSessionIndex()
    const issuer = 'https://login.example'
    for (const subject of users) {
      const login = { issuer, subject, sid: `sid of ${subject}`, issuedAt: Date.now() }
      await index.bind(login, { sessionId: `${subject} on a phone`, subject }, Date.now() + lifetime)
    }
    await host.app.register(frontChannelLogout, {
      issuers: [{ issuer }], index, sessions, sessionLifetime: lifetime, timeout, onLogout: onSession(host.told)
    })
    return subject => ({ url: `/frontchannel-logout?${new URLSearchParams({ iss: issuer, sid: `sid of ${subject}` })}` })
  },
  'tenant-status, in one round trip': async host => registerTenantStatus(host, false),
  'tenant-status, in two round trips': async host => registerTenantStatus(host, true)
}

async function registerTenantStatus ({ app, told, pausable }: Host, apart: boolean) {
  const store = memoryUserStatusStore()
  for (const subject of users) await store.set({ tenant: 'acme', subject }, 'logged_in')
  const whole = { get: store.get, compareAndSet: pausable(store.compareAndSet), logOut: pausable(store.logOut) }
  await app.register(tenantStatusLogout, {
    users: apart ? withoutLogOut(whole) : whole,
    verifyToken,
    authenticateTenant: () => 'acme',
    timeout,
    onLogout: ({ subject }) => { told.push(subject) }
  })
  return (subject: string) => ({ url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': subject } })
}

t.test('a logout that succeeds after its timeout calls onLogout once, retries included', async t => {
  for (const [name, flow] of Object.entries(flows)) {
    const host = await pausableHost(t)
    const request = await flow(host)
    host.pause()
    const statuses = async () => Promise.all(users.map(async subject => (await host.app.inject(request(subject))).statusCode))
    const [first, retried] = await Promise.all([statuses(), statuses()])
    t.ok([...first, ...retried].every(status => status >= 500), `${name}: ${[...first, ...retried].join(' ')}`)
    t.strictSame(host.told, [], `${name}: nobody knows yet`)

    await host.resume()
    t.strictSame([...host.told].sort(), users, `${name}: onLogout, once for each`)
    t.strictSame(host.published.map(({ subject }) => subject).sort(), users, `${name}: the channel, once for each`)
    const again = await statuses()
    t.ok(again.every(status => status < 500), `${name}: ${again.join(' ')}`)
    t.equal(host.told.length, users.length, `${name}: and no more with later retries`)
  }
})

t.test('SigningHub: a logout whose record succeeds after the timeout calls onLogout once', async t => {
  const host = await pausableHost(t)
  const recorded: string[] = []
  await host.app.register(signingHubLogout, {
    verifyToken,
    timeout,
    recordActivity: host.pausable(({ subject }: { subject: string }) => { recorded.push(subject) }),
    onLogout: ({ subject }) => { host.told.push(subject) }
  })
  const statuses = async () => Promise.all(users.map(async subject => {
    const { statusCode } = await host.app.inject({ method: 'POST', url: '/v3/logout', headers: { authorization: `Bearer ${subject}` } })
    return statusCode
  }))
  host.pause()
  t.strictSame(await statuses(), [500, 500, 500, 500])
  t.strictSame(host.told, [])
  await host.resume()
  t.strictSame([host.told, recorded], [users, users])
  t.strictSame(host.published.map(({ subject }) => subject), users)
  t.strictSame(await statuses(), [200, 200, 200, 200])
  t.strictSame([host.told.length, recorded.length], [8, 8], 'a retry is recorded again, as the vendor does, and told again')
})

t.test('a late logout is followed by its marks', async t => {
  for (const late of ['the logout', 'the marks', 'both'] as const) {
    for (const flow of ['SigningHub', 'tenant-status'] as const) {
      const host = await pausableHost(t)
      const marks = memoryRevocationStore()
      const status = memoryUserStatusStore()
      await status.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
      const revoke = {
        lifetime,
        revocations: late === 'the logout' ? marks : { revoke: host.pausable((...added: readonly Mark[]) => marks.revoke(...added)) }
      }
      const work = (happens: () => void) => late === 'the marks' ? happens : host.pausable(happens)
      const onLogout = ({ subject }: { subject: string }) => { host.told.push(subject) }
      await host.app.register(signingHubLogout, { verifyToken, timeout, revoke, recordActivity: work(() => {}), onLogout })
      const logOut = late === 'the marks' ? status.logOut : host.pausable(status.logOut)
      await host.app.register(tenantStatusLogout, {
        users: { ...status, logOut }, verifyToken, authenticateTenant: () => 'acme', timeout, revoke, onLogout
      })
      const request: InjectOptions = flow === 'SigningHub'
        ? { method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer alice' } }
        : { url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': 'alice' } }
      host.pause()
      t.equal((await host.app.inject(request)).statusCode, 500, `${flow}: ${late}`)
      t.equal(marks.check({ tokenId: 'id of alice' }), 'live')
      await host.resume()
      t.equal(marks.check({ tokenId: 'id of alice' }), 'revoked', `${flow}: ${late} came late, the token is revoked`)
      t.strictSame(host.told, ['alice'], `${flow}: ${late} came late, the host is told once`)
      t.strictSame(host.published.map(({ subject }) => subject), ['alice'], `${flow}: ${late} came late, the channel is told once`)
    }
  }
})

t.test('a failure after a late logout is logged, and is not an unhandled rejection', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  const revoke = { lifetime, revocations: { revoke: async () => { throw new Error('the marks are down') } } }
  await app.register(signingHubLogout, { verifyToken, timeout, revoke, recordActivity: () => sleep(timeout + 20) })
  const request = { method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer alice' } } as const
  t.equal((await app.inject(request)).statusCode, 500)
  await sleep(60)
  t.match(lines, [/no answer within.*"event":"logout.outage"/, /the marks are down.*"event":"logout.outage".*succeeded after its timeout/])
})

t.test('if the push token could not be removed in time, the bearer token stays valid for the retry', async t => {
  const host = await pausableHost(t)
  const revoked: string[] = []
  await host.app.register(signingHubLogout, {
    verifyToken,
    timeout,
    deviceToken: { remove: host.pausable(() => 'removed' as const) },
    revoke: (_user, token) => { revoked.push(token) },
    onLogout: ({ subject }) => { host.told.push(subject) }
  })
  const request = {
    method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer alice' }, payload: { device_token: 'phone' }
  } as const
  host.pause()
  t.equal((await host.app.inject(request)).statusCode, 500)
  await host.resume()
  t.strictSame([revoked, host.told], [[], []])
  t.equal((await host.app.inject(request)).statusCode, 200)
  t.strictSame([revoked, host.told], [['alice'], ['alice']])
})
