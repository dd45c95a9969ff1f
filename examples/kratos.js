// A Kratos-style logout: the session of a session token.
import Fastify from 'fastify'
import { kratosLogout } from 'fastify-logout'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
import { randomBytes, randomUUID } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/**
 * @param {import('fastify').FastifyInstance} app
 * @param {import('fastify-logout').SessionStore} [sessions]
 */
export async function add (app, sessions = memorySessionStore()) {
  await app.register(kratosLogout, {
    sessions,
    onLogout: event => { app.log.info(event, 'logged out') }
  })

  const now = Date.now()
  const token = `ory_st_${randomBytes(24).toString('base64url')}`
  await sessions.create(token, { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + 3_600_000, keepUntil: now + 86_400_000 })
  return { sessions, token }
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  return { app, ...await add(app) }
}

/** @param {string} address @param {{ token: string }} tokens */
export function curls (address, { token }) {
  const curl = `curl -i -X DELETE ${address}/self-service/logout/api -H 'Content-Type: application/json'`
  return `Kratos-style: the session is over, however often you say so
  204  ${curl} -d '{"session_token":"${token}"}'
  403  ${curl} -d '{"session_token":"unknown"}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
