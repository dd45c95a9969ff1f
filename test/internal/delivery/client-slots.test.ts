import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { clientSlots } from '../../../lib/internal/delivery/client-slots.ts'

t.test('each client has its places, and gets them back', async t => {
  const slots = clientSlots(2)
  const [one, other] = [slots.take('shop', '1'), slots.take('shop', '2')]
  t.type(one, 'function')
  t.type(other, 'function')
  t.type(slots.take('shop', '3'), 'number')
  t.type(slots.take('mail', '1'), 'function', 'another client has its own')
  if (typeof one === 'function') one()
  t.type(slots.take('shop', '3'), 'function')
  t.type(slots.take('shop', '4'), 'number')
})

t.test('the more deliveries are sent away, the longer they wait, each counted once, and half a minute at most', async t => {
  const slots = clientSlots(1)
  slots.take('shop', 'in hand')
  t.equal(slots.take('shop', '1'), 100)
  t.equal(slots.take('shop', '1'), 100, 'it came back')
  t.equal(slots.take('shop', '2'), 200)
  for (let id = 3; id < 1000; id++) slots.take('shop', `${id}`)
  t.equal(slots.take('shop', '1000'), 30_000)
})

t.test('they wait as long as the attempts of the client take', async t => {
  const slots = clientSlots(2)
  slots.take('quick', 'in hand')
  for (let round = 0; round < 30; round++) {
    const quick = slots.take('quick', 'x')
    if (typeof quick === 'function') quick()
  }
  slots.take('quick', 'in hand too')
  t.equal(slots.take('quick', '1'), 50, 'the shortest wait')
  const slow = clientSlots(1)
  const place = slow.take('slow', 'x')
  slow.take('slow', 'waits')
  await sleep(500)
  if (typeof place === 'function') place()
  slow.take('slow', 'in hand')
  t.ok(Number(slow.take('slow', '1')) > 300)
})

t.test('those that another process got meanwhile are forgotten', async t => {
  const slots = clientSlots(1)
  const { performance } = globalThis
  t.teardown(() => { globalThis.performance = performance })
  let now = 0
  globalThis.performance = { now: () => now } as never
  slots.take('shop', 'in hand')
  for (let id = 0; id < 100; id++) slots.take('shop', `${id}`)
  now = 30_000
  t.equal(slots.take('shop', 'late'), 10_100)
  now = 61_000
  t.equal(slots.take('shop', 'later'), 200, 'the two of the last minute')
})

t.test('a client of which nothing is in hand and nothing waits is forgotten', async t => {
  const slots = clientSlots(1)
  const place = slots.take('shop', '1')
  await sleep(400)
  if (typeof place === 'function') place()
  slots.take('shop', 'in hand')
  t.equal(slots.take('shop', '2'), 100, 'nothing is known of it')
})
