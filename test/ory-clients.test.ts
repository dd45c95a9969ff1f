import * as axiosClient from '@ory/client'
import * as fetchClient from '@ory/client-fetch'
import * as kratosClient from '@ory/kratos-client'
import Fastify from 'fastify'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { kratosAdmin } from '../lib/flows/kratos-admin.ts'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { kratosLogout } from '../lib/flows/kratos-native.ts'
import { kratosSessions } from '../lib/flows/kratos-sessions.ts'
import { logoutUrlToken } from '../lib/internal/kratos/logout-url-token.ts'
import { alice, host, id, people } from './kratos-host.ts'

/** Where browsers end up after a logout, and when something is wrong. */
async function pages (t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  const visits: string[] = []
  app.get('/*', async ({ url }, reply) => {
    visits.push(url)
    return reply.type('text/html').send('<!doctype html><title>a page</title>')
  })
  return { address: await app.listen({ port: 0, host: '127.0.0.1' }), visits }
}

async function serve (t: Test, prefix: string) {
  const { address, visits } = await pages(t)
  const { sessions, events, onLogout, isLive } = await host()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(kratosLogout, { prefix, sessions, onLogout })
  await app.register(kratosBrowserLogout, {
    prefix,
    sessions,
    onLogout,
    publicUrl: 'http://login.example',
    returnUrls: { default: `${address}/bye`, allowed: [`${address}/app`], error: `${address}/error` }
  })
  await app.register(kratosSessions, { prefix, sessions, onLogout })
  await app.register(kratosAdmin, { prefix, sessions, onLogout, authorize: ({ headers }) => headers.authorization === 'Bearer admin' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { basePath: `http://127.0.0.1:${port}${prefix}`, pages: address, visits, events, isLive }
}

/** What a client made of an answer: its value, or the status and the error of its failure. */
type Outcome =
  | { readonly value: unknown }
  | { readonly status: number, readonly error: Record<string, unknown> }
  | { readonly failed: string }

interface Session {
  readonly id: string
  readonly active?: boolean
  readonly identity?: { readonly id: string }
  readonly devices?: ReadonlyArray<{ readonly user_agent?: string }>
}

/** The calls of this test, in the words of every client. */
interface Client {
  nativeLogout (token: string): Promise<Outcome>
  start (cookie: string | undefined, returnTo?: string): Promise<Outcome>
  update (query: { token?: string, cookie?: string, returnTo?: string }): Promise<Outcome>
  whoami (credential: { cookie?: string, xSessionToken?: string }): Promise<Outcome>
  list (credential: { cookie?: string, xSessionToken?: string, pageSize?: number, perPage?: number, page?: number }): Promise<Outcome>
  others (credential: { cookie?: string, xSessionToken?: string }): Promise<Outcome>
  one (id: string, credential: { cookie?: string, xSessionToken?: string }): Promise<Outcome>
  adminOne (id: string): Promise<Outcome>
  adminAll (id: string): Promise<Outcome>
  adminList (id: string): Promise<Outcome>
}

function overAxios ({ FrontendApi, IdentityApi, Configuration }: typeof axiosClient | typeof kratosClient) {
  return (basePath: string): Client => {
    const api = new FrontendApi(new Configuration({ basePath }))
    const admin = new IdentityApi(new Configuration({ basePath, baseOptions: { headers: { Authorization: 'Bearer admin' } } }))
    const outcome = async (call: Promise<{ data: unknown }>): Promise<Outcome> => {
      try {
        return { value: (await call).data }
      } catch (error) {
        const { response } = error as { response?: { status: number, data: { error: Record<string, unknown> } } }
        return response === undefined ? { failed: String(error) } : { status: response.status, error: response.data.error }
      }
    }
    return {
      nativeLogout: token => outcome(api.performNativeLogout({ performNativeLogoutBody: { session_token: token } })),
      start: (cookie, returnTo) => outcome(api.createBrowserLogoutFlow({
        ...(cookie !== undefined && { cookie }), ...(returnTo !== undefined && { returnTo })
      })),
      update: query => outcome(api.updateLogoutFlow(query)),
      whoami: credential => outcome(api.toSession(credential)),
      list: credential => outcome(api.listMySessions(credential)),
      others: credential => outcome(api.disableMyOtherSessions(credential)),
      one: (id, credential) => outcome(api.disableMySession({ id, ...credential })),
      adminOne: id => outcome(admin.disableSession({ id })),
      adminAll: id => outcome(admin.deleteIdentitySessions({ id })),
      adminList: id => outcome(admin.listIdentitySessions({ id }))
    }
  }
}

function overFetch (headers: Record<string, string>) {
  return (basePath: string): Client => {
    const { FrontendApi, IdentityApi, Configuration } = fetchClient
    const api = new FrontendApi(new Configuration({ basePath, headers }))
    const admin = new IdentityApi(new Configuration({ basePath, headers: { ...headers, Authorization: 'Bearer admin' } }))
    const outcome = async (call: Promise<unknown>): Promise<Outcome> => {
      try {
        return { value: await call }
      } catch (error) {
        const { response } = error as { response?: Response }
        if (response === undefined) return { failed: String(error) }
        const body = await response.json() as { error: Record<string, unknown> }
        return { status: response.status, error: body.error }
      }
    }
    return {
      nativeLogout: token => outcome(api.performNativeLogout({ performNativeLogoutBody: { session_token: token } })),
      start: (cookie, returnTo) => outcome(api.createBrowserLogoutFlow({
        ...(cookie !== undefined && { cookie }), ...(returnTo !== undefined && { returnTo })
      })),
      update: query => outcome(api.updateLogoutFlow(query)),
      whoami: credential => outcome(api.toSession(credential)),
      list: credential => outcome(api.listMySessions(credential)),
      others: credential => outcome(api.disableMyOtherSessions(credential)),
      one: (id, credential) => outcome(api.disableMySession({ id, ...credential })),
      adminOne: id => outcome(admin.disableSession({ id })),
      adminAll: id => outcome(admin.deleteIdentitySessions({ id })),
      adminList: id => outcome(admin.listIdentitySessions({ id }))
    }
  }
}

const cookieOf = ({ token }: { readonly token: string }) => `ory_kratos_session=${token}`
const valueOf = <T>(outcome: Outcome) => {
  if (!('value' in outcome)) throw new Error(`no value but ${JSON.stringify(outcome)}`)
  return outcome.value as T
}
const nothing = (outcome: Outcome) => 'value' in outcome && (outcome.value === undefined || outcome.value === '')
const idsOf = (outcome: Outcome) => valueOf<Session[]>(outcome).map(session => session.id)

const clients: ReadonlyArray<readonly [name: string, make: (basePath: string) => Client, kind: 'JSON' | 'browser']> = [
  ['@ory/client', overAxios(axiosClient), 'JSON'],
  ['@ory/kratos-client', overAxios(kratosClient), 'JSON'],
  ['@ory/client-fetch with Accept', overFetch({ Accept: 'application/json' }), 'JSON'],
  ['@ory/client-fetch without Accept', overFetch({}), 'browser']
]

for (const prefix of ['', '/auth']) {
  for (const [name, make, kind] of clients) {
    t.test(`${name}, ${prefix === '' ? 'at the root' : `under ${prefix}`}`, async t => {
      await t.test('logs out a session token, repeatably, and not an unknown one', async t => {
        const { basePath, isLive, events } = await serve(t, prefix)
        const client = make(basePath)
        t.ok(nothing(await client.nativeLogout(people.laptop.token)))
        t.ok(nothing(await client.nativeLogout(people.laptop.token)))
        t.notOk(await isLive(people.laptop))
        t.equal(events.length, 1)
        t.match(await client.nativeLogout('unknown'), { status: 403, error: { code: 403, reason: /could not be found/ } })
        t.match(await client.whoami({ xSessionToken: people.laptop.token }), {
          status: 401, error: { code: 401, reason: 'No valid session credentials found in the request.' }
        })
      })

      await t.test('gets a logout URL, logs out with its token, and has no session afterwards', async t => {
        const { basePath, isLive, visits } = await serve(t, prefix)
        const client = make(basePath)
        const cookie = cookieOf(people.laptop)
        t.match(valueOf(await client.whoami({ cookie })), {
          id: people.laptop.id, active: true, identity: { id: alice }, devices: [{ user_agent: 'laptop' }]
        })
        const { logout_url: url, logout_token: token } = valueOf<{ logout_url: string, logout_token: string }>(await client.start(cookie))
        t.equal(url, `http://login.example/self-service/logout?token=${token}`)
        t.ok(nothing(await client.update({ token, cookie })))
        t.strictSame(visits, kind === 'JSON' ? [] : ['/bye'], 'whom the server takes for a browser is sent on')
        t.notOk(await isLive(people.laptop))
        t.match(await client.whoami({ cookie }), { status: 401 })
      })

      await t.test('is redirected to return_to', async t => {
        const { basePath, pages, isLive, visits } = await serve(t, prefix)
        const client = make(basePath)
        const cookie = cookieOf(people.laptop)
        const returnTo = `${pages}/app/hello?a=1&b=2`
        const flow = valueOf<{ logout_url: string, logout_token: string }>(await client.start(cookie, returnTo))
        const { logout_url: url, logout_token: token } = flow
        t.equal(new URL(url).searchParams.get('return_to'), returnTo)
        t.ok(nothing(await client.update({ token, cookie, returnTo })))
        t.strictSame(visits, kind === 'JSON' ? [] : ['/app/hello?a=1&b=2'])
        t.notOk(await isLive(people.laptop))
      })

      await t.test('is refused without a session, with a foreign token, without one, and with a return_to that is not allowed', async t => {
        const { basePath, isLive, visits } = await serve(t, prefix)
        const client = make(basePath)
        const cookie = cookieOf(people.laptop)
        const token = logoutUrlToken(people.laptop.token)
        const evil = 'https://evil.example/'
        const notAllowed = 'self_service_flow_return_to_forbidden'
        const refused: ReadonlyArray<readonly [outcome: Outcome, status: number, error: object, name: string]> = [
          [await client.start(undefined), 401, { id: 'session_inactive' }, 'session_inactive'],
          [await client.start(cookie, evil), 400, { id: notAllowed }, notAllowed],
          [await client.update({ token: logoutUrlToken(people.phone.token), cookie }), 403, { reason: /does not match/ }, 'forbidden'],
          [await client.update({ cookie }), 400, { reason: /include a token/ }, 'bad_request'],
          [await client.update({ token }), 401, { id: 'session_inactive' }, 'session_inactive'],
          [await client.update({ token, cookie, returnTo: evil }), 400, { id: notAllowed }, notAllowed]
        ]
        if (kind === 'JSON') {
          for (const [outcome, status, error] of refused) t.match(outcome, { status, error })
        } else {
          const shown = visits.map(path => new URL(path, 'http://app.example'))
          t.strictSame(shown.map(({ searchParams }) => searchParams.get('error')), refused.map(([, , , error]) => error))
          t.ok(shown.every(({ pathname, searchParams }) => pathname === '/error' && searchParams.get('error_description')?.endsWith('.')))
        }
        t.ok(await isLive(people.laptop))
      })

      await t.test('lists the other sessions, logs out one of them, not its own, and then all the others', async t => {
        const { basePath, isLive, events } = await serve(t, prefix)
        const client = make(basePath)
        for (const credential of [{ cookie: cookieOf(people.laptop) }, { xSessionToken: people.laptop.token }]) {
          t.strictSame(idsOf(await client.list(credential)), [people.phone.id, people.tablet.id])
          t.strictSame(idsOf(await client.list({ ...credential, perPage: 1, page: 2 })), [people.tablet.id])
          t.strictSame(idsOf(await client.list({ ...credential, pageSize: 1 })), [people.phone.id])
          t.match(await client.one(people.laptop.id, credential), { status: 400, error: { message: 'cannot revoke current session' } })
        }
        t.match(await client.list({}), { status: 401, error: { reason: 'No valid session cookie found.' } })

        const cookie = cookieOf(people.laptop)
        t.ok(nothing(await client.one(people.phone.id, { cookie })))
        t.ok(nothing(await client.one(people.bobs.id, { cookie })))
        t.strictSame([await isLive(people.phone), await isLive(people.bobs)], [false, true])
        t.strictSame(valueOf(await client.others({ cookie })), { count: 1 })
        t.strictSame(valueOf(await client.others({ cookie })), { count: 0 })
        t.strictSame(idsOf(await client.list({ cookie })), [])
        t.strictSame([await isLive(people.laptop), await isLive(people.tablet)], [true, false])
        t.strictSame(events.map(event => event.scope), ['session', 'others'])
      })

      await t.test('lists and logs out the sessions of every user as an administrator', async t => {
        const { basePath, isLive, events } = await serve(t, prefix)
        const client = make(basePath)
        t.strictSame(idsOf(await client.adminList(alice)), [people.laptop.id, people.phone.id, people.tablet.id])
        for (let time = 0; time < 2; time++) t.ok(nothing(await client.adminOne(people.laptop.id)))
        t.match(await client.adminOne(id('0')), { status: 404, error: { message: 'Unable to locate the resource' } })
        t.ok(nothing(await client.adminAll(alice)))
        t.match(await client.adminAll(alice), { status: 404 })
        t.strictSame([await isLive(people.phone), await isLive(people.bobs)], [false, true])
        t.strictSame(events.map(event => event.scope), ['session', 'all'])
      })
    })
  }
}
