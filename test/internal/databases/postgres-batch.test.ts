import pg from 'pg'
import t from 'tap'
import { postgresCalls, resolveBatch } from '../../../lib/internal/databases/postgres-batch.ts'
import type { PostgresClient } from '../../../lib/internal/databases/postgres.ts'
import { callsOfOneTurn, recorded, rowOf } from './calls-of-one-turn.ts'

t.test('postgresCalls', t => callsOfOneTurn(t, postgresCalls))

const failure = (code: string) => Object.assign(new Error(code), { code })

for (const code of ['40P01', '57014', '22021']) {
  t.test(`after ${code} each call of the statement runs alone, and one that fails again fails no other`, async t => {
    const { runs, call } = recorded(postgresCalls, calls => {
      if (calls.includes('bad')) throw failure(code)
      return calls.map(rowOf)
    })
    const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map(call))
    t.match(outcomes, [{ value: { name: 'a' } }, { reason: { code } }, { value: { name: 'b' } }])
    t.strictSame(runs, [['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
  })
}

t.test('a statement whose outcome is unknown is not repeated', async t => {
  const { runs, call } = recorded(postgresCalls, () => { throw failure('57P01') })
  const outcomes = await Promise.allSettled(['a', 'b'].map(call))
  t.match(outcomes, [{ reason: { code: '57P01' } }, { reason: { code: '57P01' } }])
  t.strictSame(runs, [['a', 'b']])
})

t.test('a call that fails by itself is not repeated', async t => {
  const { runs, call } = recorded(postgresCalls, () => { throw failure('57014') })
  await t.rejects(call('a'), { code: '57014' })
  t.strictSame(runs, [['a']])
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
