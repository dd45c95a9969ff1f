import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { deliveryQueueRules } from '../../lib/conformance/delivery-queue.ts'
import { memoryDeliveryQueue } from '../../lib/delivery-queues/memory.ts'
import { delivery } from './deliveries.ts'

for (const rule of deliveryQueueRules) {
  t.test(rule.name, () => rule.check(() => ({ queue: memoryDeliveryQueue({ stopTimeout: 20 }) })))
}

const options = { parallel: 4, timeout: 1000 }

t.test('it returns plain values, not promises', async t => {
  const queue = memoryDeliveryQueue()
  t.equal(queue.enqueue([delivery('1')]), undefined)
  t.equal(queue.redeliver('1'), false)
  t.strictSame(queue.dead({ limit: 1 }), [])
})

t.test('a full queue refuses deliveries, the dead count too, and what it has already needs no room', async t => {
  const queue = memoryDeliveryQueue({ maxDeliveries: 2, stopTimeout: 0 })
  const stop = queue.work(async ({ id }) => ({ dead: id }), options)
  queue.enqueue([delivery('1')])
  await sleep(10)
  t.equal(await stop(), 0)
  queue.enqueue([delivery('2')])
  t.throws(() => queue.enqueue([delivery('3')]), { message: 'the queue is full: maxDeliveries is 2' })
  queue.enqueue([delivery('1'), delivery('2')])
  t.equal(await queue.work(async () => sleep(5, 'done' as const), options)(), 0)
  queue.enqueue([delivery('3')])
  t.throws(() => queue.enqueue([delivery('4')]), /full/)
})

t.test('stopped, its last worker goes on until nothing waits', async t => {
  const queue = memoryDeliveryQueue()
  const stop = queue.work(async delivery => delivery.attempt === 1
    ? { retryAt: Date.now() + 100, delivery: { ...delivery, attempt: 2 } }
    : 'done', options)
  queue.enqueue([delivery('1'), delivery('2')])
  t.equal(await stop(), 0)
  t.equal(await stop(), 0, 'again')
})

t.test('stopped, it counts what is lost', async t => {
  const queue = memoryDeliveryQueue({ stopTimeout: 30 })
  const work = () => queue.work(async delivery => ({ retryAt: Date.now() + 3_600_000, delivery }), options)
  const [one, other] = [work(), work()]
  queue.enqueue([delivery('1'), delivery('2'), delivery('3')])
  t.equal(await one(), 0, 'another worker is there')
  t.equal(await other(), 3)
})

t.test('an option that is wrong is a TypeError', async t => {
  for (const maxDeliveries of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => memoryDeliveryQueue({ maxDeliveries }), {
      name: 'TypeError', message: 'memoryDeliveryQueue: option "maxDeliveries" must be a positive integer'
    })
  }
  for (const stopTimeout of [-1, NaN, Infinity, '1' as never]) {
    t.throws(() => memoryDeliveryQueue({ stopTimeout }), {
      name: 'TypeError', message: 'memoryDeliveryQueue: option "stopTimeout" must be milliseconds, at most 2147483647'
    })
  }
})
