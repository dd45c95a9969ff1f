// The library's back-channel logout, for a host with the library's session store: the sessions end when the token arrives.
import { once } from 'node:events'
import { createServer } from 'node:http'
import Fastify from 'fastify'
import { backChannelLogout } from '../../dist/flows/openid-back-channel.js'
import { memoryProviderSessionIndex } from '../../dist/provider-session-indexes/memory.js'
import { redisProviderSessionIndex } from '../../dist/provider-session-indexes/redis.js'
import { memorySessionStore } from '../../dist/session-stores/memory.js'
import { redisSessionStore } from '../../dist/session-stores/redis.js'
import { openClient } from './clients.js'
import { clientId, issuer, providerUserAt, readLogoutTokens, sidAt } from './logout-tokens.js'
import { countRoundTrips, roundTripsOf } from './round-trips.js'
import { inParallel, sessionAt, tokenAt } from './tokens.js'

const hour = 3_600_000

export default async function ({ store, tokens }) {
  const { jwks, placeOf, request } = readLogoutTokens(tokens)
  const { index, sessions, count } = await stores[store.kind](store)
  const app = Fastify()
  await app.register(backChannelLogout, {
    issuers: [{ issuer, clientId, jwksUri: await serve(jwks) }], index, sessions, sessionLifetime: hour, logoutToken: { maxAge: hour }
  })

  const seed = (from, many) => inParallel(from, many, async nth => {
    const session = sessionAt(nth)
    const login = { issuer, subject: providerUserAt(placeOf(nth)), sid: sidAt(placeOf(nth)), issuedAt: session.createdAt - hour }
    await sessions.create(tokenAt(nth), session)
    await index.bind(login, { sessionId: session.id, subject: session.subject }, session.expiresAt)
  })
  return {
    app,
    status: 200,
    request,
    seed,
    isOver: async nth => (await sessions.find(tokenAt(nth))).status === 'logged_out',
    run: async () => {
      if (count === undefined) return {}
      const last = 9_999_999
      await seed(last, 1)
      return roundTripsOf(count, `http://127.0.0.1:${app.server.address().port}`, request(last))
    }
  }
}

const stores = {
  memory: () => ({
    index: memoryProviderSessionIndex({ maxLogins: 10_000_000 }), sessions: memorySessionStore({ maxSessions: 10_000_000 })
  }),
  redis: async (store) => {
    const redis = await openClient(store)
    return {
      index: redisProviderSessionIndex(redis, { prefix: `index-${process.pid}` }),
      sessions: redisSessionStore(redis, { prefix: `session-${process.pid}` }),
      count: countRoundTrips(redis, ['sendCommand'])
    }
  }
}

/** The provider's key set, which the library fetches once. */
async function serve (jwks) {
  const server = createServer((_request, response) => response.setHeader('content-type', 'application/json').end(JSON.stringify(jwks)))
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  return `http://127.0.0.1:${server.address().port}/keys`
}
