import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../awaitable.ts'
import type { AttemptDelivery, Delivery, DeliveryOutcome, DeliveryQueue } from '../delivery-queue.ts'
import { hostileIds } from '../internal/conformance/hostile-ids.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** A queue under test, without deliveries. */
export interface DeliveryQueueFixture {
  readonly queue: DeliveryQueue
  /** How long a rule waits until the queue has handed something out, in milliseconds. @default 30000 */
  readonly timeout?: number | undefined
}

/** Makes the queue to be checked: a new, empty one each time. */
export type MakeDeliveryQueue = () => Awaitable<DeliveryQueueFixture>

/**
 * The promises of {@link DeliveryQueue}, for any test runner. A rule takes about as long as the queue needs to hand out a
 * delivery a few times. No rule ends a process: test with processes of your own that deliveries outlive one.
 *
 * @example
 * ```ts
 * import { deliveryQueueRules } from 'fastify-logout/conformance/delivery-queue'
 * import { memoryDeliveryQueue } from 'fastify-logout/delivery-queues/memory'
 * import test from 'node:test'
 *
 * for (const rule of deliveryQueueRules) {
 *   test(rule.name, () => rule.check(() => ({ queue: memoryDeliveryQueue({ stopTimeout: 100 }) })))
 * }
 * ```
 */
export const deliveryQueueRules: ReadonlyArray<Rule<MakeDeliveryQueue>> = [
  rule('a delivery is handed out as it was put in, once if it is done', async ({ queue, work }) => {
    const all = [
      delivery({ subject: 'alice', sid: 'phone', tenant: 'acme' }),
      delivery({ subject: 'bob', attempt: 3, refusals: 2 }),
      delivery({ sid: 'laptop' })
    ]
    const worker = await work()
    await queue.enqueue(all)
    await worker.sees(...all.map(({ id }) => id))
    await queue.enqueue([])
    await queue.enqueue([sentinel])
    await worker.sees(sentinel.id)
    deepEqual(sorted(worker.seen), sorted([...all, sentinel]))
  }),

  rule('what was put in before a worker is there waits for it', async ({ queue, work }) => {
    const all = Array.from({ length: 50 }, () => delivery())
    await queue.enqueue(all)
    const worker = await work()
    await worker.sees(...all.map(({ id }) => id))
    equal(worker.seen.length, 50)
  }),

  rule('an id that waits, is in hand or is dead is not put in a second time', async ({ queue, work, until }) => {
    const [waiting, dead, inHand] = [delivery(), delivery(), delivery()]
    await queue.enqueue([waiting, dead, waiting])
    await queue.enqueue([waiting, { ...dead, subject: 'mallory' }])
    const release = gate()
    const worker = await work(async ({ id }) => {
      if (id === dead.id) return { dead: 'refused' }
      if (id === inHand.id) await release.opened
      return 'done'
    })
    await worker.sees(waiting.id, dead.id)
    await until(async () => (await queue.dead({ limit: 10 })).length === 1)
    await queue.enqueue([dead, inHand])
    await worker.sees(inHand.id)
    await queue.enqueue([inHand])
    release.open()
    await queue.enqueue([sentinel])
    await worker.sees(sentinel.id)
    await sleep(briefly)
    deepEqual(sorted(worker.seen), sorted([waiting, dead, inHand, sentinel]))
  }),

  rule('a retry is handed out at its time and not before, as the outcome says', async ({ queue, work, until }) => {
    const [early, late] = [delivery({ subject: 'alice' }), delivery({ subject: 'bob' })]
    const retryAt = Date.now() + 700
    const times: number[] = []
    const worker = await work(async (one): Promise<DeliveryOutcome> => {
      if (one.attempt === 3) return 'done'
      if (one.attempt === 2) times.push(Date.now())
      const next = { ...one, attempt: one.attempt + 1, refusals: one.refusals + 5 }
      return { retryAt: one.attempt === 1 && one.id === late.id ? retryAt : Date.now() - 1000, delivery: next }
    })
    await queue.enqueue([early, late])
    await until(() => worker.seen.length === 6)
    await sleep(briefly)
    deepEqual(sorted(worker.seen), sorted([early, late].flatMap(one => [
      one, { ...one, attempt: 2, refusals: 5 }, { ...one, attempt: 3, refusals: 10 }
    ])))
    ok(times.length === 2 && Math.max(...times) >= retryAt, 'it waited')
    deepEqual(await queue.dead({ limit: 10 }), [])
  }),

  rule('a delivery that waits for its retry holds up no other one', async ({ queue, work }) => {
    const stuck = Array.from({ length: 5 }, () => delivery())
    const worker = await work(async one => isOneOf(stuck, one) ? { retryAt: Date.now() + hour, delivery: one } : 'done', { parallel: 2 })
    await queue.enqueue(stuck)
    await worker.sees(...stuck.map(({ id }) => id))
    await queue.enqueue([sentinel])
    await worker.sees(sentinel.id)
    equal(worker.seen.length, 6)
  }),

  rule('a delivery whose attempt rejects is handed out again, unchanged', async ({ queue, work, until }) => {
    const one = delivery({ subject: 'alice' })
    let failures = 0
    const worker = await work(async () => {
      if (failures++ < 1) throw new Error('planted')
      return 'done'
    })
    await queue.enqueue([one])
    await until(() => worker.seen.length === 2)
    deepEqual(worker.seen, [one, one])
  }),

  rule('a dead delivery is listed with its reason, and is not handed out again', async ({ queue, work, until }) => {
    const [refused, expired] = [delivery({ subject: 'alice', sid: 'phone' }), delivery({ tenant: 'acme', subject: 'bob' })]
    const worker = await work(async one => one.id === sentinel.id ? 'done' : { dead: one.id === refused.id ? 'refused' : 'expired' })
    await queue.enqueue([refused, expired])
    await until(async () => (await queue.dead({ limit: 10 })).length === 2)
    await queue.enqueue([sentinel])
    await worker.sees(sentinel.id)
    equal(worker.seen.length, 3)
    const reasons = new Map((await queue.dead({ limit: 10 })).map(({ delivery: { id }, reason }) => [id, reason]))
    deepEqual(reasons, new Map(reasons).set(refused.id, 'refused').set(expired.id, 'expired'))
    deepEqual(sorted((await queue.dead({ limit: 10 })).map(dead => dead.delivery)), sorted([refused, expired]))
  }),

  rule('dead deliveries come in pages, each once', async ({ queue, work, until }) => {
    const all = Array.from({ length: 7 }, () => delivery())
    await work(async () => ({ dead: 'refused' }))
    await queue.enqueue(all)
    await until(async () => (await queue.dead({ limit: 10 })).length === 7)
    const found: string[] = []
    for (let page = 0; page < 4; page++) {
      const after = found.at(-1)
      const dead = await queue.dead({ limit: 3, ...after !== undefined && { after } })
      equal(dead.length, [3, 3, 1, 0][page])
      found.push(...dead.map(one => one.delivery.id))
    }
    deepEqual(found.sort(), all.map(({ id }) => id).sort())
  }),

  rule('redeliver hands a dead delivery out as a new one, and only once', async ({ queue, work, until }) => {
    const one = delivery({ subject: 'alice', attempt: 9, refusals: 3, since: 1000 })
    const other = delivery()
    let isBetter = false
    const worker = await work(async () => isBetter ? 'done' : { dead: 'refused' })
    await queue.enqueue([one, other])
    await until(async () => (await queue.dead({ limit: 10 })).length === 2)
    isBetter = true
    equal(await queue.redeliver(`${one.id}-`), false, 'nobody knows it')
    const before = Date.now()
    equal(await queue.redeliver(one.id), true)
    equal(await queue.redeliver(one.id), false, 'it is not dead any more')
    await until(() => worker.seen.length === 3)
    const [again] = worker.seen.slice(2)
    deepEqual(again, { ...one, attempt: 1, refusals: 0, since: again?.since })
    ok(Number(again?.since) >= before && Number(again?.since) <= Date.now(), 'its time begins anew')
    deepEqual((await queue.dead({ limit: 10 })).map(dead => dead.delivery.id), [other.id])
  }),

  rule('a worker has as many deliveries in hand as it may, and never more', async ({ queue, work, until }) => {
    let [inHand, most] = [0, 0]
    const worker = await work(async () => {
      most = Math.max(most, ++inHand)
      await until(() => most >= 5)
      await sleep(10)
      inHand--
      return 'done'
    }, { parallel: 5 })
    await queue.enqueue(Array.from({ length: 30 }, () => delivery()))
    await until(() => worker.seen.length === 30)
    equal(most, 5)
  }),

  rule('of two workers one alone gets a delivery', async ({ queue, work, until }) => {
    const workers = [await work(async () => sleep(5, 'done' as const)), await work(async () => sleep(5, 'done' as const))]
    const all = Array.from({ length: 40 }, () => delivery())
    await Promise.all(all.map(async one => queue.enqueue([one])))
    await until(() => workers.flatMap(({ seen }) => seen).length >= 40)
    await sleep(briefly)
    deepEqual(sorted(workers.flatMap(({ seen }) => seen)), sorted(all))
  }),

  rule('stopping waits for what is in hand, and hands out nothing more', async ({ queue, work }) => {
    const release = gate()
    let isOver = false
    const worker = await work(async () => {
      await release.opened
      await sleep(50)
      isOver = true
      return 'done'
    })
    await queue.enqueue([sentinel])
    await worker.sees(sentinel.id)
    const stopped = worker.stop()
    release.open()
    equal(typeof await stopped, 'number')
    ok(isOver, 'the attempt in hand was waited for')
    const later = delivery()
    await queue.enqueue([later])
    await sleep(briefly)
    equal(worker.seen.length, 1)
    const next = await work()
    await next.sees(later.id)
    deepEqual(next.seen, [later], 'what came later waits for the next worker, and what was done is not there')
  }),

  rule('stopping one worker leaves the other one at work', async ({ queue, work }) => {
    const [one, other] = [await work(), await work()]
    equal(await one.stop(), 0)
    await queue.enqueue([sentinel])
    await other.sees(sentinel.id)
    equal(one.seen.length, 0)
  }),

  rule('texts are never interpreted: each is refused, or kept as it is', async ({ queue, work }) => {
    const kept: Delivery[] = []
    for (const text of hostileIds) {
      const odd = delivery({ clientId: text, subject: text, sid: text, tenant: text })
      if (await isAccepted(queue, odd)) kept.push(odd)
    }
    await queue.enqueue([sentinel])
    const worker = await work()
    await worker.sees(sentinel.id, ...kept.map(({ id }) => id))
    deepEqual(sorted(worker.seen), sorted([...kept, sentinel]))
  }),

  rule('what is malformed is refused, and nothing of the call is put in', async ({ queue, work }) => {
    const wrong: ReadonlyArray<Partial<Record<keyof Delivery, unknown>>> = [
      ...['', undefined, null, 7].flatMap(text => [{ id: text }, { clientId: text }]),
      ...[NaN, 1.5, Infinity, 2 ** 53, -1, '1', undefined].flatMap(time => [{ at: time }, { since: time }]),
      ...[0, 1.5, NaN, '1', undefined].map(attempt => ({ attempt })),
      ...[-1, 0.5, NaN, '0', undefined].map(refusals => ({ refusals }))
    ]
    for (const change of wrong) {
      await rejects(async () => queue.enqueue([delivery(), { ...delivery(), ...change } as Delivery]), TypeError)
    }
    await queue.enqueue([sentinel])
    const worker = await work()
    await worker.sees(sentinel.id)
    await sleep(briefly)
    deepEqual(worker.seen, [sentinel])
  }),

  rule('what the caller or an attempt does to a delivery changes nothing in the queue', async ({ queue, work, until }) => {
    const given = delivery({ subject: 'alice' })
    const one = { ...given }
    await queue.enqueue([one])
    Object.assign(one, { subject: 'mallory' })
    let failures = 0
    const worker = await work(async handedOut => {
      if (!Object.isFrozen(handedOut)) Object.assign(handedOut, { subject: 'mallory' })
      if (failures++ < 1) throw new Error('planted')
      return { dead: 'refused' }
    })
    await until(async () => (await queue.dead({ limit: 10 })).length === 1)
    deepEqual(worker.seen, [given, given])
    const [dead] = await queue.dead({ limit: 10 })
    deepEqual(dead?.delivery, given)
    for (const found of await queue.dead({ limit: 10 })) if (!Object.isFrozen(found)) Object.assign(found, { reason: 'another' })
    deepEqual((await queue.dead({ limit: 10 })).map(({ reason }) => reason), ['refused'])
  })
]

const hour = 3_600_000
/** Long enough for a mistake to show in most runs, in milliseconds. */
const briefly = 100
interface Worker {
  /** Copies of everything that was handed out, in order. */
  readonly seen: Delivery[]
  /** Waits until these were handed out. */
  readonly sees: (...ids: readonly string[]) => Promise<void>
  readonly stop: () => Promise<number>
}

interface Scene {
  readonly queue: DeliveryQueue
  /** Starts a worker. By default, everything is done. It is stopped when the rule is over. */
  readonly work: (attempt?: AttemptDelivery, options?: { readonly parallel: number }) => Promise<Worker>
  /** Waits until this holds. */
  readonly until: Until
}

type Until = (holds: () => Awaitable<boolean>) => Promise<void>

/** Put in last: what was not handed out before it will not be handed out. */
const sentinel = delivery({ clientId: 'last' })

function rule (name: string, check: (scene: Scene) => Promise<void>): Rule<MakeDeliveryQueue> {
  return {
    name,
    async check (make) {
      const { queue, timeout = 30_000 } = await make()
      const until = untilWithin(timeout)
      const workers: Worker[] = []
      const work: Scene['work'] = async (attempt = async () => 'done', { parallel } = { parallel: 20 }) => {
        const worker = await startWorker({ queue, until }, attempt, parallel)
        workers.push(worker)
        return worker
      }
      try {
        await check({ queue, work, until })
      } finally {
        await Promise.all(workers.map(({ stop }) => stop()))
      }
    }
  }
}

async function startWorker (
  { queue, until }: Pick<Scene, 'queue' | 'until'>, attempt: AttemptDelivery, parallel: number
): Promise<Worker> {
  const seen: Delivery[] = []
  const stop = await queue.work(one => {
    seen.push({ ...one })
    return attempt(one)
  }, { parallel, timeout: 10_000 })
  return { seen, stop, sees: (...ids) => until(() => ids.every(id => seen.some(one => one.id === id))) }
}

function delivery (members: Partial<Delivery> = {}): Delivery {
  const now = Date.now()
  return { id: randomUUID(), clientId: 'shop', at: now - 1000, since: now, attempt: 1, refusals: 0, ...members }
}

async function isAccepted (queue: DeliveryQueue, one: Delivery): Promise<boolean> {
  try {
    await queue.enqueue([one])
    return true
  } catch {
    return false
  }
}

function isOneOf (list: readonly Delivery[], { id }: Delivery): boolean {
  return list.some(one => one.id === id)
}

function sorted (list: readonly Delivery[]): Delivery[] {
  const key = (one: Delivery) => `${one.id} ${one.attempt}`
  return [...list].sort((a, b) => key(a) < key(b) ? -1 : 1)
}

function untilWithin (timeout: number): Until {
  return async holds => {
    const end = Date.now() + timeout
    while (!await holds()) {
      ok(Date.now() < end, 'it did not happen in time')
      await sleep(5)
    }
  }
}

/** Something to wait for until it is opened. */
function gate () {
  let open: (() => void) | undefined
  const opened = new Promise<void>(resolve => { open = resolve })
  return { opened, open: () => open?.() }
}
