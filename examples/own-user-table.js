// The host keeps its own sessions and users: it passes plain functions, and no store of the library is involved.
import Fastify from 'fastify'
import { kratosLogout, tenantStatusLogout, TokenRejectedError } from 'fastify-logout'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)

  // The tables of the host: imagine an ORM here.
  const hour = 3_600_000
  const sessionRows = [{ token: 'adas-session', id: 1, userId: 7, endedAt: /** @type {number | null} */ (null), openedAt: Date.now(), validUntil: Date.now() + hour }]
  const userRows = [{ tenant: 'acme', id: 7, token: 'alices-token', state: 'online', revision: 1 }]

  // The smallest session store is one function: mark the session, and return what it was before.
  await app.register(kratosLogout, {
    sessions: {
      logOut: (token) => {
        const row = sessionRows.find(row => row.token === token)
        if (row === undefined) return undefined
        const before = row.endedAt
        row.endedAt ??= Date.now()
        return {
          id: String(row.id),
          subject: String(row.userId),
          status: before === null ? 'active' : 'logged_out',
          createdAt: row.openedAt,
          expiresAt: row.validUntil,
          keepUntil: row.validUntil
        }
      }
    }
  })

  // The host's words for its states stay the host's. Those that are neither a login nor a logout are left alone.
  const statuses = new Map([['online', 'logged_in'], ['offline', 'logged_out']])
  /** @param {import('fastify-logout').UserKey} user */
  const rowOf = ({ tenant, subject }) => userRows.find(row => row.tenant === tenant && String(row.id) === subject)
  /** @type {import('fastify-logout').UserStatusStore} */
  const users = {
    get: (user) => {
      const row = rowOf(user)
      return row && { status: statuses.get(row.state) ?? row.state, version: row.revision }
    },
    compareAndSet: (user, expected, { status }) => {
      const row = rowOf(user)
      if (row === undefined || row.revision !== expected || !statuses.has(row.state)) return false
      row.state = status === 'logged_in' ? 'online' : 'offline'
      row.revision += 1
      return true
    }
  }
  await app.register(tenantStatusLogout, {
    authenticateTenant: token => token === 'acme-tenant-token' ? 'acme' : undefined,
    verifyToken: (token) => {
      const row = userRows.find(row => row.token === token)
      if (row === undefined) throw new TokenRejectedError('untrusted')
      return { sub: String(row.id), tenant: row.tenant }
    },
    users
  })
  return { app, sessionRows, userRows, users }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { app } = await build({ logger: { level: 'info' } })
  await listen(app, address => `A host with tables of its own
  204  curl -i -X DELETE ${address}/self-service/logout/api -H 'Content-Type: application/json' -d '{"session_token":"adas-session"}'
  200  curl -i ${address}/auth/logout -H 'x-tenant-token: acme-tenant-token' -H 'x-token: alices-token'`)
}
