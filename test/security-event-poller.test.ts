import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startTransmitter } from '../examples/event-transmitter.js'
import type { OutageMessage } from '../lib/internal/plugin/diagnostics.ts'
import type { PolledEventStream, SecurityEventPollerOptions } from '../lib/internal/security-events/poller.ts'
import { securityEventPoller } from '../lib/security-event-poller.ts'
import { withOption } from './misuse.ts'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { eventHost } from './event-host.ts'
import { acme, securityEventToken } from './event-senders.ts'

const stream = { issuer: acme.issuer, audience: acme.audience, key: acme.publicKey }

interface Asked {
  readonly at: number
  readonly authorization: string | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: {
    readonly maxEvents: number,
    readonly returnImmediately: boolean,
    readonly ack?: string[],
    readonly setErrs?: Record<string, object>
  }
}

type Answer = (response: ServerResponse, asked: Asked) => unknown

const sets = (given: Record<string, unknown>, others: object = {}): Answer => response => {
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ sets: given, ...others }))
}
const status = (code: number, headers: Record<string, string> = {}): Answer => response => { response.writeHead(code, headers).end() }
const never: Answer = () => {}

/** Changes of the options of a host, also of single members of the stream. */
type Changes = Omit<Partial<SecurityEventPollerOptions>, 'stream'> & { readonly stream?: Partial<PolledEventStream> }

/** A transmitter that answers as a test says, one answer after the other; the last one again and again. */
async function start (t: Test, answers: Answer[], changes: Changes = {}) {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    json(request).then(body => {
      const seen = {
        at: performance.now(),
        authorization: request.headers.authorization,
        headers: request.headers,
        body: body as Asked['body']
      }
      asked.push(seen)
      const answer = answers.length > 1 ? answers.shift() : answers[0]
      answer?.(response, seen)
    }, () => response.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const world = await eventHost()
  const logs: Array<Record<string, unknown>> = []
  const log = (level: string) => (entry: object) => { logs.push({ level, ...entry }) }
  /** Another node of the host, over the same stores. */
  const node = () => securityEventPoller({
    ...world.options,
    log: { info: log('info'), warn: log('warn'), error: log('error') } as never,
    ...changes,
    end: { ...world.options.end, ...changes.end },
    stream: {
      ...stream,
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/poll`,
      authorization: () => 'Bearer token',
      ...changes.stream
    }
  })
  const poller = node()
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await poller.stop()
  })
  return { ...world, asked, poller, node, logs, until: async (condition: () => boolean) => untilTrue(t, condition) }
}

async function untilTrue (t: Test, condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 1000; waited++) {
    if (condition()) return
    await sleep(10)
  }
  t.fail('this did not happen within ten seconds')
}

t.test('L1, L2: it asks for events, carries them out, and acknowledges them with the next poll', async t => {
  const tokens = {
    a: securityEventToken(acme, { claims: { jti: 'a' } }),
    b: securityEventToken(acme, { claims: { jti: 'b', sub_id: { format: 'email', email: 'bob' } } })
  }
  const { poller, asked, live, until, told, events } = await start(t, [sets(tokens), never])
  t.equal(poller.lastPolledAt, undefined)
  poller.start()
  poller.start()
  await until(() => asked.length === 2)
  t.strictSame(asked.map(({ body }) => body), [
    { maxEvents: 100, returnImmediately: false }, { maxEvents: 100, returnImmediately: false, ack: ['a', 'b'] }
  ])
  t.match(asked[0], { authorization: 'Bearer token', headers: { accept: 'application/json', 'content-type': 'application/json' } })
  t.strictSame([...await live('alice'), ...await live('bob')], [])
  t.equal(told.length, 2)
  t.equal(events.length, 2)
  t.ok(Math.abs(Number(poller.lastPolledAt) - Date.now()) < 5000)
  t.ok(Math.abs(Number(poller.lastEventAt) - Date.now()) < 5000)
})

t.test('what the transmitter knows is not reported again', async t => {
  const tokens = { a: securityEventToken(acme, { claims: { jti: 'a' } }), b: 'rubbish' }
  const { poller, asked, until } = await start(t, [sets(tokens), sets({}), never])
  poller.start()
  await until(() => asked.length === 3)
  t.match(asked[1]?.body, { ack: ['a'], setErrs: { b: {} } })
  t.strictSame(asked[2]?.body, { maxEvents: 100, returnImmediately: false })
})

t.test('L3, L6: what is refused is reported, with the codes of the push', async t => {
  const rubbish = {
    wrong: securityEventToken(acme, { claims: { jti: 'other' } }),
    rubbish: 'rubbish',
    number: 5,
    nothing: null,
    audience: securityEventToken(acme, { claims: { jti: 'audience', aud: 'others' } }),
    good: securityEventToken(acme, { claims: { jti: 'good' } })
  }
  const { poller, asked, until, logs, told } = await start(t, [sets(rubbish), never])
  poller.start()
  await until(() => asked.length === 2)
  const notASet = { err: 'invalid_request', description: 'not a SET' }
  t.strictSame(asked[1]?.body, {
    maxEvents: 100,
    returnImmediately: false,
    ack: ['good'],
    setErrs: {
      rubbish: notASet,
      number: notASet,
      nothing: notASet,
      wrong: { err: 'invalid_request', description: 'jti' },
      audience: { err: 'invalid_audience', description: 'audience' }
    }
  })
  t.equal(told.length, 1)
  t.match(logs.find(({ code }) => code === 'invalid_audience'),
    { level: 'warn', event: 'security-event.refused', sender: acme.issuer, jti: 'audience' })
  t.match(logs.find(({ description }) => description === 'not a SET'), { sender: 'unknown' })
})

t.test('L4, L11: an event that could not be carried out is in neither list, and comes again', async t => {
  const tokens = { a: securityEventToken(acme, { claims: { jti: 'a' } }) }
  let isDown = true
  const { poller, asked, until, live, logs, told } = await start(t, [sets(tokens), sets(tokens), sets(tokens), never], {
    end: { alsoEnd: async () => { if (isDown) throw new Error('down') } }
  })
  poller.start()
  await until(() => asked.length === 2)
  t.strictSame(asked[1]?.body, { maxEvents: 100, returnImmediately: false })
  t.ok(Number(asked[1]?.at) - Number(asked[0]?.at) > 500, 'there was nothing to tell, so the next poll waits')
  t.match(logs, [{ level: 'error', event: 'logout.outage' }])
  isDown = false
  await until(() => asked.length >= 4)
  t.strictSame(asked[3]?.body.ack, ['a'])
  t.strictSame(await live('alice'), [])
  t.equal(told.length, 1, 'a repeat has no effect')
})

t.test('L12: two nodes that poll one stream both get an event: it takes effect once, and both acknowledge it', async t => {
  const tokens = { a: securityEventToken(acme, { claims: { jti: 'a' } }) }
  let polls = 0
  const toBoth: Answer = async (response, asking) => {
    polls++
    await untilTrue(t, () => polls === 2)
    sets(tokens)(response, asking)
  }
  const { poller, node, asked, until, live, told, logs } = await start(t, [toBoth, toBoth, never])
  const other = node()
  t.teardown(() => other.stop())
  poller.start()
  other.start()
  await until(() => asked.length === 4)
  t.strictSame(asked.map(({ body }) => body.ack), [undefined, undefined, ['a'], ['a']])
  t.strictSame(await live('alice'), [])
  t.equal(told.length, 1)
  t.strictSame(logs.filter(({ level }) => level === 'error'), [])
})

t.test('L5: without events there is one request in a second at most, whatever the transmitter says', async t => {
  const { poller, asked } = await start(t, [sets({}, { moreAvailable: true })])
  poller.start()
  await sleep(1600)
  t.equal(asked.length, 2)
  t.ok(Number(asked[1]?.at) - Number(asked[0]?.at) > 500)
})

t.test('L7: an answer that is not one of events is an error, and the next poll waits', async t => {
  for (const [what, answer] of Object.entries<Answer>({
    'not JSON': response => response.end('<html>'),
    'no sets': response => response.end('{}'),
    'a list of sets': response => response.end('{"sets":[]}'),
    null: response => response.end('null'),
    'over 1 MiB': response => response.end(JSON.stringify({ sets: { a: 'x'.repeat(1024 * 1024) } })),
    'a redirect': status(302, { location: '/elsewhere' }),
    'another status': status(500),
    'a cut connection': response => response.destroy()
  })) {
    const outages: OutageMessage[] = []
    const listener = (message: unknown) => { outages.push(message as OutageMessage) }
    subscribe('fastify-logout:outage', listener)
    const { poller, asked, logs, until } = await start(t, [answer, never])
    poller.start()
    await until(() => logs.length > 0)
    unsubscribe('fastify-logout:outage', listener)
    t.equal(asked.length, 1, what)
    t.match(logs, [{ level: 'error', event: 'logout.outage' }])
    t.match(outages, [{ plugin: 'securityEventPoller', question: 'poll', duration: Number }], 'L14')
    t.notMatch(JSON.stringify(logs), /xxx|html/)
    t.equal(poller.lastPolledAt, undefined)
    await poller.stop()
  }
})

t.test('L8: failures wait longer each time, and an answer begins anew', async t => {
  t.intercept(Math, 'random', { value: () => 0.5 })
  const { poller, asked, until } = await start(t, [status(500), status(500), sets({}), status(500), never])
  poller.start()
  await until(() => asked.length === 5)
  const waits = asked.slice(1).map(({ at }, index) => Math.round((at - Number(asked[index]?.at)) / 500) * 500)
  t.strictSame(waits, [1000, 2000, 1000, 1000])
})

t.test('L8: Retry-After is heeded, in seconds and as a date', async t => {
  const { poller, asked, until } = await start(t, [
    status(429, { 'retry-after': '0' }), status(503, { 'retry-after': new Date(Date.now() - 1000).toUTCString() }),
    status(503, { 'retry-after': 'soon' }), never
  ])
  poller.start()
  await until(() => asked.length === 3)
  t.ok(Number(asked[2]?.at) - Number(asked[0]?.at) < 1300)
  await until(() => asked.length === 4)
  t.ok(Number(asked[3]?.at) - Number(asked[2]?.at) > 700, 'what is no time is not heeded')
  const patient = await start(t, [status(429, { 'retry-after': '60' }), never])
  patient.poller.start()
  await patient.until(() => patient.logs.length === 1)
  await sleep(1300)
  t.equal(patient.asked.length, 1)
  const before = performance.now()
  await patient.poller.stop()
  t.ok(performance.now() - before < 20_000, 'stop() ends the wait')
})

t.test('L8: after a 401 it asks for another token once, then it waits', async t => {
  let number = 0
  const { poller, asked, until, logs } = await start(t, [status(401), sets({}), status(401), status(401), never],
    { stream: { authorization: async () => `Bearer ${++number}` } })
  poller.start()
  await until(() => asked.length === 4)
  t.strictSame(asked.map(({ authorization }) => authorization), ['Bearer 1', 'Bearer 2', 'Bearer 3', 'Bearer 4'])
  t.ok(Number(asked[1]?.at) - Number(asked[0]?.at) < 900)
  await until(() => logs.length === 1)
  t.match(logs, [{ event: 'logout.outage' }])
})

t.test('a token that cannot be had is an outage', async t => {
  const { poller, asked, logs, until } = await start(t, [never], { stream: { authorization: async () => { throw new Error('down') } } })
  poller.start()
  await until(() => logs.length === 1)
  t.equal(asked.length, 0)
})

t.test('L9: a poll without an answer in time is cut, and is not a failure', async t => {
  const { poller, asked, logs, until } = await start(t, [never], { timeout: 100 })
  poller.start()
  await until(() => asked.length === 2)
  t.strictSame(logs, [])
  t.ok(Number(asked[1]?.at) - Number(asked[0]?.at) > 500)
  t.equal(poller.lastPolledAt, undefined)
})

t.test('L10: stop cuts the wait, and acknowledges what is done', async t => {
  const tokens = { a: securityEventToken(acme, { claims: { jti: 'a' } }), b: 'rubbish' }
  let release = () => {}
  const { poller, asked, until, steps } = await start(t, [sets(tokens), sets({})], {
    end: {
      alsoEnd: async () => {
        steps.push('in hand')
        await new Promise<void>(resolve => { release = resolve })
      }
    }
  })
  poller.start()
  await until(() => steps.includes('in hand'))
  const stopped = poller.stop()
  await sleep(50)
  release()
  await stopped
  t.equal(asked.length, 2)
  t.strictSame(asked[1]?.body, {
    maxEvents: 0, returnImmediately: true, ack: ['a'], setErrs: { b: { err: 'invalid_request', description: 'not a SET' } }
  })
  await poller.stop()

  const waiting = await start(t, [never])
  waiting.poller.start()
  await waiting.until(() => waiting.asked.length === 1)
  const before = performance.now()
  await waiting.poller.stop()
  t.ok(performance.now() - before < 20_000)
  t.strictSame([waiting.asked.length, waiting.logs.length], [1, 0])
  waiting.poller.start()
  await waiting.until(() => waiting.asked.length === 2)
})

t.test('L10: stop resolves within five seconds, whatever hangs', async t => {
  const tokens = { a: securityEventToken(acme, { claims: { jti: 'a' } }) }
  const { poller, asked, until } = await start(t, [sets(tokens), never])
  poller.start()
  await until(() => asked.length === 2)
  const before = performance.now()
  await poller.stop()
  t.ok(performance.now() - before < 5500)

  const failing = await start(t, [sets(tokens), never, status(500)])
  failing.poller.start()
  await failing.until(() => failing.asked.length === 2)
  const begun = performance.now()
  await failing.poller.stop()
  t.ok(performance.now() - begun < 5500)
})

t.test('L13 and other options that are wrong', async t => {
  const { options } = await eventHost()
  const valid = { ...stream, endpoint: 'https://transmitter.example/poll', authorization: () => 'x' }
  const given = { ...options, stream: valid }
  for (const [option, values] of Object.entries({
    endpoint: ['https://transmitter.example/poll'],
    authorization: [() => 'x'],
    'stream.endpoint': ['http://transmitter.example/poll', undefined, 'x'],
    'stream.authorization': [undefined, 'Bearer x'],
    fetch: ['x'],
    timeout: [0, 'x'],
    stream: [undefined, null, 'x'],
    revocations: [undefined],
    resolveSubject: [undefined],
    'end.sessions': [null]
  })) {
    for (const value of values) {
      const make = () => securityEventPoller(withOption(given, option.split('.'), value) as never)
      t.throws(make, { name: 'TypeError', message: new RegExp(`^securityEventPoller: option "${option}" (must be|is missing)`) },
        `${option} ${String(value)}`)
    }
  }
  t.throws(() => securityEventPoller({ ...given, stream: { ...valid, audience: '' } }),
    { message: /^securityEventPoller: option "stream\.audience" must be/ })
  t.ok(securityEventPoller({ ...given, stream: { ...valid, endpoint: 'http://127.0.0.1/poll' } }))
})

t.test('the example\'s transmitter, by long polls: repeats, order and more than one batch', async t => {
  const transmitter = await startTransmitter({ audience: 'us', longPoll: 300 })
  const { sessions, options, told, events } = await eventHost()
  const poller = securityEventPoller({
    ...options,
    stream: {
      issuer: transmitter.issuer,
      audience: 'us',
      jwksUri: transmitter.jwksUri,
      endpoint: transmitter.pollUrl,
      authorization: () => transmitter.authorization
    }
  })
  t.teardown(async () => {
    await poller.stop()
    await transmitter.close()
  })
  poller.start()
  for (let i = 0; i < 40; i++) await transmitter.keep({ subject: { format: 'email', email: ['alice', 'bob', 'nobody'][i % 3] } })
  await untilTrue(t, () => transmitter.waiting.size === 0)
  await sleep(0)
  t.equal(transmitter.acknowledged.length, 40)
  t.equal(events.length, 40)
  t.equal(told.length, 2)
  t.strictSame([...sessions.list({ subject: 'alice', limit: 5 }), ...sessions.list({ subject: 'bob', limit: 5 })], [])
})

t.test('without a log nothing is logged, whatever happens', async t => {
  const ignored = securityEventToken(acme, { claims: { jti: 'ignored', events: { 'https://example.com/event': {} } } })
  const good = securityEventToken(acme, { claims: { jti: 'good' } })
  const { poller, asked, until } = await start(t, [sets({ ignored, good, rubbish: 'rubbish' }), never], {
    log: undefined, onEvent: async () => { throw new Error('down') }, end: { alsoEnd: async () => { throw new Error('down') } }
  })
  poller.start()
  await until(() => asked.length === 2)
  t.strictSame(asked[1]?.body.ack, ['ignored'])
})
