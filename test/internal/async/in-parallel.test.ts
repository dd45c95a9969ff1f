import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { inParallel } from '../../../lib/internal/async/in-parallel.ts'

t.test('each item is worked on once, at most so many at a time, and results keep the order', async t => {
  let running = 0
  let most = 0
  const results = await inParallel([5, 1, 4, 2, 3], 2, async item => {
    most = Math.max(most, ++running)
    for (let i = 0; i < item; i++) await turn()
    running--
    return item * 10
  })
  t.strictSame(results, [50, 10, 40, 20, 30])
  t.equal(most, 2)
  t.strictSame(await inParallel([], 2, async () => t.fail('there is nothing to do')), [])
})

t.test('after a failure every other item still gets its turn, and the first failure is the outcome', async t => {
  const done: number[] = []
  await t.rejects(inParallel([1, 2, 3, 4], 2, async item => {
    await turn()
    if (item % 2 === 0) throw new Error(`item ${item}`)
    done.push(item)
  }), { message: 'item 2' })
  t.strictSame(done, [1, 3])
})
