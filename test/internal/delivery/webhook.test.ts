import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { delivery, handOut, startReceiver } from '../../delivery-host.ts'

const secretOf = (bytes = 32) => `whsec_${randomBytes(bytes).toString('base64')}`
type Headers = Record<string, string>

t.test('a receiver with the standardwebhooks package verifies a webhook, of one session and of all of a user', async t => {
  const receiver = await startReceiver(t)
  const secrets = [secretOf()]
  const { attempt } = await handOut(t, { kind: 'webhook', url: receiver.url, secrets }, { issuer: undefined, sign: undefined })
  const at = Date.UTC(2026, 10, 21, 12)
  t.equal(await attempt(delivery({ at, tenant: 'acme' })), 'done')
  t.equal(await attempt(delivery({ at, sid: undefined })), 'done')
  const [session, user] = receiver.seen.map(({ body, headers }) => new Webhook(String(secrets[0])).verify(body, headers as Headers))
  t.strictSame(session, {
    type: 'session.logged_out', timestamp: '2026-11-21T12:00:00.000Z', data: { subject: 'alice', tenant: 'acme', sid: 'phone' }
  })
  t.strictSame(user, { type: 'user.logged_out', timestamp: '2026-11-21T12:00:00.000Z', data: { subject: 'alice' } })
  t.match(receiver.seen[0]?.headers, { 'content-type': 'application/json', 'user-agent': 'fastify-logout' })
})

t.test('while secrets are rotated, receivers with the old and with the new one verify it', async t => {
  const receiver = await startReceiver(t)
  const secrets = [secretOf(24), secretOf(64), secretOf().replace('whsec_', '')]
  const { attempt } = await handOut(t, { kind: 'webhook', url: receiver.url, secrets })
  await attempt()
  const [{ body = '', headers = {} } = {}] = receiver.seen
  for (const secret of secrets) t.match(new Webhook(secret).verify(body, headers as Headers), { type: 'session.logged_out' })
  t.throws(() => new Webhook(secretOf()).verify(body, headers as Headers), /signature/i)
  t.throws(() => new Webhook(String(secrets[0])).verify(body.replace('alice', 'mallory'), headers as Headers), /signature/i)
})

t.test('each attempt has the same id, which needs no escaping, and a new time', async t => {
  const receiver = await startReceiver(t)
  const { attempt } = await handOut(t, { kind: 'webhook', url: receiver.url, secrets: [secretOf()] })
  const odd = delivery({ id: 'ä.b\r\nc' })
  await attempt(odd)
  await attempt({ ...odd, attempt: 2 })
  await attempt(delivery({ id: 'another' }))
  const ids = receiver.seen.map(({ headers }) => String(headers['webhook-id']))
  t.match(ids[0], /^msg_[\w-]{43}$/)
  t.equal(ids[0], ids[1])
  t.not(ids[0], ids[2])
  for (const { headers } of receiver.seen) t.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000) < 60)
})
