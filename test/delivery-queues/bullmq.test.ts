import { Queue, Worker } from 'bullmq'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { deliveryQueueRules } from '../../lib/conformance/delivery-queue.ts'
import { bullmqDeliveryQueue, type BullmqDeliveryQueueOptions, type BullmqJob } from '../../lib/delivery-queues/bullmq.ts'
import { withRedis } from '../servers/redis.ts'
import { delivery, until } from './deliveries.ts'

t.setTimeout(240_000)

const options = { parallel: 4, timeout: 10_000 }

t.test('on a real Redis', t => withRedis(t, async ({ url }) => {
  const connection = { url }
  const newQueue = (t: Test) => {
    const queue = new Queue(`deliveries-${randomUUID()}`, { connection, prefix: 'test' })
    t.teardown(() => queue.close())
    return queue
  }

  for (const rule of deliveryQueueRules) {
    t.test(rule.name, t => rule.check(() => ({ queue: bullmqDeliveryQueue({ queue: newQueue(t), Worker, connection }) })))
  }

  t.test('what is done leaves nothing in Redis, and a retry keeps neither the error nor a stack', async t => {
    const queue = newQueue(t)
    const deliveries = bullmqDeliveryQueue({ queue, Worker, connection })
    const errors = [new Error('a 5ecret of the request')]
    let isOver = false
    const stop = await deliveries.work(async ({ id }) => {
      const error = errors.shift()
      if (error !== undefined) throw error
      isOver = true
      return id === 'good' ? 'done' : { dead: 'refused' }
    }, options)
    await deliveries.enqueue([delivery('good')])
    await until(async () => await queue.getDelayedCount() === 1)
    const [waiting] = await queue.getDelayed()
    t.match(waiting, { failedReason: 'the attempt rejected', stacktrace: [] })
    await until(() => isOver)
    await until(async () => Object.values(await queue.getJobCounts()).every(count => count === 0))
    t.strictSame(Object.values(await queue.getJobCounts()).filter(count => count !== 0), [])
    await deliveries.enqueue([delivery('bad')])
    await until(async () => await queue.getFailedCount() === 1)
    const [dead] = await queue.getFailed()
    t.match(dead, { failedReason: 'refused', name: 'delivery', data: delivery('bad') })
    await stop()
  })

  t.test('of two callers that redeliver at the same time one gets true', async t => {
    const deliveries = bullmqDeliveryQueue({ queue: newQueue(t), Worker, connection })
    const stop = await deliveries.work(async () => ({ dead: 'refused' }), options)
    await deliveries.enqueue([delivery('1')])
    await until(async () => (await deliveries.dead({ limit: 1 })).length === 1)
    await stop()
    const answers = await Promise.all(Array.from({ length: 10 }, () => deliveries.redeliver('1')))
    t.strictSame(answers.filter(Boolean), [true])
  })
}))

/** A queue with these jobs, and a class for its workers that only remembers. */
function standIn (jobs: Readonly<Record<string, Partial<BullmqJob>>> = {}, closes = true) {
  const workers: Array<{
    name: string, settings: unknown, events: unknown[], process: (job: Partial<BullmqJob>, token?: string) => Promise<unknown>
  }> = []
  class StandInWorker {
    readonly #made: typeof workers[number]

    constructor (name: string, process: never, settings: never) {
      this.#made = { name, settings, events: [], process }
      workers.push(this.#made)
    }

    on (event: string, listener: unknown) { this.#made.events.push([event, listener]) }
    async close () {
      this.#made.events.push('closed')
      if (closes === false) await new Promise(() => {})
    }
  }
  const added: unknown[] = []
  const connection = { url: 'redis://127.0.0.1' }
  const queue = {
    name: 'logouts',
    opts: { prefix: 'app' },
    addBulk: async (jobs: unknown) => { added.push(jobs) },
    getJob: async (id: string) => jobs[id] as BullmqJob | undefined,
    getRanges: async () => Object.keys(jobs)
  }
  return { workers, added, connection, options: { queue, Worker: StandInWorker, connection } satisfies BullmqDeliveryQueueOptions }
}

t.test('a worker has the settings with which a delivery survives its process', async t => {
  const { workers, connection, options: given } = standIn()
  const stop = await bullmqDeliveryQueue(given).work(async () => 'done', { parallel: 7, timeout: 12_345 })
  const onError = () => {}
  await (await bullmqDeliveryQueue({ ...given, onError }).work(async () => 'done', options))()
  const settings = { stalledInterval: 2500, maxStalledCount: 10, connection, prefix: 'app' }
  t.strictSame(workers.map(({ process, ...others }) => others), [
    { name: 'logouts', settings: { ...settings, concurrency: 7, lockDuration: 12_345 }, events: [] },
    { name: 'logouts', settings: { ...settings, concurrency: 4, lockDuration: 10_000 }, events: [['error', onError], 'closed'] }
  ])
  t.equal(await stop(), 0)
})

t.test('a retry is given back with the lock of its worker, and an attempt cannot change its id', async t => {
  const { workers, options: given } = standIn()
  await bullmqDeliveryQueue(given).work(async handedOut => {
    Object.assign(handedOut, { id: 'another' })
    return { retryAt: 5, delivery: { ...handedOut, attempt: 2 } }
  }, options)
  const calls: unknown[] = []
  const job = {
    data: delivery('1'),
    updateData: async (data: unknown) => { calls.push(data) },
    moveToDelayed: async (...values: unknown[]) => { calls.push(values) }
  }
  await t.rejects(Promise.resolve(workers[0]?.process(job, 'the lock')), { name: 'DelayedError' })
  t.strictSame(calls, [{ ...delivery('1'), attempt: 2 }, [5, 'the lock']])
})

t.test('stopping waits for what is in hand, but not for a Redis that is gone', async t => {
  const { workers, options: given } = standIn({}, false)
  let release = () => {}
  let isOver = false
  const stop = await bullmqDeliveryQueue(given).work(async () => {
    await new Promise<void>(resolve => { release = resolve })
    isOver = true
    throw new Error('planted')
  }, options)
  const processed = t.rejects(Promise.resolve(workers[0]?.process({ data: delivery('1') })), { message: 'the attempt rejected' })
  await sleep(1)
  const stopped = stop().then(count => [count, isOver])
  setTimeout(() => release(), 2500)
  t.strictSame(await stopped, [0, true])
  await processed
})

t.test('a job is never given up for a failure, whatever defaults the queue has', async t => {
  const { added, options: given } = standIn()
  const deliveries = bullmqDeliveryQueue(given)
  await deliveries.enqueue([])
  t.strictSame(added, [])
  await deliveries.enqueue([delivery('a:1')])
  t.match(added, [[{
    name: 'delivery',
    data: delivery('a:1'),
    opts: {
      jobId: /^delivery-[\w-]{43}$/,
      attempts: Number.MAX_SAFE_INTEGER,
      backoff: { type: 'fixed', delay: 1000 },
      removeOnComplete: true,
      removeOnFail: false,
      stackTraceLimit: 0
    }
  }]])
})

t.test('a dead delivery that is removed meanwhile is left out, and one that failed without a reason is unknown', async t => {
  const jobs = {
    'delivery-1': { data: delivery('1') },
    'delivery-2': undefined as never,
    'delivery-3': { data: delivery('3'), failedReason: 'x' }
  }
  t.strictSame(await bullmqDeliveryQueue(standIn(jobs).options).dead({ limit: 5 }), [
    { delivery: delivery('1'), reason: 'unknown' }, { delivery: delivery('3'), reason: 'x' }
  ])
})

t.test('redeliver rejects if Redis fails', async t => {
  const down = async (): Promise<never> => { throw new Error('the database is down') }
  const job = { data: delivery('1'), isFailed: async () => true, updateData: async () => {}, retry: down }
  const redeliver = (job: Partial<BullmqJob>) => {
    const { options: { queue, ...others } } = standIn()
    return bullmqDeliveryQueue({ ...others, queue: { ...queue, getJob: async () => job as BullmqJob } }).redeliver('1')
  }
  await t.rejects(redeliver(job), { message: 'the database is down' })
  await t.rejects(redeliver({ ...job, updateData: down }), { message: 'the database is down' })
  t.equal(await redeliver({ ...job, isFailed: async () => false }), false)
  let asked = 0
  t.equal(await redeliver({ ...job, isFailed: async () => ++asked === 1 }), false, 'another caller was first')
})

t.test('an option that is missing or wrong is a TypeError', async t => {
  const { options: given } = standIn()
  for (const [option, values] of Object.entries({
    queue: [undefined, null, {}, 'x'], Worker: [undefined, null, {}], connection: [undefined, null, 'redis://127.0.0.1'], onError: [null, 'x']
  })) {
    for (const value of values) {
      const message = new RegExp(`^bullmqDeliveryQueue: option "${option}" must be`)
      t.throws(() => bullmqDeliveryQueue({ ...given, [option]: value }), { name: 'TypeError', message }, `${option}: ${String(value)}`)
    }
  }
})
