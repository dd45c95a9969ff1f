import { setTimeout as sleep } from 'node:timers/promises'
import type { Promised } from '../awaitable.ts'
import type { AttemptDelivery, DeadDelivery, Delivery, DeliveryQueue } from '../delivery-queue.ts'
import { asNew, deliveryRecord } from '../internal/records/delivery.ts'
import { tokenDigest } from '../token-digest.ts'

/** A job of BullMQ, as far as a delivery needs it. */
export interface BullmqJob {
  /** What the job was added with. */
  readonly data: unknown
  /** Why the job failed. */
  readonly failedReason?: string | undefined
  /** Replaces the data. */
  updateData (data: never): Promise<unknown>
  /** Gives the job back until a time in epoch milliseconds. */
  moveToDelayed (timestamp: number, token?: string): Promise<unknown>
  /** Whether the job failed for good. */
  isFailed (): Promise<boolean>
  /** Hands out a job that failed. */
  retry (state: 'failed'): Promise<unknown>
}

/** A Queue of BullMQ, as far as deliveries need it. */
export interface BullmqQueue {
  readonly name: string
  readonly opts: { readonly prefix?: string | undefined }
  /** Adds jobs, all or none. One whose `jobId` is there already is not added. */
  addBulk (jobs: never[]): Promise<unknown>
  /** Resolves to a job, in whatever state it is. */
  getJob (jobId: string): Promise<BullmqJob | undefined>
  /** Resolves to the ids of the jobs in these states. */
  getRanges (states: ['failed'], start: number, end: number): Promise<string[]>
}

/** A Worker of BullMQ, as far as deliveries need it. */
export interface BullmqWorker {
  /** Adds a listener. */
  on (event: 'error', listener: (error: Error) => void): unknown
  /** Waits for the jobs in hand, and disconnects. */
  close (): Promise<void>
}

/** What {@link bullmqDeliveryQueue} works with. All but `onError` are required. */
export interface BullmqDeliveryQueueOptions {
  /** A Queue for deliveries alone. It is not closed. */
  readonly queue: BullmqQueue
  /** The class `Worker` of BullMQ. */
  readonly Worker: new (name: string, process: never, options: never) => BullmqWorker
  /** The `connection` of the workers. A client of ioredis needs `maxRetriesPerRequest: null`. */
  readonly connection: object
  /** Called for errors of a worker, such as a lost connection. The worker goes on by itself. @default BullMQ prints them */
  readonly onError?: ((error: Error) => void) | undefined
}

/** {@link bullmqDeliveryQueue}. */
export interface BullmqDeliveryQueue extends Promised<DeliveryQueue> {}

/**
 * Keeps deliveries in a queue of BullMQ 5 or 6. Dead deliveries are its failed jobs, and their `failedReason` is why.
 *
 * The workers have settings with which a delivery survives its process: it is handed out again within the `timeout` of an attempt
 * and 5 seconds, as often as ten times. Then it is dead, because it may be what the processes died of.
 *
 * A delivery is as durable as Redis is. Set `maxmemory-policy` to `noeviction`, and `appendfsync` to `always` for deliveries that
 * must outlive a crash of the machine. Give the connection of the queue `enableOfflineQueue: false`, so that `enqueue` rejects at
 * once while Redis is gone.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @see https://docs.bullmq.io/guide/going-to-production
 * @example
 * ```ts
 * import { Queue, Worker } from 'bullmq'
 * import { bullmqDeliveryQueue } from 'fastify-logout/delivery-queues/bullmq'
 *
 * const connection = { host: '127.0.0.1', port: 6379 }
 * const queue = bullmqDeliveryQueue({ queue: new Queue('logouts', { connection }), Worker, connection })
 * ```
 */
export function bullmqDeliveryQueue (options: BullmqDeliveryQueueOptions): BullmqDeliveryQueue {
  const { queue, Worker, connection, onError } = resolveOptions(options)

  return {
    async enqueue (deliveries) {
      const records = deliveries.map(deliveryRecord)
      if (records.length > 0) await queue.addBulk(records.map(newJob) as never[])
    },

    async work (attempt, { parallel, timeout }) {
      const inHand = new Set<Promise<void>>()
      const process = async (job: BullmqJob, token?: string) => {
        const settled = settle(job, token, attempt)
        inHand.add(settled)
        await settled.finally(() => { inHand.delete(settled) })
      }
      const settings = { ...survival, lockDuration: timeout, connection, concurrency: parallel, prefix: queue.opts.prefix }
      const worker = new Worker(queue.name, process as never, settings as never)
      if (onError !== undefined) worker.on('error', onError)
      return () => close(worker, inHand)
    },

    async dead ({ limit, after }) {
      const first = after === undefined ? '' : jobId(after)
      const ids = (await queue.getRanges(['failed'], 0, -1)).filter(id => id > first).sort().slice(0, limit)
      const jobs = await Promise.all(ids.map(id => queue.getJob(id)))
      return jobs.flatMap(job => job === undefined ? [] : deadDelivery(job))
    },

    async redeliver (id) {
      const job = await queue.getJob(jobId(id))
      if (job === undefined || !await job.isFailed()) return false
      await job.updateData(asNew(deliveryOf(job)) as never)
      return isRetried(job)
    }
  }
}

async function close (worker: BullmqWorker, inHand: ReadonlySet<Promise<void>>): Promise<number> {
  const closed = worker.close()
  await Promise.allSettled(inHand)
  await Promise.race([closed, sleep(closeTimeout)])
  return 0
}

function resolveOptions ({ queue, Worker, connection, onError }: BullmqDeliveryQueueOptions) {
  const given: unknown = queue
  if (typeof (given as BullmqQueue | undefined)?.addBulk !== 'function') fail('queue', 'must be a Queue of BullMQ')
  if (typeof Worker !== 'function') fail('Worker', 'must be the class Worker of BullMQ')
  if (typeof connection !== 'object' || connection === null) fail('connection', 'must be the connection of the workers, as BullMQ takes it')
  if (onError !== undefined && typeof onError !== 'function') fail('onError', 'must be a function if it is given')
  return { queue, Worker, connection, onError }
}

function fail (option: string, hint: string): never {
  throw new TypeError(`bullmqDeliveryQueue: option "${option}" ${hint}`)
}

/**
 * With BullMQ's own settings, the job of a process that died waits for a minute, and fails when a second process dies. Of two
 * checks in a row BullMQ may leave out one, so they are twice as frequent as the contract asks for.
 */
const survival = { stalledInterval: 2500, maxStalledCount: 10 }

/** In milliseconds. */
const afterFailure = 1000
/** BullMQ waits for a Redis that is gone: so many milliseconds are enough. */
const closeTimeout = 2000

function newJob (delivery: Delivery) {
  return {
    name: 'delivery',
    data: delivery,
    opts: {
      jobId: jobId(delivery.id),
      attempts: Number.MAX_SAFE_INTEGER,
      backoff: { type: 'fixed', delay: afterFailure },
      removeOnComplete: true,
      removeOnFail: false,
      stackTraceLimit: 0
    }
  }
}

/** BullMQ refuses ids with colons and ids that are numbers. */
function jobId (id: string): string {
  return `delivery-${tokenDigest(id)}`
}

async function settle (job: BullmqJob, token: string | undefined, attempt: AttemptDelivery): Promise<void> {
  const delivery = deliveryOf(job)
  const outcome = await attempted(delivery, attempt)
  if (outcome === 'done') return
  if ('dead' in outcome) throw named('UnrecoverableError', outcome.dead)
  await job.updateData({ ...outcome.delivery, id: delivery.id } as never)
  await job.moveToDelayed(outcome.retryAt, token)
  throw named('DelayedError', 'the delivery is tried again later')
}

/** The error of an attempt is not passed on: BullMQ keeps messages, and this one may be about a request. */
async function attempted (delivery: Delivery, attempt: AttemptDelivery) {
  try {
    return await attempt({ ...delivery })
  } catch {
    throw new Error('the attempt rejected')
  }
}

/** BullMQ knows these errors by their name. */
function named (name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}

function deadDelivery (job: BullmqJob): DeadDelivery {
  return { delivery: deliveryOf(job), reason: job.failedReason ?? 'unknown' }
}

function deliveryOf ({ data }: BullmqJob): Delivery {
  return data as Delivery
}

/** Of two callers at once, BullMQ refuses one: the job has not failed any more. */
async function isRetried (job: BullmqJob): Promise<boolean> {
  try {
    await job.retry('failed')
    return true
  } catch (error) {
    if (await job.isFailed()) throw error
    return false
  }
}
