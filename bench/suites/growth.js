import { measure } from '../rounds.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres']

/** How the cost of a logout depends on how many sessions there are, and on how many tenants. */
export async function growth (context) {
  return { sessions: await bySessions(context), tenants: await byTenants(context) }
}

async function byTenants ({ servers, plan, full, log }) {
  const curves = {}
  const sizes = full ? [1, 1_000, 100_000] : [1, 1_000]
  for (const kind of full ? kinds : ['memory']) {
    if (servers.storeAt(kind) === undefined) continue
    log(`a logout with ${sizes.join(', ')} tenants, ${kind}`)
    const subjects = sizes.map((tenants, place) => ({
      name: `${tenants}`,
      file: 'tenant-library.js',
      parameters: { store: kind === 'sqlite' ? servers.storeAt(kind) : { ...servers.storeAt(kind), database: place + 6 }, tenants },
      against: `${sizes[0]}`
    }))
    curves[kind] = (await measure(subjects, { ...plan, log })).map(({ name, cpu, p50, ratios }) => ({ tenants: Number(name), cpu, p50, ratios }))
  }
  return curves
}

async function bySessions ({ servers, plan, full, log }) {
  const curves = {}
  for (const kind of full ? kinds : ['memory']) {
    if (servers.storeAt(kind) === undefined) continue
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
