import { freemem } from 'node:os'
import { startSubject } from '../server-process.js'
import { usageWhile } from '../server-usage.js'
import { costs } from '../statistics.js'
import { emptyPlace } from '../subjects/clients.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres']

/** The parts of this suite. */
export const parts = ['sessions', 'subjects', 'tenants']

/**
 * How the cost of a logout depends on how many sessions there are in the store, on how many the subject has, and on how many
 * tenants there are. Of the store alone, as everything else does not know how many there are.
 */
export async function growth (context) {
  const results = {}
  for (const part of context.parts ?? parts) results[part] = await curves(context, { of: part, ...curvesBy[part](context) })
  return results
}

const curvesBy = {
  sessions: context => ({
    sizes: kind => sessionSizes(kind, context),
    parameters: count => ({ keep: 'sessions', count, subjects: count / 2 })
  }),

  // The same number of sessions in each store, of fewer and fewer subjects.
  subjects: ({ full }) => ({
    sizes: () => full ? [1, 100, 10_000, 100_000] : [1, 100, 10_000],
    parameters: (each, most) => ({ keep: 'sessions', count: most, subjects: most / each })
  }),

  tenants: ({ full }) => ({
    sizes: () => full ? [1, 1_000, 100_000] : [1, 1_000],
    parameters: count => ({ keep: 'tenants', count })
  })
}

/** About how many bytes of memory a session takes in servers. Postgres has most of them on its disk. */
const bytesOfSession = { redis: 1300, postgres: 200 }

/** Every tenfold; the last one is as large as the memory of this run allows. A process of our own has a million at most. */
function sessionSizes (kind, { full, memory = freemem() / 2, log }) {
  const decades = full ? [1_000, 10_000, 100_000, 1_000_000] : [1_000, 10_000]
  if (!full || bytesOfSession[kind] === undefined) return decades
  const most = Math.min(10_000_000, roundedDown(memory / bytesOfSession[kind] - 1_111_000))
  if (most < 10_000_000) log(`${kind}: ${most} sessions instead of ten million, for ${(memory / 1e9).toFixed(1)} GB of memory`)
  return most > 1_000_000 ? [...decades, most] : decades
}

function roundedDown (number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)))
  return Math.floor(number / power) * power
}

async function curves (context, { of, sizes, parameters }) {
  const results = {}
  for (const kind of kinds) {
    if (context.servers.storeAt(kind) === undefined) continue
    results[kind] = await curve(context, kind, sizes(kind).map((size, place, all) => ({ size, parameters: parameters(size, all.at(-1)), place })))
    for (const { size, cost } of results[kind]) {
      context.log(`${of}, ${kind}: with ${size} a logout takes ${cost.node.median.toFixed(1)} µs, of the server ${cost.store?.median.toFixed(1) ?? 0}, ${cost.ratio.median.toFixed(2)}x`)
    }
  }
  return results
}

/** All sizes in turns, so that what the machine does meanwhile meets them alike. */
async function curve ({ servers, plan }, kind, points) {
  const running = []
  try {
    for (const { size, parameters, place } of points) {
      const at = servers.storeAt(kind)
      const store = at.pid === undefined ? at : { ...at, database: place + 1 }
      running.push({ size, users: parameters.subjects, store, server: await startSubject('growing-stores.js', { store, ...parameters }), rounds: [] })
    }
    // What comes first is a round of warming up.
    for (let round = -2; round < plan.launches * plan.rounds; round++) {
      for (const one of round % 2 === 0 ? running : running.toReversed()) {
        await one.server.ask('run', { command: 'create', calls: callsOfRound })
        const { cpu, result } = await usageWhile(one.store.pid, () => one.server.ask('run', { command: 'logOut', calls: callsOfRound }))
        if (round >= 0) one.rounds.push({ node: result, store: cpu / callsOfRound })
      }
    }
  } finally {
    for (const { server } of running) await server.end()
    for (const { store } of running) await emptyPlace(store)
  }
  return running.map(({ size, users, store, rounds }) => ({ size, ...users !== undefined && { users }, cost: costs(rounds, running[0].rounds, store.pid) }))
}

const callsOfRound = 2000
