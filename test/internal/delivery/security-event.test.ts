import { jwtVerify } from 'jose'
import { generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { LogoutClient, SecurityEventsClient } from '../../../lib/index.ts'
import { delivery, handOut, issuer, keys, startReceiver, type Receiver } from '../../delivery-host.ts'

const event = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
const user = ({ subject }: { readonly subject: string }) => ({ format: 'iss_sub', iss: issuer, sub: subject } as const)
const client = (receiver: Receiver, more: Partial<SecurityEventsClient> = {}): LogoutClient => ({
  kind: 'security-events', endpoint: receiver.url, audience: 'https://receiver.example', subject: user, ...more
})
const verify = (body = '') => jwtVerify(body, keys.publicKey, { issuer, audience: 'https://receiver.example' })

t.test('T1 the token is a security event token with one event, without sub and exp', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, client(receiver))
  const at = Date.now() - 5000
  t.equal(await attempt(delivery({ at })), 'done')
  const { payload, protectedHeader } = await verify(receiver.seen[0]?.body)
  t.strictSame(protectedHeader, { alg: 'RS256', kid: 'k1', typ: 'secevent+jwt' })
  const { jti, txn } = payload
  t.match([jti, txn], [/^[\w-]{43}$/, /^[\w-]{43}$/])
  t.strictSame(payload, {
    iss: issuer,
    aud: 'https://receiver.example',
    iat: Math.floor(at / 1000),
    jti,
    txn,
    sub_id: {
      format: 'complex', user: { format: 'iss_sub', iss: issuer, sub: 'alice' }, session: { format: 'opaque', id: 'phone' }
    },
    events: {
      [event]: {
        event_timestamp: Math.floor(at / 1000), initiating_entity: 'user', reason_admin: { en: 'The session was logged out.' }
      }
    }
  })
})

t.test('T1 txn is the same for all clients of a logout, jti for one alone; who ended the session can be said', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, client(receiver, { initiatingEntity: 'admin' }))
  const at = Date.now()
  for (const one of [delivery({ at }), delivery({ at, id: 'd2', clientId: 'mail' }), delivery({ at: at + 1, id: 'd3' })]) await attempt(one)
  const [first, second, third] = await Promise.all(receiver.seen.map(async ({ body }) => (await verify(body)).payload))
  t.equal(first?.['txn'], second?.['txn'])
  t.not(first?.['txn'], third?.['txn'])
  t.equal(new Set([first?.jti, second?.jti, third?.jti]).size, 3)
  t.match(first, { events: { [event]: { initiating_entity: 'admin' } } })
})

t.test('T1 a key of less than 2048 bits is refused', async t => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  await t.rejects(handOut(t, undefined, { sign: { privateKey, algorithm: 'RS256', keyId: 'k1' } }), { name: 'TypeError' })
})

t.test('T2 all sessions of a user: no session is named; a session whose user is unknown: no user', async t => {
  const receiver = await startReceiver(t)
  const given: unknown[] = []
  const { attempt } = await handOut(t, client(receiver, {
    subject: one => {
      given.push(one)
      return { format: 'email', email: 'alice@acme.example' }
    }
  }))
  await attempt(delivery({ sid: undefined, tenant: 'acme' }))
  await attempt(delivery({ subject: undefined }))
  const [all, session] = await Promise.all(receiver.seen.map(async ({ body }) => (await verify(body)).payload))
  t.strictSame(given, [{ subject: 'alice', tenant: 'acme' }])
  t.strictSame(all?.['sub_id'], { format: 'complex', user: { format: 'email', email: 'alice@acme.example' } })
  t.match(all, { events: { [event]: { reason_admin: { en: 'All sessions of the user were logged out.' } } } })
  t.strictSame(session?.['sub_id'], { format: 'complex', session: { format: 'opaque', id: 'phone' } })
})

t.test('T3 the request is a POST of the token, with the authorization as it was given', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, client(receiver, { authorization: 'Bearer hunter2' }))
  await attempt()
  const plain = await handOut(t, client(receiver))
  await plain.attempt()
  t.match(receiver.seen[0], {
    method: 'POST',
    headers: { 'content-type': 'application/secevent+jwt', accept: 'application/json', authorization: 'Bearer hunter2' }
  })
  t.notOk('authorization' in Object(receiver.seen[1]?.headers))
})

t.test('T4 202 and every other 2xx is done', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, client(receiver))
  for (const status of [202, 200, 204]) {
    receiver.respond = response => response.writeHead(status).end()
    t.equal(await attempt(), 'done')
  }
})

t.test('T5 a 400 with an err is dead at once, and logged with its err alone', async t => {
  const receiver = await startReceiver(t, response => {
    response.writeHead(400).end('{"err":"invalid_audience","description":"the-description"}')
  })
  const { attempt, messages, logged } = await handOut(t, client(receiver))
  t.strictSame(await attempt(), { dead: 'refused' })
  t.match(messages, [{ outcome: 'refused', status: 400 }])
  t.match(logged, [{ event: 'logout.delivery-dead', reason: 'refused', code: 'invalid_audience', status: 400 }])
  t.notOk(JSON.stringify(logged).includes('the-description'))
})

t.test('T5 a 400 without a good err is a refusal like all others, and so is another status with one', async t => {
  const receiver = await startReceiver(t)
  const { attempt, logged } = await handOut(t, client(receiver))
  const bodies = ['', 'invalid', '{}', 'null', '[]', '{"err":7}', '{"err":""}', `{"err":"${'x'.repeat(65)}"}`, '{"err":"two words\\n"}']
  for (const body of bodies) {
    receiver.respond = response => response.writeHead(400).end(body)
    t.match(await attempt(), { delivery: { refusals: 1 } }, body)
  }
  receiver.respond = response => response.writeHead(401).end('{"err":"authentication_failed"}')
  t.match(await attempt(), { delivery: { refusals: 1 } })
  t.ok(logged.every(line => !('code' in line)))
  const form = await handOut(t, { uri: receiver.url })
  receiver.respond = response => response.writeHead(400).end('{"err":"x"}')
  t.match(await form.attempt(), { delivery: { refusals: 1 } }, 'another kind of client')
})

t.test('T6 trouble, expiry and addresses are as with logout tokens', async t => {
  const receiver = await startReceiver(t, response => response.writeHead(503).end())
  const { attempt } = await handOut(t, client(receiver))
  t.match(await attempt(), { delivery: { attempt: 2, refusals: 0 } })
  t.strictSame(await attempt(delivery({ since: 0 })), { dead: 'expired' })
  const guarded = await handOut(t, client(receiver), { network: { allowInsecure: true } })
  t.strictSame(await guarded.attempt(), { dead: 'forbidden-address' })
  t.equal(receiver.seen.length, 1)
  t.match(guarded.logged, [{ event: 'logout.delivery-dead', reason: 'forbidden-address', err: { name: 'ForbiddenAddressError' } }])
})

t.test('T7 a retry has the same bytes', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, client(receiver))
  const one = delivery()
  await attempt(one)
  await sleep(1100)
  await attempt({ ...one, attempt: 2, since: one.since + 5000, refusals: 1 })
  t.equal(receiver.seen[0]?.body, receiver.seen[1]?.body)
})
