import Fastify from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import type { DiagnosticsMessages } from '../../../lib/internal/plugin/diagnostics.ts'
import { kratosLogout, kratosSessions, tenantActivity } from '../../../lib/index.ts'
import { memorySessionStore } from '../../../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../../../lib/user-status-stores/memory.ts'
import { alice, host, requests, secret } from '../../diagnostics-host.ts'

const names = ['fastify-logout:logout', 'fastify-logout:refusal', 'fastify-logout:outage', 'fastify-logout:guard'] as const
type Message = { [N in keyof DiagnosticsMessages]: { channel: N } & DiagnosticsMessages[N] }[keyof DiagnosticsMessages]

/** Everything that is published during a test. */
function listen (t: Test): Message[] {
  const messages: Message[] = []
  for (const name of names) {
    const listener = (message: unknown) => { messages.push({ channel: name, ...(message as object) } as Message) }
    subscribe(name, listener)
    t.teardown(() => unsubscribe(name, listener))
  }
  return messages
}

t.test('every logout is published once, on its edge, with the request that caused it', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  for (const request of [requests.signingHub, requests.kratos, requests.kratos, requests.tenantStatus, requests.tenantStatus]) await app.inject(request)

  t.match(messages, [
    { channel: 'fastify-logout:logout', plugin: 'signingHubLogout', scope: 'all', subject: 'alice', requestId: 'req-1', duration: Number },
    { channel: 'fastify-logout:logout', plugin: 'kratosLogout', scope: 'session', subject: 'alice', sessionId: 's1', requestId: 'req-2', duration: Number },
    { channel: 'fastify-logout:logout', plugin: 'tenantStatusLogout', scope: 'all', subject: 'alice', tenant: 'acme', requestId: 'req-4', duration: Number }
  ])
  t.equal(messages.length, 3)
})

t.test('logging out the other sessions is one message, with the session that was kept', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const sessions = memorySessionStore()
  const now = Date.now()
  for (const id of ['kept', 'ended', 'ended too']) await sessions.create(id, { id, subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  await app.register(kratosSessions, { sessions, ids: 'any' })
  const messages = listen(t)
  await app.inject({ method: 'DELETE', url: '/sessions', headers: { 'x-session-token': 'kept' } })
  t.match(messages, [{ channel: 'fastify-logout:logout', plugin: 'kratosSessions', scope: 'others', subject: 'alice', sessionId: 'kept' }])
  t.equal(messages.length, 1)
})

t.test('every refusal is published with its status', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  await app.inject({ method: 'POST', url: '/v3/logout' })
  await app.inject({ ...requests.kratos, payload: { session_token: 'unknown' } })
  await app.inject({ method: 'GET', url: '/auth/logout' })
  t.match(messages, [
    { channel: 'fastify-logout:refusal', plugin: 'signingHubLogout', status: 401, duration: Number },
    { channel: 'fastify-logout:refusal', plugin: 'kratosLogout', status: 403 },
    { channel: 'fastify-logout:refusal', plugin: 'tenantStatusLogout', status: 401 }
  ])
  t.equal(messages.length, 3)
})

t.test('every outage is published with the question that was not answered, and followed by its 500', async t => {
  const app = await host(t, true)
  const messages = listen(t)
  for (const request of [requests.signingHub, requests.kratos, requests.tenantStatus]) await app.inject(request)
  t.match(messages, [
    { channel: 'fastify-logout:outage', plugin: 'signingHubLogout', question: 'recordActivity', duration: Number },
    { channel: 'fastify-logout:refusal', plugin: 'signingHubLogout', status: 500 },
    { channel: 'fastify-logout:outage', plugin: 'kratosLogout', question: 'sessions.logOut' },
    { channel: 'fastify-logout:refusal', plugin: 'kratosLogout', status: 500 },
    { channel: 'fastify-logout:outage', plugin: 'tenantStatusLogout', question: 'beforeLogOut' },
    { channel: 'fastify-logout:refusal', plugin: 'tenantStatusLogout', status: 500 }
  ])
  t.equal(messages.length, 6)
})

t.test('every verdict of a guard is published', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  await app.inject(requests.guarded)
  await app.inject({ ...requests.guarded, headers: { 'token-id': 'dead' } })
  await app.inject(requests.tenantStatus)
  await app.inject(requests.guarded)
  t.match(messages.filter(({ channel }) => channel === 'fastify-logout:guard'), [
    { plugin: 'tenantActivity', verdict: 'live', requestId: 'req-1', duration: Number },
    { plugin: 'revocationGuard', verdict: 'live', requestId: 'req-1', duration: Number },
    { plugin: 'tenantActivity', verdict: 'live' },
    { plugin: 'revocationGuard', verdict: 'revoked' },
    { plugin: 'tenantActivity', verdict: 'revoked' }
  ])

  const failing = await host(t, true)
  messages.length = 0
  await failing.inject(requests.guarded)
  t.match(messages.filter(({ channel }) => channel === 'fastify-logout:guard'), [
    { plugin: 'tenantActivity', verdict: 'unknown' },
    { plugin: 'revocationGuard', verdict: 'unknown' }
  ])
})

t.test('durations are told on hosts without a logger too, and by a plugin that saw the request come in', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  await app.inject(requests.kratos)
  await app.inject(requests.kratos)
  await app.inject({ method: 'POST', url: '/v3/logout' })
  await app.inject(requests.guarded)
  t.same(messages.map(({ channel }) => channel.slice('fastify-logout:'.length)), ['logout', 'refusal', 'guard', 'guard'])
  for (const { channel, duration } of messages) t.ok(duration > 0 && duration < 60_000, `${channel}: ${duration} ms`)
})

t.test('who listens while a request is under way is told of it, without a duration that nobody measured', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const sessions = memorySessionStore()
  const token = 'opened before anybody listened'
  let heard: Message[] = []
  const now = Date.now()
  await sessions.create(token, { id: 's1', subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  await app.register(kratosLogout, {
    sessions: { ...sessions, logOut: (token) => { heard = listen(t); return sessions.logOut(token) } }
  })
  await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: token } })
  t.match(heard, [{ channel: 'fastify-logout:logout', plugin: 'kratosLogout', duration: 0 }])
})

t.test('a guard that fails closed publishes one verdict for each request, also when it cannot write', async t => {
  const users = memoryUserStatusStore()
  await users.compareAndSet(alice, undefined, { status: 'logged_out', at: 1, requestId: 'logout' })
  let failing = true
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tenantActivity, {
    users: { ...users, compareAndSet: (...change) => { if (failing) throw new Error('down'); return users.compareAndSet(...change) } }, user: () => alice, whenUnavailable: 'refuse'
  })
  app.get('/', () => 'in')
  const messages = listen(t)
  t.equal((await app.inject('/')).statusCode, 503)
  failing = false
  t.equal((await app.inject('/')).statusCode, 200)
  t.strictSame(messages.flatMap(message => 'verdict' in message ? [[message.requestId, message.verdict]] : []), [['req-1', 'unknown'], ['req-2', 'live']])
})

t.test('no message holds a token, nor a text of the host\'s errors', async t => {
  const messages = listen(t)
  for (const app of [await host(t, false), await host(t, true)]) {
    for (const request of Object.values(requests)) await app.inject(request)
  }
  t.ok(messages.length > 8)
  t.notMatch(JSON.stringify(messages), secret)
})

t.test('the README lists the channels and the members of their messages, and no others', async t => {
  const messages = listen(t)
  for (const app of [await host(t, false), await host(t, true)]) {
    for (const request of Object.values(requests)) await app.inject(request)
  }
  const published: Record<string, Set<string>> = {}
  for (const { channel, ...members } of messages) {
    const set = published[channel] ??= new Set()
    for (const name of Object.keys(members)) set.add(name)
  }

  const readme = await readFile('README.md', 'utf8')
  const documented = Object.fromEntries([...readme.matchAll(/^\| `(fastify-logout:\w+)` \|[^|]*\|([^|]*)\|$/gm)]
    .map(([, name = '', members = '']) => [name, [...members.matchAll(/`(\w+)`/g)].map(match => String(match[1])).sort()]))
  t.strictSame(documented, Object.fromEntries(Object.entries(published).map(([name, members]) => [name, [...members].sort()])))
})
