import { measure } from '../rounds.js'
import { startSubject } from '../server-process.js'

/** What the guard adds to verifying a token, with so many marks; what a mark takes; how long the sweeping of marks blocks. */
export async function guard ({ servers, plan, full, log }) {
  const marks = full ? 1_000_000 : 100_000
  const of = (kind) => servers.storeAt(kind)
  const subjects = [
    subject('verifying alone', { guard: 'none', marks }),
    { ...subject('verifying alone, again', { guard: 'none', marks }), against: 'verifying alone' },
    guarded('by hand, a Map', { guard: 'map', marks }),
    guarded('by hand, a cutoff for each user in a Map', { guard: 'not before', marks }),
    guarded('guard, memory', { guard: 'memory', marks }),
    of('redis') && guarded('guard, replica of Redis', { guard: 'replica', store: of('redis'), marks }),
    of('redis') && guarded('by hand, Redis once a minute for each token', { guard: 'cutoff', store: of('redis'), marks }),
    of('redis') && guarded('by hand, Redis for each request', { guard: 'round trip', store: of('redis'), marks: 1000 }),
    full && guarded('guard, SQLite for each request', { guard: 'store', store: of('sqlite'), marks: marks / 10 }),
    of('redis') && guarded('guard, Redis for each request', { guard: 'store', store: of('redis'), marks: 1000 }),
    full && of('postgres') && guarded('guard, Postgres for each request', { guard: 'store', store: of('postgres'), marks: marks / 10 })
  ].filter(Boolean)

  log(`the guard, with ${marks} marks`)
  const results = await measure(subjects, { ...plan, log })
  for (const result of results) {
    const { parameters } = subjects.find(({ name }) => name === result.name)
    if (!['none', 'cutoff', 'round trip'].includes(parameters.guard)) result.marks = parameters.marks
  }
  return { marks, results, sweep: await sweep(marks, full ? 20 : 3, log) }
}

function subject (name, parameters) {
  return { name, file: 'guarded-route.js', parameters, afterwards: server => server.ask('run') }
}

function guarded (name, parameters) {
  return { ...subject(name, parameters), against: 'verifying alone' }
}

async function sweep (marks, seconds, log) {
  const server = await startSubject('sweeping-marks.js', { marks, seconds })
  const result = await server.ask('run')
  await server.end()
  log(`  the longest of ${result.calls} calls while ${marks} marks ran out: ${result.milliseconds.toFixed(2)} ms`)
  return { ...result, marks, seconds }
}
