// What so many users need, computed from the results: the table of docs/scaling.md.

/** What the table takes for granted. Who differs scales the rows. */
export const assumed = { sessionsOfUser: 2, logoutsOfUserPerDay: 1, peakByMean: 10, share: 0.5, tokenMinutes: 15, replicas: 10, replicasMost: 50 }

const titles = { redis: 'Redis', postgres: 'Postgres', mysql: 'MariaDB' }

/** The table, as Markdown. */
export function sizingTable ({ flows, size, guard, marks }) {
  const flow = kind => flows[`Kratos-style logout, ${kind}`].results.find(({ name }) => name === 'fastify-logout')
  const bytes = kind => size.find(one => one.kind === kind)
  const replica = guard.results.find(({ name }) => name === 'guard, replica of Redis')
  const loading = kind => marks.loading.filter(one => one.kind === kind).at(-1)
  const perMark = (kind, count) => marks.replicas.find(one => one.kind === kind && one.count === count && one.name === undefined).perMark.median
  const rows = [1e6, 1e7, 1e8].map(users => {
    const sessions = users * assumed.sessionsOfUser
    const mean = users * assumed.logoutsOfUserPerDay / 86_400
    const peak = mean * assumed.peakByMean
    const alive = peak * assumed.tokenMinutes * 60
    return { users, sessions, peak, alive }
  })
  const cores = (rate, microseconds) => rate * microseconds / 1e6 / assumed.share
  const marksOf = kind => rows.map(({ peak }) => `${amount(cores(peak, 1000 * perMark(kind, assumed.replicas)))} / ${amount(cores(peak, 1000 * perMark(kind, assumed.replicasMost)))}`)

  return table(['', ...rows.map(({ users }) => `${(users / 1e6).toLocaleString('en')} million users`)], [
    ['sessions', ...rows.map(({ sessions }) => sessions.toLocaleString('en'))],
    ['logouts a second, in the busiest minutes', ...rows.map(({ peak }) => Math.round(peak).toLocaleString('en'))],
    ...['redis', 'postgres', 'mysql'].map(kind => [
      `cores of nodes for logouts, on ${titles[kind]} (${flow(kind).cpu.toFixed(0)} µs each)`, ...rows.map(({ peak }) => amount(cores(peak, flow(kind).cpu)))
    ]),
    ...['redis', 'postgres', 'mysql'].map(kind => [
      `cores of ${titles[kind]} for logouts (${flow(kind).storeCpu.toFixed(0)} µs each)`, ...rows.map(({ peak }) => amount(cores(peak, flow(kind).storeCpu)))
    ]),
    ...['redis', 'postgres', 'mysql'].map(kind => [
      `sessions in ${titles[kind]} (${bytes(kind).session.toFixed(0)} bytes each)`, ...rows.map(({ sessions }) => gigabytes(sessions * bytes(kind).session))
    ]),
    ['marks alive, if each logout makes one', ...rows.map(({ alive }) => Math.round(alive).toLocaleString('en'))],
    [`their memory on each node with a replica (${replica.bytesPerMark.toFixed(0)} bytes each)`, ...rows.map(({ alive }) => gigabytes(alive * replica.bytesPerMark))],
    ...['redis', 'postgres'].map(kind => [
      `CPU time of a replica that loads them from ${titles[kind]} (${(1000 * loading(kind).cpu / loading(kind).marks).toFixed(1)} µs each)`,
      ...rows.map(({ alive }) => seconds(alive * loading(kind).cpu / loading(kind).marks / 1000))
    ]),
    ...['redis', 'postgres'].map(kind => [
      `cores of ${titles[kind]} for marks, with ${assumed.replicas} / ${assumed.replicasMost} replicas (${perMark(kind, assumed.replicas).toFixed(2)} / ${perMark(kind, assumed.replicasMost).toFixed(2)} ms each)`, ...marksOf(kind)
    ])
  ])
}

function amount (value) {
  return value >= 10 ? Math.ceil(value).toLocaleString('en') : value >= 0.1 ? value.toFixed(1) : 'under 0.1'
}

function gigabytes (bytes) {
  return bytes >= 1e9 ? `${amount(bytes / 1e9)} GB` : `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`
}

function seconds (value) {
  return value >= 1 ? `${amount(value)} s` : `${Math.ceil(1000 * value)} ms`
}

function table (head, rows) {
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}
