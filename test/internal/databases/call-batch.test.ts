import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { waitingCalls } from '../../../lib/internal/databases/call-batch.ts'

function recorded (answer: (call: number) => number | Error = call => call * 10, most?: number) {
  const runs: Array<readonly number[]> = []
  const call = waitingCalls(async (calls: readonly number[]) => {
    runs.push(calls)
    return calls.map(answer)
  }, most)
  return { runs, call }
}

t.test('calls of one turn are run as one, in their order, and each gets its own answer', async t => {
  const { runs, call } = recorded()
  t.strictSame(await Promise.all([3, 1, 2].map(call)), [30, 10, 20])
  t.strictSame(runs, [[3, 1, 2]])
})

t.test('a single call does not wait for others', async t => {
  const { runs, call } = recorded()
  const answer = call(1)
  await turn()
  t.strictSame(runs, [[1]])
  t.equal(await answer, 10)
})

t.test('a call does not wait for the answer of those before it', async t => {
  const runs: Array<readonly number[]> = []
  const call = waitingCalls((calls: readonly number[]) => {
    runs.push(calls)
    return new Promise<number[]>(() => {})
  })
  call(1)
  await turn()
  call(2)
  await turn()
  t.strictSame(runs, [[1], [2]])
})

t.test('more calls than the maximum are run as several', async t => {
  const { runs, call } = recorded(undefined, 2)
  t.strictSame(await Promise.all([1, 2, 3, 4, 5].map(call)), [10, 20, 30, 40, 50])
  t.strictSame(runs, [[1, 2], [3, 4], [5]])
})

t.test('a call that fails by itself fails no other', async t => {
  const { call } = recorded(call => call === 2 ? new Error('two') : call)
  const outcomes = await Promise.allSettled([1, 2, 3].map(call))
  t.strictSame(outcomes.map(outcome => outcome.status), ['fulfilled', 'rejected', 'fulfilled'])
  t.match(outcomes[1], { reason: { message: 'two' } })
})

t.test('when the run fails, each of its calls fails, and the next run starts afresh', async t => {
  let down = true
  const call = waitingCalls(async (calls: readonly number[]) => {
    if (down) throw new Error('down')
    return calls
  })
  t.strictSame((await Promise.allSettled([1, 2].map(call))).map(outcome => outcome.status), ['rejected', 'rejected'])
  down = false
  t.equal(await call(3), 3)
})

t.test('a run with too few answers rejects all of its calls', async t => {
  const call = waitingCalls(async (calls: readonly number[]) => calls.slice(1))
  await t.rejects(Promise.all([1, 2].map(call)), { message: '2 calls got 1 answers' })
})
