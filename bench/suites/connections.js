import { measure } from '../rounds.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres', 'mysql']

/** How the cost of a logout depends on how many connections there are: a thousand, and a lone one. */
export async function connections ({ servers, plan, full, log }) {
  const results = []
  for (const [kind, count] of [['memory', 1000], ...full ? kinds.map(kind => [kind, 1]) : []]) {
    if (servers.storeAt(kind) === undefined) continue
    log(`${count} connections, ${kind}`)
    const subjects = [
      { name: 'by hand', file: 'kratos-by-hand.js' },
      { name: 'by hand, again', file: 'kratos-by-hand.js', against: 'by hand' },
      { name: 'fastify-logout', file: 'kratos-library.js', against: 'by hand' },
      ...kind === 'postgres' ? [{ name: 'fastify-logout, named statements', file: 'kratos-library.js', named: true, against: 'by hand' }] : []
    ].map(({ named, ...subject }) => ({ ...subject, parameters: { store: { ...servers.storeAt(kind), ...['redis', 'postgres', 'mysql'].includes(kind) ? { database: named ? 5 : 4 } : {}, named } } }))
    results.push({ kind, connections: count, results: await measure(subjects, { ...plan, connections: count, log }) })
  }
  return results
}
