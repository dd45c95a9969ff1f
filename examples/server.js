// All the flows in one server. `npm start` runs this.
import Fastify from 'fastify'
import { pathToFileURL } from 'node:url'
import * as kratos from './kratos.js'
import { listen } from './listen.js'
import * as signingHub from './signinghub.js'
import * as tenantStatus from './tenant-status.js'

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  return {
    app,
    signingHub: await signingHub.add(app),
    kratos: await kratos.add(app),
    tenantStatus: await tenantStatus.add(app)
  }
}

/** @param {string} address @param {Awaited<ReturnType<typeof build>>} server */
export function curls (address, server) {
  return [
    `fastify-logout listens on ${address}. Paste a line into another terminal; its status stands in front of it.`,
    signingHub.curls(address, server.signingHub),
    kratos.curls(address, server.kratos),
    tenantStatus.curls(address, server.tenantStatus)
  ].join('\n\n')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const server = await build({ logger: { level: 'warn' } })
  await listen(server.app, address => curls(address, server))
}
