import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startProvider } from '../../examples/openid-provider.js'
import { memoryDeliveryQueue } from '../../lib/delivery-queues/memory.ts'
import { logoutNotifier } from '../../lib/logout-notifier.ts'
import { apachePaths, hasModAuthOpenidc, startApache } from '../servers/mod-auth-openidc.ts'
import { freePort, missing } from '../servers/private-process.ts'

// What logoutNotifier sends, at receivers of others: users log in through them at oidc-provider, and log out there.

t.setTimeout(300_000)

const secret = 'a secret of at least 32 characters'

interface Client {
  readonly id: string
  readonly callback: string
  readonly backChannel: string
}

/** A provider whose logout tokens logoutNotifier sends, as the guide shows. */
async function provider (t: Test, port: number, clients: readonly Client[]) {
  const issuer = `http://127.0.0.1:${port}`
  const { provider, signingKey, close } = await startProvider({
    host: '127.0.0.1',
    port,
    issuer,
    clients: clients.map(({ id, callback, backChannel }) => ({
      client_id: id,
      client_secret: secret,
      redirect_uris: [callback],
      post_logout_redirect_uris: [],
      backchannel_logout_uri: backChannel,
      frontchannel_logout_uri: ''
    }))
  })
  t.teardown(close)
  const failures: unknown[] = []
  const queue = memoryDeliveryQueue({ stopTimeout: 0 })
  const notifier = logoutNotifier({
    issuer,
    sign: { ...signingKey, algorithm: 'RS256' },
    findClient: clientId => {
      const client = clients.find(({ id }) => id === clientId)
      return client && { uri: client.backChannel, sessionRequired: true }
    },
    queue,
    network: { allowInsecure: true, allowAddresses: ['127.0.0.1'] },
    log: { warn: (line: unknown) => { failures.push(line) }, error: (line: unknown) => { failures.push(line) } }
  })
  const stop = await notifier.start()
  t.teardown(stop)
  const sent: Array<{ clientId: string, subject: string, sid: string, at: number }> = []
  provider.Client.prototype.backchannelLogout = async function (subject: string, sid: string) {
    const logout = { clientId: this.clientId as string, subject, sid, at: Date.now() }
    sent.push(logout)
    await notifier.notify([logout])
  }
  return { issuer, notifier, sent, failures, browser: () => browser(issuer) }
}

/** A browser without scripts, of one user. */
function browser (issuer: string) {
  const cookies = new Map<string, string>()

  // Node's fetch says in its headers that it is no navigation, and mod_auth_openidc sends only navigations to the provider.
  async function ask (url: string, form?: Record<string, string>) {
    const headers = {
      cookie: Array.from(cookies, ([name, value]) => `${name}=${value}`).join('; '),
      accept: 'text/html',
      ...form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }
    }
    const sent = request(url, { method: form === undefined ? 'GET' : 'POST', headers, agent: false })
    sent.end(form && String(new URLSearchParams(form)))
    const [response] = await once(sent, 'response') as [IncomingMessage]
    for (const line of response.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '' || /expires=thu, 01.jan.1970/i.test(line)) cookies.delete(name)
      else cookies.set(name, value)
    }
    return { status: response.statusCode, location: response.headers.location, body: await text(response) }
  }

  /** Follows redirects, and signs in where the provider asks for a name. */
  async function visit (url: string, name: string) {
    for (let steps = 0; steps < 20; steps++) {
      const { status, location, body } = await ask(url, url.includes('/sign-in/') ? { name } : undefined)
      if (location === undefined) return { status, body, url }
      url = new URL(location, url).href
    }
    throw new Error(`too many redirects: ${url}`)
  }

  return {
    visit,
    /** Asks for one page, without following. */
    ask,
    /** Signs out at the provider, which notifies its clients. */
    async signOut () {
      const { body } = await ask(`${issuer}/session/end`)
      const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(body) ?? []
      return (await ask(`${issuer}/session/end/confirm`, { xsrf, logout: 'yes' })).status
    }
  }
}

/** Waits for ten seconds at most. */
async function until (holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let waited = 0; waited < 500; waited++) {
    if (await holds()) return true
    await sleep(20)
  }
  return false
}

t.test('mod_auth_openidc of Apache ends the session of a user who signs out at the provider, and no other one', {
  skip: !hasModAuthOpenidc && missing('install mod_auth_openidc (apt-get install apache2-bin libapache2-mod-auth-openidc)')
}, async t => {
  const port = await freePort()
  const server = await startApache({ id: 'apache', secret, issuer: `http://127.0.0.1:${port}` })
  t.teardown(() => server.remove())
  const { sent, failures, browser, notifier } = await provider(t, port, [{
    id: 'apache', callback: `${server.url}${apachePaths.callback}`, backChannel: `${server.url}${apachePaths.backChannel}`
  }])
  const page = `${server.url}${apachePaths.page}`

  const [alice, bob] = [browser(), browser()]
  t.match(await alice.visit(page, 'alice'), { status: 200, body: 'a page for users' })
  t.match(await bob.visit(page, 'bob'), { status: 200, body: 'a page for users' })
  t.match(await alice.ask(page), { status: 200 }, 'it remembers the session')

  t.equal(await alice.signOut(), 303)
  t.match(sent, [{ clientId: 'apache', subject: 'alice', sid: String }])
  t.ok(await until(async () => (await alice.ask(page)).status === 302), 'she must log in again')
  t.match(await bob.ask(page), { status: 200, body: 'a page for users' })
  t.strictSame(failures, [])

  t.match(await alice.visit(page, 'alice'), { status: 200 }, 'a new login lives')
  await notifier.notify(sent.map(logout => ({ ...logout, at: logout.at + 1 })))
  t.match(await alice.ask(page), { status: 200 }, 'a logout of the old session changes nothing')
})
