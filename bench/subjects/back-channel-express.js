// express-openid-connect, as its documentation sets up back-channel logout: the logout is written into a store, which each
// request of a session asks twice from then on.
import { once } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import openid from 'express-openid-connect'
import session from 'express-session'
import { storeCalls } from './cookie-sessions.js'
import { clientId, issuer, readLogoutTokens, sidAt } from './logout-tokens.js'
import { connectRedis } from './peer-clients.js'
import { countRoundTrips, roundTripsOf } from './round-trips.js'

export default async function ({ store, tokens }) {
  const { jwks, placeOf, request } = readLogoutTokens(tokens)
  const logouts = store.kind === 'memory' ? new session.MemoryStore() : await connectRedis(store, `logout-${process.pid}:`)
  const count = store.kind === 'memory' ? undefined : countRoundTrips(logouts.client, ['get', 'set', 'expire', 'del'])
  const { get } = storeCalls(logouts)
  const app = express()
  app.use(openid.auth({
    authRequired: false,
    issuerBaseURL: issuer,
    baseURL: 'https://shop.example',
    clientID: clientId,
    secret: 'a secret of at least 32 characters',
    idTokenSigningAlg: 'RS256',
    backchannelLogout: { store: logouts },
    customFetch: async url => Response.json(String(url).endsWith('/keys')
      ? jwks
      : { issuer, jwks_uri: `${issuer}/keys`, authorization_endpoint: `${issuer}/authorize` })
  }))
  return {
    handler: app,
    request,
    isOver: async nth => await get(`${issuer}|${sidAt(placeOf(nth))}`) !== undefined,
    run: async () => {
      if (count === undefined) return {}
      const server = createServer(app).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const result = await roundTripsOf(count, `http://127.0.0.1:${server.address().port}`, request(9_999_999))
      server.closeAllConnections()
      server.close()
      return result
    }
  }
}
