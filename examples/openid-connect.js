// A host whose users sign in at an OpenID Provider, with a button for each kind of logout. The provider is started too:
// `npm run start:openid`.
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { backChannelLogout, frontChannelLogout, rpInitiatedLogout, sessionLogout } from 'fastify-logout'
import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { knownPlace, listen, urlOf } from './listen.js'
import { addLogin } from './openid-login.js'
import { escaped, startProvider } from './openid-provider.js'

const sessionLifetime = 8 * 3_600_000

/**
 * @param {{ publicUrl: string, issuer: string, clientId: string, clientSecret: string }} client
 * @param {import('fastify').FastifyServerOptions} [options]
 */
export async function build ({ publicUrl, issuer, clientId, clientSecret }, options) {
  const app = Fastify(options)
  await app.register(cookie)
  const sessions = memorySessionStore()
  const index = memoryProviderSessionIndex()
  const sid = /** @type {const} */ ({ name: 'sid', path: '/', httpOnly: true, secure: publicUrl.startsWith('https:'), sameSite: 'lax' })
  const source = sessionStoreSource(sessions, { cookie: sid })
  const issuers = [{ issuer, clientId }]
  // The session has the ID Token in its data, which does not belong into a log.
  const onLogout = (/** @type {import('fastify-logout').LogoutEvent<any>} */ event) => {
    if (event.scope === 'session') app.log.info({ user: event.session.subject, session: event.session.id }, 'logged out')
  }

  await addLogin(app, { issuer, clientId, clientSecret, publicUrl, sessions, index, cookie: sid })

  // Logs out here. The session at the provider stays: the next login asks for no name.
  await app.register(sessionLogout, { sessions: source, route: { path: '/logout/here' }, publicUrl, onLogout })
  // Logs out here, then at the provider.
  await app.register(rpInitiatedLogout({
    sessions: source,
    issuers,
    provider: session => ({ issuer, idToken: /** @type {string | undefined} */ (session?.data?.idToken) }),
    publicUrl,
    returnUrls: { default: '/' },
    onLogout
  }))
  // The provider says who has logged out there: from server to server, and by a frame in the browser.
  await app.register(backChannelLogout, { issuers, index, sessions, sessionLifetime, onLogout })
  await app.register(frontChannelLogout, { issuers, index, sessions, sessionLifetime, onLogout })

  app.get('/', async (request, reply) => {
    const session = await source.find?.(request)
    const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    return reply.type('text/html; charset=utf-8').headers({ 'cache-control': 'no-store', 'content-security-policy': policy })
      .send(page(session?.subject, issuer))
  })
  return { app, sessions, index }
}

/** @param {string | undefined} user @param {string} issuer */
function page (user, issuer) {
  const signedIn = `<h1>Signed in as ${escaped(String(user))}</h1>
    <form method="post" action="/logout/here"><button>Log out here</button> The provider keeps you signed in.</form>
    <form method="post" action="/logout"><button>Log out here and at the provider</button></form>
    <form action="${issuer}/session/end"><button>Log out at the provider</button> It notifies this server (back-channel).</form>
    <form action="${issuer}/front-channel"><button>Log out by a frame</button> A page of the provider embeds this server (front-channel).</form>
    <p><a href="/">Am I still signed in?</a></p>`
  const signedOut = '<h1>Signed out</h1><form action="/login"><button>Sign in</button></form>'
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <title>OpenID Connect logout</title>
    <style>body { font: 1rem/1.5 system-ui; margin: 2rem auto; max-width: 40rem; padding: 0 1rem } button { font: inherit; padding: .5rem 1rem }</style>
    <body><main>${user === undefined ? signedOut : signedIn}</main></body></html>`
}

/**
 * Starts the provider, and builds the host. The names of this machine differ, so that the two are different sites.
 *
 * @param {{ host: string, port: number }} place of the host
 * @param {{ host: string, port: number }} providerPlace
 * @param {import('fastify').FastifyServerOptions} [options]
 */
export async function start (place, providerPlace, options) {
  const publicUrl = process.env.PUBLIC_URL || urlOf(place)
  const issuer = `http://localhost:${providerPlace.port}`
  const client = { publicUrl, issuer, clientId: 'example', clientSecret: randomBytes(16).toString('hex') }
  const { provider, close } = await startProvider({
    ...providerPlace,
    issuer,
    clients: [{
      client_id: client.clientId,
      client_secret: client.clientSecret,
      redirect_uris: [`${publicUrl}/callback`],
      post_logout_redirect_uris: [`${publicUrl}/logout/return`],
      backchannel_logout_uri: `${publicUrl}/backchannel-logout`,
      frontchannel_logout_uri: `${publicUrl}/frontchannel-logout`
    }]
  })
  const host = await build(client, options)
  host.app.addHook('onClose', close)
  return { ...host, provider, issuer, publicUrl }
}

/** @param {string} address */
function greeting (address) {
  return `Open ${address} in a browser, and sign in with any name.
  200  curl -i ${address}/
  400  curl -i ${address}/backchannel-logout -d logout_token=forged`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const place = await knownPlace()
  const providerPort = Number(process.env.PROVIDER_PORT || (process.env.PORT === '0' ? 0 : place.port + 1))
  const { app } = await start(place, await knownPlace({ host: 'localhost', port: providerPort }), { logger: { level: 'warn' } })
  await listen(app, greeting, place)
}
