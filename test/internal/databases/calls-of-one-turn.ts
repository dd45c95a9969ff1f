import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { RowCalls } from '../../../lib/internal/databases/row-calls.ts'

export type Row = Readonly<Record<string, unknown>>

/** Makes a function whose calls of one turn share a statement. */
export type MakeCalls = (options: Omit<RowCalls<string>, 'wasRolledBack'>) => (name: string) => Promise<Row | undefined>

/** The row of a call, by its place in the statement. */
export const rowOf = (name: string, index: number): Row => ({ nth: index + 1, name })

/** Calls, and which of them each statement had. */
export function recorded (make: MakeCalls, run: (calls: readonly string[]) => readonly Row[], batch = true) {
  const runs: Array<readonly string[]> = []
  const call = make({
    batch,
    async run (calls) {
      runs.push(calls)
      return run(calls)
    }
  })
  return { runs, call }
}

/** What holds for calls on every SQL database. */
export async function callsOfOneTurn (t: Test, make: MakeCalls): Promise<void> {
  await t.test('calls of one turn are one statement, and each gets its own row', async t => {
    const { runs, call } = recorded(make, calls => calls.map(rowOf).filter(({ name }) => name !== 'unknown').reverse())
    const rows = await Promise.all(['a', 'unknown', 'b'].map(call))
    t.strictSame(rows.map(row => row?.['name']), ['a', undefined, 'b'])
    t.strictSame(runs, [['a', 'unknown', 'b']])
  })

  await t.test('a call whose row is locked is repeated until the row is free, and the others do not wait for it', async t => {
    const locked = new Set(['a'])
    const { runs, call } = recorded(make, calls => calls.map((name, index) => ({ ...rowOf(name, index), locked: locked.has(name) })))
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

  await t.test('a client that gives numbers and booleans as text is understood', async t => {
    const asked: string[] = []
    const call = make({
      batch: true,
      run: async calls => calls.map((name, index) => {
        asked.push(name)
        return { nth: `${index + 1}`, name, locked: asked.filter(each => each === name).length === 1 ? 't' : 'f' }
      })
    })
    t.match(await Promise.all(['a', 'b'].map(call)), [{ name: 'a' }, { name: 'b' }])
    t.strictSame(asked.toSorted(), ['a', 'a', 'b', 'b'], 'each was locked at first, and then not')
  })

  await t.test('a row that stays locked is an error, which says so', async t => {
    let runs = 0
    const call = make({
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

  await t.test('without batch each call is a statement of its own, in the context of its caller', async t => {
    const requests = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { runs, call } = recorded(make, calls => {
      seen.push(requests.getStore())
      return calls.map(rowOf)
    }, false)
    const rows = await Promise.all(['a', 'b'].map(name => requests.run(`request of ${name}`, () => call(name))))
    t.strictSame(rows.map(row => row?.['name']), ['a', 'b'])
    t.strictSame(runs, [['a'], ['b']])
    t.strictSame(seen, ['request of a', 'request of b'])
  })
}
