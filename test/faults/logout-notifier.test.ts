import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomInt } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { DeadDelivery, DeliveryQueue } from '../../lib/delivery-queue.ts'
import { durableQueues } from './delivery-queues.ts'
import { lifetime, notifierFor } from './notifier-process.ts'

t.setTimeout(600_000)

const logouts = Array.from({ length: 200 }, (_, place) => `session ${place}`)

/** Five clients behind one port: one hangs, one fails at first, one redirects, one is good; the fifth is at a forbidden address. */
async function startClients (t: Test) {
  const arrivals: Record<string, string[]> = { good: [], failing: [], redirecting: [], hanging: [] }
  const failed = new Set<string>()
  let [hanging, mostHanging] = [0, 0]
  const answers: Readonly<Record<string, (response: ServerResponse, sid: string) => unknown>> = {
    good: response => response.writeHead(200).end(),
    failing (response, sid) {
      response.writeHead(failed.has(sid) ? 200 : 503).end()
      failed.add(sid)
    },
    redirecting: response => response.writeHead(302, { location: `http://127.0.0.66:${port}/stolen` }).end(),
    hanging (response) {
      mostHanging = Math.max(mostHanging, ++hanging)
      response.on('close', () => { hanging-- })
    }
  }
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const client = String(request.url).slice(1)
    const token = String(new URLSearchParams(await text(request)).get('logout_token'))
    const { sid } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    if (client !== 'failing' || failed.has(sid)) arrivals[client]?.push(sid)
    answers[client]?.(response, sid)
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  let forbidden = 0
  const canary = createServer(response => response.destroy()).on('connection', () => { forbidden++ }).listen(port, '127.0.0.66')
  await once(canary, 'listening')
  for (const one of [server, canary]) {
    t.teardown(() => {
      one.closeAllConnections()
      one.close()
    })
  }
  return { port: String(port), arrivals, mostHanging: () => mostHanging, forbidden: () => forbidden }
}

function startWorker (t: Test, ...parameters: readonly string[]) {
  const script = fileURLToPath(new URL('./notifier-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, ...parameters], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(() => { child.kill('SIGKILL') })
  return {
    ready: once(child.stdout, 'data'),
    async kill () {
      child.kill('SIGKILL')
      await ended
    }
  }
}

async function allDead (queue: DeliveryQueue): Promise<DeadDelivery[]> {
  const found: DeadDelivery[] = []
  while (true) {
    const after = found.at(-1)?.delivery.id
    const page = await queue.dead({ limit: 100, ...after !== undefined && { after } })
    if (page.length === 0) return found
    found.push(...page)
  }
}

/** The reasons of dead deliveries by client, each with the number of its logouts. */
function reasons (dead: readonly DeadDelivery[]): Record<string, Record<string, number>> {
  const counts: Record<string, Record<string, number>> = {}
  for (const { delivery: { clientId }, reason } of dead) {
    const client = counts[clientId] ??= {}
    client[reason] = (client[reason] ?? 0) + 1
  }
  return counts
}

const missing = (arrived: readonly string[] = []) => logouts.filter(sid => !arrived.includes(sid))

for (const [name, { withPlace, open }] of Object.entries(durableQueues)) {
  t.test(`C6 ${name}: 200 logouts, five clients, workers killed at random`, t => withPlace(t, async place => {
    const { queue, close } = await open(place)
    t.teardown(close)
    const clients = await startClients(t)
    const workers = Array.from({ length: 3 }, () => startWorker(t, name, place, clients.port))
    await Promise.all(workers.map(({ ready }) => ready))
    const notifier = notifierFor(queue, clients.port)
    const now = Date.now()
    for (const sid of logouts) {
      await notifier.notify(['failing', 'private', 'good'].map(clientId => ({ clientId, subject: 'alice', sid })))
    }
    // As after two refusals, the third of which is minutes later, and as shortly before the end.
    const late = { at: now, since: Date.now(), attempt: 3, refusals: 2 }
    await queue.enqueue(logouts.flatMap(sid => [
      { ...late, id: `redirecting ${sid}`, clientId: 'redirecting', sid },
      { ...late, id: `hanging ${sid}`, clientId: 'hanging', sid, since: Date.now() - lifetime + 15_000 }
    ]))

    const kills = 8
    for (let killed = 0; killed < kills; killed++) {
      await sleep(200 + randomInt(800))
      const chosen = randomInt(workers.length)
      await workers[chosen]?.kill()
      workers[chosen] = startWorker(t, name, place, clients.port)
    }
    const end = Date.now() + 400_000
    const isOver = async () => missing(clients.arrivals['good']).length + missing(clients.arrivals['failing']).length === 0 &&
      (await allDead(queue)).length === 3 * logouts.length
    while (!await isOver() && Date.now() < end) await sleep(250)

    t.strictSame(missing(clients.arrivals['good']), [], 'each logout arrives at the good client')
    t.strictSame(missing(clients.arrivals['failing']), [], 'and at the one that failed first')
    t.ok(Number(clients.arrivals['good']?.length) <= 200 + kills * 20, 'at most once more for each kill and delivery in hand')
    t.strictSame(missing(clients.arrivals['redirecting']), [])
    t.strictSame(reasons(await allDead(queue)), {
      hanging: { expired: 200 }, private: { 'forbidden-address': 200 }, redirecting: { refused: 200 }
    }, 'the dead letters say why')
    t.ok(clients.mostHanging() <= 4 * (workers.length + kills), 'four for each worker')
    t.equal(clients.forbidden(), 0, 'nothing reaches a forbidden address')
    await Promise.all(workers.map(({ kill }) => kill()))
  }))
}
