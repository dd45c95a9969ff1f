import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { withPrivateRedis } from '../servers/redis.ts'
import type { PrivateServer } from '../servers/private-process.ts'

// Thirty minutes of ten requests a second, as fast as they go: half of them valid, the others hostile, while the Redis of
// the stores is stopped, killed, frozen and started again. A slow machine ends after a minute with what it got done, and
// says how much that was. Needs `npm run build`. `ABUSE_SECONDS=1800` lets it do all of them, `ABUSE_REQUESTS` more of them.
const requests = Number(process.env['ABUSE_REQUESTS'] ?? 18_000)
const timeout = Number(process.env['ABUSE_SECONDS'] ?? 50) * 1000
const workers = 32
const megabyte = 1_048_576
/** What the heap of the server may grow by, all garbage collected: a kilobyte kept for each request would be more. */
const allowedGrowth = 4 * megabyte

interface Started {
  readonly address: string
  readonly native: string
  readonly signingHub: string
  readonly demo: string
  readonly tenantToken: string
  readonly tenantUser: string
}

let redis: PrivateServer | undefined
await withPrivateRedis(t, async server => { redis = server }, { config: { appendonly: 'yes', appendfsync: 'everysec' } })
if (redis === undefined) process.exit(0)
const { stop, kill, start, freeze, thaw, url } = redis

const child = spawn(process.execPath, [
  '--max-old-space-size=128', '--expose-gc', fileURLToPath(new URL('server-process.js', import.meta.url))
], {
  env: { ...process.env, NODE_OPTIONS: '', REDIS_URL: url }, stdio: ['ignore', 'ignore', 'pipe', 'ipc']
})
t.teardown(() => { child.kill('SIGKILL') })
const errors: Buffer[] = []
child.stderr?.on('data', chunk => errors.push(chunk))
const [server] = await once(child, 'message') as [Started]
const { hostname, port } = new URL(server.address)
const agent = new Agent({ keepAlive: true, maxSockets: workers })
t.teardown(() => agent.destroy())

async function memory (): Promise<{ heap: number, rss: number }> {
  child.send('heap')
  const [answer] = await once(child, 'message') as [{ heap: number, rss: number }]
  return answer
}

interface Sent { readonly method: string, readonly path: string, readonly headers?: Record<string, string>, readonly body?: string }

/** An ordinary request; its status. Connections are kept, but for requests that the server does not read to their end. */
function send (what: Sent, keep = true): Promise<number> {
  const { method, path, headers = {}, body } = what
  return new Promise((resolve, reject) => {
    let answered = 0
    const length = body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }
    const sent = request({ hostname, port, agent: keep && agent, method, path, headers: { ...headers, ...length } }, answer => {
      answered = answer.statusCode ?? 0
      answer.resume().on('end', () => resolve(answered)).on('error', () => resolve(answered))
    })
    // Who answers before the body is read to its end may close the connection: behind the answer, or before we have seen it.
    sent.on('error', (error: NodeJS.ErrnoException) => {
      if (!['ECONNRESET', 'EPIPE'].includes(String(error.code))) reject(error)
      else if (sent.reusedSocket && answered === 0) resolve(send(what, false))
      else resolve(answered)
    })
    sent.end(body)
  })
}

/** Writes pieces to a socket of its own, and reads until it is closed or nothing is left to wait for; the statuses. */
async function raw (pieces: AsyncIterable<string> | Iterable<string>, until: number): Promise<number[]> {
  const socket = connect(Number(port), hostname)
  let text = ''
  const statuses = () => Array.from(text.matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => Number(status))
  const closed = new Promise<void>(resolve => { socket.on('close', () => resolve()) })
  socket.on('error', () => {}).setTimeout(10_000, () => socket.destroy())
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
    if (statuses().length >= until) socket.destroy()
  })
  for await (const piece of pieces) {
    if (socket.destroyed) break
    socket.write(piece, 'latin1')
  }
  if (until === 0) socket.destroy()
  await closed
  return statuses()
}

/** Bytes that come slower than anybody has timeout for. */
async function * drip (head: string, drop: string) {
  yield head
  for (let i = 0; i < 12; i++) {
    await sleep(400)
    yield drop
  }
}

const json = { 'content-type': 'application/json' }
const bearer = { authorization: `Bearer ${server.signingHub}` }
const tenant = { 'x-tenant-token': server.tenantToken, 'x-token': server.tenantUser }
const native = (token: string): Sent => ({
  method: 'DELETE', path: '/self-service/logout/api', headers: json, body: JSON.stringify({ session_token: token })
})
const demo = (method: string, path: string): Sent => ({ method, path, headers: { 'x-session-token': server.demo } })
const guarded = (token: string): Sent => ({ method: 'GET', path: '/guarded', headers: { 'token-id': token } })
const head = (line: string, ...lines: string[]) => [`${line} HTTP/1.1`, 'Host: a', ...lines].join('\r\n')

/**
 * What is sent, how often in a hundred, and which statuses it may get: `up` while the stores answer, `trouble` at all times.
 * The status 0 stands for a connection that was closed without a response.
 */
interface Kind {
  readonly name: string
  readonly weight: number
  readonly up: readonly number[]
  readonly trouble?: readonly number[]
  readonly answers?: number
  readonly send: () => Promise<number | number[]>
}

const kinds: readonly Kind[] = [
  { name: 'native logout', weight: 14, up: [204], trouble: [204, 500], send: () => send(native(server.native)) },
  {
    name: 'SigningHub logout',
    weight: 12,
    up: [200],
    send: () => send({ method: 'POST', path: '/v3/logout', headers: { ...bearer, ...json }, body: '{"device_token":"alice-phone"}' })
  },
  {
    name: 'tenant logout',
    weight: 8,
    up: [200, 429],
    trouble: [200, 429, 500],
    send: () => send({ method: 'GET', path: '/auth/logout', headers: tenant })
  },
  { name: 'whoami', weight: 8, up: [200], trouble: [200, 500], send: () => send(demo('GET', '/sessions/whoami')) },
  { name: 'logging out the others', weight: 8, up: [200], trouble: [200, 500], send: () => send(demo('DELETE', '/sessions')) },
  { name: 'a guarded route', weight: 6, up: [200], trouble: [200, 503], send: () => send(guarded('live')) },
  { name: 'a guarded route with a revoked token', weight: 3, up: [401], trouble: [401, 503], send: () => send(guarded('dead')) },
  { name: 'an unknown token', weight: 6, up: [403], trouble: [403, 500], send: () => send(native(`unknown-${Math.random()}`)) },
  {
    name: 'a forged token',
    weight: 6,
    up: [401],
    send: () => send({ method: 'POST', path: '/v3/logout', headers: { authorization: `Bearer ${server.signingHub.slice(0, -4)}AAAA` } })
  },
  {
    name: 'no token',
    weight: 6,
    up: [401],
    send: () => send({ method: 'GET', path: '/self-service/logout?token=x', headers: { accept: 'application/json' } })
  },
  { name: 'broken JSON', weight: 8, up: [400], send: () => send({ ...native('x'), body: '{"session_token":' }) },
  {
    name: 'a body of 2 MB',
    weight: 2,
    up: [413, 0],
    send: () => send({ method: 'POST', path: '/v3/logout', headers: { ...bearer, ...json }, body: 'x'.repeat(2 * megabyte) }, false)
  },
  { name: 'a body of 6 MB', weight: 1, up: [400, 0], send: () => send(native('x'.repeat(6 * megabyte)), false) },
  {
    name: 'a header of 64 kB',
    weight: 2,
    up: [431, 0],
    send: () => send({ method: 'GET', path: '/auth/logout', headers: { 'x-token': 'x'.repeat(65_536) } }, false)
  },
  { name: 'no HTTP', weight: 4, up: [400], send: () => raw(['\u0016\u0003\u0001\u0000\u00ff nonsense\r\n\r\n'], 1) },
  {
    name: 'two lengths',
    weight: 2,
    up: [400],
    send: () => raw([`${head('DELETE /self-service/logout/api', 'Content-Length: 5', 'Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n`], 1)
  },
  {
    name: 'aborted within the body',
    weight: 5,
    up: [],
    send: () => raw([
      `${head('DELETE /self-service/logout/api', 'Content-Type: application/json', 'Content-Length: 500')}\r\n\r\n{"session`
    ], 0)
  },
  {
    name: 'aborted before the answer',
    weight: 5,
    up: [],
    send: () => raw([`${head('GET /sessions/whoami', `X-Session-Token: ${server.demo}`)}\r\n\r\n`], 0)
  },
  {
    name: 'twenty in one write',
    weight: 2,
    up: [200],
    trouble: [200, 500],
    answers: 20,
    send: () => raw([`${head('GET /sessions/whoami', `X-Session-Token: ${server.demo}`)}\r\n\r\n`.repeat(20)], 20)
  },
  { name: 'a slow head', weight: 0.2, up: [408], send: () => raw(drip('GET /auth/logout HTTP/1.1\r\n', 'X: y\r\n'), 1) },
  {
    name: 'a slow body',
    weight: 0.2,
    up: [408],
    send: () => {
      const authorization = `Authorization: ${bearer.authorization}`
      const start = head('POST /v3/logout', authorization, 'Content-Type: application/json', 'Content-Length: 500')
      return raw(drip(`${start}\r\n\r\n`, '{'), 1)
    }
  }
]
const whole = kinds.reduce((sum, { weight }) => sum + weight, 0)

function pick (): Kind {
  let at = Math.random() * whole
  return kinds.find(({ weight }) => (at -= weight) < 0) ?? kinds[0] as Kind
}

const mb = (bytes: number) => `${(bytes / megabyte).toFixed(1)} MB`
const counts = new Map<string, number>()
const surprises: string[] = []
let sent = 0
/** A request that began or ended while the stores were in trouble may have met it. */
let troubles = 0
let troubled = false

async function abuse (kind: Kind): Promise<void> {
  const before = { troubles, troubled }
  const answered = [await kind.send()].flat()
  const calm = !before.troubled && before.troubles === troubles
  sent += Math.max(1, answered.length)
  if (kind.answers !== undefined && calm && answered.length !== kind.answers) surprises.push(`${kind.name}: ${answered.length} answers`)
  for (const status of answered) {
    counts.set(`${kind.name}: ${status}`, (counts.get(`${kind.name}: ${status}`) ?? 0) + 1)
    if (!(calm ? kind.up : kind.trouble ?? kind.up).includes(status)) surprises.push(`${kind.name}: ${status}${calm ? '' : ' in trouble'}`)
  }
}

async function load (count: number, within: number): Promise<void> {
  const end = sent + count
  const timeout = Date.now() + within
  await Promise.all(Array.from({ length: workers }, async () => {
    while (sent < end && Date.now() < timeout) await abuse(pick())
  }))
}

/** What happens to Redis, one after the other; the last but once, for longer than any timeout. */
const breakages = [
  { name: 'stopped', what: async () => { await stop(); await sleep(600); await start() } },
  { name: 'killed', what: async () => { await kill(); await sleep(600); await start() } },
  { name: 'frozen', what: async () => { freeze(); await sleep(300); thaw() } },
  { name: 'frozen for long', what: async () => { freeze(); await sleep(6000); thaw() } }
]
const broken = new Map<string, number>()
let slowestRecovery = 0

/** Breaks Redis, and waits until the server answers as before. */
async function breakStores (signal: { readonly stopped: boolean }): Promise<void> {
  for (let round = 0; !signal.stopped; round++) {
    await sleep(1000)
    troubled = true
    troubles += 1
    const { name, what } = breakages[round < breakages.length ? round : round % (breakages.length - 1)] ?? assert.fail()
    await what()
    broken.set(name, (broken.get(name) ?? 0) + 1)
    slowestRecovery = Math.max(slowestRecovery, await recovered())
    troubled = false
  }
}

/** How long it took the server to find its stores again, in milliseconds. */
async function recovered (): Promise<number> {
  const since = Date.now()
  for (;;) {
    const statuses = await Promise.all([send(demo('GET', '/sessions/whoami')), send(guarded('live'))])
    const took = Date.now() - since
    if (statuses.every(status => status === 200) || took > 15_000) return took
    await sleep(20)
  }
}

const title = `${requests} requests, valid and hostile, while the Redis of the stores is stopped, killed and frozen`

t.test(title, { timeout: 600_000 }, async t => {
  await load(Math.min(2000, requests), Math.min(10_000, timeout))
  const warmUp = sent
  await sleep(3000)
  const before = await memory()

  const started = Date.now()
  const breaking = { stopped: false }
  const breaker = breakStores(breaking)
  await load(requests, timeout)
  breaking.stopped = true
  await breaker
  const seconds = (Date.now() - started) / 1000

  agent.destroy()
  await sleep(6000)
  const after = await memory()
  t.comment(`${sent} requests, ${sent - warmUp} of them within ${seconds.toFixed(1)} s`)
  t.comment(`heap: ${mb(before.heap)} before, ${mb(after.heap)} after; process: ${mb(before.rss)} before, ${mb(after.rss)} after`)
  const outages = Array.from(broken, ([name, count]) => `${name} x ${count}`).join(', ')
  t.comment(`Redis was ${outages}; the server had it back within ${slowestRecovery} ms`)
  t.comment(Array.from(counts, entry => entry.join(' x ')).sort().join('\n'))

  t.strictSame(Array.from(new Set(surprises)), [], `of ${sent} answers each has a status that is documented`)
  for (const { name, up } of kinds) t.ok(up.length === 0 || counts.has(`${name}: ${up[0]}`), `${name} was answered`)
  t.strictSame([...broken.keys()], breakages.map(({ name }) => name), 'Redis was broken in every way')
  for (const missed of ['native logout: 500', 'tenant logout: 500', 'logging out the others: 500', 'a guarded route: 503']) {
    t.ok((counts.get(missed) ?? 0) > 0, `the stores were missed: ${missed}`)
  }
  t.ok(slowestRecovery < 5000, `the server had its stores back within ${slowestRecovery} ms`)
  t.ok(after.heap - before.heap < allowedGrowth, `the heap grew by ${after.heap - before.heap} bytes`)
  t.equal(child.exitCode ?? child.signalCode, null, 'the server still runs')
  t.equal(Buffer.concat(errors).toString(), '', 'no warning, no unhandled rejection')
})

t.test('afterwards the server works as before, and closes', async t => {
  for (const kind of kinds.slice(0, 11)) assert(kind.up.includes([await kind.send()].flat()[0] ?? 0), kind.name)
  agent.destroy()
  const exited = once(child, 'exit')
  child.send('close')
  t.strictSame(await exited, [0, null])
})
