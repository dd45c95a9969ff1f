import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { channel } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import { logoutActions, type LogoutActions } from '../lib/logout-actions.ts'
import type { LogoutActionsOptions } from '../lib/internal/session-logout/steps.ts'
import { ownSessions, type OwnSession } from './own-sessions.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

/** A host that runs one function of ours in a handler of its own. */
async function host (t: Test, options: Partial<LogoutActionsOptions<OwnSession>> = {}) {
  const own = ownSessions()
  const actions = logoutActions({ sessions: own.sessions, onLogout: own.onLogout, clear: { cookies: [{ name: 'sid' }] }, ...options })
  const app = Fastify()
  t.teardown(() => app.close())
  let handler: Handler = async () => undefined
  app.post('/', async (request, reply) => ({ result: await handler(request, reply) }))
  const run = async (cookie: string, use: Handler) => {
    handler = use
    const { statusCode, headers, body } = await app.inject({ method: 'POST', url: '/', headers: { cookie } })
    return { status: statusCode, cleared: headers['set-cookie'] !== undefined, retryAfter: headers['retry-after'], ...JSON.parse(body) }
  }
  const by = (name: 'logOut' | 'logOutOthers' | 'logOutAll', cookie: string) => run(cookie, async (request,
    reply) => await actions[name](request, reply) ?? null)
  return { ...own, ...actions, run, by }
}

const notLoggedIn = { status: 401, code: 'LOGOUT_NOT_LOGGED_IN', message: 'There is no live session.' }
const unavailable = { status: 503, code: 'LOGOUT_UNAVAILABLE', cleared: false, retryAfter: '5' }

t.test('A1: logOut ends the session of the request, clears the cookies and resolves the session', async t => {
  const { by, logIn, isLive, events } = await host(t)
  const cookie = logIn(1)
  const session = { id: 1, subject: 1, device: 'laptop' }
  t.match(await by('logOut', cookie), { status: 200, cleared: true, result: session })
  t.match(await by('logOut', cookie), { status: 200, cleared: true, result: null }, 'nothing the second time')
  t.match(await by('logOut', ''), { status: 200, cleared: true, result: null })
  t.notOk(isLive(cookie))
  t.strictSame(events, [{ scope: 'session', session }])
})

t.test('A1: logOut rejects when the source fails, and then nothing is cleared', async t => {
  const { by, logIn, isLive, broken, events } = await host(t, { timeout: 50 })
  const cookie = logIn(1)
  for (const fault of ['throws', 'rejects', 'hangs'] as const) {
    broken.set('logOut', fault)
    t.match(await by('logOut', cookie), unavailable, fault)
  }
  t.strictSame([isLive(cookie), events], [true, []])
  broken.clear()
  t.match(await by('logOut', cookie), { status: 200 })
  t.equal(events.length, 1)
})

t.test('A2: logOutOthers ends the other sessions, and needs a live one', async t => {
  const { by, logIn, isLive, events } = await host(t)
  const [laptop, phone, bobs] = [logIn(1), logIn(1, 'phone'), logIn(2)]
  t.match(await by('logOutOthers', laptop), { status: 200, cleared: false, result: 1 })
  t.strictSame([laptop, phone, bobs].map(isLive), [true, false, true])
  t.match(await by('logOutOthers', laptop), { status: 200, result: 0 })
  t.strictSame(events, [1, 0].map(count => ({ scope: 'others', subject: '1', except: '1', count })), 'once for each call')
  for (const cookie of [phone, '']) t.match(await by('logOutOthers', cookie), { ...notLoggedIn, cleared: false })
  t.equal(events.length, 2)
})

t.test('A3: logOutAll ends every session and clears the cookies, and needs a live one', async t => {
  const { by, logIn, isLive, events } = await host(t)
  const [laptop, phone, bobs] = [logIn(1), logIn(1, 'phone'), logIn(2)]
  t.match(await by('logOutAll', laptop), { status: 200, cleared: true })
  t.strictSame([laptop, phone, bobs].map(isLive), [false, false, true])
  t.strictSame(events, [{ scope: 'all', subject: '1', count: 2 }])
  for (const cookie of [laptop, '']) t.match(await by('logOutAll', cookie), { ...notLoggedIn, cleared: true })
  t.equal(events.length, 1)
})

t.test('A3: without a live session, logOutAll clears the cookies once the source has answered, and rejects if it cannot tell', async t => {
  const { sessions } = ownSessions()
  const later = await host(t, {
    sessions: { ...sessions, logOut: async () => { await new Promise(resolve => setImmediate(resolve)); return undefined } }
  })
  t.match(await later.by('logOutAll', ''), { ...notLoggedIn, cleared: true })
  const failing = await host(t, { sessions: { ...sessions, logOut: async () => { throw new Error('down') } } })
  t.match(await failing.by('logOutAll', ''), unavailable)
})

t.test('A4: logOutSubject ends the sessions of any user, with and without a request', async t => {
  const requests: unknown[] = []
  const { logOutSubject, run, logIn, isLive, events } = await host(t, {
    onLogout: (event, request) => { events.push(event); requests.push(request?.method) }
  })
  const [laptop, phone, bobs, tenants] = [logIn(1), logIn(1, 'phone'), logIn(2), logIn(2, 'tablet', { tenant: 'acme' })]
  t.equal(await logOutSubject({ subject: 1, except: 2 }), 1)
  t.strictSame([laptop, phone, bobs, tenants].map(isLive), [false, true, true, true])
  t.match(await run('', request => logOutSubject({ subject: 1 }, request)), { result: 1 })
  t.equal(await logOutSubject({ subject: 2, tenant: 'acme' }), 1)
  t.strictSame([phone, bobs, tenants].map(isLive), [false, true, false])
  t.strictSame(events, [
    { scope: 'others', subject: '1', except: '2', count: 1 }, { scope: 'all', subject: '1', count: 1 }, {
      scope: 'all',
      subject: '2',
      tenant: 'acme',
      count: 1
    }
  ])
  t.strictSame(requests, [undefined, 'POST', undefined])
})

t.test('A4: the source gets the request, if there is one', async t => {
  const seen: unknown[] = []
  const { sessions } = ownSessions()
  const { logOutSubject, run, by } = await host(t, {
    sessions: {
      ...sessions,
      find: () => ({ id: 1, subject: 1, device: 'x' }),
      logOutSubject: (query, request) => {
        seen.push([query,
          request?.url])
      }
    }
  })
  await logOutSubject({ subject: 1 })
  await run('', request => logOutSubject({ subject: 1 }, request))
  await by('logOutOthers', '')
  await by('logOutAll', '')
  t.strictSame(seen, [[{ subject: 1 }, undefined], [{ subject: 1 }, '/'], [{ subject: 1, except: 1 }, '/'], [{ subject: 1, except: 1 },
    '/']])
})

t.test('A6: the timeout and the events are those of the route', async t => {
  const messages: unknown[] = []
  const listen = (message: unknown) => { messages.push(message) }
  channel('fastify-logout:logout').subscribe(listen)
  t.teardown(() => channel('fastify-logout:logout').unsubscribe(listen))
  const { by, logIn, logOutSubject, broken } = await host(t, { timeout: 50 })
  await by('logOut', logIn(1))
  await logOutSubject({ subject: 1, except: 1 })
  t.match(messages, [
    { plugin: 'logoutActions', scope: 'session', subject: '1', sessionId: '1', requestId: 'req-1' },
    { plugin: 'logoutActions', scope: 'others', subject: '1', sessionId: '1', requestId: '', duration: 0 }
  ])
  broken.set('*', 'hangs')
  const start = performance.now()
  await t.rejects(logOutSubject({ subject: 1 }), { code: 'LOGOUT_UNAVAILABLE' })
  t.match(await by('logOutOthers', logIn(1)), unavailable)
  t.match(await by('logOutAll', logIn(1)), unavailable)
  t.ok(performance.now() - start < 20_000)
})

t.test('A6: a failure of onLogout without a request is a warning of the process', async t => {
  const { logOutSubject, logIn, isLive } = await host(t, { onLogout: () => { throw new Error('the audit log is down') } })
  const cookie = logIn(1)
  const warned = new Promise(resolve => { process.once('warning', resolve) })
  t.equal(await logOutSubject({ subject: 1 }), 1)
  t.notOk(isLive(cookie))
  t.match(await warned, { name: 'Outage', message: 'onLogout failed' })
})

t.test('A6: a logout that succeeds after the timeout is told once, and the retry is not', async t => {
  const own = ownSessions()
  const { logOut, logOutSubject } = own.sessions
  let open = () => {}
  const gate = new Promise<void>(resolve => { open = resolve })
  const { by, events } = await host(t, {
    timeout: 20,
    sessions: {
      ...own.sessions,
      logOut: async request => { await gate; return logOut(request) },
      logOutSubject: async query => { await gate; return logOutSubject(query) }
    }
  })
  const [laptop, phone] = [own.logIn(1), own.logIn(2)]
  own.logIn(2)
  t.match(await by('logOut', laptop), unavailable)
  t.match(await by('logOutOthers', phone), unavailable)
  t.strictSame(events, [])
  open()
  await new Promise(resolve => setTimeout(resolve, 20))
  t.strictSame(events, [{ scope: 'session', session: { id: 1, subject: 1, device: 'laptop' } }, {
    scope: 'others',
    subject: '2',
    except: '2',
    count: 1
  }])
  t.match(await by('logOut', laptop), { status: 200, cleared: true, result: null })
  t.equal(events.length, 2)
})

t.test('A1: a logout that succeeds after it was rejected clears nothing in a response that is not sent yet', async t => {
  const own = ownSessions()
  let open = () => {}
  const gate = new Promise<void>(resolve => { open = resolve })
  const logOut: typeof own.sessions.logOut = async request => { await gate; return own.sessions.logOut(request) }
  const { run, logOut: logOutHere, events } = await host(t, { timeout: 20, sessions: { ...own.sessions, logOut } })
  const laptop = own.logIn(1)
  const answer = await run(laptop, async (request, reply) => {
    const { code } = await logOutHere(request, reply).catch((error: { code: string }) => error) as { code: string }
    open()
    await new Promise(resolve => setTimeout(resolve, 20))
    return code
  })
  t.match(answer, { status: 200, result: 'LOGOUT_UNAVAILABLE', cleared: false })
  t.strictSame([own.isLive(laptop), events.length], [false, 1])
})

t.test('A7: there is no cross-site check', async t => {
  const own = ownSessions()
  const { logOut } = logoutActions({ sessions: own.sessions })
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/sign-out', async (request, reply) => { await logOut(request, reply) })
  const cookie = own.logIn(1)
  t.equal((await app.inject({
    url: '/sign-out',
    headers: {
      cookie,
      'sec-fetch-site': 'cross-site',
      origin: 'https://evil.example'
    }
  })).statusCode, 200)
  t.notOk(own.isLive(cookie))
})

t.test('what a source cannot do is reported, not guessed', async t => {
  const { sessions } = ownSessions()
  const { by, logOutSubject } = await host(t, { sessions: { logOut: sessions.logOut } })
  t.match(await by('logOutOthers', ''), { status: 500, code: 'LOGOUT_MISCONFIGURED' })
  t.match(await by('logOutAll', ''), { status: 500, code: 'LOGOUT_MISCONFIGURED' })
  await t.rejects(logOutSubject({ subject: 1 }), {
    code: 'LOGOUT_MISCONFIGURED',
    cause: { name: 'TypeError', message: 'logoutActions: option "sessions" needs the method "logOutSubject" for this logout' }
  })
  const found = await host(t, { sessions: { logOut: sessions.logOut, find: () => ({ id: 1, subject: 1, device: 'x' }) } })
  t.match(await found.by('logOutOthers', ''), { status: 500, code: 'LOGOUT_MISCONFIGURED' })
})

t.test('M11: numbers stay numbers for the host; events and channels have their text', async t => {
  const asked: unknown[] = []
  const { by, events } = await host(t, {
    sessions: {
      find: () => ({ id: 0, subject: 0, device: 'x' }),
      logOut: () => ({ id: 0, subject: 0, device: 'x' }),
      logOutSubject: query => { asked.push(query) }
    }
  })
  await by('logOutOthers', '')
  await by('logOut', '')
  t.strictSame(asked, [{ subject: 0, except: 0 }])
  t.strictSame(events, [{ scope: 'others', subject: '0', except: '0' }, { scope: 'session', session: { id: 0, subject: 0, device: 'x' } }])
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const { sessions } = ownSessions()
  const wrong = (options: unknown, message: string) => {
    t.throws(() => logoutActions(options as LogoutActionsOptions), { name: 'TypeError', message: `logoutActions: option ${message}` },
      message)
  }
  for (const options of [undefined, {}, { sessions: null }, { sessions: {} }, { sessions: { logOut: true } }]) {
    wrong(options,
      '"sessions" is missing')
  }
  for (const method of ['find', 'logOutSubject', 'forget']) {
    wrong({ sessions: { ...sessions, [method]: {} } }, `"sessions" must have a function as "${method}", or nothing`)
  }
  wrong({ sessions, clear: { cookies: {} } }, '"clear.cookies" must be a list')
  wrong({ sessions, clear: { cookies: [{ name: '' }] } }, '"clear.cookies" must have a name')
  wrong({ sessions, clear: { siteData: ['all'] } }, '"clear.siteData" must be a list')
  wrong({ sessions, publicUrl: 'app.example' }, '"publicUrl" must be an absolute')
  wrong({ sessions, onLogout: 5 }, '"onLogout" must be a function')
  wrong({ sessions, timeout: 0 }, '"timeout" must be')
})

t.test('A8: the type of the session is inferred from the source', async t => {
  const { sessions } = ownSessions()
  const actions = logoutActions({
    sessions,
    onLogout: event => {
      if (event.scope === 'session') event.session.device.toUpperCase()
      // @ts-expect-error there is no such member
      else event.session?.toUpperCase()
    }
  })
  const typed: LogoutActions<OwnSession> = actions
  // @ts-expect-error the subject is a number
  t.ok(() => typed.logOutSubject({ subject: '1' }))
})
