import fastifySession from '@fastify/session'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { ProtectableSessionStore } from '../../lib/bridges/express-session.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import type { SessionSource } from '../../lib/session-source.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { kinds, type SourceHost, type SourceKind } from '../source-hosts.ts'
import { newDevice, setCookies, type Device } from '../session-host.ts'

const logOut = (device: Device, scope?: string, headers: Record<string, string> = {}, more: Partial<InjectOptions> = {}) => {
  return device.send({ method: 'POST', url: '/logout', headers, ...(scope !== undefined && { payload: { scope } }), ...more })
}
const page = { accept: 'text/html' }
const nextMillisecond = async () => {
  const start = Date.now()
  while (Date.now() === start) await new Promise(resolve => setTimeout(resolve, 1))
}

/** Fails unless the response clears each cookie of the host once, and sets no other. */
function clears (t: Test, { cookieNames }: SourceHost, response: Parameters<typeof setCookies>[0], message?: string) {
  const cookies = setCookies(response)
  t.strictSame(cookies.map(({ name }) => name).sort(), [...cookieNames].sort(), message ?? 'one Set-Cookie for each cookie')
  t.ok(cookies.every(({ removed }) => removed), 'all of them are removed')
}

const onEach = (title: string, test: (t: Test, kind: SourceKind) => Promise<void>) => {
  for (const kind of kinds) t.test(`${title}: ${kind.name}`, t => test(t, kind))
}

onEach('N1, N2, K1, M1: a logout ends the session, clears the cookies, and is told once', async (t, kind) => {
  const host = await kind.make(t)
  for (const headers of [{}, page]) {
    const [device, other] = [await host.logIn('alice'), await host.logIn('alice')]
    const before = device.copy()
    t.ok(await host.isLive(device))
    host.events.length = 0
    const response = await logOut(device, undefined, headers)
    t.equal(response.statusCode, 'accept' in headers ? 303 : 204)
    t.equal(response.body, '')
    clears(t, host, response)
    t.strictSame([await host.isLive(before), await host.isLive(device), await host.isLive(other)], [false, false, true])
    t.match(host.events, [{ scope: 'session', session: { id: /./, subject: /./ } }])
    t.equal(host.events.length, 1)
  }
})

onEach('N3: without a credential the response is the same, and nobody is told', async (t, kind) => {
  const host = await kind.make(t)
  for (const headers of [{}, page]) {
    const response = await logOut(newDevice(host.app), undefined, headers)
    t.equal(response.statusCode, 'accept' in headers ? 303 : 204)
    clears(t, host, response)
  }
  t.strictSame(host.events, [])
})

onEach('N4: a forged or malformed credential is the same as none', async (t, kind) => {
  const host = await kind.make(t)
  const live = await host.logIn('alice')
  const [name = ''] = host.cookieNames
  const values = Array.from(live.cookies.values()).concat(live.headers['authorization'] ?? [])
  const altered = values.flatMap(value => [`${value[0] === 'x' ? 'y' : 'x'}${value.slice(1)}`, value.slice(0, 4)])
  const forged = ['', 'x', '%zz', '%00', 'a.b.c', 'x'.repeat(4000), '\u00ff', ...altered]
  for (const value of forged) {
    for (const headers of [{ cookie: `${name}=${value}` }, { authorization: `Bearer ${value}` }, { authorization: `Basic ${value}` }]) {
      const response = await logOut(newDevice(host.app), undefined, headers)
      t.equal(response.statusCode, 204, JSON.stringify(headers))
      clears(t, host, response)
    }
  }
  t.ok(await host.isLive(live))
  t.strictSame(host.events, [])
})

onEach('N5: the same request again succeeds, with the old credential and without it, and is told once', async (t, kind) => {
  const host = await kind.make(t)
  const device = await host.logIn('alice')
  const before = device.copy()
  for (const again of [device, before.copy(), before.copy(), device]) {
    const response = await logOut(again)
    t.equal(response.statusCode, 204)
    clears(t, host, response)
  }
  t.equal(host.events.length, 1)
  t.notOk(await host.isLive(before))
})

onEach('N8: others ends the other sessions, and leaves this one as it is', async (t, kind) => {
  const host = await kind.make(t)
  const [laptop, phone, tablet, bobs] = [await host.logIn('alice'), await host.logIn('alice'), await host.logIn('alice'),
    await host.logIn('bob')]
  const before = laptop.copy()
  const response = await logOut(laptop, 'others')
  t.equal(response.statusCode, 204)
  t.notOk(setCookies(response).some(({ removed }) => removed))
  t.strictSame([...laptop.cookies.keys()], [...before.cookies.keys()])
  t.strictSame(await Promise.all([laptop, before, phone, tablet, bobs].map(host.isLive)), [true, true, false, false, true])
  t.match(host.events, [{ scope: 'others', subject: /./, except: /./ }])
  t.equal((await logOut(laptop, 'others', page)).statusCode, 303)
  t.ok(await host.isLive(laptop))
})

onEach('N9, M5: all ends every session; a later login is live', async (t, kind) => {
  const host = await kind.make(t)
  const [laptop, phone, bobs] = [await host.logIn('alice'), await host.logIn('alice'), await host.logIn('bob')]
  const before = laptop.copy()
  const response = await logOut(laptop, 'all')
  t.equal(response.statusCode, 204)
  clears(t, host, response)
  t.strictSame(await Promise.all([laptop, before, phone, bobs].map(host.isLive)), [false, false, false, true])
  t.match(host.events, [{ scope: 'all', subject: /./ }])
  t.equal(host.events.length, 1)
  await nextMillisecond()
  t.ok(await host.isLive(await host.logIn('alice')))
})

onEach('N10, J6, Y6: others and all are refused without a live session; all clears the cookies', async (t, kind) => {
  const host = await kind.make(t)
  const [other, ended] = [await host.logIn('alice'), await host.logIn('alice')]
  const revoked = ended.copy()
  await logOut(ended)
  host.events.length = 0
  for (const device of [newDevice(host.app), ended, revoked]) {
    const others = await logOut(device.copy(), 'others')
    t.strictSame([others.statusCode, others.json().code], [401, 'LOGOUT_NOT_LOGGED_IN'])
    // Unless it saves empty sessions, @fastify/session itself removes the cookie of a session that it does not know.
    if (!kind.name.endsWith('saving only what changed')) t.notOk(setCookies(others).some(({ removed }) => removed))
    const all = await logOut(device.copy(), 'all')
    t.strictSame([all.statusCode, all.json().code], [401, 'LOGOUT_NOT_LOGGED_IN'])
    clears(t, host, all)
  }
  t.ok(await host.isLive(other), 'nobody else is logged out')
  t.strictSame(host.events, [])
})

onEach('N4: a session that another device has ended is not told again', async (t, kind) => {
  const host = await kind.make(t)
  const [laptop, phone] = [await host.logIn('alice'), await host.logIn('alice')]
  t.equal((await logOut(laptop, 'others')).statusCode, 204)
  t.equal(host.events.length, 1)
  t.equal((await logOut(phone)).statusCode, 204)
  t.equal(host.events.length, 1)
})

onEach('C10 without a hook, W1: a cross-site request changes nothing', async (t, kind) => {
  const host = await kind.make(t)
  const device = await host.logIn('alice')
  for (const scope of ['current', 'others', 'all']) {
    const { statusCode, headers } = await logOut(device, scope, { 'sec-fetch-site': 'cross-site' })
    t.strictSame([statusCode, headers['clear-site-data']], [403, undefined])
  }
  t.ok(await host.isLive(device))
  t.equal((await logOut(device, 'current', { origin: 'https://localhost:80', 'sec-fetch-site': 'same-origin' })).statusCode, 204)
})

onEach('C9: csrf cannot be off where the credential travels in a cookie', async (t, kind) => {
  if (kind.name === 'plain functions') return
  await t.rejects(kind.make(t, { csrf: 'off' }), { name: 'TypeError', message: /option "csrf" must not be "off"/ })
})

onEach('N12, T1: 50 parallel logouts with one credential all succeed, and one is told', async (t, kind) => {
  const host = await kind.make(t)
  const device = await host.logIn('alice')
  const responses = await Promise.all(Array.from({ length: 50 }, () => logOut(device.copy())))
  t.ok(responses.every(({ statusCode }) => statusCode === 204))
  for (const response of responses) clears(t, host, response)
  t.equal(host.events.length, 1)
  t.notOk(await host.isLive(device))
})

onEach('M9: of two nodes that a session is logged out at together, one tells it', async (t, kind) => {
  if (kind.name === 'plain functions') return
  const inner = new fastifySession.MemoryStore() as unknown as ProtectableSessionStore
  const shared = { revocations: memoryRevocationStore(), sessionStore: memorySessionStore(), innerStore: inner }
  for (let round = 0; round < 10; round++) {
    const [first, second] = [await kind.make(t, shared), await kind.make(t, shared)]
    const device = await first.logIn('alice')
    const elsewhere = newDevice(second.app, new Map(device.cookies), { ...device.headers })
    const responses = await Promise.all([logOut(device), logOut(elsewhere)])
    t.strictSame(responses.map(({ statusCode }) => statusCode), [204, 204])
    t.equal(first.events.length + second.events.length, 1)
  }
})

onEach('M9: a session that was live until another call ended it is ended, and not told again', async (t, kind) => {
  const marks = memoryRevocationStore()
  const host = await kind.make(t, {
    // As a node sees it that has read "live" just before another one wrote its mark.
    revocations: { ...marks, revokeOnce: (credential, ...added) => marks.revokeOnce(credential, ...added) && false }
  })
  const device = await host.logIn('alice')
  const before = device.copy()
  const response = await logOut(device)
  t.equal(response.statusCode, 204)
  clears(t, host, response)
  t.notOk(await host.isLive(before))
  const hasMarks = kind.name.startsWith('@fastify') || kind.name.startsWith('JWT')
  t.equal(host.events.length, hasMarks ? 0 : 1)
})

onEach('T8, M10: of 50 devices that log out the others at once, at most one stays live', async (t, kind) => {
  const host = await kind.make(t)
  const devices = await Promise.all(Array.from({ length: 50 }, () => host.logIn('alice')))
  await nextMillisecond()
  const statuses = await Promise.all(devices.map(async device => (await logOut(device, 'others')).statusCode))
  t.ok(statuses.every(status => status === 204 || status === 401), String(statuses))
  t.ok(statuses.includes(204))
  const live = await Promise.all(devices.map(host.isLive))
  t.ok(live.filter(Boolean).length <= 1)
})

onEach('T6: a login before log out everywhere is ended, one after the response is live', async (t, kind) => {
  const host = await kind.make(t)
  const [laptop, early] = [await host.logIn('alice'), await host.logIn('alice')]
  await nextMillisecond()
  const [response, during] = await Promise.all([logOut(laptop, 'all'), host.logIn('alice')])
  t.equal(response.statusCode, 204)
  await nextMillisecond()
  const late = await host.logIn('alice')
  t.strictSame([await host.isLive(early), await host.isLive(late)], [false, true])
  t.equal(typeof await host.isLive(during), 'boolean', 'one in between is either')
})

onEach('M6, M7, M8, F6, Y2: a request in flight that saves the session after a logout does not bring it back', async (t, kind) => {
  const host = await kind.make(t)
  for (const scope of ['current', 'others', 'all']) {
    const [laptop, phone] = [await host.logIn('alice'), await host.logIn('alice')]
    await nextMillisecond()
    const ended = scope === 'others' ? phone : laptop
    const before = ended.copy()
    const saving = await host.save(ended)
    t.equal((await logOut(laptop, scope)).statusCode, 204)
    const after = await saving.finish()
    t.strictSame([await host.isLive(before), await host.isLive(after)], [false, false], scope)
    await nextMillisecond()
  }
})

onEach('T5: 100 interleavings of a request that saves and a logout never leave the session live', async (t, kind) => {
  const host = await kind.make(t)
  const later = (turns: number, work: () => Promise<unknown>): Promise<unknown> => {
    return turns === 0 ? work() : new Promise(resolve => { setImmediate(() => resolve(later(turns - 1, work))) })
  }
  let live = 0
  for (let round = 0; round < 100; round++) {
    const device = await host.logIn('alice')
    const before = device.copy()
    const logsOut = device.copy()
    const saving = await host.save(device)
    let after = before
    await Promise.all([
      later(round % 10, async () => { after = await saving.finish() }),
      later(Math.floor(round / 10), () => logOut(logsOut))
    ])
    if (await host.isLive(before) || await host.isLive(after) || await host.isLive(logsOut)) live++
  }
  t.equal(live, 0)
  t.equal(host.events.length, 100)
})

onEach('a logout of the current session is one question to the marks, also when it is repeated', async (t, kind) => {
  const marks = memoryRevocationStore()
  const questions: string[] = []
  const revocations = new Proxy(marks, {
    get: (target, name) => {
      questions.push(String(name))
      return Reflect.get(target, name)
    }
  })
  const host = await kind.make(t, { revocations })
  const device = await host.logIn('alice')
  const [before, late] = [device.copy(), device.copy()]
  const during = async (act: () => Promise<unknown>) => {
    questions.length = 0
    await act()
    return questions
  }
  const load = kind.name.startsWith('@fastify/session') ? ['check'] : []
  const hasMarks = kind.name.startsWith('@fastify') || kind.name.startsWith('JWT')
  t.strictSame(await during(() => logOut(device)), hasMarks ? [...load, 'revokeOnce'] : [])
  // A session that is revoked is gone from the store of @fastify/session.
  t.strictSame(await during(() => logOut(before)), hasMarks && load.length === 0 ? ['revokeOnce'] : [])
  t.equal(host.events.length, 1)
  t.notOk(await host.isLive(late))
})

const steps = ['find', 'check', 'logOut', 'revoke', 'logOutSubject']

onEach('T2, K6, F3, Y4, J11: when a step fails the response is a 503, the cookies stay, and the retry succeeds', async (t, kind) => {
  for (const scope of ['current', 'others', 'all']) {
    for (const fault of ['throws', 'rejects', 'hangs'] as const) {
      for (const step of steps) {
        const host = await kind.make(t, { timeout: 100 })
        const [laptop, phone] = [await host.logIn('alice'), await host.logIn('alice')]
        await nextMillisecond()
        host.broken.set(step, fault)
        const what = `${scope}: ${step} ${fault}`
        const start = performance.now()
        const response = await logOut(laptop, scope)
        if (response.statusCode === 401 && step === 'check') continue
        if (response.statusCode !== 204) {
          // Where @fastify/session cannot read the marks, its own hook fails before the route is asked.
          const ours = step !== 'check' || !kind.name.startsWith('@fastify/session')
          t.equal(response.statusCode, 503, what)
          if (ours) t.strictSame([response.json().code, response.headers['retry-after']], ['LOGOUT_UNAVAILABLE', '5'], what)
          t.notOk(setCookies(response).some(({ removed }) => removed), `${what}: the cookies stay`)
          t.ok(performance.now() - start < 20_000, what)
          host.broken.clear()
          t.ok(await host.isLive(laptop), `${what}: the caller is still logged in`)
          t.equal((await logOut(laptop, scope)).statusCode, 204, `${what}: the retry`)
        }
        host.broken.clear()
        t.strictSame([await host.isLive(laptop), await host.isLive(phone)], [scope === 'others', scope === 'current'], what)
        t.equal(host.events.length, 1, `${what}: told once`)
      }
    }
  }
})

onEach('T3: when all has ended the others but not this session, it is a 503, and the retry finishes', async (t, kind) => {
  const host = await kind.make(t, { timeout: 100 })
  const [laptop, phone] = [await host.logIn('alice'), await host.logIn('alice')]
  await nextMillisecond()
  const source = host.sessions as SessionSource
  const { logOut: end } = source
  Object.assign(source, { logOut: () => Promise.reject(new Error('down')) })
  t.equal((await logOut(laptop, 'all')).statusCode, 503)
  Object.assign(source, { logOut: end })
  t.strictSame([await host.isLive(laptop), await host.isLive(phone)], [true, false])
  t.strictSame(host.events, [])
  t.equal((await logOut(laptop, 'all')).statusCode, 204)
  t.notOk(await host.isLive(laptop))
  t.match(host.events, [{ scope: 'all' }])
})

onEach('H4: what the source returns has nothing secret in it', async (t, kind) => {
  const host = await kind.make(t)
  const device = await host.logIn('alice')
  const secrets = [...device.cookies.values(), device.headers['authorization']?.slice('Bearer '.length)].flatMap(value => value ?? [])
  await logOut(device)
  const shown = JSON.stringify(host.events)
  t.ok(secrets.length > 0)
  for (const secret of secrets) t.notOk(shown.includes(decodeURIComponent(secret).slice(0, 24)))
})
