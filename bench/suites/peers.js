import { measure } from '../rounds.js'

/** What a team would install instead, beside the library's Kratos-style flow on the same store. */
export async function peers ({ servers, plan, full, log }) {
  const results = {}
  for (const [kind, others] of Object.entries(full ? peersOn : { memory: peersOn.memory })) {
    if (servers.storeAt(kind) === undefined) continue
    const title = `The peers, ${kind}`
    log(title)
    const subjects = [{ name: 'fastify-logout', file: 'kratos-library.js' }, ...others].map(subject => ({ ...subject, parameters: { store: servers.storeAt(kind) } }))
    results[title] = { kind, results: await measure(subjects, { ...plan, log }) }
  }
  return results
}

function peer (name, file) {
  return { name, file: `peer-${file}.js`, against: 'fastify-logout' }
}

const cookieSessions = [peer('@fastify/session', 'fastify-session'), peer('express-session', 'express-session')]
const oidcProvider = peer('oidc-provider', 'oidc-provider')
const betterAuth = peer('better-auth', 'better-auth')

const peersOn = {
  memory: [...cookieSessions, oidcProvider, betterAuth],
  sqlite: [betterAuth],
  redis: [...cookieSessions, oidcProvider, betterAuth]
}
