import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { memoryDeliveryQueue } from '../../lib/delivery-queues/memory.ts'
import type { ClientLogout } from '../../lib/index.ts'
import { logoutNotifier } from '../../lib/logout-notifier.ts'
import { openidHost, path, serve, testIssuer, type TestIssuer } from '../openid-host.ts'
import { jwksPath, type Issuer } from '../servers/issuer.ts'
import { badLogoutTokens, logoutToken } from './bad-logout-tokens.ts'

// Who accepts which bad logout token: this package and express-openid-connect. The table is printed as comments.

interface ExpressApp extends RequestListener {
  use (middleware: RequestListener): void
}

const require = createRequire(import.meta.url)
const express = require('express') as () => ExpressApp
const { auth } = require('express-openid-connect') as { auth (options: object): RequestListener }

type Callback = (error: unknown, value?: unknown) => void

/** A server with express-openid-connect, and how to send it a logout token. */
async function servePeer (issuer: Issuer) {
  const logouts = new Map<string, unknown>()
  let down = false
  const store = {
    get: (key: string, done: Callback) => done(null, logouts.get(key)),
    set: (key: string, value: unknown, done: Callback) => {
      if (down) return done(new Error('the password of the database'))
      logouts.set(key, value)
      done(null)
    },
    destroy: (key: string, done: Callback) => { logouts.delete(key); done(null) }
  }
  const metadata = {
    issuer: 'https://login.example', jwks_uri: 'https://login.example/keys', authorization_endpoint: 'https://login.example/a'
  }
  const app = express()
  app.use(auth({
    authRequired: false,
    issuerBaseURL: 'https://login.example',
    baseURL: 'https://shop.example',
    clientID: 'shop',
    secret: 'a secret of at least 32 characters',
    idTokenSigningAlg: 'RS256',
    backchannelLogout: { store },
    // The provider stands on loopback without TLS, which the package does not accept.
    customFetch: async (url: string | URL) => String(url).endsWith('/keys')
      ? fetch(`${issuer.url}${jwksPath}`)
      : Response.json(metadata)
  }))
  const server = createServer(app)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/backchannel-logout`
  return {
    logouts,
    url,
    fail: (fails: boolean) => { down = fails },
    send: async (token: string) => {
      const response = await fetch(url, {
        method: 'POST', body: new URLSearchParams({ logout_token: token }), headers: { connection: 'close' }
      })
      return { status: response.status, body: await response.text() }
    }
  }
}

const ofPeer = { issuer: 'https://login.example' }

t.test('27 bad logout tokens: we refuse all of them, express-openid-connect accepts some', async t => {
  const issuer = await testIssuer(t)
  const ours = await serve(t, issuer, openidHost())
  const peer = await servePeer(issuer)
  const theirs = { ...issuer.keyring, ...ofPeer }
  t.equal((await ours.sendToken(logoutToken(issuer.keyring))).status, 200)
  t.equal((await peer.send(logoutToken(theirs))).status, 204, 'both accept the good one')

  const accepted: string[] = []
  t.comment('accepted by: fastify-logout | express-openid-connect')
  for (const { name, make } of badLogoutTokens) {
    const [our, their] = [await ours.sendToken(make(issuer.keyring)), await peer.send(make(theirs))]
    t.comment(`${our.status === 200 ? 'yes' : 'no '} | ${their.status === 204 ? 'yes' : 'no '} | ${name}`)
    t.equal(our.status, 400, name)
    t.ok([204, 400].includes(their.status), `the peer answered: ${their.body}`)
    if (their.status === 204) accepted.push(name)
  }
  t.comment(`accepted of ${badLogoutTokens.length}: fastify-logout 0, express-openid-connect ${accepted.length}`)
  t.ok(accepted.includes('ten years old'), 'the comparison sees what is accepted')
})

t.test('an outage is 503 here, and 400 there, so that a provider does not send the token again', async t => {
  const issuer = await testIssuer(t)
  const ours = await serve(t, issuer, openidHost(), { index: { logOut: () => { throw new Error('the password of the database') } } })
  t.equal((await ours.logOut()).status, 503)
  const peer = await servePeer(issuer)
  peer.fail(true)
  t.equal((await peer.send(logoutToken({ ...issuer.keyring, ...ofPeer }))).status, 400)
})

/** Notifies one client at this address, and returns what was logged. */
async function notify (t: Test, { issuer, keyring }: { issuer: string, keyring: TestIssuer['keyring'] }, uri: string, logout: object) {
  const lines: unknown[] = []
  const log = (line: unknown) => { lines.push(line) }
  const notifier = logoutNotifier({
    issuer,
    sign: { privateKey: keyring.privateKey, algorithm: 'RS256', keyId: keyring.kid },
    findClient: () => ({ uri }),
    queue: memoryDeliveryQueue({ stopTimeout: 0 }),
    network: { allowInsecure: true, allowAddresses: ['127.0.0.1'] },
    wait: 10_000,
    log: { warn: log, error: log }
  })
  t.teardown(await notifier.start())
  await notifier.notify([{ clientId: keyring.clientId, at: Date.now(), ...logout } satisfies ClientLogout])
  return lines
}

t.test('what logoutNotifier sends ends the sessions of backChannelLogout: by sid, by subject, and those of no one else', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { app } = await serve(t, issuer, host)
  const uri = `${await app.listen({ port: 0, host: '127.0.0.1' })}${path}`
  for (const sid of ['phone', 'laptop']) host.logIn(sid, { issuer: issuer.url, sid })
  host.logIn('of bob', { issuer: issuer.url, subject: 'bob', sid: 'bob' })
  const states = () => ['phone', 'laptop', 'of bob'].map(host.statusOf)
  const sender = { issuer: issuer.url, keyring: issuer.keyring }
  t.strictSame(await notify(t, sender, uri, { subject: 'alice', sid: 'phone' }), [])
  t.strictSame(states(), ['logged_out', 'active', 'active'])
  t.strictSame(await notify(t, sender, uri, { subject: 'alice' }), [])
  t.strictSame(states(), ['logged_out', 'logged_out', 'active'])
})

t.test('what logoutNotifier sends is accepted by express-openid-connect, and an outage there is tried again', async t => {
  const issuer = await testIssuer(t)
  const peer = await servePeer(issuer)
  const sender = { issuer: ofPeer.issuer, keyring: issuer.keyring }
  t.strictSame(await notify(t, sender, peer.url, { subject: 'alice', sid: 'phone' }), [])
  t.match([...peer.logouts.keys()].sort(), ['https://login.example|alice', 'https://login.example|phone'])
  peer.fail(true)
  t.match(await notify(t, sender, peer.url, { subject: 'bob' }), [{ event: 'logout.delivery-failed', status: 400 }])
})
