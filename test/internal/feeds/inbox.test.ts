import t from 'tap'
import { inbox } from '../../../lib/internal/feeds/inbox.ts'

t.test('what was put in is taken once, in its order', async t => {
  const box = inbox<number>()
  box.put(1, 2)
  box.put(3)
  t.same(box.take(), { items: [1, 2, 3], isWhole: true })
  t.same(box.take(), { items: [], isWhole: true })
})

t.test('it waits until something is put in, something is lost, or the time is over', async t => {
  const box = inbox<number>()
  for (const [news, taken] of [
    [() => box.put(1), { items: [1], isWhole: true }],
    [() => box.lose(), { items: [], isWhole: false }]
  ] as const) {
    let isOver = false
    const waiting = box.wait(60_000).then(() => { isOver = true })
    await new Promise(resolve => setImmediate(resolve))
    t.equal(isOver, false)
    news()
    await waiting
    t.same(box.take(), taken)
  }
  await box.wait(1)
  t.same(box.take(), { items: [], isWhole: true })
})

t.test('it does not wait while there is something to take', async t => {
  const box = inbox<number>()
  box.put(1)
  await box.wait(60_000)
  box.take()
  box.lose()
  await box.wait(60_000)
  t.equal(box.take().isWhole, false)
})

t.test('after the end waiting rejects, also for those who wait', async t => {
  const box = inbox<number>()
  const waiting = t.rejects(box.wait(60_000), { message: 'the connection on which news come was lost' })
  box.end()
  await waiting
  await t.rejects(box.wait(60_000))
})

t.test('it keeps at most ten thousand items, and says that some are missing', async t => {
  const box = inbox<number>()
  for (let item = 0; item < 10_000; item++) box.put(item)
  t.equal(box.take().isWhole, true)
  for (let item = 0; item < 10_100; item++) box.put(item)
  const { items, isWhole } = box.take()
  t.same([items.length, isWhole], [10_000, false])
})
