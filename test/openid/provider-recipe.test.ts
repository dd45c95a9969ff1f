import { jwtVerify } from 'jose'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
// @ts-expect-error it has no types
import Provider from 'oidc-provider'
import t, { type Test } from 'tap'
import { memoryDeliveryQueue } from '../../lib/delivery-queues/memory.ts'
import { logoutNotifier } from '../../lib/index.ts'
import { keys, loopback, startReceiver } from '../delivery-host.ts'

// The recipe of docs/guides/tell-other-applications.md. The one of better-auth is in test/providers/openid.ts.

/** A provider with two clients, whose sender is replaced, and a user who is signed in at both. */
async function startProvider (t: Test, uri: string) {
  const server = createServer((request, response) => provider.callback()(request, response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = { client_secret: 'a secret', redirect_uris: ['https://client.example/callback'] }
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: 'shop', backchannel_logout_uri: `${uri}/shop`, backchannel_logout_session_required: true },
      { ...client, client_id: 'mail', backchannel_logout_uri: `${uri}/mail` },
      { ...client, client_id: 'silent' }
    ],
    jwks: { keys: [{ ...keys.privateKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] },
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: false } }
  })
  const queue = memoryDeliveryQueue({ stopTimeout: 0 })
  const notifier = logoutNotifier({
    issuer,
    sign: { privateKey: keys.privateKey, algorithm: 'RS256', keyId: 'k1' },
    findClient: async id => {
      const found = await provider.Client.find(id)
      return found && { uri: found.backchannelLogoutUri }
    },
    queue,
    network: loopback
  })
  provider.Client.prototype.backchannelLogout = async function (subject: string, sid: string) {
    await notifier.notify([{ clientId: this.clientId, subject, ...this.backchannelLogoutSessionRequired && { sid } }])
  }
  const authorizations = Object.fromEntries(['shop', 'mail', 'silent'].map(id => [id, { sid: `sid of ${id}`, grantId: `grant of ${id}` }]))
  const session = new provider.Session({ accountId: 'alice', loginTs: 1, authorizations })
  await session.save(3600)
  return { issuer, provider, notifier, cookie: `_session=${session.id}` }
}

/** Signs the user out, as a browser does. */
async function signOut ({ issuer, cookie }: { readonly issuer: string, readonly cookie: string }): Promise<number> {
  const page = await (await fetch(`${issuer}/session/end`, { headers: { cookie } })).text()
  const xsrf = String(/name="xsrf" value="([^"]+)"/.exec(page)?.[1])
  const response = await fetch(`${issuer}/session/end/confirm`, {
    method: 'POST', headers: { cookie }, body: new URLSearchParams({ xsrf, logout: 'yes' }), redirect: 'manual'
  })
  return response.status
}

t.test('S19 oidc-provider: each client with a URL is told of a logout, also one that is down at that moment', async t => {
  let isDown = true
  const receiver = await startReceiver(t, (response, { url }) => {
    response.writeHead(url === '/mail' && isDown ? 503 : 200).end()
    if (url === '/mail') isDown = false
  })
  const place = await startProvider(t, receiver.url)
  const stop = await place.notifier.start()
  t.teardown(stop)
  t.equal(await signOut(place), 303)
  while (receiver.seen.length < 3) await new Promise(resolve => setTimeout(resolve, 20))
  t.strictSame(receiver.seen.map(({ url }) => url).sort(), ['/mail', '/mail', '/shop'])
  const tokens = await Promise.all(receiver.seen.map(async ({ url, body }) => {
    const token = String(new URLSearchParams(body).get('logout_token'))
    return (await jwtVerify(token, keys.publicKey, { issuer: place.issuer, audience: url.slice(1), typ: 'logout+jwt' })).payload
  }))
  for (const { sub, sid, aud } of tokens) t.strictSame([sub, sid], ['alice', aud === 'shop' ? 'sid of shop' : undefined])
})

t.test('S19 oidc-provider: when the queue refuses, the provider says so by its event', async t => {
  const receiver = await startReceiver(t)
  const place = await startProvider(t, receiver.url)
  const errors: unknown[] = []
  place.provider.on('backchannel.error', (_context: unknown, error: unknown) => errors.push(error))
  place.provider.Client.prototype.backchannelLogout = async () => place.notifier.notify([{ clientId: 'shop' }])
  t.equal(await signOut(place), 303)
  t.equal(errors.length, 2)
})
