import { once } from 'node:events'
import { createServer } from 'node:net'

/** @typedef {{ host: string, port: number }} Place */

/**
 * HOST and PORT, or 127.0.0.1:3000.
 * @returns {Place}
 */
function chosenPlace () {
  return { host: process.env.HOST || '127.0.0.1', port: Number(process.env.PORT || 3000) }
}

/**
 * HOST and PORT, or 127.0.0.1:3000. For port 0 it is a port that is free now, for those who have to name their address
 * before they listen.
 *
 * @param {Place} [place]
 * @returns {Promise<Place>}
 */
export async function knownPlace ({ host, port } = chosenPlace()) {
  if (port !== 0) return { host, port }
  const probe = createServer().listen({ host, port })
  try {
    await once(probe, 'listening')
    return { host, port: portOf(probe) }
  } catch {
    return { host, port } // Listening will say why not.
  } finally {
    probe.close()
  }
}

/**
 * What a browser on this machine can open: who listens on every address has none to show.
 * @param {Place} place
 */
export function urlOf ({ host, port }) {
  const name = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}

/** @param {import('node:net').Server} server */
function portOf (server) {
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}

/**
 * Listens, and closes gracefully on Ctrl-C.
 * @param {import('fastify').FastifyInstance} app
 * @param {(address: string) => string} greeting printed once the server listens
 * @param {Place} [place]
 */
export async function listen (app, greeting, { host, port } = chosenPlace()) {
  try {
    await app.listen({ host, port })
    console.log(greeting(urlOf({ host, port: portOf(app.server) })))
  } catch (error) {
    console.error(explain(error, host, port))
    process.exitCode = 1
    return app.close()
  }
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, async () => {
      await app.close()
      process.exit(0)
    })
  }
}

/**
 * @param {any} error
 * @param {string} host
 * @param {number} port
 */
function explain (error, host, port) {
  if (error.code === 'EADDRINUSE') return `Port ${port} on ${host} is in use: choose another one, for example PORT=${port + 1} npm start`
  if (error.code === 'ERR_SOCKET_BAD_PORT') return `PORT=${process.env.PORT} is not a port: choose one from 0 to 65535`
  return `Cannot listen on ${host}:${port}: ${error.message}`
}
