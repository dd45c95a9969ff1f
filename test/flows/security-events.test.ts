import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { securityEvents, type SecurityEventsOptions } from '../../lib/flows/security-events.ts'
import type { SecurityEventStream } from '../../lib/internal/security-events/streams.ts'
import { eventHost } from '../event-host.ts'
import { acme, securityEventToken, seconds, sessionRevoked, umbrella, type TokenChanges } from '../event-senders.ts'
import { assertMisuse, type WrongOptions } from '../misuse.ts'
import { jwksPath, startIssuer } from '../servers/issuer.ts'
import { wire, type Answer } from '../wire.ts'

const accepted: Answer = { status: 202, headers: { 'cache-control': 'no-store', 'content-length': '0' }, body: '' }
const json = { 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' }

function refused (err: string, description: string, status = 400, headers: object = {}): Answer {
  const body = JSON.stringify({ err, description })
  return { status, headers: { ...headers, 'content-language': 'en', ...json, 'content-length': String(body.length) }, body }
}

function failed (status: number, error: string, headers: object = {}): Answer {
  const body = JSON.stringify({ error })
  return { status, headers: { ...headers, ...json, 'content-length': String(body.length) }, body }
}

const outage = failed(503, 'temporarily_unavailable', { 'retry-after': '5' })
const unauthorized = refused('authentication_failed', 'authorization', 401, { 'www-authenticate': 'Bearer' })
const invalid = (description: string) => refused('invalid_request', description)

const stream: SecurityEventStream = { issuer: acme.issuer, audience: acme.audience, key: acme.publicKey, tenant: 'acme', streamId: 's1' }
const otherStream: SecurityEventStream = { issuer: umbrella.issuer, audience: umbrella.audience, key: umbrella.publicKey }
const base = 'https://schemas.openid.net/secevent/'
const verification = `${base}ssf/event-type/verification`
const fail = async (): Promise<never> => { throw new Error('a secret of the database') }
const hang = async (): Promise<never> => new Promise<never>(() => {})
const everyone = ['1', '2', '3']

type World = Awaited<ReturnType<typeof eventHost>>

async function start (
  t: Test, changes: Partial<SecurityEventsOptions> = {}, streamChanges: Partial<SecurityEventStream> = {}, given?: World
) {
  const world = given ?? await eventHost()
  const logs: string[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { logs.push(line) } } } })
  t.teardown(() => app.close())
  const { inject } = wire(app)
  await app.register(securityEvents, {
    ...world.options, streams: [{ ...stream, ...streamChanges }, otherStream], ...changes, end: { ...world.options.end, ...changes.end }
  })
  const push = (payload: string, headers: Record<string, string> = {}) => inject({
    method: 'POST', url: '/security-events', headers: { 'content-type': 'application/secevent+jwt', ...headers }, payload
  })
  const send = (changes: TokenChanges = {}) => push(securityEventToken(acme, changes))
  const sendEvent = (type: string, event: object = {}, claims: object = {}) => send({ claims: { events: { [type]: event }, ...claims } })
  const logged = (name: string) => logs.map(line => JSON.parse(line)).filter(({ event }) => event === name)
  return { ...world, app, inject, push, send, sendEvent, logs, logged }
}

const all = (subject: string) => everyone.map(name => `${subject}-${name}`)

t.test('P1: a 202 comes after everything of the user has ended, in this order', async t => {
  const { send, steps, live, told, events, subjects } = await start(t)
  t.same(await send({ claims: { jti: 'j1' } }), accepted)
  t.strictSame(steps, ['resolve iss_sub', 'mark alice', 'also end alice', 'sessions of alice'])
  t.strictSame(subjects, [{ format: 'iss_sub', iss: acme.issuer, sub: 'alice' }, { issuer: acme.issuer, tenant: 'acme', streamId: 's1' }])
  t.strictSame(await live('alice'), [])
  t.strictSame(await live('bob'), all('bob'))
  t.strictSame(told, [{ scope: 'all', subject: 'alice', count: 3 }])
  t.match(events, [{
    type: sessionRevoked,
    event: { initiating_entity: 'policy' },
    subject: { format: 'iss_sub', sub: 'alice' },
    users: [{ subject: 'alice' }],
    issuer: acme.issuer,
    jti: 'j1',
    at: Number,
    action: 'log-out',
    sessions: undefined
  }])
  t.same(await send({ claims: { sub_id: { format: 'email', email: 'bob' } } }), accepted)
  t.strictSame(await live('bob'), [])
})

t.test('P2, D3: a repeat has no effect, and of 50 equal events at once one is reported', async t => {
  const { push, told, events, live, addSession } = await start(t)
  const token = securityEventToken(acme)
  for (const answer of await Promise.all(Array.from({ length: 50 }, () => push(token)))) t.same(answer, accepted)
  t.equal(told.length, 1)
  await addSession('alice', 'new')
  const before = events.length
  t.same(await push(token), accepted)
  t.strictSame(await live('alice'), ['alice-new'])
  t.equal(events.length, before, 'the host is not told of a repeat')
})

t.test('P3: an event of somebody whom the host does not know, or does not log out, is accepted', async t => {
  const { send, steps, events, told } = await start(t)
  for (const email of ['nobody', 'forbidden', 'unable']) {
    t.same(await send({ claims: { sub_id: { format: 'email', email } } }), accepted,
      email)
  }
  t.strictSame(steps, ['resolve email', 'resolve email', 'resolve email'])
  t.equal(told.length, 0)
  t.match(events, [{ users: [], action: 'log-out' }, { users: [] }, { users: [] }])
})

t.test('aliases are resolved one by one, and each user ends once', async t => {
  const { send, told } = await start(t)
  const identifiers = ['alice', 'nobody', 'bob', 'alice', 'forbidden'].map(id => ({ format: 'opaque', id }))
  t.same(await send({ claims: { sub_id: { format: 'aliases', identifiers } } }), accepted)
  t.strictSame(told.map(event => 'subject' in event && event.subject), ['alice', 'bob'])
})

t.test('events log out or are ignored by their type, and the host may choose otherwise', async t => {
  const loggingOut = [
    sessionRevoked, ...['sessions-revoked', 'account-disabled', 'account-purged'].map(name => `${base}risc/event-type/${name}`),
    `${base}oauth/event-type/tokens-revoked`
  ]
  const ignored = [
    `${base}risc/event-type/credential-compromise`, `${base}risc/event-type/account-credential-change-required`,
    `${base}caep/event-type/token-claims-change`, `${base}oauth/event-type/token-revoked`, 'https://example.com/constructor', '__proto__',
    'constructor'
  ]
  for (const type of loggingOut) {
    const { sendEvent, live, events } = await start(t)
    t.same(await sendEvent(type), accepted, type)
    t.strictSame(await live('alice'), [])
    t.match(events, [{ action: 'log-out', type }])
  }
  const { send, live, events, steps, logged } = await start(t)
  for (const type of ignored) t.same(await send({ claims: { events: Object.fromEntries([[type, {}]]) } }), accepted, `P4: ${type}`)
  t.strictSame(await live('alice'), all('alice'))
  t.strictSame(events.map(({ action, type }) => `${action} ${type}`), ignored.map(type => `ignore ${type}`))
  t.strictSame(steps, [], 'nobody is asked')
  t.match(logged('security-event.ignored')[0], { level: 30, sender: acme.issuer, type: ignored[0], jti: String })

  const chosen = await start(t, {
    events: { actions: { [sessionRevoked]: 'ignore', [String(ignored[0])]: 'log-out', [verification]: 'log-out' } }
  })
  t.same(await chosen.sendEvent(sessionRevoked), accepted)
  t.same(await chosen.sendEvent(verification, {}, { sub_id: { format: 'opaque', id: 's1' } }), accepted,
    'an event about the stream logs nobody out')
  t.strictSame(await chosen.live('alice'), all('alice'))
  t.same(await chosen.sendEvent(String(ignored[0])), accepted)
  t.strictSame(await chosen.live('alice'), [])
  t.strictSame(chosen.events.map(({ action }) => action), ['ignore', 'ignore', 'log-out'])
})

t.test('credential-change is for the host, with each change that is standard', async t => {
  const { sendEvent, events, live } = await start(t)
  const type = `${base}caep/event-type/credential-change`
  for (const change of ['create', 'revoke', 'update', 'delete']) {
    t.same(await sendEvent(type, { change_type: change, credential_type: 'password' }), accepted, change)
  }
  for (const change of [undefined, 'rotate', 5]) t.same(await sendEvent(type, { change_type: change }), invalid('change_type'))
  t.strictSame(events.map(({ event }) => event['change_type']), ['create', 'revoke', 'update', 'delete'])
  t.strictSame(await live('alice'), all('alice'))
})

t.test('P5, P6: what is not a security event token is refused', async t => {
  const { push, steps } = await start(t)
  const token = securityEventToken(acme)
  for (const type of ['application/json', 'text/plain', 'application/jwt', 'rubbish', 'application/secevent+json']) {
    t.same(await push(token, { 'content-type': type }), invalid('media type'), type)
  }
  for (const type of ['application/secevent+jwt; charset=utf-8', 'Application/SecEvent+JWT']) {
    t.same(await push(token,
      { 'content-type': type }), accepted)
  }
  const parts = token.split('.')
  for (const rubbish of ['', 'x', 'a.b', parts.slice(0, 2).join('.'), `${token}.x`, `${token}.x.y`, `{"a":1}.${parts[1]}.x`,
    `${parts[0]}.eyJ.x`, ` ${token}`,
    securityEventToken(acme, { claims: { long: 'x'.repeat(16_384) } }), securityEventToken(acme, { header: { crit: ['x'] } })]) {
    t.same(await push(rubbish), invalid('not a SET'), rubbish.slice(0, 20))
  }
  t.same(await push('x'.repeat(65_537)), failed(413, 'payload_too_large'))
  t.equal(steps.length, 4)
})

t.test('P7 to P15, P19: each token that is wrong is refused, and has no effect', async t => {
  const { send, steps, events, logged } = await start(t)
  const now = seconds()
  const one = { [sessionRevoked]: {} }
  const claim = (description: string, name: string, values: readonly unknown[]) =>
    values.map(value => [invalid(description), { claims: { [name]: value } }, `${name} ${JSON.stringify(value)}`] as const)
  const rows: ReadonlyArray<readonly [Answer, TokenChanges, string]> = [
    ...['JWT', 'logout+jwt', 'at+jwt', 'global-token-revocation+jwt', undefined,
      5].map(typ => [invalid('typ'), { header: { typ } }, `typ ${typ}`] as const),
    [refused('invalid_issuer', 'issuer'), { claims: { iss: `${acme.issuer}/` } }, 'P10'],
    [refused('invalid_issuer', 'issuer'), { claims: { iss: undefined } }, 'P10: no issuer'],
    [refused('invalid_key', 'algorithm'), { algorithm: 'RS384' }, 'P8: not pinned'],
    [refused('invalid_key', 'algorithm'), { header: { alg: 'none' } }, 'P8: none'],
    [refused('invalid_key', 'algorithm'), { algorithm: 'HS256', key: Buffer.from(acme.publicKey) }, 'P8: the public key as a secret'],
    [refused('authentication_failed', 'signature'), { key: umbrella.privateKey }, 'P9, D4: the key of another stream'],
    ...[`${acme.audience}/`, [], ['others'], undefined, null, 5, [acme.audience, 5], umbrella.audience]
      .map(aud => [refused('invalid_audience', 'audience'), { claims: { aud } }, `P11: ${JSON.stringify(aud)}`] as const),
    ...claim('jti', 'jti', [undefined, '', 5, null, 'x'.repeat(1025)]),
    ...claim('iat', 'iat', [undefined, null, '5', now + 65]),
    ...claim('exp', 'exp', [now + 300, null]),
    ...claim('sub', 'sub', ['alice', null]),
    ...claim('sub_id', 'sub_id', [undefined, null, 'alice', [], {}, { format: '' }, { format: 'email' }, { format: 'iss_sub', iss: 'a' },
      { format: 'x' },
      { format: 'unknown' }, { format: 'ip-addresses' }, { format: 'ip-addresses', 'ip-addresses': [5] }, { format: 'jwt_id', iss: 'a' },
      { format: 'saml_assertion_id', issuer: 'a' }, { format: 'aliases', identifiers: [] }, { format: 'complex', user: {} },
      { format: 'complex', user: { format: 'email' } }]),
    ...claim('events', 'events', [undefined, null, 'x', [], {}, [one], { ...one, other: {} }, { [sessionRevoked]: null },
      { [sessionRevoked]: 'x' }, { [sessionRevoked]: [] }])
  ]
  for (const [answer, changes, what] of rows) t.same(await send(changes), answer, what)
  t.strictSame([...steps, ...events], [])
  t.match(logged('security-event.refused')[0], { level: 40, sender: 'unknown', code: 'invalid_request', description: 'typ' })
  t.match(logged('security-event.refused').find(({ code }) => code === 'invalid_audience'), { sender: acme.issuer })
})

t.test('P7, P11, P12, P14: what differs within the rules is accepted', async t => {
  const { send } = await start(t)
  for (const changes of [
    { header: { typ: 'SecEvent+JWT' } }, { header: { typ: 'application/secevent+jwt' } }, { header: { kid: undefined } },
    { claims: { aud: ['others', acme.audience] } }, { claims: { iat: seconds() + 55 } }, { claims: { iat: 1_500_000_000 } },
    { claims: { iat: -1e300 } },
    { claims: { txn: '1', others: {} } }, { claims: { jti: 'x'.repeat(1024) } },
    { claims: { sub_id: { format: 'x', a: 1 }, events: { 'https://example.com/ignored': {} } } }
  ]) t.same(await send(changes), accepted, JSON.stringify(changes))
})

t.test('P8, P20: keys of a key set; one that cannot be reached is a 503, and the repeat finishes', async t => {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  issuer.addKey('k1', 'RS256')
  const { push, live } = await start(t,
    { timeout: 300, streams: [{ issuer: issuer.url, audience: 'us', jwksUri: `${issuer.url}${jwksPath}` }] })
  const claims = {
    iss: issuer.url,
    aud: 'us',
    jti: '1',
    iat: seconds(),
    sub_id: { format: 'email', email: 'alice' },
    events: { [sessionRevoked]: {} }
  }
  const token = issuer.sign('k1', claims, { typ: 'secevent+jwt' }, 'RS256')
  issuer.odd.set(jwksPath, response => { response.writeHead(500).end() })
  t.same(await push(token), outage)
  t.strictSame(await live('alice'), all('alice'))
  issuer.odd.clear()
  await sleep(1010)
  t.same(await push(token), accepted)
  t.strictSame(await live('alice'), [])
  issuer.addKey('k2', 'RS256')
  t.same(await push(issuer.sign('k2', { ...claims, jti: '2' }, { typ: 'secevent+jwt' }, 'RS256')), accepted, 'a new key')
  t.same(await push(securityEventToken(acme, { claims, header: { kid: 'k3' } })), refused('invalid_key', 'key'))
})

t.test('P16, P32: an event ends what existed when it happened', async t => {
  const at = async (event: object, iat = seconds()) => {
    const { sendEvent, events } = await start(t)
    t.same(await sendEvent(sessionRevoked, event, { iat }), accepted)
    return events[0]?.at
  }
  const now = seconds()
  t.equal(await at({ event_timestamp: now - 1000 }), (now - 1000) * 1000)
  t.equal(await at({ event_timestamp: (now - 1000) * 1000 }), (now - 1000) * 1000, 'milliseconds')
  t.equal(await at({ event_timestamp: now - 1000.5 }), (now - 1000) * 1000 - 500)
  t.equal(await at({}, now - 2000), (now - 2000) * 1000, 'otherwise iat')
  t.equal(await at({ event_timestamp: -1e300 }), 0)
  for (const later of [{ event_timestamp: now + 1000 },
    { event_timestamp: 1e300 }]) t.ok(Math.abs(Number(await at(later)) - Date.now()) < 5000, 'never later than now')
  const { sendEvent } = await start(t)
  for (const wrong of [null, '5', [], {}]) t.same(await sendEvent(sessionRevoked, { event_timestamp: wrong }), invalid('event_timestamp'))
})

t.test('P31: a late event does not end a newer login', async t => {
  const { sendEvent, live, addSession, told, steps, revocations } = await start(t)
  const now = Date.now()
  await addSession('alice', 'old', now - 300_000)
  await addSession('alice', 'at-the-event', now - 120_000)
  t.same(await sendEvent(sessionRevoked, { event_timestamp: now - 120_000 }), accepted)
  t.strictSame(await live('alice'), all('alice'))
  t.strictSame(steps.slice(3).sort(), ['session alice-at-the-event', 'session alice-old'])
  t.strictSame(told, [{ scope: 'all', subject: 'alice', count: 2 }])
  t.equal(revocations.check({ subject: 'alice', issuedAt: now - 110_000 }), 'live')
  t.equal(revocations.check({ subject: 'alice', issuedAt: now - 130_000 }), 'revoked')

  const recent = await start(t)
  t.same(await recent.sendEvent(sessionRevoked, { event_timestamp: Date.now() - 50_000 }), accepted)
  t.strictSame(await recent.live('alice'), [], 'clocks differ: within a minute everything ends')
})

t.test('a late event reads pages of sessions, and ends all of them beyond a thousand', async t => {
  const event = { event_timestamp: seconds() - 300 }
  for (const [count, isAll] of [[250, false], [997, false], [998, true]] as const) {
    const { sendEvent, live, addSession, steps, sessions } = await start(t)
    for (let i = 0; i < count; i++) await addSession('alice', `old-${i}`, Date.now() - 600_000)
    t.same(await sendEvent(sessionRevoked, event), accepted)
    t.strictSame(await live('alice'), isAll ? [] : all('alice'), `${count} old sessions`)
    t.equal(steps.includes('sessions of alice'), isAll)
    t.equal((await sessions.list({ subject: 'bob', limit: 10 })).length, 3)
  }
})

t.test('P17, P18: a stream with an authorization must send it, and each its own', async t => {
  const streams = [{ ...stream, authorization: 'Bearer a' }, { ...otherStream, authorization: 'Bearer b' }]
  const { push, app, logged } = await start(t, { streams })
  const token = securityEventToken(acme)
  t.same(await push(token, { authorization: 'Bearer a' }), accepted)
  for (const authorization of ['Bearer x', 'bearer a', '', 'Bearer a ']) {
    t.same(await push(token, { authorization }), unauthorized,
      authorization)
  }
  t.same(await push(token), unauthorized)
  t.same(await push(token, { authorization: 'Bearer b' }), unauthorized, 'P18')
  t.same(await push('x'.repeat(70_000), { authorization: 'Bearer x' }), unauthorized, 'the body is not read')
  t.same(await push('rubbish', { authorization: 'Bearer b' }), invalid('not a SET'))
  t.match(logged('security-event.refused')[0], { code: 'authentication_failed', description: 'authorization' })
  await app.close()

  const mixed = await start(t, { streams: [{ ...stream, authorization: 'Bearer a' }, otherStream] })
  t.same(await mixed.push(token), unauthorized)
  t.same(await mixed.push(securityEventToken(umbrella)), accepted, 'this stream has none')
  t.same(await mixed.push('x'.repeat(70_000)), failed(413, 'payload_too_large'))
})

t.test('P20, D1: a step that fails or is late is a 503, and the repeat finishes', async t => {
  const broken = (step: () => Promise<never>): Readonly<Record<string, Partial<SecurityEventsOptions>>> => ({
    resolveSubject: { resolveSubject: step },
    revoke: { end: { revoke: { revocations: { revoke: step }, lifetime: 1000 } } },
    alsoEnd: { end: { alsoEnd: step } },
    logOutSubject: { end: { sessions: { logOutSubject: step, list: () => [], logOutById: () => undefined } } },
    check: { revocations: { check: step, revoke: () => true } },
    remember: { revocations: { check: () => 'live', revoke: step } }
  })
  for (const [way, step] of [['fails', fail], ['is late', hang]] as const) {
    for (const [name, changes] of Object.entries(broken(step))) {
      const { send, told, events, logged } = await start(t, { ...changes, timeout: 30 })
      t.same(await send(), outage, `${name} ${way}`)
      t.equal(told.length, name === 'remember' ? 1 : 0, 'what ended is told: a repeat sees no edge any more')
      t.equal(events.length, 0)
      t.equal(logged('logout.outage').length, 1)
    }
  }
  let isDown = true
  const { push, live, told, events } = await start(t, { end: { alsoEnd: async () => { if (isDown) throw new Error('down') } } })
  const token = securityEventToken(acme)
  t.same(await push(token), outage)
  t.strictSame(await live('alice'), all('alice'))
  isDown = false
  t.same(await push(token), accepted)
  t.strictSame(await live('alice'), [])
  t.same([told.length, events.length], [1, 1])
})

t.test('a late event whose sessions cannot all be ended is a 503, and each end is told once', async t => {
  const event = { event_timestamp: seconds() - 300 }
  const world = await eventHost()
  let isDown = true
  const { sendEvent, told } = await start(t, {
    end: {
      sessions: {
        ...world.sessions,
        logOutById: async query => {
          if (isDown && query.id === 'alice-b') throw new Error('down')
          return world.sessions.logOutById(query)
        }
      }
    }
  })
  for (const name of ['a', 'b', 'c']) await world.addSession('alice', name, Date.now() - 600_000)
  t.same(await sendEvent(sessionRevoked, event, { jti: 'j' }), outage)
  isDown = false
  t.same(await sendEvent(sessionRevoked, event, { jti: 'j' }), accepted)
  t.strictSame(told.map(event => 'count' in event && event.count), [2, 1])
  t.strictSame(await world.live('alice'), all('alice'))
})

t.test('a late event does not report sessions that ended in the meantime', async t => {
  const world = await eventHost()
  for (const name of ['a', 'b']) await world.addSession('alice', name, Date.now() - 600_000)
  const { sendEvent, told } = await start(t, {
    end: {
      sessions: {
        ...world.sessions,
        logOutById: async query => {
          if (query.id === 'alice-b') return undefined
          await world.sessions.logOutById(query)
          return world.sessions.logOutById(query)
        }
      }
    }
  })
  t.same(await sendEvent(sessionRevoked, { event_timestamp: seconds() - 300 }), accepted)
  t.strictSame(told, [])
})

t.test('sessions of a late event that end after the timeout are told of once', async t => {
  const world = await eventHost()
  const waiting: Array<() => void> = []
  const { sendEvent, told } = await start(t, {
    timeout: 40,
    end: {
      sessions: {
        ...world.sessions,
        logOutById: async query => {
          const before = await world.sessions.logOutById(query)
          await new Promise<void>(resolve => { waiting.push(resolve) })
          return before
        }
      }
    }
  })
  await world.addSession('alice', 'a', Date.now() - 600_000)
  t.same(await sendEvent(sessionRevoked, { event_timestamp: seconds() - 300 }), outage)
  t.strictSame(told, [])
  for (const release of waiting) release()
  await sleep(10)
  t.strictSame(told, [{ scope: 'all', subject: 'alice', count: 1 }])
})

t.test('P21: a host that fails in onEvent or onLogout changes nothing', async t => {
  const { send, logged, live } = await start(t, { onEvent: fail, onLogout: fail })
  t.same(await send(), accepted)
  t.strictSame(await live('alice'), [])
  t.equal(logged('logout.hook-failed').length, 2)
  const silent = await start(t, { onEvent: undefined, onLogout: undefined })
  t.same(await silent.send(), accepted)
})

const ofStream = { sub_id: { format: 'opaque', id: 's1' } }

t.test('P22 to P24: verifications', async t => {
  const expected: string[] = []
  const { sendEvent, events, steps } = await start(t, {}, {
    isExpectedState: async state => {
      expected.push(state)
      if (state === 'down') throw new Error('down')
      return state === 'ours' ? true : 1 as unknown as boolean
    }
  })
  t.same(await sendEvent(verification, {}, ofStream), accepted)
  t.same(await sendEvent(verification, { state: 'ours' }, ofStream), accepted)
  t.same(await sendEvent(verification, { state: 'another' }, ofStream), refused('invalid_state', 'state'))
  t.same(await sendEvent(verification, { state: 5 }, ofStream), refused('invalid_state', 'state'))
  t.same(await sendEvent(verification, { state: 'down' }, ofStream), outage)
  t.strictSame(expected, ['ours', 'another', 'down'])
  t.strictSame(events.map(({ type, action }) => [type, action]), [[verification, 'ignore'], [verification, 'ignore']])
  for (const subject of [{ format: 'opaque', id: 's2' }, { format: 'email', email: 's1' }, { format: 'x' }]) {
    t.same(await sendEvent(verification, {}, { sub_id: subject }), invalid('stream'), 'P24')
  }
  t.strictSame(steps, [])
  const plain = await start(t, {}, { streamId: undefined })
  t.same(await plain.sendEvent(verification, { state: 'ours' }, ofStream), refused('invalid_state', 'state'), 'no state is expected')
  t.same(await plain.sendEvent(verification, {}, { sub_id: { format: 'opaque', id: 'any' } }), accepted, 'no id is known')
})

t.test('P25: a stream that was stopped is a warning', async t => {
  const { sendEvent, events, logged } = await start(t)
  for (const status of ['enabled', 'paused', 'disabled']) {
    t.same(await sendEvent(`${base}ssf/event-type/stream-updated`, { status },
      ofStream), accepted)
  }
  t.strictSame(events.map(({ action, users }) => [action, users]), [['ignore', []], ['ignore', []], ['ignore', []]])
  t.strictSame(logged('security-event.stream-updated').map(({ status, level }) => [status, level]), [['paused', 40], ['disabled', 40]])
  t.strictSame(logged('security-event.ignored'), [])
})

async function withIndex (t: Test) {
  const world = await eventHost()
  const { index } = world
  const started = await start(t, { end: { index, sessionLifetime: 3_600_000 } }, {}, world)
  const bind = (sid: string, sessionId: string, issuer = acme.issuer) => {
    const [subject = ''] = sessionId.split('-')
    index.bind({ issuer, subject, sid, issuedAt: Date.now() - 10_000 }, { sessionId, subject }, Date.now() + 60_000)
  }
  bind('sid-1', 'alice-1')
  bind('sid-2', 'alice-2')
  bind('sid-b', 'bob-1')
  bind('sid-f', 'bob-2', umbrella.issuer)
  return { ...started, bind }
}

const complex = (members: object) => ({ sub_id: { format: 'complex', ...members } })
const opaque = (id: string) => ({ format: 'opaque', id })

t.test('P26: an event about a session that the index knows ends that session alone', async t => {
  for (const session of [opaque('sid-1'), { format: 'iss_sub', iss: acme.issuer, sub: 'sid-1' }]) {
    const { sendEvent, live, told, events, steps } = await withIndex(t)
    t.same(await sendEvent(sessionRevoked, {}, complex({ session })), accepted)
    t.strictSame(await live('alice'), ['alice-2', 'alice-3'])
    t.match(told, [{ scope: 'session', session: { id: 'alice-1', subject: 'alice', status: 'active' } }])
    t.match(events, [{ users: [{ subject: 'alice' }], sessions: [{ sessionId: 'alice-1', subject: 'alice' }] }])
    t.strictSame(steps, ['also end alice by session', 'session alice-1'], 'no mark is made of the user')
  }
})

t.test('P26: a session that has ended already, or that the store does not know, is not told of', async t => {
  const { sendEvent, told, bind, events } = await withIndex(t)
  bind('sid-1', 'alice-gone')
  const about = complex({ session: opaque('sid-1') })
  t.same(await sendEvent(sessionRevoked, {}, about), accepted)
  t.same(await sendEvent(sessionRevoked, {}, about), accepted)
  t.equal(told.length, 1)
  t.strictSame(events.map(({ sessions }) => sessions?.length), [2, 2], 'the index resolves them each time')
})

t.test('P26: a session of another issuer, or of another user than the one named, is left alone', async t => {
  const { sendEvent, live, told, events, index } = await withIndex(t)
  const user = (sub: string) => ({ format: 'iss_sub', iss: acme.issuer, sub })
  for (const subject of [
    { session: { format: 'iss_sub', iss: umbrella.issuer, sub: 'sid-f' } }, { session: opaque('sid-f') },
    { session: { format: 'iss_sub', iss: umbrella.issuer, sub: 'sid-1' } },
    { session: opaque('sid-1'), user: user('bob') },
    { session: opaque('sid-1'), user: user('nobody') }, { session: opaque('unknown') }, { session: opaque('unknown'), user: user('alice') }
  ]) t.same(await sendEvent(sessionRevoked, {}, complex(subject)), accepted, JSON.stringify(subject))
  t.strictSame([...await live('alice'), ...await live('bob')], [...all('alice'), ...all('bob')])
  t.equal(told.length, 0)
  t.ok(events.every(({ users }) => users.length === 0))
  t.same(await sendEvent(sessionRevoked, {}, complex({ session: opaque('sid-1'), user: user('alice') })), accepted)
  t.strictSame(await live('alice'), ['alice-2', 'alice-3'], 'a user who agrees')

  t.same(await sendEvent(sessionRevoked, {}, complex({ session: opaque('sid-n'), user: user('nobody') })), accepted)
  const login = { issuer: acme.issuer, subject: 'alice', sid: 'sid-n', issuedAt: Date.now() - 5000 }
  t.equal(index.bind(login, { sessionId: 'x', subject: 'alice' }, Date.now() + 60_000), 'live', 'the index is not asked about nobody')
})

t.test('P26, C3: an event that arrives before the login is bound revokes it', async t => {
  const { sendEvent, index } = await withIndex(t)
  t.same(await sendEvent(sessionRevoked, {}, complex({ session: opaque('early') })), accepted)
  const login = { issuer: acme.issuer, subject: 'alice', sid: 'early' }
  const session = { sessionId: 'x', subject: 'alice' }
  t.equal(index.bind({ ...login, issuedAt: Date.now() - 5000 }, session, Date.now() + 60_000), 'revoked')
  t.equal(index.bind({ ...login, issuedAt: Date.now() + 5000 }, session, Date.now() + 60_000), 'live', 'and no newer one')
})

t.test('P27: the id of a simple subject is that of a session first, then that of a user', async t => {
  const { sendEvent, live, steps } = await withIndex(t)
  t.same(await sendEvent(sessionRevoked, {}, { sub_id: opaque('sid-2') }), accepted)
  t.strictSame(await live('alice'), ['alice-1', 'alice-3'])
  t.same(await sendEvent(sessionRevoked, {}, { sub_id: opaque('bob') }), accepted)
  t.strictSame(await live('bob'), [])
  t.strictSame(steps.slice(2), ['resolve opaque', 'mark bob', 'also end bob', 'sessions of bob'])
  const disabled = `${base}risc/event-type/account-disabled`
  t.same(await sendEvent(disabled, {}, complex({ user: { format: 'email', email: 'alice' }, session: opaque('sid-1') })), accepted)
  t.strictSame(await live('alice'), [], 'the event of an account ends everything of its user')
})

t.test('P28, P30: unknown members widen an event to everything of the user, and a whole tenant is the host\'s to resolve', async t => {
  const members = {
    device: { format: 'x', serial: 1 },
    session: { format: 'jwt_id', iss: 'a', jti: 'b' },
    more: 5,
    group: { format: 'email', email: 'g' }
  }
  for (const started of [await start(t), await withIndex(t)]) {
    const { sendEvent, live, subjects } = started
    t.same(await sendEvent(sessionRevoked, {}, complex({ user: { format: 'email', email: 'alice', more: 1 }, ...members })), accepted)
    t.strictSame(await live('alice'), [])
    if (subjects.length > 0) {
      t.strictSame(subjects[0], {
        format: 'complex',
        user: { format: 'email', email: 'alice' },
        device: { format: 'unknown', members: { format: 'x', serial: 1 } },
        session: { format: 'jwt_id', iss: 'a', jti: 'b' },
        more: 5,
        group: { format: 'email', email: 'g' }
      })
    }
    t.same(await sendEvent(sessionRevoked, {}, complex({ tenant: opaque('acme') })), accepted, 'P30')
    t.strictSame(await live('bob'), all('bob'))
  }
  const tenant = await start(t,
    {
      resolveSubject: subject => subject.format === 'complex' && subject.tenant !== undefined
        ? [{ subject: 'alice' },
            { subject: 'bob' }]
        : []
    })
  t.same(await tenant.sendEvent(sessionRevoked, {}, complex({ tenant: opaque('acme') })), accepted)
  t.strictSame([...await tenant.live('alice'), ...await tenant.live('bob')], [])
})

t.test('P29: an event with a critical member that is not understood is discarded', async t => {
  const { sendEvent, live, events, logged } = await start(t, {}, { criticalMembers: ['device', 'user', 'session', 'tenant'] })
  const user = { format: 'email', email: 'alice' }
  t.same(await sendEvent(sessionRevoked, {}, complex({ user, device: opaque('d') })), accepted)
  t.strictSame(await live('alice'), all('alice'))
  t.strictSame(events, [])
  t.match(logged('security-event.discarded'), [{ level: 40, sender: acme.issuer, type: sessionRevoked }])
  t.same(await sendEvent(sessionRevoked, {}, complex({ user, session: opaque('s'), tenant: opaque('t') })), accepted)
  t.strictSame(await live('alice'), [])
})

t.test('P33: Google names the subject in the event', async t => {
  const google = { tolerate: ['risc-draft'] as const }
  const { sendEvent, subjects, events } = await start(t, {}, google)
  const draft = (subject: unknown, type = `${base}risc/event-type/sessions-revoked`) => sendEvent(type, { subject }, { sub_id: undefined })
  const byId = { format: 'iss_sub', iss: 'https://accounts.google.com', sub: 'alice' }
  for (const type of ['iss-sub', 'iss_sub', 'id_token_claims']) {
    t.same(await draft({ subject_type: type, iss: byId.iss, sub: byId.sub, email: 'a@b' }), accepted, type)
    t.strictSame(subjects.at(-2), byId)
  }
  for (const type of ['email', 'id_token_claims']) {
    t.same(await draft({ subject_type: type, iss: byId.iss, email: 'alice' }), accepted, type)
    t.strictSame(subjects.at(-2), { format: 'email', email: 'alice' })
  }
  for (const wrong of [undefined, null, 'alice', [], {}, { subject_type: 'oauth_token' }, { subject_type: 'email' },
    { subject_type: 'id_token_claims', sub: 5 },
    { subject_type: 'iss-sub', iss: 'a' }, { format: 'email', email: 'alice' }]) {
    t.same(await draft(wrong), invalid('sub_id'),
      JSON.stringify(wrong))
  }
  t.same(await draft({ subject_type: 'oauth_token', token: 'x' }, `${base}oauth/event-type/token-revoked`), accepted)
  t.match(events.at(-1), { action: 'ignore', subject: { format: 'unknown', members: { subject_type: 'oauth_token' } } })

  const old = `${base}risc/event-type/verification`
  t.same(await sendEvent(old, { state: 'x' }, { sub_id: undefined }), refused('invalid_state', 'state'))
  t.same(await sendEvent(old, {}, { sub_id: undefined }), accepted)
  t.same(await sendEvent(old, {}, { sub_id: opaque('s2') }), invalid('stream'))
  t.match(events.at(-1), { type: old, action: 'ignore', subject: undefined })
  const strict = await start(t)
  t.same(await strict.sendEvent(`${base}risc/event-type/sessions-revoked`, { subject: { subject_type: 'email', email: 'alice' } },
    { sub_id: undefined }), invalid('sub_id'))
})

t.test('P34: two streams with the same jti are kept apart', async t => {
  const { push, live } = await start(t)
  t.same(await push(securityEventToken(acme, { claims: { jti: '1' } })), accepted)
  t.same(await push(securityEventToken(umbrella, { claims: { jti: '1', sub_id: { format: 'email', email: 'bob' } } })), accepted)
  t.strictSame(await live('bob'), [])
  t.same(await push(securityEventToken(acme, { key: umbrella.privateKey })), refused('authentication_failed', 'signature'))
  t.same(await push(securityEventToken(umbrella, { key: acme.privateKey })), refused('authentication_failed', 'signature'))
})

t.test('two streams of one issuer are told apart by their audience', async t => {
  const second = { ...stream, audience: ['https://second.example'], tenant: 'second', streamId: undefined }
  const { send, subjects } = await start(t, { streams: [stream, second] })
  t.same(await send({ claims: { aud: 'https://second.example' } }), accepted)
  t.same(await send({ claims: { aud: acme.audience } }), accepted)
  t.match([subjects[1], subjects[3]], [{ tenant: 'second' }, { tenant: 'acme' }])
  t.same(await send({ claims: { aud: 'https://third.example' } }), refused('invalid_audience', 'audience'))
})

t.test('P35: other methods are the host\'s 404', async t => {
  const { inject } = await start(t)
  for (const method of ['GET', 'HEAD', 'PUT'] as const) t.equal((await inject({ method, url: '/security-events' })).status, 404, method)
})

t.test('P36: Okta\'s transmitter names the subject in the event, with or without a format', async t => {
  const { sendEvent, subjects, live } = await start(t, {}, { tolerate: ['event-subject'] })
  const byId = { format: 'iss_sub', iss: acme.issuer, sub: 'alice' }
  t.same(await sendEvent(sessionRevoked, { subject: byId }, { sub_id: undefined }), accepted)
  t.same(await sendEvent(sessionRevoked, { subject: { user: { ...byId, sub: 'bob' } } }, { sub_id: undefined }), accepted)
  t.strictSame([subjects[0], subjects[2]], [byId, { format: 'complex', user: { ...byId, sub: 'bob' } }])
  t.strictSame([...await live('alice'), ...await live('bob')], [])
  t.same(await sendEvent(sessionRevoked, { subject: byId }, { sub_id: { format: 'email' } }), invalid('sub_id'),
    'sub_id counts where it is given')
  for (const wrong of [undefined, null, 'alice', [byId], { format: 5 }]) {
    t.same(await sendEvent(sessionRevoked, { subject: wrong },
      { sub_id: undefined }), invalid('sub_id'))
  }
  const strict = await start(t)
  t.same(await strict.sendEvent(sessionRevoked, { subject: byId }, { sub_id: undefined }), invalid('sub_id'))
})

t.test('events are remembered as long as the host says', async t => {
  const { send, revocations } = await start(t, { events: { remember: 60_000 } })
  const untils: number[] = []
  revocations.onRevoked(mark => { if ('tokenId' in mark) untils.push(mark.until - Date.now()) })
  await send()
  t.equal(untils.length, 1)
  t.ok(untils.every(until => until > 55_000 && until <= 60_000))
})

t.test('without sessions the host is told each time, by marks and alsoEnd alone', async t => {
  const { send, told } = await start(t, { end: { sessions: undefined, alsoEnd: undefined } })
  await send()
  await send()
  t.strictSame(told, [{ scope: 'all', subject: 'alice' }, { scope: 'all', subject: 'alice' }])
})

t.test('no subject, token or credential is in the log, whatever happens', async t => {
  const { push, send, logs } = await start(t, {}, { authorization: 'Bearer hidden' })
  await push(securityEventToken(acme), { authorization: 'Bearer hidden' })
  await push(securityEventToken(acme, { claims: { aud: 'mallory' } }), { authorization: 'Bearer hidden' })
  await push(securityEventToken(acme), { authorization: 'Bearer wrong' })
  await send({ claims: { sub_id: 'carol' } })
  await push('eyJhbGciOi.carol.x')
  t.notMatch(logs.join(''), /alice|carol|mallory|eyJ|hidden|wrong/)
})

t.test('errors of the host\'s hooks keep their status, and the path can be another one', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject } = wire(app)
  app.addHook('onRequest', async ({ headers }) => {
    if (headers['x-refuse'] !== undefined) throw Object.assign(new Error('a secret'), { statusCode: Number(headers['x-refuse']) })
  })
  await app.register(securityEvents,
    { ...(await eventHost()).options, streams: [stream], route: { path: '/events', security: [{ transmitter: [] }] }, prefix: '/v1' })
  const post = (status: number) => inject({ method: 'POST', url: '/v1/events', headers: { 'x-refuse': String(status) } })
  t.same(await post(429), failed(429, 'too_many_requests'))
  t.same(await post(500), failed(500, 'server_error'))
  t.same(await inject({ method: 'POST', url: '/v1/events' }), invalid('media type'))
})

t.test('an answer of the host that is not a list of users is a 500', async t => {
  const { send, steps } = await start(t, { resolveSubject: () => 'alice' as never })
  t.same(await send(), failed(500, 'server_error'))
  t.strictSame(steps, [])
})

t.test('the limit of requests is off by default, and can be given', async t => {
  const open = await start(t)
  for (let i = 0; i < 3; i++) t.same(await open.send(), accepted)
  const limited = await start(t, { route: { rateLimit: { max: 1 } } })
  t.equal((await limited.send()).status, 202)
  t.match(await limited.send(), { status: 429, headers: { 'retry-after': String }, body: '{"error":"too_many_requests"}' })
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const { options } = await eventHost()
  const functions = [null, 'x', {}]
  const wrong: WrongOptions = {
    resolveSubject: [undefined, ...functions],
    revocations: [undefined, null, {}, { check: () => 'live' }, { revoke: () => true }],
    'end.sessions': [null, {}, { logOutSubject: () => 1 }, { logOutSubject: () => 1, list: () => [] }],
    end: [undefined, null, 'x', []],
    'end.revoke': [null, 'x'],
    'end.alsoEnd': functions,
    onLogout: functions,
    onEvent: functions,
    events: [null, 'x', []],
    'events.actions': [null, 'x', { [sessionRevoked]: 'logout' }, { [sessionRevoked]: undefined }],
    'events.remember': [0, -1, 'x'],
    'end.index': [null, {}, 'x'],
    path: ['/x'],
    rateLimit: [{}],
    security: [[]],
    sessions: [{}],
    revoke: [{}],
    alsoEnd: [() => {}],
    index: [{}],
    sessionLifetime: [1],
    actions: [{}],
    remember: [1],
    route: [null, 'x'],
    'route.path': ['', 'x', 5],
    timeout: [0, 'x'],
    streams: [undefined, [], 'x']
  }
  await assertMisuse(t, securityEvents, 'securityEvents', { ...options, streams: [stream] }, wrong)

  const misuse = (changes: object, message: string) => t.rejects(
    Promise.resolve(Fastify().register(securityEvents, { ...options, streams: [stream], ...changes })).catch((error: Error) => {
      throw Object.assign(error, { message: error.message.slice(0, message.length) })
    }), { name: 'TypeError', message })
  const streamMisuse: WrongOptions = {
    issuer: [undefined, '', 5],
    audience: [undefined, '', [], 5],
    algorithms: [[], ['none']],
    key: ['rubbish'],
    tenant: ['', 5],
    streamId: ['', 5],
    authorization: ['', 5],
    criticalMembers: ['user', null],
    isExpectedState: ['x', null],
    tolerate: ['risc-draft', ['subject']]
  }
  for (const [name, values] of Object.entries(streamMisuse)) {
    for (const value of values) {
      await misuse({ streams: [otherStream, { ...stream, [name]: value }] },
      `securityEvents: option "streams[1].${name}" must be`)
    }
  }
  await misuse({ streams: [null] }, 'securityEvents: option "streams[0]" must be an object')
  const { index } = await eventHost()
  await misuse({ end: { ...options.end, index, sessions: undefined } },
    'securityEvents: option "end.sessions" is missing: pass a session store, which "end.index" needs')
  await misuse({ end: { ...options.end, index } }, 'securityEvents: option "end.sessionLifetime" is missing')
  await misuse({ end: { ...options.end, index, sessionLifetime: 0 } }, 'securityEvents: option "end.sessionLifetime" must be')
  await misuse({ end: { sessions: undefined, revoke: undefined, alsoEnd: undefined } },
    'securityEvents: option "end" must have "sessions", "revoke" or "alsoEnd"')
  await misuse({ end: undefined }, 'securityEvents: option "end" is missing: pass { sessions }, { revoke } or { alsoEnd }')
})
