import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { rowCalls } from '../../../lib/internal/databases/row-calls.ts'

const wasRolledBack = (error: unknown) => String(error).includes('rolled back')

type Row = Readonly<Record<string, unknown>>

function recorded (run: (calls: readonly string[]) => readonly Row[], batch = true) {
  const runs: Array<readonly string[]> = []
  const call = rowCalls<string>({
    wasRolledBack,
    batch,
    async run (calls) {
      runs.push(calls)
      return run(calls)
    }
  })
  return { runs, call }
}

const rowOf = (name: string, index: number) => ({ nth: index + 1, name })

t.test('calls of one turn are one statement, and each gets its own row', async t => {
  const { runs, call } = recorded(calls => calls.map(rowOf).filter(({ name }) => name !== 'unknown').reverse())
  const rows = await Promise.all(['a', 'unknown', 'b'].map(call))
  t.strictSame(rows.map(row => row?.['name']), ['a', undefined, 'b'])
  t.strictSame(runs, [['a', 'unknown', 'b']])
})

t.test('a call whose row is locked is repeated until the row is free, and the others do not wait for it', async t => {
  const locked = new Set(['a'])
  const { runs, call } = recorded(calls => calls.map((name, index) => ({ ...rowOf(name, index), locked: locked.has(name) })))
  let answered: Row | undefined
  const waiting = call('a').then(row => { answered = row })
  t.equal((await call('b'))?.['name'], 'b')
  for (let asked = 1; asked < 6; asked++) {
    while (runs.flat().filter(name => name === 'a').length <= asked) await turn()
  }
  t.equal(answered, undefined)
  locked.clear()
  await waiting
  t.match(answered, { name: 'a', locked: false })
})

t.test('a client that gives numbers and booleans as text is understood', async t => {
  let runs = 0
  const call = rowCalls<string>({
    wasRolledBack,
    batch: true,
    async run (calls) {
      runs += 1
      return calls.map((name, index) => ({ nth: `${index + 1}`, name, locked: runs === 1 ? 't' : 'f' }))
    }
  })
  t.match(await Promise.all(['a', 'b'].map(call)), [{ name: 'a' }, { name: 'b' }])
  t.equal(runs, 2)
})

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

t.test('a row that stays locked is an error, which says so', async t => {
  let runs = 0
  const call = rowCalls<string>({
    wasRolledBack,
    batch: false,
    timeout: 30,
    async run () {
      runs += 1
      return [{ nth: 1, locked: true }]
    }
  })
  const start = performance.now()
  await t.rejects(call('a'), { message: 'another transaction has locked the row for 30 ms' })
  t.equal(runs, 5, 'after 0, 5, 10, 20 and 40 ms')
  t.ok(performance.now() - start > 30, 'and not in a loop')
})

t.test('after a statement that was rolled back each of its calls runs alone, and one that fails again fails no other', async t => {
  const { runs, call } = recorded(calls => {
    if (calls.includes('bad')) throw new Error('rolled back')
    return calls.map(rowOf)
  })
  const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map(call))
  t.match(outcomes, [{ value: { name: 'a' } }, { reason: { message: 'rolled back' } }, { value: { name: 'b' } }])
  t.strictSame(runs, [['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
})

t.test('a statement whose outcome is unknown is not repeated', async t => {
  const { runs, call } = recorded(() => { throw new Error('the connection was lost') })
  const outcomes = await Promise.allSettled(['a', 'b'].map(call))
  t.match(outcomes, [{ reason: { message: 'the connection was lost' } }, { reason: { message: 'the connection was lost' } }])
  t.strictSame(runs, [['a', 'b']])
})

t.test('a call that fails by itself is not repeated', async t => {
  const { runs, call } = recorded(() => { throw new Error('rolled back') })
  await t.rejects(call('a'), { message: 'rolled back' })
  t.strictSame(runs, [['a']])
})

t.test('without batch each call is a statement of its own, in the context of its caller', async t => {
  const requests = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const { runs, call } = recorded(calls => {
    seen.push(requests.getStore())
    return calls.map(rowOf)
  }, false)
  const rows = await Promise.all(['a', 'b'].map(name => requests.run(`request of ${name}`, () => call(name))))
  t.strictSame(rows.map(row => row?.['name']), ['a', 'b'])
  t.strictSame(runs, [['a'], ['b']])
  t.strictSame(seen, ['request of a', 'request of b'])
})
