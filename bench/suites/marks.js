import { setTimeout as sleep } from 'node:timers/promises'
import { startSubject } from '../server-process.js'
import { canReadUsage, usageOf } from '../server-usage.js'
import { median, quantile } from '../statistics.js'

const kinds = ['redis', 'postgres']

/** What following costs: loading marks, one more mark, doing nothing, by the number of replicas; and revoking under load. */
export async function marks ({ servers, full, log }) {
  const present = kinds.filter(kind => servers.storeAt(kind) !== undefined)
  const results = { loading: [], replicas: [], revoking: [] }
  for (const kind of present) {
    const context = { servers, full, log, kind }
    results.revoking.push(...await revoking(context))
    results.replicas.push(...canReadUsage ? await replicas(context) : [])
    results.loading.push(...await loading(context))
  }
  return results
}

async function loading ({ servers, full, log, kind }) {
  const results = []
  for (const [place, marks] of (full ? [100_000, 300_000, 1_000_000, 3_000_000] : [100_000]).entries()) {
    const parameters = { store: { ...servers.storeAt(kind), database: 10 + place } }
    const filler = await startSubject('loading-marks.js', parameters)
    await filler.ask('run', { command: 'fill', marks })
    await filler.end()
    const server = await startSubject('loading-marks.js', parameters)
    const result = { kind, marks, ...await server.ask('run', { command: 'load' }) }
    await server.end()
    log(`loading ${marks} marks, ${kind}: ${result.cpu.toFixed(0)} ms of CPU time in ${result.milliseconds.toFixed(0)} ms, at most ${result.longest.toFixed(1)} ms at once`)
    results.push(result)
  }
  return results
}

async function replicas ({ servers, full, log, kind }) {
  const results = []
  const { pid } = servers.storeAt(kind)
  for (const count of full ? [0, 1, 10, 50, 100] : [1, 10]) {
    const server = await startSubject('replicas.js', { store: { ...servers.storeAt(kind), database: 1 }, count })
    const plan = full ? { marks: 400, pause: 20 } : { marks: 100, pause: 10 }
    await server.ask('run', { marks: 50, pause: 0 })
    const idle = await usageWhile(pid, () => sleep(full ? 10_000 : 2000))
    const busy = await usageWhile(pid, () => server.ask('run', plan))
    await server.end()
    const result = {
      kind,
      count,
      idle: idle.cpu / idle.microseconds,
      perMark: (busy.cpu - idle.cpu / idle.microseconds * busy.microseconds) / plan.marks / 1000,
      ...(count > 0 && { p50: median(busy.result), p99: quantile(busy.result, 0.99) })
    }
    log(`${count} replicas, ${kind}: ${result.perMark.toFixed(2)} ms of the server's CPU time for a mark, ${(100 * result.idle).toFixed(2)} % of a core when idle` +
      (count > 0 ? `, known after ${result.p50.toFixed(2)} ms, p99 ${result.p99.toFixed(2)} ms` : ''))
    results.push(result)
  }
  return results
}

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
