// better-auth with its Node handler; its limit of requests is off, so that it answers all of them.
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import { createHmac } from 'node:crypto'
import { openClient } from './clients.js'

const secret = 'a secret with a minimum length of 32 characters'
const origin = 'http://localhost:3000'

export default async function ({ store }) {
  const options = {
    baseURL: origin,
    secret,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    ...await storage(store)
  }
  if (store.kind === 'sqlite') await (await getMigrations(options)).runMigrations()
  const auth = betterAuth(options)
  const { internalAdapter } = await auth.$context
  const user = await internalAdapter.createUser({ email: `alice-${process.pid}@example.com`, name: 'Alice', emailVerified: true })
  const tokens = []
  return {
    handler: toNodeHandler(auth),
    status: 200,
    most: 300,
    request: (index) => {
      const signature = createHmac('sha256', secret).update(tokens[index]).digest('base64')
      return {
        method: 'POST',
        path: '/api/auth/sign-out',
        headers: { origin, 'content-type': 'application/json', cookie: `better-auth.session_token=${encodeURIComponent(`${tokens[index]}.${signature}`)}` },
        body: '{}'
      }
    },
    seed: async (from, count) => {
      for (let index = from; index < from + count; index++) tokens[index] = (await internalAdapter.createSession(user.id)).token
    },
    isOver: async index => !await internalAdapter.findSession(tokens[index])
  }
}

async function storage (store) {
  const tables = () => memoryAdapter({ user: [], session: [], account: [], verification: [] })
  if (store.kind === 'memory') return { database: tables() }
  const client = await openClient(store)
  if (store.kind === 'sqlite') return { database: client }
  return {
    database: tables(),
    secondaryStorage: {
      get: key => client.get(key),
      set: (key, value, ttl) => ttl ? client.set(key, value, 'EX', ttl) : client.set(key, value),
      delete: key => client.del(key)
    }
  }
}
