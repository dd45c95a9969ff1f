import Fastify from 'fastify'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { globalTokenRevocation } from '../../lib/flows/global-token-revocation.ts'
import { securityEvents } from '../../lib/flows/security-events.ts'
import type { LogoutEvent } from '../../lib/logout-event.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { securityEventPoller } from '../../lib/security-event-poller.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { acme, endpointUrl, revocationToken, securityEventToken } from '../event-senders.ts'

const stream = { issuer: acme.issuer, audience: acme.audience, key: acme.publicKey }

/** Users with a session each, in stores that fail at random, before or after they have done their work. */
function failingHost (failures: number) {
  const sessions = memorySessionStore()
  const revocations = memoryRevocationStore()
  const state = { failures }
  const told: LogoutEvent[] = []
  const flaky = <Values extends readonly unknown[],
    Result>(act: (...values: Values) => Result) => async (...values: Values): Promise<Result> => {
      if (Math.random() < state.failures) throw new Error('down')
      const result = act(...values)
      if (Math.random() < state.failures) throw new Error('down, but done')
      return result
    }
  const create = (subject: string) => {
    const now = Date.now()
    sessions.create(subject, { id: subject, subject, createdAt: now, expiresAt: now + 600_000, keepUntil: now + 600_000 })
  }
  const options = {
    revocations: { check: flaky(revocations.check), revoke: flaky(revocations.revoke) },
    resolveSubject: flaky(({ id }: { readonly id?: string }) => id === undefined ? [] : [{ subject: id }]),
    end: {
      revoke: { revocations: { revoke: flaky(revocations.revoke) }, lifetime: 600_000 },
      alsoEnd: flaky(() => {}),
      sessions: {
        list: flaky(sessions.list), logOutById: flaky(sessions.logOutById), logOutSubject: flaky(sessions.logOutSubject)
      }
    },
    onLogout: (event: LogoutEvent) => { told.push(event) }
  }
  const hasEnded = (subject: string) => sessions.list({ subject, limit: 1 }).length === 0 &&
    revocations.check({ subject, issuedAt: Date.now() - 60_000 }) === 'revoked'
  return { sessions, state, told, create, hasEnded, options: options as never as Parameters<typeof securityEvents>[1] }
}

t.test('D1: no request is answered with success before the stores said yes, and every repeat finishes', async t => {
  const { create, hasEnded, options, state, told } = failingHost(0.1)
  const app = Fastify()
  t.teardown(() => app.close())
  const { revocations, ...others } = options
  await app.register(globalTokenRevocation, {
    ...others,
    authenticate: { senders: [{ issuer: acme.issuer, clientId: acme.clientId, key: acme.publicKey }], endpointUrl, revocations },
    end: { ...others.end, revokeRefreshTokens: false }
  } as never)
  await app.register(securityEvents, { ...options, streams: [stream] })
  const statuses: Record<number, number> = {}
  const early: string[] = []
  for (let i = 0; i < 1000; i++) {
    const subject = `user-${i}`
    create(subject)
    const subId = { format: 'opaque', id: subject }
    const request = i % 2 === 0
      ? {
          url: '/global-token-revocation',
          headers: { authorization: `Bearer ${revocationToken(acme)}`, 'content-type': 'application/json' },
          payload: JSON.stringify({ sub_id: subId })
        }
      : {
          url: '/security-events',
          headers: { 'content-type': 'application/secevent+jwt' },
          payload: securityEventToken(acme, { claims: { sub_id: subId } })
        }
    let status = 503
    for (let attempt = 0; status === 503 && attempt < 200; attempt++) {
      status = (await app.inject({ method: 'POST', ...request })).statusCode
      statuses[status] = (statuses[status] ?? 0) + 1
      if (status !== 503 && !hasEnded(subject)) early.push(`${subject} ${status}`)
    }
  }
  t.strictSame(Object.keys(statuses), ['202', '204', '503'])
  t.strictSame([statuses[202], statuses[204]], [500, 500])
  t.ok(Number(statuses[503]) > 300, `${statuses[503]} outages`)
  t.strictSame(early, [])
  const subjects = told.map(event => 'subject' in event ? event.subject : '')
  t.equal(new Set(subjects).size, subjects.length, 'each end is told once at most')
  state.failures = 0
})

t.test('D7: with a store that is frozen, a call is given up after two seconds', async t => {
  const { options } = failingHost(0)
  const app = Fastify()
  t.teardown(() => app.close())
  const frozen = async () => new Promise<never>(() => {})
  await app.register(securityEvents,
    { ...options, streams: [stream], end: { sessions: { logOutSubject: frozen, list: frozen, logOutById: frozen } } })
  const before = performance.now()
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/security-events',
    headers: { 'content-type': 'application/secevent+jwt' },
    payload: securityEventToken(acme, { claims: { sub_id: { format: 'opaque', id: 'alice' } } })
  })
  t.equal(statusCode, 503)
  const took = performance.now() - before
  t.ok(took > 1900 && took < 4000, `after ${Math.round(took)} ms`)
})

t.test('D5: a transmitter that repeats, reorders, stalls and fails: each good event has its effect, and nothing else is acknowledged', {
  timeout: 240_000
}, async t => {
  const { create, hasEnded, options, told } = failingHost(0.05)
  const good = Array.from({ length: 60 }, (_, i) => `good-${i}`)
  const rubbish = Array.from({ length: 20 }, (_, i) => `rubbish-${i}`)
  const waiting = new Map<string, string>()
  for (const jti of good) {
    create(jti)
    waiting.set(jti, securityEventToken(acme, { claims: { jti, sub_id: { format: 'opaque', id: jti } } }))
  }
  for (const [i, jti] of rubbish.entries()) {
    waiting.set(jti, i % 2 === 0 ? `rubbish.${jti}` : securityEventToken(acme, { claims: { jti, aud: 'others' } }))
  }
  const acked: string[] = []
  const refused: string[] = []
  const early: string[] = []

  const answer = (response: ServerResponse, ack: string[], setErrs: object) => {
    for (const jti of ack) {
      if (!hasEnded(jti)) early.push(jti)
      if (waiting.delete(jti)) acked.push(jti)
    }
    for (const jti of Object.keys(setErrs)) if (waiting.delete(jti)) refused.push(jti)
    const oddity = Math.random()
    if (oddity < 0.1) return response.writeHead(500 + Math.floor(Math.random() * 4), { 'retry-after': '0' }).end('x')
    if (oddity < 0.15) return response.destroy()
    if (oddity < 0.2) return response.end('{"sets":')
    if (oddity < 0.25) return undefined // It never answers.
    const events = [...waiting].sort(() => Math.random() - 0.5).slice(0, 16)
    return response.end(JSON.stringify({ sets: Object.fromEntries(events), moreAvailable: Math.random() < 0.5 }))
  }
  const poller = securityEventPoller({
    ...options as object, stream: { ...stream, ...await startTransmitter(t, answer) }, timeout: 500
  } as never)
  t.teardown(() => poller.stop())
  poller.start()
  for (let waited = 0; waiting.size > 0 && waited < 2000; waited++) await sleep(100)
  await poller.stop()
  t.strictSame(acked.sort(), good.sort())
  t.strictSame(refused.sort(), rubbish.sort())
  t.strictSame(early, [], 'nothing is acknowledged before its effect')
  t.ok(good.every(hasEnded))
  t.equal(new Set(told.map(event => 'subject' in event && event.subject)).size, told.length, 'each end is told once at most')
})

async function startTransmitter (t: Test, answer: (response: ServerResponse, ack: string[], setErrs: object) => unknown) {
  const server = createServer((request, response) => {
    json(request).then(body => {
      const { ack = [], setErrs = {} } = body as { ack?: string[], setErrs?: object }
      answer(response, ack, setErrs)
    }, () => response.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, authorization: () => 'Bearer x' }
}
