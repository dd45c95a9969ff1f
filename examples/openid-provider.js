// An OpenID Provider on this machine, for examples and tests: typing a name is enough to sign in.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
// @ts-expect-error it has no types
import Provider from 'oidc-provider'

/**
 * @typedef {object} Client
 * @property {string} client_id
 * @property {string} client_secret
 * @property {string[]} redirect_uris
 * @property {string[]} post_logout_redirect_uris
 * @property {string} backchannel_logout_uri
 * @property {string} frontchannel_logout_uri
 */

/**
 * @param {{ host: string, port: number, issuer: string, clients: Client[] }} options
 */
export async function startProvider ({ host, port, issuer, clients }) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const provider = new Provider(issuer, {
    clients: clients.map(({ frontchannel_logout_uri: unknown, ...client }) => ({ ...client, backchannel_logout_session_required: true })),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] },
    cookies: { keys: [randomBytes(16).toString('hex')], long: { sameSite: 'lax' }, short: { sameSite: 'lax' } },
    findAccount: (/** @type {any} */ _context, /** @type {string} */ id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (/** @type {any} */ _context, /** @type {any} */ { uid }) => `/sign-in/${uid}` },
    // Nobody is asked for consent.
    loadExistingGrant: async (/** @type {any} */ { oidc }) => {
      const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId })
      grant.addOIDCScope('openid')
      await grant.save()
      return grant
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { logoutSource: askForLogout, postLogoutSuccessSource: sayGoodbye }
    },
    ttl: { AccessToken: 300, Grant: 3600, IdToken: 300, Interaction: 600, Session: 3600 },
    renderError: (/** @type {any} */ context, /** @type {any} */ { error, error_description: description }) => {
      page(context, 'Something is wrong', `<p>${escaped(`${error}: ${description}`)}</p>`)
    },
    // Its own request refuses addresses of this machine.
    fetch: (/** @type {string} */ url, /** @type {any} */ { dispatcher, ...options }) => fetch(url, options)
  })
  provider.use(signIn(provider))
  provider.use(frontChannel(provider, issuer, clients))

  const server = createServer(provider.callback())
  server.listen({ host, port })
  await once(server, 'listening')
  return {
    provider,
    // What signs its tokens: for a host that sends logout tokens in the provider's name.
    signingKey: { privateKey, keyId: 'one' },
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}

/** @param {any} provider */
function signIn (provider) {
  return async (/** @type {any} */ context, /** @type {() => Promise<void>} */ next) => {
    if (!context.path.startsWith('/sign-in/')) return next()
    if (context.method === 'GET') {
      page(context, 'Sign in at the provider', `<form method="post">
        <label>Your name <input name="name" required autocomplete="username"></label> <button>Sign in</button>
      </form>`)
      return
    }
    const name = new URLSearchParams(await text(context.req)).get('name') || 'alice'
    await provider.interactionFinished(context.req, context.res, { login: { accountId: name } })
    context.respond = false
  }
}

/**
 * What providers with front-channel logout do: they end their session, and show a page with a frame for each client at which
 * the user was signed in. oidc-provider has no such page of its own.
 *
 * @param {any} provider
 * @param {string} issuer
 * @param {Client[]} clients
 */
function frontChannel (provider, issuer, clients) {
  return async (/** @type {any} */ context, /** @type {() => Promise<void>} */ next) => {
    if (context.path !== '/front-channel') return next()
    const session = await provider.Session.get(context)
    const frames = clients.filter(client => session.authorizations?.[client.client_id]).map(client => {
      const query = new URLSearchParams({ iss: issuer, sid: session.sidFor(client.client_id) })
      return `<iframe src="${escaped(`${client.frontchannel_logout_uri}?${query}`)}" title="${client.client_id}"></iframe>`
    })
    await session.destroy()
    page(context, 'Signed out everywhere', frames.join('\n') || '<p>You were signed in nowhere.</p>')
  }
}

/** @param {any} context @param {string} form */
function askForLogout (context, form) {
  page(context, 'Sign out of the provider?', `${form}
    <button form="op.logoutForm" name="logout" value="yes">Sign out</button>
    <button form="op.logoutForm">Stay signed in</button>`)
}

/** @param {any} context */
function sayGoodbye (context) {
  page(context, 'You are signed out of the provider', '')
}

/** @param {any} context @param {string} title @param {string} html */
function page (context, title, html) {
  context.type = 'html'
  context.body = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <title>${title}</title><body><h1>${title}</h1>${html}</body></html>`
}

/** @param {string} text */
export function escaped (text) {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
