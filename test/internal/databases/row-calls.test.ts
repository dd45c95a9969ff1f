import t from 'tap'
import { rowCalls } from '../../../lib/internal/databases/row-calls.ts'
import { callsOfOneTurn, recorded, rowOf, type MakeCalls } from './calls-of-one-turn.ts'

const wasRolledBack = (error: unknown) => String(error).includes('rolled back')

const make: MakeCalls = options => rowCalls({ ...options, wasRolledBack })

t.test('rowCalls', t => callsOfOneTurn(t, make))

t.test('at most so many calls share a statement', async t => {
  const runs: number[] = []
  const call = rowCalls<string>({
    wasRolledBack,
    batch: true,
    most: 2,
    async run (calls) {
      runs.push(calls.length)
      return calls.map(rowOf)
    }
  })
  await Promise.all(['a', 'b', 'c'].map(call))
  t.strictSame(runs, [2, 1])
})

t.test('after a statement that was rolled back each of its calls runs alone, and one that fails again fails no other', async t => {
  const { runs, call } = recorded(make, calls => {
    if (calls.includes('bad')) throw new Error('rolled back')
    return calls.map(rowOf)
  })
  const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map(call))
  t.match(outcomes, [{ value: { name: 'a' } }, { reason: { message: 'rolled back' } }, { value: { name: 'b' } }])
  t.strictSame(runs, [['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
})

t.test('a statement whose outcome is unknown is not repeated', async t => {
  const { runs, call } = recorded(make, () => { throw new Error('the connection was lost') })
  const outcomes = await Promise.allSettled(['a', 'b'].map(call))
  t.match(outcomes, [{ reason: { message: 'the connection was lost' } }, { reason: { message: 'the connection was lost' } }])
  t.strictSame(runs, [['a', 'b']])
})

t.test('a call that fails by itself is not repeated', async t => {
  const { runs, call } = recorded(make, () => { throw new Error('rolled back') })
  await t.rejects(call('a'), { message: 'rolled back' })
  t.strictSame(runs, [['a']])
})
