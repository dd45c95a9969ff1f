import { setTimeout as sleep } from 'node:timers/promises'
import type { Immediate } from '../awaitable.ts'
import type { AttemptDelivery, DeadDelivery, Delivery, DeliveryOutcome, DeliveryQueue } from '../delivery-queue.ts'
import { asNew, deliveryRecord, outcomeOf } from '../internal/records/delivery.ts'

/** How much {@link memoryDeliveryQueue} may hold, and how it stops. */
export interface MemoryDeliveryQueueOptions {
  /** The most deliveries, dead ones included. When the queue is full, `enqueue` throws. @default 100000 */
  readonly maxDeliveries?: number | undefined
  /** How long the last worker goes on after it was stopped, in milliseconds, so that less is lost. @default 5000 */
  readonly stopTimeout?: number | undefined
}

/** {@link memoryDeliveryQueue}. It returns plain values. */
export interface MemoryDeliveryQueue extends Immediate<DeliveryQueue> {}

/**
 * Keeps deliveries in this process: what waits when the process ends is lost. For tests, examples and hosts with one process
 * that can do without a retry after a restart.
 *
 * When its last worker is stopped, it works on until nothing waits any more, for at most `stopTimeout`.
 *
 * @throws {TypeError} for an option that is wrong
 * @example
 * ```ts
 * import { memoryDeliveryQueue } from 'fastify-logout/delivery-queues/memory'
 *
 * const queue = memoryDeliveryQueue({ maxDeliveries: 10_000 })
 * ```
 */
export function memoryDeliveryQueue (options: MemoryDeliveryQueueOptions = {}): MemoryDeliveryQueue {
  const { maxDeliveries, stopTimeout } = resolveOptions(options)
  const kept: Kept = { waiting: new Set(), ready: new Map(), dead: new Map(), workers: new Set(), whenEmpty: new Set() }

  return {
    enqueue (deliveries) {
      const fresh = deliveries.map(deliveryRecord).filter(({ id }) => !kept.waiting.has(id) && !kept.dead.has(id))
      const isTooMuch = kept.waiting.size + kept.dead.size + fresh.length > maxDeliveries
      if (fresh.length > 0 && isTooMuch) throw new Error(`the queue is full: maxDeliveries is ${maxDeliveries}`)
      for (const delivery of fresh) add(kept, delivery)
      handOut(kept)
    },

    work (attempt, { parallel }) {
      const worker: Worker = { attempt, parallel, inHand: new Set() }
      kept.workers.add(worker)
      handOut(kept)
      return () => stop(worker, kept, stopTimeout)
    },

    dead ({ limit, after = '' }) {
      const page = [...kept.dead.values()].filter(({ delivery }) => delivery.id > after)
        .sort((one, other) => one.delivery.id < other.delivery.id ? -1 : 1).slice(0, limit)
      return page.map(({ delivery, reason }) => ({ delivery: { ...delivery }, reason }))
    },

    redeliver (id) {
      const dead = kept.dead.get(id)
      if (dead === undefined) return false
      kept.dead.delete(id)
      add(kept, asNew(dead.delivery))
      handOut(kept)
      return true
    }
  }
}

function resolveOptions ({ maxDeliveries = 100_000, stopTimeout = 5000 }: MemoryDeliveryQueueOptions) {
  if (!Number.isSafeInteger(maxDeliveries) || maxDeliveries < 1) {
    throw new TypeError('memoryDeliveryQueue: option "maxDeliveries" must be a positive integer')
  }
  if (typeof stopTimeout !== 'number' || !(stopTimeout >= 0 && stopTimeout <= longestTimer)) {
    throw new TypeError(`memoryDeliveryQueue: option "stopTimeout" must be milliseconds, at most ${longestTimer}`)
  }
  return { maxDeliveries, stopTimeout }
}

/** The longest time that a timer can wait, in milliseconds. */
const longestTimer = 2_147_483_647

interface Worker {
  readonly attempt: AttemptDelivery
  readonly parallel: number
  readonly inHand: Set<Promise<void>>
}

interface Kept {
  /** The ids of everything that is not dead. */
  readonly waiting: Set<string>
  /** What is due and in nobody's hand. */
  readonly ready: Map<string, Delivery>
  readonly dead: Map<string, DeadDelivery>
  readonly workers: Set<Worker>
  readonly whenEmpty: Set<() => void>
}

function add (kept: Kept, delivery: Delivery): void {
  kept.waiting.add(delivery.id)
  kept.ready.set(delivery.id, delivery)
}

function handOut (kept: Kept): void {
  for (const worker of kept.workers) fillHands(worker, kept)
}

function fillHands (worker: Worker, kept: Kept): void {
  for (const [id, delivery] of kept.ready) {
    if (worker.inHand.size >= worker.parallel) return
    kept.ready.delete(id)
    handTo(worker, delivery, kept)
  }
}

function handTo (worker: Worker, delivery: Delivery, kept: Kept): void {
  const attempted = outcomeOf(worker.attempt, delivery).then(outcome => {
    worker.inHand.delete(attempted)
    settle(delivery, outcome, kept)
    handOut(kept)
    if (kept.waiting.size === 0) for (const resolve of kept.whenEmpty) resolve()
  })
  worker.inHand.add(attempted)
}

function settle (delivery: Delivery, outcome: DeliveryOutcome, kept: Kept): void {
  if (outcome !== 'done' && 'retryAt' in outcome) {
    readyAt(outcome.retryAt, { ...outcome.delivery, id: delivery.id }, kept)
    return
  }
  kept.waiting.delete(delivery.id)
  if (outcome !== 'done') kept.dead.set(delivery.id, { delivery, reason: outcome.dead })
}

function readyAt (time: number, delivery: Delivery, kept: Kept): void {
  const delay = time - Date.now()
  if (delay <= 0) {
    kept.ready.set(delivery.id, delivery)
    handOut(kept)
  } else {
    setTimeout(() => readyAt(time, delivery, kept), Math.min(delay, longestTimer)).unref()
  }
}

async function stop (worker: Worker, kept: Kept, stopTimeout: number): Promise<number> {
  if (kept.workers.has(worker) && kept.workers.size === 1 && kept.waiting.size > 0) await emptyWithin(stopTimeout, kept)
  kept.workers.delete(worker)
  await Promise.all(worker.inHand)
  return kept.workers.size === 0 ? kept.waiting.size : 0
}

async function emptyWithin (milliseconds: number, kept: Kept): Promise<void> {
  const timer = new AbortController()
  const empty = new Promise<void>(resolve => { kept.whenEmpty.add(resolve) })
  await Promise.race([empty, sleep(milliseconds, undefined, { signal: timer.signal }).catch(() => {})])
  kept.whenEmpty.clear()
  timer.abort()
}
