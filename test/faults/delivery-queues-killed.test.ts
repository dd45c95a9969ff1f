import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { openQueue, serverQueues } from './delivery-queues.ts'
import { delivery } from '../delivery-queues/deliveries.ts'

// Workers are killed while they have deliveries in hand.

t.setTimeout(600_000)

interface Node {
  /** The ids that it had in hand. */
  readonly seen: Set<string>
  sees (id: string, milliseconds: number): Promise<boolean>
  kill (): Promise<void>
}

function startNode (t: Test, name: string, url: string): Node {
  const script = fileURLToPath(new URL('./delivery-worker.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, name, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(() => { child.kill('SIGKILL') })
  const seen = new Set<string>()
  createInterface(child.stdout).on('line', line => { seen.add(line) })
  return {
    seen,
    async sees (id, milliseconds) {
      const end = Date.now() + milliseconds
      while (!seen.has(id) && Date.now() < end) await sleep(20)
      return seen.has(id)
    },
    async kill () {
      child.kill('SIGKILL')
      await ended
    }
  }
}

for (const [name, { withPlace }] of Object.entries(serverQueues)) {
  t.test(`${name}: three workers in a row are killed with a delivery in hand: each time another one has it within 20 seconds`, t => {
    return withPlace(t, async url => {
      const { queue, close } = await openQueue(name, url)
      t.teardown(close)
      const patient = [startNode(t, name, url)]
      await queue.enqueue([delivery('hang')])
      t.ok(await patient[0]?.sees('hang', 60_000))
      for (let kills = 0; kills < 3; kills++) {
        const next = startNode(t, name, url)
        await queue.enqueue([delivery(`ready ${kills}`)])
        // Whichever worker gets it: both are at work.
        while (![...patient, next].some(({ seen }) => seen.has(`ready ${kills}`))) await sleep(20)
        t.notOk(next.seen.has('hang'), 'in the hand of one alone')
        const killed = Date.now()
        await patient.at(-1)?.kill()
        t.ok(await next.sees('hang', 60_000), 'it is handed out again')
        const took = Date.now() - killed
        t.comment(`${name}: handed out again after ${took} ms`)
        t.ok(took < 20_000, `after ${took} ms`)
        patient.push(next)
      }
      t.strictSame(await queue.dead({ limit: 1 }), [])
    })
  })

  t.test(`${name}: of 200 deliveries each arrives, though workers are killed at random`, t => withPlace(t, async url => {
    const { queue, close } = await openQueue(name, url)
    t.teardown(close)
    const nodes = [startNode(t, name, url), startNode(t, name, url)]
    const ids = Array.from({ length: 200 }, (_, place) => `delivery ${place}`)
    const arrived = () => new Set(nodes.flatMap(({ seen }) => [...seen]))
    for (let start = 0; start < ids.length; start += 10) {
      await queue.enqueue(ids.slice(start, start + 10).map(delivery))
      await sleep(randomInt(100))
      if (start % 50 !== 40) continue
      await nodes[randomInt(nodes.length)]?.kill()
      nodes.push(startNode(t, name, url))
    }
    for (let waited = 0; waited < 600 && arrived().size < ids.length; waited++) await sleep(100)
    t.strictSame(ids.filter(id => !arrived().has(id)), [])
    t.strictSame(await queue.dead({ limit: 1 }), [])
  }))
}
