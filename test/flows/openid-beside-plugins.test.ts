import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { frontChannelLogout } from '../../lib/flows/openid-front-channel.ts'
import { rpInitiatedLogout, type RpInitiatedLogoutOptions } from '../../lib/flows/openid-rp-initiated.ts'
import type { SessionLogoutOptions } from '../../lib/flows/session.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import type { HostSession, SessionsById, SessionSource } from '../../lib/session-source.ts'
import { setCookies, type Device } from '../session-host.ts'
import { kinds, type HostOptions, type SourceKind } from '../source-hosts.ts'

// OpenID Connect logouts beside the session plugins that hosts have, each at its defaults.

const issuer = 'https://login.example'
const endpoint = `${issuer}/logout`
const page = { accept: 'text/html', 'sec-fetch-site': 'same-origin' }

/** A host whose users log in at a provider. What the host was asked about each request is remembered. */
async function rpHost (t: Test, kind: SourceKind, more: HostOptions = {}) {
  const asked: Array<HostSession | undefined> = []
  const provider = (session: HostSession | undefined, _request: FastifyRequest) => {
    asked.push(session)
    return { issuer, idToken: session && `hint of ${session.subject}` }
  }
  const register = (app: FastifyInstance, options: SessionLogoutOptions) => app.register(rpInitiatedLogout, {
    ...options,
    issuers: [{ issuer, clientId: 'app', endSessionEndpoint: endpoint }],
    provider,
    publicUrl: 'https://app.example',
    returnUrls: { default: '/goodbye' }
  } as RpInitiatedLogoutOptions)
  return { ...await kind.make(t, { ...more, register }), asked }
}

const logOut = (device: Device) => device.send({ method: 'POST', url: '/logout', headers: page })

for (const kind of kinds) {
  t.test(`R1: the session is over, its cookies are cleared, and the browser goes to the provider: ${kind.name}`, async t => {
    const { logIn, isLive, events, cookieNames, asked } = await rpHost(t, kind)
    const [device, other] = [await logIn('1'), await logIn('2')]
    const copy = device.copy()
    const answer = await logOut(device)
    t.equal(answer.statusCode, 303)
    const { searchParams } = new URL(String(answer.headers.location))
    t.strictSame([searchParams.get('id_token_hint'), searchParams.get('client_id')], ['hint of 1', 'app'])
    const cookies = setCookies(answer)
    t.strictSame(cookies.filter(({ removed }) => removed).map(({ name }) => name).sort(), [...cookieNames].sort())
    t.equal(cookies.find(({ name }) => name === '__Host-logout-state')?.value, `${searchParams.get('state')}.`)
    t.equal(cookies.length, cookieNames.length + 1, 'one Set-Cookie for each name')
    t.strictSame([await isLive(device), await isLive(copy), await isLive(other)], [false, false, true])

    t.equal((await logOut(copy)).statusCode, 303, 'again, with the old credential')
    t.equal((await logOut(device)).statusCode, 303, 'and without it')
    t.strictSame(asked.map(session => session?.subject === undefined ? undefined : String(session.subject)), ['1', undefined, undefined])
    t.equal(events.length, 1)

    const back = await device.send({ url: `/logout/return?state=${searchParams.get('state')}` })
    t.strictSame([back.statusCode, back.headers.location], [303, '/goodbye'])
    t.notOk(await isLive(device), 'coming back opens nothing')
  })

  t.test(`R12: in an outage the browser keeps its credential and stays: ${kind.name}`, async t => {
    const { logIn, isLive, events, broken } = await rpHost(t, kind, { timeout: 200 })
    const device = await logIn('1')
    for (const fault of ['rejects', 'hangs'] as const) {
      for (const call of ['logOut', 'revoke']) broken.set(call, fault)
      const answer = await logOut(device)
      t.strictSame([answer.statusCode, answer.json(), setCookies(answer)], [503, { error: 'temporarily_unavailable' }, []])
      broken.clear()
    }
    t.ok(await isLive(device))
    t.equal((await logOut(device)).statusCode, 303, 'a retry finishes')
    t.notOk(await isLive(device))
    t.equal(events.length, 1)
  })

  t.test(`a request in flight that saves the session does not revive it: ${kind.name}`, async t => {
    const { logIn, isLive, save } = await rpHost(t, kind)
    const device = await logIn('1')
    const saving = await save(device)
    t.equal((await logOut(device)).statusCode, 303)
    t.notOk(await isLive(await saving.finish()))
  })
}

const byId = kinds.filter(({ name }) => name !== 'plain functions' && name !== 'a session store')

/** A host whose logins are bound to a provider's, with the front-channel logout over the source of its sessions. */
async function frameHost (t: Test, kind: SourceKind) {
  const index = memoryProviderSessionIndex()
  const host = await kind.make(t, {
    register: async (app, options) => {
      const sessions = options.sessions as unknown as SessionsById
      const { onLogout } = options
      await app.register(frontChannelLogout, { issuers: [{ issuer }], index, sessions, sessionLifetime: 3_600_000, onLogout })
    }
  })
  const source: SessionSource = host.sessions
  /** Logs in, and binds the session. */
  const logIn = async (user: string, sid: string) => {
    const device = await host.logIn(user)
    const cookie = Array.from(device.cookies, pair => pair.join('=')).join('; ')
    const session = await host.handle({ ...device.headers, cookie }, async request => source.find?.(request))
    const bound = { sessionId: String(session?.id), subject: String(session?.subject) }
    await index.bind({ issuer, subject: user, sid, issuedAt: Date.now() }, bound, Date.now() + 3_600_000)
    return device
  }
  /** The frame on the provider's page. */
  const frame = { url: `/frontchannel-logout?${new URLSearchParams({ iss: issuer, sid: 'one' })}`, headers: { 'sec-fetch-dest': 'iframe' } }
  return { ...host, logIn, frame }
}

for (const kind of byId) {
  t.test(`F1: a frame without cookies ends the session of its sid, once: ${kind.name}`, async t => {
    const { app, logIn, isLive, frame, events } = await frameHost(t, kind)
    const [first, second] = [await logIn('1', 'one'), await logIn('1', 'two')]
    for (let time = 0; time < 2; time++) t.equal((await app.inject(frame)).statusCode, 200)
    t.strictSame([await isLive(first), await isLive(second), events.length], [false, true, 1])
  })

  t.test(`a frame that comes with the cookies of the session does not bring it back: ${kind.name}`, async t => {
    const { logIn, isLive, frame } = await frameHost(t, kind)
    const device = await logIn('1', 'one')
    const copy = device.copy()
    const answer = await device.send({ ...frame, headers: { ...frame.headers, authorization: '' } })
    t.equal(answer.statusCode, 200)
    t.strictSame(setCookies(answer).filter(({ removed }) => !removed), [], 'its cookie is not set again')
    t.strictSame([await isLive(device), await isLive(copy)], [false, false])
    const other = await logIn('2', 'two')
    t.equal((await other.send(frame)).statusCode, 200)
    t.ok(await isLive(other), 'and the session of another sid stays as it was')
  })

  t.test(`a request in flight does not revive a session that a frame has ended: ${kind.name}`, async t => {
    const { app, logIn, isLive, save, frame } = await frameHost(t, kind)
    const device = await logIn('1', 'one')
    const saving = await save(device)
    t.equal((await app.inject(frame)).statusCode, 200)
    t.notOk(await isLive(await saving.finish()))
  })
}
