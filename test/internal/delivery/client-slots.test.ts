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

/** The longest of many waits of the same delivery. */
function longestOf (slots: ReturnType<typeof clientSlots>, clientId: string, id: string): number {
  const waits = Array.from({ length: 500 }, () => Number(slots.take(clientId, id)))
  t.ok(Math.min(...waits) >= 50, 'none comes back at once')
  return Math.max(...waits)
}

function isAbout (longest: number, expected: number): boolean {
  return longest > expected * 0.9 && longest <= expected
}

t.test('the more deliveries are sent away, the longer they wait, each counted once, and half a minute at most', async t => {
  const slots = clientSlots(1)
  slots.take('shop', 'in hand')
  t.ok(isAbout(longestOf(slots, 'shop', '1'), 150))
  t.ok(isAbout(longestOf(slots, 'shop', '2'), 250))
  for (let id = 3; id < 1000; id++) slots.take('shop', `${id}`)
  t.ok(isAbout(longestOf(slots, 'shop', '1000'), 30_050))
})

t.test('they come back at times of their own', async t => {
  const slots = clientSlots(1)
  slots.take('shop', 'in hand')
  for (let id = 0; id < 100; id++) slots.take('shop', `${id}`)
  const waits = Array.from({ length: 500 }, () => Number(slots.take('shop', '1')))
  const early = waits.filter(wait => wait < 5050).length
  t.ok(early > 150 && early < 350, `${early} of 500 in the first half`)
})

t.test('they wait as long as the attempts of the client take', async t => {
  const slots = clientSlots(2)
  slots.take('quick', 'in hand')
  for (let round = 0; round < 30; round++) {
    const quick = slots.take('quick', 'x')
    if (typeof quick === 'function') quick()
  }
  slots.take('quick', 'in hand too')
  t.ok(longestOf(slots, 'quick', '1') < 100)
  const slow = clientSlots(1)
  const place = slow.take('slow', 'x')
  slow.take('slow', 'waits')
  await sleep(500)
  if (typeof place === 'function') place()
  slow.take('slow', 'in hand')
  t.ok(longestOf(slow, 'slow', '1') > 300)
})

t.test('those that another process got meanwhile are forgotten two seconds after their time', async t => {
  const slots = clientSlots(1)
  const { performance } = globalThis
  t.teardown(() => { globalThis.performance = performance })
  let now = 10_000
  globalThis.performance = { now: () => now } as never
  slots.take('shop', 'in hand')
  for (let id = 0; id < 100; id++) slots.take('shop', `${id}`)
  now += 2000
  t.ok(isAbout(longestOf(slots, 'shop', 'late'), 10_150), 'they may still come')
  now += 60_000
  t.ok(isAbout(longestOf(slots, 'shop', 'later'), 150), 'all of them')
  now += 1999
  t.ok(isAbout(longestOf(slots, 'shop', 'latest'), 250), 'and this one may come')
})

t.test('a client of which nothing is in hand and nothing waits is forgotten', async t => {
  const slots = clientSlots(1)
  const place = slots.take('shop', '1')
  await sleep(400)
  if (typeof place === 'function') place()
  slots.take('shop', 'in hand')
  t.ok(isAbout(longestOf(slots, 'shop', '2'), 150), 'nothing is known of it')
})
