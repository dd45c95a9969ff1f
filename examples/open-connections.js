// A WebSocket and a stream of events that end when the session that opened them is logged out.
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import { liveConnections } from 'fastify-logout/bridges/live-connections'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'
import * as secureSession from './secure-session.js'

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  await app.register(fastifyWebsocket)
  const { revocations, sessions } = await secureSession.add(app)
  const live = liveConnections(revocations) // With several nodes, give it a replica of the marks.
  app.addHook('onClose', async () => live.close())

  /** @param {import('fastify').FastifyRequest} request @param {import('fastify').FastifyReply} reply */
  const mustBeLoggedIn = async (request, reply) => {
    if (sessions.credential(request)?.sessionId === undefined) return reply.code(401).send({ error: 'log in first' })
  }
  app.get('/events', { preHandler: mustBeLoggedIn }, (request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: you are logged in\n\n')
    live.watchStream(reply.raw, sessions.credential(request) ?? {})
  })
  app.get('/chat', { websocket: true, preHandler: mustBeLoggedIn }, (socket, request) => {
    socket.on('message', (/** @type {Buffer} */ data) => { socket.send(`you said ${data}`) })
    live.watchSocket(socket, sessions.credential(request) ?? {})
  })
  return { app, live, cookies: await secureSession.logInOnThreeDevices(app) }
}

/** @param {string} address @param {{ cookies: { laptop: string, phone: string, tablet: string } }} example */
export function curls (address, { cookies: { laptop, phone, tablet } }) {
  return `Open connections: alice has logged in on a laptop, a phone and a tablet
  401  curl -i ${address}/events
  204  curl -i -X POST ${address}/logout -b '${phone}'
  401  curl -i ${address}/events -b '${phone}'
  200  curl -i ${address}/me -b '${laptop}'

Leave this stream of events open, and log the tablet out from another terminal:
  curl -N ${address}/events -b '${tablet}'
  curl -i -X POST ${address}/logout -b '${tablet}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
