import { setTimeout as sleep } from 'node:timers/promises'
import { startSubject } from '../server-process.js'
import { canReadUsage, usageWhile } from '../server-usage.js'
import { costs, median, quantile, spread } from '../statistics.js'
import { emptyPlace } from '../subjects/clients.js'

const servers = ['redis', 'postgres']

/** The parts of this suite. */
export const parts = ['revoking', 'replicas', 'checking', 'loading']

/**
 * What following costs: loading marks, one more mark, doing nothing, by the number of replicas, beside connections that only
 * listen and write; what a check and a revocation cost, by the number of marks; and revoking under load.
 */
export async function marks (context) {
  const results = {}
  for (const part of context.parts ?? parts) {
    results[part] = []
    for (const kind of part === 'checking' ? ['memory', 'sqlite', ...servers] : servers) {
      if (context.servers.storeAt(kind) !== undefined) results[part].push(...await measuring[part]({ ...context, kind }))
    }
  }
  return results
}

const measuring = { revoking, replicas: context => canReadUsage ? replicas(context) : [], checking, loading }

/** A check and a revocation, with so many marks in the store; the stores of all sizes in turns. */
async function checking ({ servers, plan, full, log, kind }) {
  const sizes = full ? [1_000, 10_000, 100_000, 1_000_000, ...kind === 'sqlite' ? [] : [10_000_000]] : [1_000, 100_000]
  const { pid } = servers.storeAt(kind)
  const running = []
  try {
    for (const [place, marks] of sizes.entries()) {
      const store = pid === undefined ? servers.storeAt(kind) : { ...servers.storeAt(kind), database: 10 + place }
      if (pid !== undefined) await fill(store, marks)
      running.push({ marks, store, server: await startSubject('checking-marks.js', { store, marks }), check: [], revoke: [] })
    }
    for (let round = -1; round < plan.launches * plan.rounds; round++) {
      for (const one of round % 2 === 0 ? running : running.toReversed()) {
        for (const command of ['check', 'revoke']) {
          const { cpu, result } = await usageWhile(pid, () => one.server.ask('run', { command, calls: callsOfRound }))
          if (round >= 0) one[command].push({ node: result, store: cpu / callsOfRound })
        }
      }
    }
  } finally {
    for (const { server } of running) await server.end()
    for (const { store } of running) await emptyPlace(store)
  }
  return running.map(({ marks, check, revoke }) => {
    const result = { kind, marks, check: costs(check, running[0].check, pid), revoke: costs(revoke, running[0].revoke, pid) }
    log(`${marks} marks, ${kind}: a check takes ${result.check.node.median.toFixed(1)} µs, ${result.check.store?.median.toFixed(1) ?? 0} of the store, a revocation ${result.revoke.node.median.toFixed(1)} and ${result.revoke.store?.median.toFixed(1) ?? 0}`)
    return result
  })
}

const callsOfRound = 5000

async function fill (store, marks) {
  const server = await startSubject('loading-marks.js', { store })
  await server.ask('run', { command: 'fill', marks })
  await server.end()
}

async function loading ({ servers, full, log, kind }) {
  const results = []
  for (const [place, marks] of (full ? [100_000, 300_000, 1_000_000, 10_000_000] : [100_000, 1_000_000]).entries()) {
    const store = { ...servers.storeAt(kind), database: 10 + place }
    const ask = async (command) => {
      const server = await startSubject('loading-marks.js', { store })
      const result = await server.ask('run', { command, marks })
      await server.end()
      return result
    }
    await fill(store, marks)
    const result = { kind, marks, ...await ask('load'), ...await ask('watchLoading') }
    await emptyPlace(store)
    log(`loading ${marks} marks, ${kind}: ${result.cpu.toFixed(0)} ms of CPU time in ${result.milliseconds.toFixed(0)} ms, at most ${result.longest.toFixed(1)} ms at once`)
    results.push(result)
  }
  return results
}

async function replicas ({ servers, plan, full, log, kind }) {
  const results = []
  const { pid } = servers.storeAt(kind)
  for (const { name, file = 'replicas.js', count, parameters, together = 1 } of following(full)) {
    const server = await startSubject(file, { store: { ...servers.storeAt(kind), database: 1 }, count, ...parameters })
    await server.ask('run', { marks: 60, pause: 0, together })
    const rounds = []
    for (let round = 0; round < plan.launches * plan.rounds; round++) {
      const idle = await usageWhile(pid, () => sleep(1000))
      const busy = await usageWhile(pid, () => server.ask('run', { marks: marksOfRound, pause: 20, together }))
      const perMark = (busy.cpu - idle.cpu / idle.microseconds * busy.microseconds) / marksOfRound / 1000
      rounds.push({ idle: idle.cpu / idle.microseconds, perMark, delays: busy.result })
    }
    await server.end()
    const delays = name === undefined ? rounds.flatMap(round => round.delays) : []
    const result = {
      kind,
      count,
      ...name !== undefined && { name },
      idle: spread(rounds.map(round => round.idle)),
      perMark: spread(rounds.map(round => round.perMark)),
      ...(delays.length > 0 && { p50: median(delays), p99: quantile(delays, 0.99) })
    }
    log(`${name ?? `${count} replicas`}, ${kind}: ${result.perMark.median.toFixed(2)} ms of the server's CPU time for a mark, ${(100 * result.idle.median).toFixed(2)} % of a core when idle` +
      (delays.length > 0 ? `, known after ${result.p50.toFixed(2)} ms, p99 ${result.p99.toFixed(2)} ms` : ''))
    results.push(result)
  }
  return results
}

/** By the number of replicas, then what has a name of its own: many marks at once, and the floor. */
function following (full) {
  return [
    ...(full ? [0, 1, 10, 50, 100] : [1, 50]).map(count => ({ count })),
    { name: '50 replicas, 20 marks at once', count: 50, together: 20 },
    { name: '50 bare connections, a message', file: 'bare-connections.js', count: 50 },
    { name: '50 bare connections, a message with a row', file: 'bare-connections.js', count: 50, parameters: { kept: true } }
  ]
}

const marksOfRound = 40

async function revoking ({ servers, full, log, kind }) {
  const results = []
  const server = await startSubject('revoking.js', { store: { ...servers.storeAt(kind), database: 2 } })
  await server.ask('run', { callers: 50, seconds: 1 })
  for (const callers of [0, 1, 50, 500]) {
    const result = { kind, callers, ...await server.ask('run', { callers, seconds: full ? 4 : 1 }) }
    log(`${callers} callers, ${kind}: ${result.perSecond.toFixed(0)} revoked each second, a check meanwhile ${result.check.p50.toFixed(2)} ms, p99 ${result.check.p99.toFixed(2)} ms`)
    results.push(result)
  }
  await server.end()
  return results
}
