import { measure } from '../rounds.js'

const sources = ['@fastify/session', '@fastify/secure-session', 'JWTs, access and refresh token', 'a session store']

/** `sessionLogout` beside a logout written by hand for the same host, for each source. */
export async function sessions ({ servers, plan, log }) {
  const results = {}
  for (const source of sources) {
    const title = `POST /logout, ${source}, memory`
    log(title)
    const parameters = { source, store: servers.storeAt('memory') }
    results[title] = {
      kind: 'memory',
      results: await measure([
        { name: 'by hand', file: 'session-logout-by-hand.js', parameters },
        { name: 'by hand, again', file: 'session-logout-by-hand.js', parameters, against: 'by hand' },
        { name: 'fastify-logout', file: 'session-logout-library.js', parameters, against: 'by hand' }
      ], { ...plan, log })
    }
  }
  return results
}
