// A SigningHub-style logout: a bearer token, and a push token to forget.
import { createSigner } from 'fast-jwt'
import Fastify from 'fastify'
import { signingHubLogout } from 'fastify-logout'
import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { listen } from './listen.js'

/** @param {import('fastify').FastifyInstance} app */
export async function add (app) {
  const key = randomBytes(32).toString('hex')
  const issuer = 'https://login.example'
  const audience = 'https://api.example'

  /** Which phone belongs to whom: a table of the host's. */
  const devices = new Map([['alice-phone', 'alice'], ['bob-phone', 'bob']])

  await app.register(signingHubLogout, {
    verifyToken: fastJwtVerifier({ key, algorithms: ['HS256'], issuer, audience }),
    user: { isActive: user => user === 'alice' || user === 'bob' ? true : undefined },
    deviceToken: {
      remove: ({ deviceToken, subject }) => {
        const owner = devices.get(deviceToken)
        if (owner === undefined) return 'not-found'
        if (owner !== subject) return 'not-owner'
        devices.delete(deviceToken)
        return 'removed'
      }
    },
    recordActivity: ({ subject, actor, deviceToken }) => {
      app.log.info({ subject, actor, deviceToken }, 'logged out')
    },
    route: { security: [{ bearer: [] }] }
  })

  const sign = createSigner({ key, algorithm: 'HS256', iss: issuer, aud: audience, expiresIn: 3_600_000 })
  return { devices, token: sign({ sub: 'alice' }), applicationToken: sign({ client_id: 'an-application' }) }
}

/** @param {import('fastify').FastifyServerOptions} [options] */
export async function build (options) {
  const app = Fastify(options)
  return { app, ...await add(app) }
}

/** @param {string} address @param {{ token: string, applicationToken: string }} tokens */
export function curls (address, { token, applicationToken }) {
  return `SigningHub-style: the push token is forgotten, and the logout recorded
  200  curl -i -X POST ${address}/v3/logout -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"device_token":"alice-phone"}'
  401  curl -i -X POST ${address}/v3/logout -H 'Authorization: Bearer ${applicationToken}'`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const example = await build({ logger: { level: 'info' } })
  await listen(example.app, address => curls(address, example))
}
