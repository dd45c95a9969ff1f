import { setTimeout as sleep } from 'node:timers/promises'
import { startSubject } from '../server-process.js'
import { canReadUsage, usageOf } from '../server-usage.js'
import { median, quantile, spread } from '../statistics.js'

const kinds = ['redis', 'postgres']

/**
 * What following costs: loading marks, one more mark, doing nothing, by the number of replicas, beside connections that only
 * listen and write; and revoking under load.
 */
export async function marks ({ servers, plan, full, log }) {
  const present = kinds.filter(kind => servers.storeAt(kind) !== undefined)
  const results = { loading: [], replicas: [], revoking: [] }
  for (const kind of present) {
    const context = { servers, plan, full, log, kind }
    results.revoking.push(...await revoking(context))
    results.replicas.push(...canReadUsage ? await replicas(context) : [])
    results.loading.push(...await loading(context))
  }
  return results
}

async function loading ({ servers, full, log, kind }) {
  const results = []
  for (const [place, marks] of (full ? [100_000, 300_000, 1_000_000] : [100_000, 1_000_000]).entries()) {
    const parameters = { store: { ...servers.storeAt(kind), database: 10 + place } }
    const ask = async (command) => {
      const server = await startSubject('loading-marks.js', parameters)
      const result = await server.ask('run', { command, marks })
      await server.end()
      return result
    }
    await ask('fill')
    const result = { kind, marks, ...await ask('load'), ...await ask('watchLoading') }
    log(`loading ${marks} marks, ${kind}: ${result.cpu.toFixed(0)} ms of CPU time in ${result.milliseconds.toFixed(0)} ms, at most ${result.longest.toFixed(1)} ms at once`)
    results.push(result)
  }
  return results
}

async function replicas ({ servers, plan, full, log, kind }) {
  const results = []
  const { pid } = servers.storeAt(kind)
  const subjects = (full ? [0, 1, 10, 50, 100] : [1, 50]).map(count => ({ file: 'replicas.js', count }))
  for (const { file, count } of [...subjects, { file: 'bare-connections.js', count: 50 }]) {
    const isBare = file === 'bare-connections.js'
    const server = await startSubject(file, { store: { ...servers.storeAt(kind), database: 1 }, count })
    await server.ask('run', { marks: 50, pause: 0 })
    const rounds = []
    for (let round = 0; round < plan.launches * plan.rounds; round++) {
      const idle = await usageWhile(pid, () => sleep(1000))
      const busy = await usageWhile(pid, () => server.ask('run', { marks: marksOfRound, pause: 20 }))
      const perMark = (busy.cpu - idle.cpu / idle.microseconds * busy.microseconds) / marksOfRound / 1000
      rounds.push({ idle: idle.cpu / idle.microseconds, perMark, delays: busy.result })
    }
    await server.end()
    const delays = isBare ? [] : rounds.flatMap(round => round.delays)
    const result = {
      kind,
      count,
      isBare,
      idle: spread(rounds.map(round => round.idle)),
      perMark: spread(rounds.map(round => round.perMark)),
      ...(delays.length > 0 && { p50: median(delays), p99: quantile(delays, 0.99) })
    }
    log(`${count} ${isBare ? 'bare connections' : 'replicas'}, ${kind}: ${result.perMark.median.toFixed(2)} ms of the server's CPU time for a mark, ${(100 * result.idle.median).toFixed(2)} % of a core when idle` +
      (delays.length > 0 ? `, known after ${result.p50.toFixed(2)} ms, p99 ${result.p99.toFixed(2)} ms` : ''))
    results.push(result)
  }
  return results
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

async function usageWhile (pid, work) {
  const begun = performance.now()
  const before = usageOf(pid)
  const result = await work()
  return { cpu: usageOf(pid) - before, microseconds: (performance.now() - begun) * 1000, result }
}
