import { openConnections, sendAll } from './http-load.js'
import { countInstructions } from './instructions.js'
import { startSubject } from './server-process.js'
import { canReadUsage, usageOf } from './server-usage.js'
import { median, quantile, spread } from './statistics.js'

/**
 * Measures subjects side by side: each in a process of its own, one round after the other in turns, so that what the
 * machine does meanwhile meets all of them alike. Ratios are taken per round, against the subject at `against`.
 * Before that, each is warmed up for this many seconds of its own CPU time, so that its code is compiled. All of this
 * as often as there are launches: no two processes of the same code are quite equally fast.
 *
 * @param {{ name: string, file: string, parameters?: object, against?: string }[]} subjects
 * @param {{ launches: number, rounds: number, seconds: number, warmUp: number, connections?: number, log: (line: string) => void }} plan
 */
export async function measure (subjects, { launches, rounds, log, ...plan }) {
  const measured = subjects.map(subject => ({ subject, rounds: [] }))
  for (let launch = 0; launch < launches; launch++) {
    const running = []
    try {
      for (const { subject } of measured) {
        running.push({ subject, server: await startSubject(subject.file, subject.parameters), seeded: (launch * subjects.length + running.length) * tokensEach, rounds: [], perRound: 0 })
      }
      // After the last of them has its marks and sessions: of a process that waits, V8 forgets what it compiled.
      for (const one of running) await warmUpOne(one, plan)
      shareRoundSizes(running)
      for (let round = 0; round < rounds; round++) {
        for (const one of round % 2 === 0 ? running : running.toReversed()) one.rounds.push(await runRound(one, one.perRound, plan.connections))
      }
      for (const one of running) one.more = await one.subject.afterwards?.(one.server)
    } finally {
      await Promise.all(running.map(({ server }) => server.end()))
    }
    for (const [place, one] of running.entries()) {
      measured[place].rounds.push(...one.rounds)
      measured[place].more = one.more
    }
  }
  const results = measured.map(one => summary(one, measured))
  for (const result of results) log(`  ${result.name}: ${Math.round(result.requestsPerSecond)} req/s, ${result.cpu.toFixed(1)} µs CPU${result.ratios === undefined ? '' : `, ${result.ratios.cpu.median.toFixed(2)}x CPU`}`)
  return results
}

/** How many tokens are set apart for each process. */
const tokensEach = 10_000_000

async function warmUpOne (one, { seconds, warmUp, connections }) {
  let count = 100
  for (let spent = 0; spent < warmUp;) {
    const { requestsPerSecond, cpu } = await runRound(one, count, connections)
    spent += cpu * count / 1e6
    count = Math.min(Math.ceil(requestsPerSecond * seconds), one.server.most)
  }
  one.perRound = count
}

/** Subjects that are about as fast as the one they are compared with send as many requests as it does: what a round costs besides them weighs the same. */
function shareRoundSizes (running) {
  for (const base of running) {
    const alike = running.filter(({ subject, perRound }) => subject.against === base.subject.name && perRound > base.perRound / 2 && perRound < base.perRound * 2)
    const smallest = Math.min(base.perRound, ...alike.map(({ perRound }) => perRound))
    for (const one of [base, ...alike]) one.perRound = smallest
  }
}

async function runRound (one, count, connections = 50) {
  const { server, subject } = one
  const from = one.seeded
  one.seeded += count
  const requests = await server.ask('seed', { from, count })
  const sockets = await openConnections(server.port, connections)
  const counted = await countInstructions(server.pid)
  const storeUsage = usageOfStore(subject)
  const before = await server.ask('usage')
  const { seconds, latencies } = await sendAll(sockets, requests, server.status)
  const after = await server.ask('usage')
  const storeCpu = storeUsage?.()
  const instructions = await counted()
  for (const socket of sockets) socket.destroy()
  for (const index of [from, from + count - 1]) {
    if (!await server.ask('isOver', { index })) throw new Error(`${subject.name} answered, but did not log out`)
  }
  return {
    seconds,
    requestsPerSecond: count / seconds,
    cpu: (after.microseconds - before.microseconds) / count,
    ...(storeCpu !== undefined && { storeCpu: storeCpu / count }),
    ...(instructions !== undefined && { instructions: instructions / count }),
    p50: median(latencies),
    p99: quantile(latencies, 0.99)
  }
}

/** Makes a function that returns what the database has used since, in microseconds; `undefined` where the store is no server. */
function usageOfStore ({ parameters }) {
  const { pid } = parameters?.store ?? {}
  if (pid === undefined || !canReadUsage) return undefined
  const before = usageOf(pid)
  return () => usageOf(pid) - before
}

const metrics = ['cpu', 'storeCpu', 'instructions', 'requestsPerSecond', 'p50', 'p99']

function summary ({ subject, rounds, more }, running) {
  const { name, against } = subject
  const base = running.find(({ subject }) => subject.name === against)
  const present = metrics.filter(metric => rounds[0]?.[metric] !== undefined)
  return {
    name,
    ...more,
    ...Object.fromEntries(present.map(metric => [metric, median(rounds.map(round => round[metric]))])),
    ...(base !== undefined && {
      against,
      ratios: Object.fromEntries(present.map(metric => [metric, spread(rounds.map((round, index) => round[metric] / base.rounds[index][metric]))]))
    })
  }
}
