// All the flows in one server. `npm start` runs this.
import Fastify from 'fastify'
import { pathToFileURL } from 'node:url'
import * as demoPage from './demo-page/routes.js'
import * as kratos from './kratos.js'
import { knownPlace, listen, urlOf } from './listen.js'
import * as openapi from './openapi.js'
import * as signingHub from './signinghub.js'
import { chosenStores, memory } from './stores.js'
import * as tenantStatus from './tenant-status.js'

/**
 * @param {import('fastify').FastifyServerOptions} [options]
 * @param {string} [publicUrl] where browsers will find the server
 * @param {import('./stores.js').Stores} [stores]
 * @param {string} [openapiVersion]
 */
export async function build (options, publicUrl = 'http://127.0.0.1:3000', stores = memory(), openapiVersion = undefined) {
  const app = Fastify(options)
  app.addHook('onClose', async () => { await stores.close?.() })
  await openapi.add(app, openapiVersion)
  const { sessions, ...kratosTokens } = await kratos.add(app, stores.sessions)
  const signingHubTokens = await signingHub.add(app)
  const tenantTokens = await tenantStatus.add(app, stores.users, stores.rateLimit)
  const clients = { signingHub: signingHubTokens.token, tenant: tenantTokens.tenantToken, tenantUser: tenantTokens.token }
  return {
    app,
    signingHub: signingHubTokens,
    kratos: kratosTokens,
    demoPage: await demoPage.add(app, { sessions, index: stores.index, publicUrl, clients }),
    tenantStatus: tenantTokens
  }
}

/** @param {string} address @param {Awaited<ReturnType<typeof build>>} server @param {string} store */
export function curls (address, server, store) {
  return [
    `fastify-logout listens on ${address}, and keeps sessions and users in ${store}.\nEach route is described at ${address}/docs. Paste a line into another terminal; its status stands in front of it.`,
    demoPage.logoutCurls(address, server.demoPage),
    signingHub.curls(address, server.signingHub),
    kratos.curls(address, server.kratos),
    demoPage.curls(address, server.demoPage),
    demoPage.providerCurls(address, server.demoPage),
    tenantStatus.curls(address, server.tenantStatus)
  ].join('\n\n')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    const place = await knownPlace()
    const address = urlOf(place)
    const publicUrl = process.env.PUBLIC_URL || (URL.canParse(address) ? address : undefined)
    const stores = await chosenStores(process.argv.slice(2))
    const server = await build({ logger: { level: 'warn' } }, publicUrl, stores)
    await listen(server.app, address => curls(address, server, stores.name), place)
  } catch (error) {
    console.error(/** @type {Error} */ (error).message)
    process.exitCode = 1
  }
}
