import { join } from 'node:path'
import { measure } from '../rounds.js'
import { writeLogoutTokens } from '../subjects/logout-tokens.js'

const kinds = ['memory', 'redis']

/** What it costs to receive a logout token of an OpenID Provider, beside express-openid-connect. */
export async function openid ({ servers, plan, full, log }) {
  const results = {}
  const tokens = join(servers.directory, 'logout-tokens.json')
  writeLogoutTokens(tokens, full ? 15_000 : 5_000)
  for (const kind of kinds) {
    if (servers.storeAt(kind) === undefined) continue
    const title = `Receiving a logout token, ${kind}`
    log(title)
    const parameters = { store: servers.storeAt(kind), tokens }
    const subjects = [
      { name: 'express-openid-connect', file: 'back-channel-express.js' },
      { name: 'express-openid-connect, again', file: 'back-channel-express.js', against: 'express-openid-connect' },
      { name: 'fastify-logout', file: 'back-channel-library.js', against: 'express-openid-connect' }
    ]
    // A token is signed beforehand and used once, so the processes are warmed up for half the time.
    results[title] = {
      kind,
      results: await measure(
        subjects.map(subject => ({ ...subject, parameters, afterwards: server => server.ask('run') })), { ...plan, warmUp: plan.warmUp / 2, log })
    }
  }
  return results
}
