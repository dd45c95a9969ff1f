import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { postgresCalls, resolveBatch } from '../../../lib/internal/databases/postgres-batch.ts'
import type { PostgresClient } from '../../../lib/internal/databases/postgres.ts'

type Row = Readonly<Record<string, unknown>>

function recorded (run: (calls: readonly string[]) => readonly Row[], batch = true) {
  const runs: Array<readonly string[]> = []
  const call = postgresCalls<string>({
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
  const asked: string[] = []
  const call = postgresCalls<string>({
    batch: true,
    run: async calls => calls.map((name, index) => {
      asked.push(name)
      return { nth: `${index + 1}`, name, locked: asked.filter(each => each === name).length === 1 ? 't' : 'f' }
    })
  })
  t.match(await Promise.all(['a', 'b'].map(call)), [{ name: 'a' }, { name: 'b' }])
  t.strictSame(asked.toSorted(), ['a', 'a', 'b', 'b'], 'each was locked at first, and then not')
})

t.test('a row that stays locked is an error, which says so', async t => {
  let runs = 0
  const call = postgresCalls<string>({
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

const failure = (code: string) => Object.assign(new Error(code), { code })

for (const code of ['40P01', '57014', '22021']) {
  t.test(`after ${code} each call of the statement runs alone, and one that fails again fails no other`, async t => {
    const { runs, call } = recorded(calls => {
      if (calls.includes('bad')) throw failure(code)
      return calls.map(rowOf)
    })
    const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map(call))
    t.match(outcomes, [{ value: { name: 'a' } }, { reason: { code } }, { value: { name: 'b' } }])
    t.strictSame(runs, [['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
  })
}

t.test('a statement whose outcome is unknown is not repeated', async t => {
  const { runs, call } = recorded(() => { throw failure('57P01') })
  const outcomes = await Promise.allSettled(['a', 'b'].map(call))
  t.match(outcomes, [{ reason: { code: '57P01' } }, { reason: { code: '57P01' } }])
  t.strictSame(runs, [['a', 'b']])
})

t.test('a call that fails by itself is not repeated', async t => {
  const { runs, call } = recorded(() => { throw failure('57014') })
  await t.rejects(call('a'), { code: '57014' })
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

t.test('only a Pool as pg makes it shares statements, unless the option says otherwise', async t => {
  class RequestPool extends pg.Pool {
    override query (): never { throw new Error('the transaction of the request') }
  }
  class OtherConnections extends pg.Pool {
    override connect (): never { throw new Error('the connection of the request') }
  }
  const own = Object.assign(new pg.Pool(), { query: async () => ({ rows: [] }) })
  const query = async () => ({ rows: [] })
  const others: unknown[] = [
    { query }, new pg.Client(), new RequestPool(), new OtherConnections(), own, new Proxy(new pg.Pool(), {}),
    { query, connect: query, totalCount: 1 }, Object.create({ query }), Object.assign(Object.create(null), { query })
  ]
  t.equal(resolveBatch(undefined, new pg.Pool(), 'caller'), true)
  for (const [index, client] of others.entries()) t.equal(resolveBatch(undefined, client as PostgresClient, 'caller'), false, `${index}`)
  t.equal(resolveBatch(true, { query }, 'caller'), true)
  t.equal(resolveBatch(false, new pg.Pool(), 'caller'), false)
  for (const batch of [1, 'yes', null]) {
    t.throws(() => resolveBatch(batch, { query }, 'caller'), { name: 'TypeError', message: 'caller: option "batch" must be true or false' })
  }
})

t.test('something that is not a client shares no statements: the store refuses it by name', async t => {
  for (const client of [undefined, null, 'postgres://127.0.0.1']) t.equal(resolveBatch(undefined, client as never, 'caller'), false)
})
