// The sentences of the docs that have figures, each with the figures from the results.
import { assumed } from './sizing.js'
import { median } from './statistics.js'

/** For each page its sentences: the texts between the figures, and the figures. */
export function figures (results) {
  return { 'docs/benchmarks.md': benchmarks(results), 'docs/scaling.md': scaling(results), 'docs/stores.md': stores(results) }
}

function figure (texts, ...values) {
  return { texts: [...texts], values: values.map(String) }
}

function benchmarks ({ flows, sessions, openid, guard, delivery }) {
  const added = Object.values(sessions).map(({ results }) => named(results, 'fastify-logout').cpu - named(results, 'by hand').cpu)
  const received = Object.values(openid).map(({ results }) => named(results, 'fastify-logout').ratios.cpu.median)
  const of = name => ratioOf(named(flows[name].results, 'fastify-logout'))
  const replica = named(guard.results, 'guard, replica of Redis')
  const queue = kind => delivery.filter(one => one.kind === kind)
  const notify = kind => median(queue(kind).map(one => one.notifyCpuMicroseconds))
  const perSecond = ['memory', 'sqlite', 'bullmq', 'pg-boss'].map(kind => median(queue(kind).map(one => one.deliveriesPerSecond)))
  return [
    figure`In memory, a logout takes ${of('Kratos-style logout, memory')} (Kratos-style), ${of('Tenant-status-style logout, memory')} (tenant-status-style) or ${of('SigningHub-style logout, memory')} (SigningHub-style) of the CPU time of a handler written by hand for the same wire`,
    figure`\`sessionLogout\` takes ${Math.round(Math.min(...added))} to ${Math.round(Math.max(...added))} µs more`,
    figure`under load a Kratos-style logout takes ${of('Kratos-style logout, postgres')} of the CPU time on Postgres and ${of('Kratos-style logout, mysql')} on MariaDB`,
    figure`To receive a logout token takes ${Math.min(...received).toFixed(2)} to ${Math.max(...received).toFixed(2)} of what express-openid-connect takes`,
    figure`The guard with a replica takes ${ratioOf(replica)} of the CPU time of verifying the token alone, and its million marks take ${replica.bytesPerMark.toFixed(0)} megabytes`,
    figure`adds ${notify('memory').toFixed(0)} µs of CPU time to a logout with a queue in memory, ${notify('sqlite').toFixed(0)} µs on SQLite, ${(notify('bullmq') / 1000).toFixed(1)} ms on BullMQ and ${(notify('pg-boss') / 1000).toFixed(1)} ms on pg-boss`,
    figure`one process then delivers ${hundreds(Math.min(...perSecond))} to ${hundreds(Math.max(...perSecond))} messages a second`
  ]
}

function scaling ({ flows, size, guard, marks, weight, growth }) {
  const bytes = kind => size.find(one => one.kind === kind)
  const gigabytes = kind => Math.ceil(1e8 * assumed.sessionsOfUser * bytes(kind).session / 1e9)
  const perMark = (kind, count) => marks.replicas.find(one => one.kind === kind && one.count === count && one.name === undefined).perMark.median
  const perSecond = count => hundreds(1000 / perMark('redis', count))
  const loading = kind => marks.loading.filter(one => one.kind === kind).at(-1)
  const microseconds = kind => (1000 * loading(kind).cpu / loading(kind).marks).toFixed(1)
  const storeCpu = kind => named(flows[`Kratos-style logout, ${kind}`].results, 'fastify-logout').storeCpu
  const inMemory = weight.memory.map(({ store }) => store)
  const most = kind => growth.sessions[kind].at(-1).size.toLocaleString('en')
  const [redis, postgres, sqlite] = ['redis', 'postgres', 'sqlite'].map(most)
  return [
    figure`The guard with a replica adds little to a request (${ratioOf(named(guard.results, 'guard, replica of Redis'))} of verifying the token alone)`,
    figure`${thousands(named(flows['Kratos-style logout, sqlite'].results, 'fastify-logout').requestsPerSecond)} logouts a second by one process, ${(bytes('sqlite').session / 1000).toFixed(1)} GB for each million sessions`,
    figure`sessions in Redis need ${gigabytes('redis')} GB, so a cluster of ${Math.ceil(gigabytes('redis') / 16)} servers of 32 GB, half full`,
    figure`In Postgres or MariaDB they need ${gigabytes('mysql')} to ${gigabytes('postgres')} GB of one server`,
    figure`${Math.min(...inMemory).toFixed(0)} to ${Math.max(...inMemory).toFixed(0)} bytes for each session, so two million sessions, which is a million users, take ${(2e6 * Math.max(...inMemory) / 1e9).toFixed(1)} GB, in one process`,
    figure`${perSecond(10)} marks a second with 10 replicas, ${perSecond(50)} with 50, ${perSecond(100)} with 100. Postgres takes ${perMark('postgres', 10).toFixed(2)} ms of a core for a mark with 10 replicas and ${perMark('postgres', 100).toFixed(1)} ms with 100`,
    figure`one round trip for each request (${ratioOf(named(guard.results, 'guard, Redis for each request'))} of verifying alone on Redis)`,
    figure`With tokens of 30 days instead of ${assumed.tokenMinutes} minutes, 10 million users keep ${(10 * assumed.logoutsOfUserPerDay * 30).toLocaleString('en')} million marks alive`,
    figure`every mark: ${microseconds('redis')} µs of CPU time for each from Redis and ${microseconds('postgres')} from Postgres, so ${Math.round(10 * microseconds('redis'))} and ${Math.round(10 * microseconds('postgres'))} seconds for the ten million marks`,
    figure`Postgres and MariaDB take ${storeCpu('postgres').toFixed(0)} and ${storeCpu('mysql').toFixed(0)} µs of a core for each`,
    figure`more than ${redis} sessions in Redis, ${postgres} in Postgres and ${sqlite} in SQLite, more than ${Math.max(...marks.loading.map(one => one.marks)).toLocaleString('en')} marks, more than ${Math.max(...marks.replicas.map(({ count }) => count))} replicas`
  ]
}

function stores ({ size, weight, guard }) {
  const bytes = kind => size.find(one => one.kind === kind)
  const { mark } = bytes('redis')
  const inMemory = weight.memory.map(({ store }) => store)
  const replica = named(guard.results, 'guard, replica of Redis')
  const row = of => ['sqlite', 'postgres', 'mysql', 'redis'].map(kind => of(bytes(kind)).toFixed(0))
  const [sessions, marks] = [row(({ session }) => session), row(({ mark }) => mark)]
  return [
    figure`| bytes for a session | ${Math.min(...inMemory).toFixed(0)} to ${Math.max(...inMemory).toFixed(0)} | ${sessions[0]} | ${sessions[1]} | ${sessions[2]} | ${sessions[3]} |`,
    figure`| bytes for a mark | ${replica.bytesPerMark.toFixed(0)} | ${marks[0]} | ${marks[1]} | ${marks[2]} | ${marks[3]} |`,
    figure`about ${Math.round(mark / 10) * 10} bytes for each, a million in ${(mark / 1000).toFixed(1)} gigabytes`
  ]
}

function named (results, name) {
  return results.find(one => one.name === name)
}

function ratioOf ({ ratios }) {
  return ratios.cpu.median.toFixed(2)
}

/** As 700 and 2,500. */
function hundreds (value) {
  return (Math.round(value / 100) * 100).toLocaleString('en')
}

function thousands (value) {
  return (Math.round(value / 1000) * 1000).toLocaleString('en')
}
