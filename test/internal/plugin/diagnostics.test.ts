import Fastify, { type FastifyReply, type InjectOptions } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import type { DiagnosticsMessages } from '../../../lib/internal/plugin/diagnostics.ts'
import { kratosBrowserLogout, kratosLogout, kratosSessions, tenantActivity } from '../../../lib/index.ts'
import { memorySessionStore } from '../../../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../../../lib/user-status-stores/memory.ts'
import { handOut, startReceiver } from '../../delivery-host.ts'
import { alice, host, requests, secret } from '../../diagnostics-host.ts'
import { registerFlows } from '../../every-flow.ts'

const names = [
  'fastify-logout:logout', 'fastify-logout:refusal', 'fastify-logout:outage', 'fastify-logout:guard', 'fastify-logout:delivery'
] as const
type Message = { [N in keyof DiagnosticsMessages]: { channel: N } & DiagnosticsMessages[N] }[keyof DiagnosticsMessages]

/** A request to each plugin, by the name of the plugin. */
const routes: Readonly<Record<string, InjectOptions>> = {
  signingHubLogout: { method: 'POST', url: '/v3/logout' },
  kratosLogout: { method: 'DELETE', url: '/self-service/logout/api', payload: {} },
  tenantStatusLogout: { url: '/auth/logout' },
  kratosBrowserLogout: { url: '/self-service/logout/browser', headers: { accept: 'application/json' } },
  kratosSessions: { url: '/sessions/whoami' },
  kratosAdmin: { method: 'DELETE', url: '/admin/sessions/1' },
  sessionLogout: { method: 'POST', url: '/logout', headers: { 'sec-fetch-site': 'same-origin' } },
  rpInitiatedLogout: { method: 'POST', url: '/openid/logout', headers: { 'sec-fetch-site': 'same-origin' } }
}

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

t.test('each logout is published once, with its request, and repeated logouts are not published', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  for (const request of [requests.signingHub, requests.kratos, requests.kratos, requests.tenantStatus, requests.tenantStatus]) {
    await app.inject(request)
  }

  t.match(messages, [
    { channel: 'fastify-logout:logout', plugin: 'signingHubLogout', scope: 'all', subject: 'alice', requestId: 'req-1', duration: Number },
    {
      channel: 'fastify-logout:logout',
      plugin: 'kratosLogout',
      scope: 'session',
      subject: 'alice',
      sessionId: 's1',
      requestId: 'req-2',
      duration: Number
    },
    {
      channel: 'fastify-logout:logout',
      plugin: 'tenantStatusLogout',
      scope: 'all',
      subject: 'alice',
      tenant: 'acme',
      requestId: 'req-4',
      duration: Number
    }
  ])
  t.equal(messages.length, 3)
})

t.test('logging out the other sessions is one message, with the id of the session that was left alone', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const sessions = memorySessionStore()
  const now = Date.now()
  for (const id of ['kept', 'ended', 'ended too']) {
    await sessions.create(id, { id, subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  }
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

t.test('a refusal by an earlier hook of the host is published once, whichever way it refuses', async t => {
  const refusals: Readonly<Record<string, (reply: FastifyReply) => unknown>> = {
    'throws an error': () => { throw Object.assign(new Error('no'), { statusCode: 401 }) },
    'sends a response': reply => reply.code(401).send('no'),
    'sends an error': reply => reply.code(401).send(new Error('no')),
    'sends an empty response': reply => reply.code(401).send()
  }
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    for (const [way, refuse] of Object.entries(refusals)) {
      const app = Fastify()
      t.teardown(() => app.close())
      app.addHook(hook as 'onRequest', async (_request, reply) => {
        await refuse(reply)
        return reply
      })
      await registerFlows(app)
      app.get('/own', async () => 'mine')
      const messages = listen(t)
      const plugins: string[] = []
      for (const [plugin, request] of Object.entries(routes)) {
        t.equal((await app.inject(request)).statusCode, 401, `${plugin}: ${hook} ${way}`)
        plugins.push(plugin)
      }
      await app.inject('/own')
      t.match(messages, plugins.map(plugin => ({
        channel: 'fastify-logout:refusal', plugin, status: 401, requestId: String, duration: Number
      })))
      t.equal(messages.length, plugins.length, `${hook} ${way}: once each, and nothing of the host's own route`)
    }
  }
})

t.test('if a later hook of the host changes the status, the refusal is published with the status that was sent', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRoute', route => {
    let failed = false
    route.onSend = async () => {
      if (failed) return
      failed = true
      throw Object.assign(new Error('no'), { statusCode: 422 })
    }
  })
  await registerFlows(app)
  const messages = listen(t)
  for (const request of Object.values(routes)) await app.inject(request)
  t.match(messages, Object.keys(routes).map(plugin => ({ plugin, status: 422 })))
  t.equal(messages.length, Object.keys(routes).length)
})

t.test('without subscribers, responses are not watched', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const listeners: number[] = []
  app.addHook('onRoute', route => {
    route.onSend = async (_request, reply) => { listeners.push(reply.raw.listenerCount('finish')) }
  })
  await registerFlows(app)
  await app.inject(routes['kratosLogout'] ?? '')
  listen(t)
  await app.inject(routes['kratosLogout'] ?? '')
  t.equal(listeners[1], Number(listeners[0]) + 1)
})

t.test('a success that a hook of the host sends is not a refusal', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async (_request, reply) => reply.code(204).send())
  await registerFlows(app)
  const messages = listen(t)
  for (const request of Object.values(routes)) await app.inject(request)
  t.strictSame(messages, [])
})

t.test('a redirect to an error page is published with the status of the error', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const now = Date.now()
  const sessions = memorySessionStore()
  await sessions.create('token', { id: 's1', subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  const find = (token: string) => {
    if (token === 'down') throw new Error('down')
    return sessions.find(token)
  }
  await app.register(kratosBrowserLogout, {
    sessions: { ...sessions, find },
    publicUrl: 'https://app.example',
    returnUrls: { default: 'https://app.example', error: 'https://app.example/error' }
  })
  const messages = listen(t)
  const ask = async (url: string, token = 'token') => (await app.inject({ url, headers: { 'x-session-token': token } })).statusCode
  const { logout_token: token } = (await app.inject({
    url: '/self-service/logout/browser', headers: { 'x-session-token': 'token' }
  })).json()
  t.strictSame([
    await ask('/self-service/logout/browser', 'unknown'), await ask('/self-service/logout'), await ask('/self-service/logout?token=x'),
    await ask('/self-service/logout?token=x', 'down'), await ask(`/self-service/logout?token=${token}`)
  ], [303, 303, 303, 303, 303])
  t.strictSame(messages.flatMap(message => message.channel === 'fastify-logout:refusal' ? [[message.plugin, message.status]] : []), [
    ['kratosBrowserLogout', 401], ['kratosBrowserLogout', 400], ['kratosBrowserLogout', 403], ['kratosBrowserLogout', 500]
  ])
  t.equal(messages.filter(({ channel }) => channel === 'fastify-logout:logout').length, 1, 'the redirect after a logout is not one of them')
})

t.test('a refusal is published to a subscriber that subscribes during the request', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  let messages: Message[] = []
  await app.register(kratosLogout, { sessions: { logOut: () => { messages = listen(t); return undefined } } })
  await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: 'unknown' } })
  t.match(messages, [{ channel: 'fastify-logout:refusal', plugin: 'kratosLogout', status: 403, duration: 0 }])
})

t.test('each outage is published with the name of the function, and then the 500', async t => {
  const app = await host(t, true)
  const messages = listen(t)
  for (const request of [requests.signingHub, requests.kratos, requests.tenantStatus]) await app.inject(request)
  t.match(messages, [
    { channel: 'fastify-logout:outage', plugin: 'signingHubLogout', question: 'recordActivity', duration: Number },
    { channel: 'fastify-logout:refusal', plugin: 'signingHubLogout', status: 500 },
    { channel: 'fastify-logout:outage', plugin: 'kratosLogout', question: 'sessions.logOut' },
    { channel: 'fastify-logout:refusal', plugin: 'kratosLogout', status: 500 },
    { channel: 'fastify-logout:outage', plugin: 'tenantStatusLogout', question: 'user.beforeLogOut' },
    { channel: 'fastify-logout:refusal', plugin: 'tenantStatusLogout', status: 500 }
  ])
  t.equal(messages.length, 6)
})

t.test('each verdict of a guard is published', async t => {
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

t.test('messages have a duration, also on hosts without a logger', async t => {
  const app = await host(t, false)
  const messages = listen(t)
  await app.inject(requests.kratos)
  await app.inject(requests.kratos)
  await app.inject({ method: 'POST', url: '/v3/logout' })
  await app.inject(requests.guarded)
  t.same(messages.map(({ channel }) => channel.slice('fastify-logout:'.length)), ['logout', 'refusal', 'guard', 'guard'])
  for (const { channel, duration } of messages) t.ok(duration > 0 && duration < 60_000, `${channel}: ${duration} ms`)
})

t.test('a subscriber that subscribes during a request gets a duration of 0', async t => {
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

t.test('with whenUnavailable: \'refuse\' a guard publishes one verdict per request, also if it cannot write', async t => {
  const users = memoryUserStatusStore()
  await users.compareAndSet(alice, undefined, { status: 'logged_out', at: 1, requestId: 'logout' })
  let failing = true
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tenantActivity, {
    users: { ...users, compareAndSet: (...change) => { if (failing) throw new Error('down'); return users.compareAndSet(...change) } },
    user: () => alice,
    whenUnavailable: 'refuse'
  })
  app.get('/', () => 'in')
  const messages = listen(t)
  t.equal((await app.inject('/')).statusCode, 503)
  failing = false
  t.equal((await app.inject('/')).statusCode, 200)
  t.strictSame(messages.flatMap(message => 'verdict' in message ? [[message.requestId, message.verdict]] : []), [
    ['req-1', 'unknown'], ['req-2', 'live']
  ])
})

t.test('no message contains a token or the text of an error', async t => {
  const messages = listen(t)
  for (const app of [await host(t, false), await host(t, true)]) {
    for (const request of Object.values(requests)) await app.inject(request)
  }
  t.ok(messages.length > 8)
  t.notMatch(JSON.stringify(messages), secret)
})

t.test('docs/observability.md lists exactly the channels and the members of their messages', async t => {
  const messages = listen(t)
  for (const app of [await host(t, false), await host(t, true)]) {
    for (const request of Object.values(requests)) await app.inject(request)
  }
  const receiver = await startReceiver(t)
  await (await handOut(t, { uri: receiver.url })).attempt()
  const published: Record<string, Set<string>> = {}
  for (const { channel, ...members } of messages) {
    const set = published[channel] ??= new Set()
    for (const name of Object.keys(members)) set.add(name)
  }

  const page = await readFile('docs/observability.md', 'utf8')
  const documented = Object.fromEntries([...page.matchAll(/^\| `(fastify-logout:\w+)` \|[^|]*\|([^|]*)\|$/gm)]
    .map(([, name = '', members = '']) => [name, [...members.matchAll(/`(\w+)`/g)].map(match => String(match[1])).sort()]))
  t.strictSame(documented, Object.fromEntries(Object.entries(published).map(([name, members]) => [name, [...members].sort()])))
})
