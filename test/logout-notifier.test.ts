import { jwtVerify } from 'jose'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { clientLogouts, logoutNotifier, type DeliveryQueue, type LogoutNotifierOptions } from '../lib/index.ts'
import { memoryDeliveryQueue } from '../lib/delivery-queues/memory.ts'
import { delivery, handOut, handQueue, issuer, keys, loopback, sign, startReceiver } from './delivery-host.ts'

const minute = 60_000
const hour = 60 * minute
const tokenOf = (body = '') => String(new URLSearchParams(body).get('logout_token'))
const verify = (body?: string) => jwtVerify(tokenOf(body), keys.publicKey, { issuer, audience: 'shop' })

t.test('S1 the token has what the standard wants, and nothing else', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, { uri: receiver.url })
  const at = Date.now() - 5000
  t.equal(await attempt(delivery({ at })), 'done')
  const { payload, protectedHeader } = await verify(receiver.seen[0]?.body)
  t.strictSame(protectedHeader, { alg: 'RS256', kid: 'k1', typ: 'logout+jwt' })
  const now = Math.floor(Date.now() / 1000)
  const { iat = 0, jti = '' } = payload
  t.ok(iat <= now && iat >= now - 60)
  t.match(jti, /^[\w-]{22}$/)
  t.strictSame(payload, {
    iss: issuer,
    aud: 'shop',
    iat,
    exp: iat + 120,
    jti,
    toe: Math.floor(at / 1000),
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    sub: 'alice',
    sid: 'phone'
  })
})

t.test('S1 sub and sid are each left out if they are not there; a logout in the future happened now', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, { uri: receiver.url })
  await attempt(delivery({ subject: undefined, at: Date.now() + hour }))
  await attempt(delivery({ sid: undefined }))
  const [first, second] = await Promise.all(receiver.seen.map(async ({ body }) => (await verify(body)).payload))
  t.notOk('sub' in Object(first))
  t.equal(first?.['sid'], 'phone')
  t.equal(first?.['toe'], first?.iat)
  t.notOk('sid' in Object(second))
  t.equal(second?.sub, 'alice')
})

t.test('S1 the host can sign itself', async t => {
  const receiver = await startReceiver(t)
  const given: unknown[] = []
  const { attempt } = await handOut(t, { uri: receiver.url }, {
    sign: (claims, header) => {
      given.push(claims['iss'], header)
      return 'signed.by.host'
    }
  })
  t.equal(await attempt(), 'done')
  t.strictSame(given, [issuer, { typ: 'logout+jwt' }])
  t.equal(receiver.seen[0]?.body, 'logout_token=signed.by.host')
})

t.test('S2 the request is a POST of a form with the token alone, to the registered URL with its query', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, { uri: `${receiver.url}/logout?tenant=acme&a=b%20c` })
  await attempt()
  const [request] = receiver.seen
  t.match(request, {
    method: 'POST',
    url: '/logout?tenant=acme&a=b%20c',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json', 'user-agent': 'fastify-logout' }
  })
  t.strictSame([...new URLSearchParams(request?.body).keys()], ['logout_token'])
})

t.test('S3 every 2xx is done', async t => {
  const receiver = await startReceiver(t)
  const { attempt, messages, logged } = await handOut(t, { uri: receiver.url })
  for (const status of [200, 201, 202, 204, 299]) {
    receiver.respond = response => response.writeHead(status).end()
    t.equal(await attempt(), 'done', `${status}`)
  }
  t.strictSame(messages.map(({ outcome, status }) => [outcome, status]), [200, 201, 202, 204, 299].map(status => ['delivered', status]))
  t.strictSame(logged, [])
})

t.test('S4 a status that says "later" is attempted again', async t => {
  const receiver = await startReceiver(t)
  const { attempt, messages, logged } = await handOut(t, { uri: receiver.url })
  const statuses = [408, 425, 429, 500, 502, 503, 504, 599]
  for (const status of statuses) {
    receiver.respond = response => response.writeHead(status).end()
    const before = Date.now()
    const outcome = await attempt()
    t.match(outcome, { retryAt: Number, delivery: { id: 'd1', attempt: 2, refusals: 0 } }, `${status}`)
    t.ok(typeof outcome === 'object' && 'retryAt' in outcome && outcome.retryAt >= before + 800)
  }
  t.strictSame(messages.map(({ outcome, status }) => [outcome, status]), statuses.map(status => ['failed', status]))
  t.match(logged, statuses.map(status => ({ level: 'warn', event: 'logout.delivery-failed', clientId: 'shop', attempt: 1, status })))
})

t.test('S4 without a response it is attempted again: refused, reset, cut, hung, no name, not TLS', async t => {
  const receiver = await startReceiver(t)
  const uris = { uri: '' }
  const { attempt, messages, logged } = await handOut(t, () => uris, {
    limits: { timeout: 200 },
    network: {
      ...loopback,
      resolve: async name => {
        if (name === 'nowhere.example') throw new Error('ENOTFOUND')
        return []
      }
    }
  })
  const trouble: ReadonlyArray<readonly [string, string, typeof receiver.respond]> = [
    ['reset', receiver.url, response => response.socket?.resetAndDestroy()],
    ['cut before the response', receiver.url, response => response.socket?.end()],
    ['hung', receiver.url, () => {}],
    ['no HTTP', receiver.url, response => response.socket?.end('SSH-2.0-OpenSSH\r\n')],
    ['nobody listens', 'http://127.0.0.1:1', () => {}],
    ['no such name', 'http://nowhere.example', () => {}],
    ['no address', 'http://empty.example', () => {}],
    ['not TLS', receiver.url.replace('http:', 'https:'), () => {}]
  ]
  for (const [name, uri, respond] of trouble) {
    Object.assign(uris, { uri })
    receiver.respond = respond
    t.match(await attempt(), { retryAt: Number, delivery: { attempt: 2, refusals: 0 } }, name)
  }
  t.strictSame(messages.map(({ outcome, status }) => [outcome, status]), trouble.map(() => ['failed', undefined]))
  t.equal(logged.filter(({ err }) => err instanceof Error).length, trouble.length)
})

t.test('S4 Retry-After is honoured, up to an hour', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, { uri: receiver.url })
  const waits: ReadonlyArray<readonly [header: string, wait: number]> = [
    ['120', 2 * minute], ['999999', hour], [new Date(Date.now() + 5 * minute).toUTCString(), 5 * minute], ['soon', 1000]
  ]
  for (const [header, wait] of waits) {
    receiver.respond = response => response.writeHead(503, { 'retry-after': header }).end()
    const outcome = await attempt()
    const retryAt = typeof outcome === 'object' && 'retryAt' in outcome ? outcome.retryAt : NaN
    t.ok(Math.abs(retryAt - Date.now() - wait) < 30_000, header)
  }
})

t.test('S5 a refusal is attempted three times, after 1 and after 10 minutes, and then dead', async t => {
  const receiver = await startReceiver(t)
  const { attempt, messages, logged } = await handOut(t, { uri: receiver.url })
  for (const status of [400, 401, 404, 410, 422]) {
    receiver.respond = response => response.writeHead(status).end()
    const first = await attempt()
    t.match(first, { delivery: { attempt: 2, refusals: 1 } })
    const second = await attempt(delivery({ attempt: 2, refusals: 1 }))
    t.match(second, { delivery: { attempt: 3, refusals: 2 } })
    const waits = [first, second].map(outcome => typeof outcome === 'object' && 'retryAt' in outcome ? outcome.retryAt - Date.now() : NaN)
    t.ok(Math.abs(Number(waits[0]) - minute) < 20_000 && Math.abs(Number(waits[1]) - 9 * minute) < 20_000, `${status}: ${waits.join()}`)
    t.strictSame(await attempt(delivery({ attempt: 3, refusals: 2 })), { dead: 'refused' })
  }
  t.match(messages.at(-1), { outcome: 'refused', attempt: 3, status: 422 })
  t.match(logged.at(-1), { level: 'error', event: 'logout.delivery-dead', reason: 'refused', clientId: 'shop', status: 422, attempt: 3 })
})

t.test('S5 a redirect is a refusal, and is never followed', async t => {
  const [receiver, target] = [await startReceiver(t), await startReceiver(t)]
  const { attempt } = await handOut(t, { uri: receiver.url })
  for (const status of [301, 302, 303, 307, 308]) {
    receiver.respond = response => response.writeHead(status, { location: target.url }).end()
    t.match(await attempt(), { delivery: { refusals: 1 } })
  }
  t.equal(target.seen.length, 0)
})

t.test('S7 it is given up after a day with a sid, after an hour without', async t => {
  const receiver = await startReceiver(t)
  const { attempt, messages, logged } = await handOut(t, { uri: receiver.url })
  const now = Date.now()
  t.equal(await attempt(delivery({ since: now - 23 * hour })), 'done')
  t.equal(await attempt(delivery({ sid: undefined, since: now - 59 * minute })), 'done')
  t.strictSame(await attempt(delivery({ since: now - 24 * hour })), { dead: 'expired' })
  t.strictSame(await attempt(delivery({ sid: undefined, since: now - hour })), { dead: 'expired' })
  t.equal(receiver.seen.length, 2, 'what has expired is not sent')
  t.match(messages.at(-1), { outcome: 'expired', status: undefined })
  t.match(logged, [{ level: 'error', event: 'logout.delivery-dead', reason: 'expired' }, {}])
})

t.test('S7 both times can be set, and no retry is later than the end', async t => {
  const receiver = await startReceiver(t, response => response.writeHead(503).end())
  const { attempt } = await handOut(t, { uri: receiver.url }, { limits: { sessionLifetime: 3000, subjectLifetime: 2000 } })
  const since = Date.now()
  t.match(await attempt(delivery({ since, attempt: 5 })), { retryAt: since + 3000 })
  t.match(await attempt(delivery({ since, attempt: 5, sid: undefined })), { retryAt: since + 2000 })
})

t.test('S8 each attempt has a fresh token, signed by the key of that moment; the time of the logout stays', async t => {
  const receiver = await startReceiver(t)
  let keyId = 'old'
  const { attempt } = await handOut(t, { uri: receiver.url }, {
    sign: async claims => `${keyId}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`
  })
  const at = Date.now() - 10_000
  await attempt(delivery({ at }))
  keyId = 'new'
  await sleep(1100)
  await attempt(delivery({ at, attempt: 2 }))
  const [first, second] = receiver.seen.map(({ body }) => {
    return JSON.parse(Buffer.from(tokenOf(body).split('.')[1] ?? '', 'base64url').toString())
  })
  t.match(receiver.seen.map(({ body }) => tokenOf(body)), [/^old/, /^new/])
  t.not(first.jti, second.jti)
  t.ok(second.iat > first.iat && second.exp === second.iat + 120)
  t.equal(first.toe, second.toe)
})

t.test('S9 a client that is unknown or has no URL gets nothing', async t => {
  const clients: LogoutNotifierOptions['findClient'][] = [
    () => undefined, () => null, () => ({}), () => ({ kind: 'webhook', url: '', secrets: [] }),
    () => ({ kind: 'security-events', endpoint: '', audience: 'shop', subject: () => ({ format: 'opaque', id: '1' }) })
  ]
  for (const findClient of clients) {
    const { attempt, messages, logged } = await handOut(t, undefined, { findClient })
    t.equal(await attempt(), 'done')
    t.match(messages, [{ outcome: 'no-client', clientId: 'shop' }])
    t.strictSame(logged, [])
  }
})

t.test('S10 a client that requires a sid is not notified without one', async t => {
  const { notifier, enqueued } = await handOut(t, { uri: 'http://127.0.0.1', sessionRequired: true }, { wait: 0 })
  const message = 'logoutNotifier: the client requires a "sid" for each logout'
  await t.rejects(notifier.notify([{ clientId: 'shop', sid: '1' }, { clientId: 'shop', subject: 'alice' }]), { name: 'TypeError', message })
  t.equal(enqueued.length, 0)
  await notifier.notify([{ clientId: 'shop', sid: '1' }], {})
  t.equal(enqueued.length, 1)
  const asked: string[] = []
  const lenient = await handOut(t, undefined, {
    wait: 0,
    findClient: clientId => {
      asked.push(clientId)
      return {}
    }
  })
  for (const clientId of ['shop', 'mail']) {
    const sid = clientId === 'mail' ? { sid: '1' } : {}
    await lenient.notifier.notify(['alice', 'bob'].map(subject => ({ clientId, subject, ...sid })))
  }
  t.strictSame(asked, ['shop'], 'each client that gets no sid is looked up once')
})

t.test('S11 an attempt takes no longer than its timeout until the headers, and the body is not waited for', async t => {
  const receiver = await startReceiver(t, response => {
    response.writeHead(200)
    response.write('a')
  })
  const { attempt } = await handOut(t, { uri: receiver.url }, { limits: { timeout: 150 } })
  t.equal(await attempt(), 'done', 'the status counts although the body does not end')
  receiver.respond = response => {
    response.writeHead(204)
    response.socket?.write('HTTP/1.1 204 No Content\r\n')
  }
  t.match(await attempt(), { retryAt: Number }, 'headers that do not end')
})

t.test('S11 of a body at most 64 KiB are read', async t => {
  const cut: boolean[] = []
  const receiver = await startReceiver(t, response => {
    response.on('close', () => { cut.push(!response.writableFinished) })
    response.writeHead(200)
    for (let part = 0; part < 200; part++) response.write('a'.repeat(65_536))
  })
  const { attempt } = await handOut(t, { uri: receiver.url }, { limits: { timeout: 600_000 } })
  t.equal(await attempt(), 'done')
  while (cut.length === 0) await sleep(5)
  t.strictSame(cut, [true], 'the connection was closed before the end')
})

t.test('S11 findClient and sign are waited for as long', async t => {
  const never = new Promise<never>(() => {})
  const receiver = await startReceiver(t)
  const limits = { timeout: 50 }
  const slow = await handOut(t, undefined, { findClient: () => never, limits })
  t.match(await slow.attempt(), { retryAt: Number, delivery: { attempt: 2 } })
  const slower = await handOut(t, { uri: receiver.url }, { sign: () => never, limits })
  t.match(await slower.attempt(), { retryAt: Number })
  const failing = await handOut(t, undefined, { findClient: () => { throw new Error('planted') } })
  t.match(await failing.attempt(), { retryAt: Number })
  t.equal(receiver.seen.length, 0)
})

t.test('S11 four attempts for one client and twenty at all: a client that hangs does not hold up another', async t => {
  let most = 0
  const release: Array<() => void> = []
  const receiver = await startReceiver(t, (response, { url }) => {
    if (url === '/good') {
      response.end()
      return
    }
    release.push(() => response.end())
    most = Math.max(most, release.length)
  })
  const notifier = logoutNotifier({
    issuer,
    sign,
    queue: memoryDeliveryQueue({ stopTimeout: 0 }),
    findClient: clientId => ({ uri: `${receiver.url}/${clientId}` }),
    network: loopback,
    wait: 0
  })
  const stop = await notifier.start()
  const logouts = (clientId: string, count: number) => Array.from({ length: count }, (_, sid) => ({ clientId, sid: `${sid}` }))
  await notifier.notify(logouts('hanging', 12))
  await notifier.notify(logouts('good', 50))
  const count = (url: string) => receiver.seen.filter(seen => seen.url === url).length
  while (count('/good') < 50) await sleep(5)
  t.equal(most, 4)
  t.equal(count('/hanging'), 4)
  while (count('/hanging') < 12 || release.length > 0) {
    for (const one of release.splice(0)) one()
    await sleep(5)
  }
  t.equal(most, 4, 'those that were sent away came back')
  await stop()
})

t.test('S7 S11 an expired delivery takes no place, and is dead at once although its client hangs', async t => {
  const receiver = await startReceiver(t, () => {})
  const { attempt } = await handOut(t, { uri: receiver.url }, { limits: { parallelPerClient: 1, timeout: 300 } })
  const hanging = attempt()
  t.strictSame(await attempt(delivery({ id: 'd2', since: 0 })), { dead: 'expired' })
  t.match(await attempt(delivery({ id: 'd3' })), { retryAt: Number, delivery: { attempt: 1 } }, 'sent away')
  t.match(await hanging, { delivery: { attempt: 2 } })
})

t.test('S12 a delivery that waits for its next attempt holds up no later one of the same client', async t => {
  const receiver = await startReceiver(t)
  const { notifier } = await handOut(t, { uri: receiver.url }, { queue: memoryDeliveryQueue({ stopTimeout: 0 }) })
  receiver.respond = response => response.writeHead(503).end()
  await notifier.notify([{ clientId: 'shop', sid: 'first' }])
  receiver.respond = response => response.writeHead(200).end()
  await notifier.notify([{ clientId: 'shop', sid: 'second' }])
  while (receiver.seen.length < 3) await sleep(20)
  const sids = await Promise.all(receiver.seen.map(async ({ body }) => (await verify(body)).payload['sid']))
  t.strictSame(sids, ['first', 'second', 'first'])
})

t.test('S15 when the queue refuses or is late, notify rejects, and the caller responds with a 503', async t => {
  const { queue } = handQueue()
  const options = { issuer, sign, findClient: () => undefined, limits: { timeout: 50 } }
  const broken: ReadonlyArray<DeliveryQueue['enqueue']> = [
    () => { throw new Error('planted') }, async () => { throw new Error('planted') }, () => new Promise<never>(() => {})
  ]
  for (const enqueue of broken) {
    const notifier = logoutNotifier({ ...options, queue: { ...queue, enqueue } })
    await t.rejects(notifier.notify([{ clientId: 'shop', sid: '1' }]), { message: 'queue.enqueue failed', statusCode: 503 })
  }
})

t.test('S16 a memory queue that is stopped goes on for a while, then logs how many are lost', async t => {
  const receiver = await startReceiver(t, response => response.writeHead(503).end())
  const { notifier, logged } = await handOut(t, { uri: receiver.url }, { queue: memoryDeliveryQueue({ stopTimeout: 50 }), wait: 0 })
  await notifier.notify([{ clientId: 'shop', sid: '1' }, { clientId: 'shop', sid: '2' }])
  await notifier.stop()
  t.match(logged.at(-1), { level: 'error', event: 'logout.deliveries-lost', lost: 2 })
  await notifier.stop()
  t.equal(logged.length, 3, 'a second stop does nothing')
})

t.test('S17 neither the log nor the channel has a token, a body or the user', async t => {
  const receiver = await startReceiver(t)
  const { attempt, messages, logged } = await handOut(t, { uri: receiver.url })
  const secret = delivery({ subject: 'the-subject', sid: 'the-sid', tenant: 'the-tenant' })
  for (const status of [200, 400, 503]) {
    receiver.respond = response => response.writeHead(status).end('the-body')
    await attempt({ ...secret, refusals: 2 })
  }
  t.strictSame(Object.keys(messages[0] ?? {}), ['clientId', 'attempt', 'status', 'outcome', 'duration', 'age'])
  t.match(messages, [{ outcome: 'delivered' }, { outcome: 'refused' }, { outcome: 'failed' }])
  t.ok(messages.every(({ duration, age }) => duration > 0 && age >= 0))
  const all = JSON.stringify([messages, logged])
  for (const word of ['the-subject', 'the-sid', 'the-tenant', 'the-body', 'eyJ', receiver.url]) t.notOk(all.includes(word), word)
})

t.test('S17 without a log, failures are silent', async t => {
  const { attempt } = await handOut(t, undefined, { log: undefined, findClient: () => { throw new Error('planted') } })
  t.match(await attempt(), { retryAt: Number })
  t.strictSame(await attempt(delivery({ since: 0 })), { dead: 'expired' })
})

t.test('S18 notify waits for the first attempts of this process, and no longer than wait', async t => {
  const receiver = await startReceiver(t, response => setTimeout(() => response.writeHead(503).end(), 30))
  const { notifier } = await handOut(t, { uri: receiver.url }, { queue: memoryDeliveryQueue({ stopTimeout: 0 }), wait: 60_000 })
  await notifier.notify([{ clientId: 'shop', sid: '1' }, { clientId: 'mail', sid: '1' }])
  t.equal(receiver.seen.length, 2)
  receiver.respond = () => {}
  const hurried = await handOut(t, { uri: receiver.url }, {
    queue: memoryDeliveryQueue({ stopTimeout: 0 }), wait: 20, limits: { timeout: 300 }
  })
  await hurried.notifier.notify([{ clientId: 'shop', sid: '2' }])
  t.strictSame(hurried.messages, [], 'the attempt was not waited for to its end')
})

t.test('S18 nothing is waited for where nothing works, in a transaction, and for an empty list', async t => {
  const { queue, enqueued } = handQueue()
  const options = { issuer, sign, queue, findClient: () => undefined, wait: 600_000 }
  await logoutNotifier(options).notify([{ clientId: 'shop', sid: '1' }])
  const notifier = logoutNotifier(options)
  await notifier.start()
  await notifier.notify([])
  const inTransaction: unknown[] = []
  await notifier.notify([{ clientId: 'shop', sid: '1' }], { queue: { enqueue: deliveries => { inTransaction.push(...deliveries) } } })
  t.equal(enqueued.length, 1)
  t.equal(inTransaction.length, 1)
})

t.test('equal logouts have equal ids, so that a repeat is not a second message; all others differ', async t => {
  const { notifier, enqueued } = await handOut(t, undefined, { wait: 0 })
  const at = Date.now()
  const logout = { clientId: 'shop', subject: 'alice', sid: 'phone', at }
  const others = [
    { ...logout, clientId: 'mail' }, { ...logout, subject: 'bob' }, { ...logout, sid: 'laptop' }, { ...logout, at: at + 1 },
    { ...logout, tenant: 'acme' }, { clientId: 'shop', subject: 'alice', at }, { clientId: 'shop', sid: 'alice', at }
  ]
  await notifier.notify([logout, logout, ...others])
  t.equal(new Set(enqueued.map(({ id }) => id)).size, 8)
  const { id, since } = enqueued[0] ?? delivery()
  t.strictSame(enqueued[0], { id, clientId: 'shop', subject: 'alice', sid: 'phone', at, since, attempt: 1, refusals: 0 })
  const before = Date.now()
  await notifier.notify([{ clientId: 'shop', sid: '1' }])
  t.ok(Number(enqueued.at(-1)?.at) >= before, 'now, if nothing is said')
  const message = 'logoutNotifier: a logout needs a "subject" or a "sid"'
  await t.rejects(notifier.notify([{ clientId: 'shop' }]), { name: 'TypeError', message })
  await t.rejects(notifier.notify([{ clientId: '', sid: '1' }]), { name: 'TypeError', message: /clientId/ })
})

t.test('clientLogouts names the session or the user of an event for each client', async t => {
  const before = Date.now()
  const [shop, mail, ...more] = clientLogouts({ scope: 'session', session: { id: 7, subject: 'alice', tenant: 'acme' } }, ['shop', 'mail'])
  t.ok(Number(shop?.at) >= before && Number(shop?.at) <= Date.now())
  t.strictSame(shop, { clientId: 'shop', subject: 'alice', tenant: 'acme', sid: '7', at: shop?.at })
  t.strictSame(mail, { ...shop, clientId: 'mail' })
  t.strictSame(more, [])
  for (const scope of ['all', 'others', undefined] as const) {
    const [all] = clientLogouts({ ...scope !== undefined && { scope }, subject: 'alice' }, ['shop'])
    t.strictSame(all, { clientId: 'shop', subject: 'alice', at: all?.at })
  }
  const [unknown] = clientLogouts({ scope: 'session', session: { id: '7' } }, ['shop'])
  t.strictSame(unknown, { clientId: 'shop', sid: '7', at: unknown?.at })
})

t.test('start can be called again, also after it failed and after stop', async t => {
  const { queue } = handQueue()
  let starts = 0
  const work: DeliveryQueue['work'] = async () => {
    if (++starts === 1) throw new Error('planted')
    return async () => 0
  }
  const notifier = logoutNotifier({ queue: { ...queue, work }, findClient: () => undefined })
  await notifier.stop()
  await t.rejects(notifier.start(), { message: 'planted' })
  await Promise.all([notifier.start(), notifier.start()])
  t.equal(starts, 2)
  await notifier.stop()
  await notifier.start()
  t.equal(starts, 3)
})

t.test('the worker knows how much it may do, and how long an attempt takes', async t => {
  const { queue } = handQueue()
  const given: unknown[] = []
  const work: DeliveryQueue['work'] = (attempt, options) => {
    given.push(options)
    return queue.work(attempt, options)
  }
  await logoutNotifier({ queue: { ...queue, work }, findClient: () => undefined }).start()
  await logoutNotifier({ queue: { ...queue, work }, findClient: () => undefined, limits: { parallel: 3, timeout: 700 } }).start()
  t.strictSame(given, [{ parallel: 20, timeout: 10_000 }, { parallel: 3, timeout: 1400 }])
})

t.test('a client that cannot be served as it is configured is dead at once', async t => {
  const receiver = await startReceiver(t)
  const unsigned = { issuer: undefined, sign: undefined }
  const cases: ReadonlyArray<readonly [client: never, options: Partial<LogoutNotifierOptions>]> = [
    [{ uri: receiver.url } as never, unsigned],
    [{ kind: 'security-events', endpoint: receiver.url, audience: 'a', subject: () => ({ format: 'opaque', id: '1' }) } as never, unsigned],
    [{ kind: 'carrier-pigeon', uri: receiver.url } as never, {}],
    [{ kind: 'webhook', url: receiver.url, secrets: [] } as never, {}],
    [{ kind: 'webhook', url: receiver.url } as never, {}],
    [{ kind: 'webhook', url: receiver.url, secrets: ['whsec_c2hvcnQ='] } as never, {}],
    [{ kind: 'webhook', url: receiver.url, secrets: [Buffer.alloc(65).toString('base64')] } as never, {}]
  ]
  for (const [client, options] of cases) {
    const { attempt, messages, logged } = await handOut(t, client, options)
    t.strictSame(await attempt(), { dead: 'misconfigured' })
    t.match(messages, [{ outcome: 'misconfigured' }])
    t.match(logged, [{ level: 'error', reason: 'misconfigured', err: { name: 'MisconfiguredClientError' } }])
  }
  t.equal(receiver.seen.length, 0)
})

t.test('an option that is missing or wrong is a TypeError that names it', async t => {
  const good = { issuer, sign, findClient: () => undefined, queue: memoryDeliveryQueue() }
  const wrong: ReadonlyArray<readonly [option: string, change: object]> = [
    ['findClient', { findClient: undefined }], ['queue', { queue: undefined }], ['queue', { queue: { enqueue () {} } }],
    ['issuer', { issuer: undefined }], ['issuer', { issuer: '' }], ['sign', { sign: undefined }], ['sign', { sign: null }],
    ['sign.algorithm', { sign: { ...sign, algorithm: 'none' } }], ['sign.privateKey', { sign: { ...sign, algorithm: 'ES256' } }],
    ['sign.privateKey', { sign: { ...sign, algorithm: 'HS256' } }],
    ['sign.privateKey', { sign: { ...sign, privateKey: '' } }], ['sign.privateKey', { sign: { ...sign, privateKey: keys.publicKey } }],
    ['sign.keyId', { sign: { ...sign, keyId: '' } }], ['sign.keyId', { sign: { ...sign, keyId: 7 } }],
    ['wait', { wait: -1 }], ['wait', { wait: '1' }],
    ...['parallel', 'parallelPerClient', 'timeout', 'sessionLifetime', 'subjectLifetime'].flatMap(name => [0, -1, 'x', NaN].map(
      value => [`limits.${name}`, { limits: { [name]: value } }] as const
    )),
    ['network.allowInsecure', { network: { allowInsecure: 'yes' } }], ['network.resolve', { network: { resolve: 7 } }],
    ...['10.0.0.0/8', ['nowhere'], ['10.0.0.0/33'], ['::/129'], ['10.0.0.0/'], ['10.0.0.0/8/8'], ['10.0.0.0/-1'], [7]].map(
      allowAddresses => ['network.allowAddresses', { network: { allowAddresses } }] as const
    )
  ]
  for (const [option, change] of wrong) {
    t.throws(() => logoutNotifier({ ...good, ...change } as LogoutNotifierOptions), {
      name: 'TypeError', message: new RegExp(`^logoutNotifier: option "${option.replace('.', '\\.')}" `)
    }, option)
  }
  t.doesNotThrow(() => logoutNotifier({ ...good, wait: 0 }))
})
