import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openSession } from '../../examples/openid-login.js'
import { backChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { rpInitiatedLogout } from '../../lib/flows/openid-rp-initiated.ts'
import type { LogoutTokenTolerance } from '../../lib/internal/openid/logout-issuer.ts'
import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { sessionStoreSource } from '../../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { jwksVerifier } from '../../lib/token-verifiers/jwks.ts'
import { hasGlewlwyd, startGlewlwyd } from '../servers/glewlwyd.ts'
import { freePort, missing } from '../servers/private-process.ts'
import { startBetterAuth } from './better-auth.ts'

// Providers of others, each with its own wire: better-auth (EdDSA, from npm) and Glewlwyd (C, from Debian).
// oidc-provider is in test/end-to-end/openid-example.test.ts.

t.setTimeout(600_000)

/** What is told to a host about its provider. */
interface Client {
  readonly issuer: string
  readonly clientId: string
  readonly algorithms: readonly SignatureAlgorithm[]
  readonly tolerate?: readonly LogoutTokenTolerance[]
}

/** A host that listens where the provider expects its client, and verifies ID Tokens. It is down for so many logout tokens. */
async function host (
  t: Test, port: number, { issuer, clientId, algorithms, tolerate = [] }: Client, isDown: { for: number } = { for: 0 }
) {
  const publicUrl = `http://127.0.0.1:${port}`
  const lines: Array<Record<string, unknown>> = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  const sessions = memorySessionStore()
  const index = memoryProviderSessionIndex()
  const issuers = [{ issuer, clientId, algorithms, tolerate }]
  const ended: string[] = []
  const answers: number[] = []
  app.addHook('onResponse', async ({ url }, { statusCode }) => { if (url === '/backchannel-logout') answers.push(statusCode) })
  await app.register(backChannelLogout, {
    issuers,
    index: {
      logOut: logout => {
        if (isDown.for-- > 0) throw new Error('planted')
        return index.logOut(logout)
      }
    },
    sessions,
    sessionLifetime: 8 * 3_600_000,
    onLogout: event => { if (event.scope === 'session') ended.push(String(event.session.id)) }
  })
  await app.register(rpInitiatedLogout({
    sessions: sessionStoreSource(sessions, { cookie: { name: 'sid', secure: false } }),
    issuers,
    provider: session => ({ issuer, idToken: session?.data?.['idToken'] as string | undefined }),
    publicUrl,
    returnUrls: { default: '/goodbye' }
  }))
  await app.listen({ port, host: '127.0.0.1' })
  const verify = jwksVerifier({ issuers: [{ issuer, audience: clientId, algorithms }] })

  return {
    ended,
    answers,
    lines,
    /** The login of a host: the value of its session cookie. */
    open: async (idToken: string) => openSession(await verify(idToken) as Parameters<typeof openSession>[0], idToken, { sessions, index }),
    isLive: async (token: string | undefined) => (await sessions.find(String(token)))?.status === 'active',
    /** Logs out as a browser: where it is sent, and the cookie that it keeps meanwhile. */
    logOut: async (token: string | undefined) => {
      const response = await fetch(`${publicUrl}/logout`, {
        method: 'POST', redirect: 'manual', headers: { cookie: `sid=${token}`, origin: publicUrl, accept: 'text/html' }
      })
      const cookie = response.headers.getSetCookie().find(line => line.startsWith('logout-state=')) ?? ''
      return { status: response.status, location: String(response.headers.get('location')), cookie: cookie.split(';', 1)[0] ?? '' }
    },
    comeBack: async (url: string, cookie: string) => {
      const response = await fetch(url, { redirect: 'manual', headers: { cookie } })
      return [response.status, response.headers.get('location')]
    },
    answered: async (count: number) => {
      for (let waited = 0; waited < 500 && answers.length < count; waited++) await sleep(10)
      return answers
    }
  }
}

const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>

const nonce = () => `n${Math.random()}`

t.test('better-auth', async t => {
  const port = await freePort()
  const provider = await startBetterAuth(`http://localhost:${port}`)
  t.teardown(() => provider.remove())
  const { issuer, clientId } = provider
  const { open, isLive, logOut, comeBack, ended, answered } = await host(t, port, { issuer, clientId, algorithms: ['EdDSA'] })

  await t.test('signing out at the provider ends the session here, and only that one', async t => {
    const first = await open(await provider.logIn(nonce()))
    const second = await open(await provider.logIn(nonce()))
    t.strictSame([await isLive(first), await isLive(second)], [true, true])
    t.equal(await provider.signOut(), 200)
    t.strictSame(await answered(1), [200])
    t.strictSame([await isLive(first), await isLive(second), ended.length], [true, false, 1])
    const third = await open(await provider.logIn(nonce()))
    t.ok(await isLive(third), 'a new login lives')
  })

  await t.test('the provider accepts our logout request, ends its session, and sends the browser back with the state', async t => {
    const token = await open(await provider.logIn(nonce()))
    const { status, location, cookie } = await logOut(token)
    t.equal(status, 303)
    t.notOk(await isLive(token))
    const asked = new URL(location)
    // Its client takes localhost as the address of this machine.
    asked.searchParams.set('post_logout_redirect_uri', `http://localhost:${port}/logout/return`)
    const answer = await provider.endSession(asked.href)
    const returned = `http://localhost:${port}/logout/return?state=${asked.searchParams.get('state')}`
    t.strictSame([answer.status, answer.body], [200, JSON.stringify({ redirect: true, url: returned })])
    t.strictSame(await comeBack(returned.replace('localhost', '127.0.0.1'), cookie), [303, '/goodbye'])
    t.strictSame(await answered(2), [200, 200], 'and its logout token finds the session ended')
  })
})

t.test('S19 better-auth with logoutNotifier: signing out ends the session here, also if this host was down at that moment', async t => {
  const port = await freePort()
  const provider = await startBetterAuth(`http://localhost:${port}`, new URL('../../dist', import.meta.url).href)
  t.teardown(() => provider.remove())
  const { issuer, clientId } = provider
  const isDown = { for: 1 }
  const { open, isLive, ended, answered } = await host(t, port, { issuer, clientId, algorithms: ['EdDSA'] }, isDown)
  const first = await open(await provider.logIn(nonce()))
  const second = await open(await provider.logIn(nonce()))
  t.equal(await provider.signOut(), 200)
  t.strictSame(await answered(2), [503, 200])
  t.strictSame([await isLive(first), await isLive(second), ended.length], [true, false, 1])
})

t.test('Glewlwyd', { skip: !hasGlewlwyd && missing('install Glewlwyd (apt-get install glewlwyd)') }, async t => {
  const port = await freePort()
  const address = `http://127.0.0.1:${port}`
  const clientId = 'the host'
  const provider = await startGlewlwyd({
    id: clientId,
    secret: 'a secret',
    redirectUri: `${address}/callback`,
    returnUrl: `${address}/logout/return`,
    backChannelUri: `${address}/backchannel-logout`
  })
  t.teardown(() => provider.remove())
  const { issuer } = provider

  for (const [tolerate, helps] of [[[], 'untyped'], [['untyped'], 'unexpiring']] as const) {
    await t.test(`with the tolerances [${String(tolerate)}] its tokens are refused, and the log names ${helps}`, async t => {
      const { open, isLive, answered, lines } = await host(t, port, { issuer, clientId, algorithms: ['RS256'], tolerate })
      const idToken = await provider.logIn(nonce())
      const token = await open(idToken)
      t.equal(await provider.endSession(String(claimsOf(idToken)['sid'])), 200)
      t.strictSame(await answered(1), [400])
      t.ok(await isLive(token))
      t.match(lines.find(({ event }) => event === 'logout.token-refused'), { issuer, tolerance: helps })
    })
  }

  await t.test('with both tolerances a logout at the provider ends the session here, answered with exactly 200', async t => {
    const { open, isLive, answered, ended, logOut } = await host(t, port, {
      issuer, clientId, algorithms: ['RS256'], tolerate: ['untyped', 'unexpiring']
    })
    const idToken = await provider.logIn(nonce())
    const token = await open(idToken)
    t.equal(await provider.endSession(String(claimsOf(idToken)['sid'])), 200)
    t.strictSame(await answered(1), [200])
    t.strictSame([await isLive(token), ended.length], [false, 1])
    for (let waited = 0; waited < 500 && !/Send backchannel_logout/.test(provider.server.log()); waited++) await sleep(10)
    t.match(provider.server.log(), 'Send backchannel_logout successfully')

    const again = await open(await provider.logIn(nonce()))
    t.ok(await isLive(again), 'a new login lives')
    const { location } = await logOut(again)
    const page = await provider.logoutPage(location)
    t.equal(page.status, 302)
    t.match(page.headers.get('location'), /\/login\.html\?.*&prompt=end_session$/, 'it knows the hint, and asks the user')
    t.notOk(await isLive(again))
  })
})
