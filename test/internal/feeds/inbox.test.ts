import t from 'tap'
import { inbox } from '../../../lib/internal/feeds/inbox.ts'

t.test('what was put in is taken once, in its order', async t => {
  const box = inbox<number>(10)
  box.put(1, 2)
  box.put(3)
  t.same(box.take(), { items: [1, 2, 3], isWhole: true })
  t.same(box.take(), { items: [], isWhole: true })
})

t.test('it waits until something is put in, something is lost, or the time is over', async t => {
  const box = inbox<number>(10)
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
  const box = inbox<number>(10)
  box.put(1)
  await box.wait(60_000)
  box.take()
  box.lose()
  await box.wait(60_000)
  t.equal(box.take().isWhole, false)
})

t.test('after the end waiting rejects, also for those who wait', async t => {
  const box = inbox<number>(10)
  const waiting = t.rejects(box.wait(60_000), { message: 'the connection on which news come was lost' })
  box.end()
  await waiting
  await t.rejects(box.wait(60_000))
})

t.test('while it holds as many items as it may, others are lost, and it says so', async t => {
  const box = inbox<number>(3)
  for (const item of [1, 2, 3]) box.put(item)
  t.same(box.take(), { items: [1, 2, 3], isWhole: true })
  for (const item of [1, 2, 3, 4]) box.put(item)
  t.same(box.take(), { items: [1, 2, 3], isWhole: false })
  box.put(1, 2, 3, 4)
  t.same(box.take(), { items: [1, 2, 3, 4], isWhole: true })
})
