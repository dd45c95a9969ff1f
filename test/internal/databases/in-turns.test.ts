import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { inTurns } from '../../../lib/internal/databases/in-turns.ts'

t.test('so many run at once, the others in their order, also after failures', async t => {
  const inTurn = inTurns(2)
  const begun: number[] = []
  let running = 0
  let most = 0
  const results = await Promise.allSettled(Array.from({ length: 9 }, (_, index) => inTurn(async () => {
    begun.push(index)
    most = Math.max(most, ++running)
    await nextTurn()
    running--
    if (index % 3 === 0) throw new Error(`${index}`)
    return index
  })))
  t.same(begun, [0, 1, 2, 3, 4, 5, 6, 7, 8])
  t.equal(most, 2)
  t.same(results.map(result => result.status === 'fulfilled' ? result.value : result.reason.message), ['0', 1, 2, '3', 4, 5, '6', 7, 8])
  t.equal(await inTurn(async () => 'later'), 'later')
})

t.test('what never ends holds up the others for a second', async t => {
  const inTurn = inTurns(1)
  let finish = () => {}
  const endless = inTurn(() => new Promise<void>(resolve => { finish = resolve }))
  const start = performance.now()
  t.equal(await inTurn(async () => 'after it'), 'after it')
  t.ok(performance.now() - start > 900)
  finish()
  await endless
  await sleep(1)
  let running = 0
  await Promise.all([0, 1, 2].map(() => inTurn(async () => {
    t.equal(++running, 1, 'its end is counted once')
    await nextTurn()
    running--
  })))
})
