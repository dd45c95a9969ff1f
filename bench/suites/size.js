import { startSubject } from '../server-process.js'

const kinds = ['sqlite', 'redis', 'postgres', 'mysql']

/** What a session and a mark take in each store, with its indexes. */
export async function size ({ servers, full, log }) {
  const count = full ? 100_000 : 10_000
  const results = []
  for (const kind of kinds) {
    if (servers.storeAt(kind) === undefined) continue
    const server = await startSubject('size.js', { store: { ...servers.storeAt(kind), database: kind === 'sqlite' ? undefined : 9 } })
    const result = { kind, count, ...await server.ask('run', { count }) }
    await server.end()
    log(`${kind}: ${result.session.toFixed(0)} bytes for a session, ${result.mark.toFixed(0)} for a mark`)
    results.push(result)
  }
  return results
}
