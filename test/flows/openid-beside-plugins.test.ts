import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { rpInitiatedLogout, type RpInitiatedLogoutOptions } from '../../lib/flows/openid-rp-initiated.ts'
import type { SessionLogoutOptions } from '../../lib/flows/session.ts'
import type { HostSession } from '../../lib/session-source.ts'
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
    defaultReturnUrl: '/goodbye'
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
