import { startSubject } from '../server-process.js'
import { spread } from '../statistics.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres', 'mysql']

/** How long it takes to log a subject out everywhere, by the number of its sessions. */
export async function everywhere ({ servers, full, log }) {
  const curves = {}
  for (const kind of full ? kinds : kinds.slice(0, 3)) {
    if (servers.storeAt(kind) === undefined) continue
    const server = await startSubject('everywhere.js', { store: servers.storeAt(kind), prefix: 'everywhere' })
    await server.ask('run', { count: 10, repeat: 50 })
    curves[kind] = []
    for (const count of full ? [10, 1_000, 10_000] : [10, 1_000]) {
      const { median, low, high } = spread(await server.ask('run', { count, repeat: count > 1000 ? 10 : 30 }))
      curves[kind].push({ sessions: count, milliseconds: median, low, high })
    }
    await server.end()
    log(`everywhere, ${kind}: ${curves[kind].map(({ sessions, milliseconds }) => `${sessions} sessions ${milliseconds.toFixed(3)} ms`).join(', ')}`)
  }
  return curves
}
