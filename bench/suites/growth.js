import { measure } from '../rounds.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres']

/** How the cost of a logout depends on how many sessions there are, and how many connections. */
export async function growth ({ servers, plan, full, log }) {
  const present = kinds.filter(kind => servers.storeAt(kind) !== undefined)
  return {
    sessions: await bySessions(full ? present : ['memory'], { servers, plan, full, log }),
    connections: await byConnections({ servers, plan, full, log })
  }
}

async function bySessions (kinds, { servers, plan, full, log }) {
  const curves = {}
  for (const kind of kinds) {
    const sizes = full ? [1_000, 100_000, 1_000_000] : [1_000, 100_000]
    log(`a logout with ${sizes.join(', ')} sessions, ${kind}`)
    const subjects = sizes.map((preload, place) => ({
      name: `${preload}`,
      file: 'kratos-library.js',
      parameters: { store: kind === 'sqlite' ? servers.storeAt(kind) : { ...servers.storeAt(kind), database: place + 1 }, preload },
      against: `${sizes[0]}`
    }))
    // To fill a database takes minutes, and one process of three is not as fast as the next: only memory is filled anew.
    const turns = kind === 'memory' ? plan : { ...plan, launches: 1, rounds: plan.launches * plan.rounds }
    curves[kind] = (await measure(subjects, { ...turns, log })).map(({ name, cpu, p50, ratios }) => ({ sessions: Number(name), cpu, p50, ratios }))
  }
  return curves
}

async function byConnections ({ servers, plan, full, log }) {
  const results = []
  for (const [kind, connections] of [['memory', 1000], ...full ? kinds.map(kind => [kind, 1]) : []]) {
    if (servers.storeAt(kind) === undefined) continue
    log(`${connections} connections, ${kind}`)
    const subjects = [
      { name: 'by hand', file: 'kratos-by-hand.js' },
      { name: 'fastify-logout', file: 'kratos-library.js', against: 'by hand' },
      ...kind === 'postgres' ? [{ name: 'fastify-logout, named statements', file: 'kratos-library.js', named: true, against: 'by hand' }] : []
    ].map(({ named, ...subject }) => ({ ...subject, parameters: { store: { ...servers.storeAt(kind), ...kind === 'redis' || kind === 'postgres' ? { database: named ? 5 : 4 } : {}, named } } }))
    results.push({ kind, connections, results: await measure(subjects, { ...plan, connections, log }) })
  }
  return results
}
