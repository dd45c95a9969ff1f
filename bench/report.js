import { chart } from './svg.js'
import { median } from './statistics.js'

/** RESULTS.md: the report, and behind that of a full run what is to be said about it. */
export function document (results, remarks) {
  return report(results) + (results.full ? `\n${remarks}` : '')
}

/** The report as Markdown, from what the suites answered. */
export function report ({ machine, measured, plan, full, flows, sessions, openid, peers, guard, marks, growth, connections, everywhere, delivery, size, weight }) {
  return [
    heading(machine, measured, plan, full),
    ...flows === undefined ? [] : ['## Flows', methodNote, ...Object.entries(flows).map(flowSection)],
    ...sessions === undefined ? [] : ['## `sessionLogout`', sessionsNote, ...Object.entries(sessions).map(flowSection)],
    ...openid === undefined ? [] : ['## Receiving a logout token', openidNote, ...Object.entries(openid).map(flowSection), tripsSection(openid)],
    ...peers === undefined ? [] : [peerSection(peers)],
    ...guard === undefined ? [] : [guardSection(guard)],
    ...marks === undefined ? [] : [marksSection(marks)],
    ...growth === undefined ? [] : [growthSection(growth)],
    ...connections === undefined ? [] : [connectionsSection(connections)],
    ...everywhere === undefined ? [] : [everywhereSection(everywhere)],
    ...delivery === undefined ? [] : [deliverySection(delivery)],
    ...size === undefined ? [] : [sizeSection(size)],
    ...weight === undefined ? [] : [weightSection(weight)]
  ].join('\n\n') + '\n'
}

/** The curves, by file name. */
export function charts ({ growth, everywhere, marks }) {
  return {
    ...marks?.replicas !== undefined && {
      'growth-replicas.svg': chart({
        title: 'One mark, by the number of replicas that follow',
        x: 'replicas',
        y: 'CPU time of the server, in milliseconds',
        lines: linesOf(byReplicas(marks.replicas), ({ count, perMark }) => [count, perMark.median])
      })
    },
    ...marks?.loading !== undefined && {
      'growth-loading.svg': chart({
        title: 'Loading a replica, by the number of marks',
        x: 'marks',
        y: 'CPU time of the replica for a mark, in microseconds',
        lines: linesOf(marks.loading, ({ marks, cpu }) => [marks, 1000 * cpu / marks])
      })
    },
    ...marks?.checking !== undefined && {
      'growth-marks.svg': chart({
        title: 'One check, by the number of marks',
        x: 'marks',
        y: 'CPU time of a check, with a thousand = 1',
        lines: linesOf(marks.checking, ({ marks, check }) => [marks, check.ratio.median])
      })
    },
    ...Object.fromEntries(growthParts(growth).map(({ part, title, x, first, curves }) => [`growth-${part}.svg`, chart({
      title: `One logout, by the number of ${title}`,
      x,
      y: `CPU time of node and store, with ${first} = 1`,
      lines: Object.entries(curves).map(([name, points]) => ({ name, points: points.map(({ size, cost }) => [size, cost.ratio.median]) }))
    })])),
    ...everywhere !== undefined && {
      'growth-everywhere.svg': chart({
        title: 'Log out everywhere, by the number of the subject\'s sessions',
        x: 'sessions of the subject',
        y: 'milliseconds',
        lines: Object.entries(everywhere).map(([name, points]) => ({ name, points: points.map(({ sessions, milliseconds }) => [sessions, milliseconds]) }))
      })
    }
  }
}

function byReplicas (replicas) {
  return replicas.filter(({ count, name }) => count > 0 && name === undefined)
}

const methodNote = 'Each ratio is the median over the rounds, with its middle half in brackets. "By hand, again" is a second process of the same handler: what it differs from 1.00 is noise. "By hand, on the library\'s store" shows what of the difference is the store\'s.'

const openidNote = 'A logout token with `sid` and `sub`, signed with RS256, used once; relative to express-openid-connect. On both sides the token is verified with a key that was fetched before. fastify-logout then finds the sessions that were bound to the login and ends them in the session store. express-openid-connect writes down that the `sid` and the `sub` are logged out, which every later request of a session asks for, twice.'

const sessionsNote = 'Beside a logout route written by hand for the same host, with the same session plugin, marks and cookie: it refuses other sites, ends the session and clears the cookie. It does not find out whether this call ended a live session, negotiate pages, judge a return URL, or bound how long anything takes.'

function heading (machine, measured, plan, full) {
  const facts = [
    `Node ${machine.node} (V8 ${machine.v8}), ${machine.system}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory}; load average before the run ${machine.loadBefore}`,
    machine.pinned ? 'the server alone on one core; the load and the databases on another' : 'nothing pinned to a core: there is only one, or no `taskset`',
    machine.instructions ? 'instructions counted by `perf stat`, user mode' : 'instructions not counted: `perf stat` cannot count them on this machine',
    `for each launch ${plan.rounds} rounds of ${plan.seconds} s for each subject in turns, in new processes and after ${plan.warmUp} s of their CPU time to warm up; 50 kept-alive connections, logging off`,
    [...Object.entries(machine.servers), ...Object.entries(machine.packages)].map(([name, version]) => `${name} ${version}`).join(', ')
  ]
  return `# What a logout costs\n\nMade by \`npm run bench${full ? ' -- --full' : ''}\`: ${Object.entries(measured).map(([suite, { at, launches, load }]) => `${suite} ${at} with ${launches} launches${load === undefined ? '' : ` at load ${load}`}`).join(', ')}. Ratios repeat from machine to machine; the other figures do not.\n\n${facts.map(fact => `- ${fact}`).join('\n')}`
}

function flowSection ([title, { results }]) {
  const beside = results.filter(({ against }) => against !== 'fastify-logout')
  const ofStore = (cells) => results.some(({ storeCpu }) => storeCpu !== undefined) ? cells : []
  const head = ['', 'CPU', ...counted(results, ['instructions']), 'req/s', 'p50', 'p99', 'CPU, µs', ...ofStore(['CPU of the store, µs']), 'req/s', 'p50, ms', 'p99, ms']
  const rows = beside.map(result => {
    const [cpu, ...others] = absolute(result)
    return [
      result.name, ratio(result, 'cpu'), ...counted(results, [ratio(result, 'instructions')]), ratio(result, 'requestsPerSecond'),
      ratio(result, 'p50'), ratio(result, 'p99'), cpu, ...ofStore([result.storeCpu?.toFixed(1) ?? '']), ...others
    ]
  })
  return `### ${title}\n\n${table(head, rows)}`
}

function tripsSection (openid) {
  const rows = Object.values(openid).flatMap(({ kind, results }) => results
    .filter(({ commands }) => commands !== undefined)
    .map(({ name, commands, roundTrips }) => [kind, name, commands, roundTrips]))
  return table(['store', '', 'commands for a token', 'round trips, one after the other'], rows)
}

function peerSection (peers) {
  const rows = Object.values(peers).flatMap(({ kind, results }) => results
    .filter(({ against }) => against === 'fastify-logout')
    .map(result => [kind, result.name, `${inverse(result.ratios.requestsPerSecond)}x`, ratio(result, 'cpu'), ...absolute(result)]))
  return `## Peers\n\nHow many requests the Kratos-style logout answers while the peer answers one, on the same store; and the peer's CPU time by that of the flow.\n\n${
    table(['store', 'peer', 'fastify-logout is ahead', 'CPU of the peer', 'CPU, µs', 'req/s', 'p50, ms', 'p99, ms'], rows)}`
}

function guardSection ({ marks, results, sweep }) {
  const rows = results.map(result => [
    result.name, result.marks?.toLocaleString('en') ?? '', ratio(result, 'cpu'), ...counted(results, [ratio(result, 'instructions')]),
    ratio(result, 'requestsPerSecond'), result.bytesPerMark === undefined ? '' : result.bytesPerMark.toFixed(0)
  ])
  return `## The guard\n\nA route behind a fast-jwt verifier whose cache knows the token, relative to that alone. By hand are the ways of others: Keycloak pushes a cutoff for each user to its applications, or is asked about each token, and so is SuperTokens with \`checkDatabase\`; claims of SuperTokens that are checked once in so long let a revoked token live that long. Without any of them, SuperTokens verifies alone, and a revoked token lives until it expires.\n\n${
    table(['', 'marks', 'CPU', ...counted(results, ['instructions']), 'req/s', 'bytes per mark'], rows)}\n\nWhile ${marks.toLocaleString('en')} marks ran out within ${sweep.seconds} s, the longest of ${sweep.calls.toLocaleString('en')} calls took ${sweep.milliseconds.toFixed(2)} ms.`
}

function marksSection ({ loading, replicas, revoking, checking }) {
  return [
    '## Marks on many nodes',
    ...loading === undefined ? [] : loadingPart(loading),
    ...checking === undefined ? [] : checkingPart(checking),
    ...replicas === undefined ? [] : replicasPart(replicas),
    ...revoking === undefined ? [] : revokingPart(revoking)
  ].join('\n\n')
}

function loadingPart (loading) {
  return [
    'A replica of Redis or Postgres loads every mark at its start, and after a gap. "At once" is the longest turn of its event loop.',
    table(['store', 'marks', 'CPU, ms', 'CPU for a mark, µs', 'took, ms', 'at once, ms', 'bytes per mark'], loading.map(({ kind, marks, cpu, milliseconds, longest, bytes }) => [
      kind, marks.toLocaleString('en'), cpu.toFixed(0), (1000 * cpu / marks).toFixed(2), milliseconds.toFixed(0), longest.toFixed(1), (bytes / marks).toFixed(0)
    ])),
    `For each tenfold of marks, a mark takes ${slopes(loading, ({ marks }) => marks, ({ marks, cpu }) => cpu / marks)} of the CPU time.`,
    '![CPU time of a replica for each mark that it loads, by the number of marks](growth-loading.svg)'
  ]
}

function checkingPart (checking) {
  const rows = checking.map(({ kind, marks, check, revoke }) => [
    kind, marks.toLocaleString('en'),
    ...[check, revoke].flatMap(({ node, store, ratio }) => [node.median.toFixed(1), store?.median.toFixed(1) ?? '', shown(ratio)])
  ])
  const marksOf = ({ marks }) => marks
  return [
    'A check and a revocation, with so many marks in the store, by fifty callers at once: CPU time of the node and of the server, and both by those with the fewest marks.',
    table(['store', 'marks', 'a check: node, µs', 'server, µs', 'CPU', 'a revocation: node, µs', 'server, µs', 'CPU'], rows),
    `For each tenfold of marks, a check takes ${slopes(checking, marksOf, ({ check }) => check.ratio.median)} of the CPU time, and a revocation ${slopes(checking, marksOf, ({ revoke }) => revoke.ratio.median)}.`,
    '![CPU time of a check, by the number of marks](growth-marks.svg)'
  ]
}

function replicasPart (replicas) {
  return [
    'What the server spends on one mark, `revoke` included, and on replicas while nothing happens; and the time from the call of `revoke` until the replicas know the mark. All replicas are in one process, which takes the marks in turn. "Bare connections" are the floor: 50 that only listen while one message is sent, alone or with a row that is stored in the same commit, and that each write one row in 1.5 s, as often as a replica proves that it is complete. Of 20 marks at once, those in one commit wake each connection once.',
    table(['store', 'replicas', 'CPU of the server for a mark, ms', 'idle, % of a core', 'known after, ms', 'p99, ms'], replicas.map(({ kind, count, name, perMark, idle, p50, p99 }) => [
      kind, name ?? count, withSpread(perMark), withSpread(idle, 100), ...p50 === undefined ? ['', ''] : [p50.toFixed(2), p99.toFixed(2)]
    ])),
    `For each tenfold of replicas, a mark takes ${slopes(byReplicas(replicas), ({ count }) => count, ({ perMark }) => perMark.median)} of the server's CPU time.`,
    '![CPU time of the server for each mark, by the number of replicas](growth-replicas.svg)'
  ]
}

function revokingPart (revoking) {
  return [
    'Callers that revoke at once, each one token after the other, through one client; and how long a `check` takes meanwhile.',
    table(['store', 'callers', 'revoked each second', 'check, p50, ms', 'p99, ms'], revoking.map(({ kind, callers, perSecond, check }) => [
      kind, callers, Math.round(perSecond).toLocaleString('en'), check.p50.toFixed(2), check.p99.toFixed(2)
    ]))
  ]
}

function withSpread ({ median, low, high }, factor = 1) {
  return `${(factor * median).toFixed(2)} (${(factor * low).toFixed(2)} to ${(factor * high).toFixed(2)})`
}

function slopes (points, x, y) {
  return [...new Set(points.map(({ kind }) => kind))].map(name => `${slope(points.filter(({ kind }) => kind === name), x, y)} on ${name}`).join(', ')
}

function linesOf (points, place) {
  return [...new Set(points.map(({ kind }) => kind))].map(name => ({ name, points: points.filter(({ kind }) => kind === name).map(place) }))
}

function growthSection (growth) {
  return [
    '## Growth',
    'What a logout costs by how much a store keeps: waves of fifty logouts at once, called on the store itself. CPU time of the node and of the server, and both by those in the first line of a store; all sizes in turns. Slope: what that grows by for each tenfold, from the first line to the last.',
    ...growthParts(growth).flatMap(({ part, note, x, curves }) => [
      note,
      `![CPU time of a logout, by the number of ${x}](growth-${part}.svg)`,
      table(['store', x, 'users', 'node, µs', 'server, µs', 'CPU', 'slope'], growthRows(curves))
    ])
  ].join('\n\n')
}

function growthParts (growth = {}) {
  return [
    { part: 'sessions', title: 'sessions in the store', x: 'sessions', first: 'a thousand', note: 'By the number of sessions in the store.' },
    { part: 'subjects', title: 'sessions of its user', x: 'sessions of the user', first: 'one', note: 'By the number of sessions that each user has, in a store of 100,000.' },
    { part: 'tenants', title: 'tenants', x: 'tenants', first: 'one', note: 'By the number of tenants, in the store of user statuses.' }
  ].filter(({ part }) => growth[part] !== undefined).map(one => ({ ...one, curves: growth[one.part] }))
}

function growthRows (curves) {
  return Object.entries(curves).flatMap(([kind, points]) => points.map(({ size, users, cost: { node, store, ratio } }, place) => [
    kind, size.toLocaleString('en'), users?.toLocaleString('en') ?? '', node.median.toFixed(1), store?.median.toFixed(1) ?? '', shown(ratio),
    place === points.length - 1 ? slope(points, one => one.size, one => one.cost.ratio.median) : ''
  ]))
}

/** The factor for each tenfold between the first point and the last one. */
function slope (points, x, y) {
  const [first, last] = [points[0], points.at(-1)]
  return `${((y(last) / y(first)) ** (1 / Math.log10(x(last) / x(first)))).toFixed(2)}x`
}

function connectionsSection (connections) {
  const rows = connections.flatMap(({ kind, connections, results }) => results.map(result => [
    kind, connections.toLocaleString('en'), result.name, ratio(result, 'cpu'), ratio(result, 'storeCpu'), ratio(result, 'p50'), ratio(result, 'p99'), ...absolute(result)
  ]))
  return `## Connections

Kratos-style logouts over a thousand connections, and over a lone one, each request after the answer to the one before.

${table(['store', 'connections', '', 'CPU', 'CPU of the store', 'p50', 'p99', 'CPU, µs', 'req/s', 'p50, ms', 'p99, ms'], rows)}`
}

function everywhereSection (everywhere) {
  const rows = Object.entries(everywhere).flatMap(([kind, points]) => points.map((point, place) => [
    kind, point.sessions.toLocaleString('en'), point.milliseconds.toFixed(3), `${point.low.toFixed(3)} to ${point.high.toFixed(3)}`,
    place === points.length - 1 ? slope(points, ({ sessions }) => sessions, ({ milliseconds }) => milliseconds) : ''
  ]))
  return `## Logging out everywhere

![Log out everywhere by the number of the subject's sessions](growth-everywhere.svg)

${table(['store', 'sessions of the subject', 'ms', 'middle half', 'slope'], rows)}`
}

function deliverySection (delivery) {
  const kinds = [...new Set(delivery.map(({ kind }) => kind))]
  const rows = kinds.map(kind => {
    const launches = delivery.filter(result => result.kind === kind)
    const middle = member => median(launches.map(result => result[member])).toFixed(0)
    return [kind, middle('deliveriesPerSecond'), middle('notifyMicroseconds'), middle('notifyCpuMicroseconds')]
  })
  return `## Deliveries to other applications

Signed webhooks to a server in the same process, over a connection of its own each, at most 50 at once; and what one \`notify\` of one application adds to a logout, one after the other.

${table(['queue', 'deliveries a second', 'a `notify`, µs', 'its CPU, µs'], rows)}`
}

function sizeSection (size) {
  const rows = size.map(({ kind, count, session, mark }) => [kind, count.toLocaleString('en'), session.toFixed(0), mark.toFixed(0)])
  return `## Size

Bytes for each session and for each mark, indexes included: memory of Redis, tables of the SQL databases, the file of SQLite. Two sessions to a user, ids of 22 characters, no device data.

${table(['store', 'sessions and marks', 'bytes for a session', 'bytes for a mark'], rows)}`
}

function weightSection ({ nodeMilliseconds, results, first, memory }) {
  const imports = table(['', 'import, by Fastify\'s', 'ms', 'files', 'packages', 'MB'],
    results.map(({ name, importRatio, importMilliseconds, files, packages, megabytes }) => [
      name, `${importRatio.toFixed(2)}x`, importMilliseconds.toFixed(0), files ?? '', packages, megabytes.toFixed(1)
    ]))
  return [
    `## Weight\n\nCPU time of the import, less the ${nodeMilliseconds.toFixed(0)} ms of Node's own start; files that it loads; packages and megabytes of a production install. What the flow imports from other packages is its floor.`,
    imports,
    ...first === undefined
      ? []
      : [
          'A lone Kratos-style logout, in memory, in a process that has answered no request yet, and after a thousand. Bare Fastify and the handler by hand are its floor.',
          table(['', 'first, ms', 'warm, ms', 'first by warm'], first.map(({ name, first, warm }) => [name, withSpread(first), warm.toFixed(3), `${(first.median / warm).toFixed(0)}x`]))
        ],
    ...memory === undefined
      ? []
      : [
          'Sessions in memory: bytes for each, in the store (which also finds them by id and by user) and in a Map from the digest of the token to the session.',
          table(['sessions', 'users', 'memorySessionStore', 'Map', 'by the Map'], memory.map(({ count, subjects, map, store }) => [
            count.toLocaleString('en'), subjects.toLocaleString('en'), store.toFixed(0), map.toFixed(0), `${(store / map).toFixed(2)}x`
          ]))
        ]
  ].join('\n\n')
}

function counted (results, cells) {
  return results.some(({ instructions }) => instructions !== undefined) ? cells : []
}

function ratio ({ ratios }, metric) {
  if (ratios === undefined) return '1'
  return ratios[metric] === undefined ? '' : shown(ratios[metric])
}

function shown ({ median, low, high }) {
  return `**${median.toFixed(2)}** (${low.toFixed(2)} to ${high.toFixed(2)})`
}

function inverse ({ median }) {
  return (1 / median).toFixed(1)
}

function absolute ({ cpu, requestsPerSecond, p50, p99 }) {
  return [cpu.toFixed(1), Math.round(requestsPerSecond).toLocaleString('en'), p50.toFixed(2), p99.toFixed(2)]
}

function table (head, rows) {
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}
