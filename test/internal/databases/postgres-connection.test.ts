import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import {
  connectionLender, isPool, plannedOnce, type PostgresConnection, type PostgresPool
} from '../../../lib/internal/databases/postgres-connection.ts'

/** A pool whose connections the test lets come, or fail. */
function played () {
  const asked: Array<PromiseWithResolvers<PostgresConnection>> = []
  const released: unknown[] = []
  const query = async () => ({ rows: [] })
  const connection: PostgresConnection = { query, on () {}, off () {}, release: (...values: unknown[]) => { released.push(values) } }
  const pool: PostgresPool = {
    query,
    connect () {
      let settle: Omit<PromiseWithResolvers<PostgresConnection>, 'promise'> = { resolve () {}, reject () {} }
      const promise = new Promise<PostgresConnection>((resolve, reject) => { settle = { resolve, reject } })
      asked.push({ promise, ...settle })
      return promise
    }
  }
  return { pool, asked, released, connection }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

t.test('it lends a connection of the pool, or rejects as the pool does', async t => {
  const { pool, asked, released, connection } = played()
  const lend = connectionLender(pool)
  const lent = lend(new AbortController().signal)
  await nextTurn()
  asked[0]?.resolve(connection)
  t.equal(await lent, connection)
  const refused = t.rejects(lend(new AbortController().signal), { message: 'full' })
  await nextTurn()
  asked[1]?.reject(new Error('full'))
  await refused
  t.same(released, [])
})

t.test('never more than one is on its way, and one that nobody waits for is given back', async t => {
  const { pool, asked, released, connection } = played()
  const lend = connectionLender(pool)
  for (let attempt = 0; attempt < 5; attempt++) {
    const giveUp = new AbortController()
    const given = t.rejects(lend(giveUp.signal), { message: 'no more' })
    await nextTurn()
    giveUp.abort(new Error('no more'))
    await given
  }
  t.equal(asked.length, 1)
  const last = lend(new AbortController().signal)
  await nextTurn()
  t.equal(asked.length, 1)

  asked[0]?.resolve(connection)
  await nextTurn()
  t.same(released, [[]], 'given back, not closed')
  t.equal(asked.length, 2, 'only who still waits asks again')
  asked[1]?.resolve(connection)
  t.equal(await last, connection)
  t.equal(released.length, 1)
})

t.test('who has given up before asking gets nothing', async t => {
  const { pool, asked } = played()
  await t.rejects(connectionLender(pool)(AbortSignal.abort(new Error('too late'))), { message: 'too late' })
  await nextTurn()
  t.equal(asked.length, 0)
})

t.test('a statement that is planned once has a name of its own', async t => {
  const [one, same, other] = [plannedOnce('SELECT 1', []), plannedOnce('SELECT 1', [2]), plannedOnce('SELECT 2', [])] as const
  t.equal(one.name, same.name)
  t.not(one.name, other.name)
  t.ok(String(one.name).length < 64, 'Postgres cuts longer names')
})

t.test('what has connect is a pool', async t => {
  t.equal(isPool(played().pool), true)
  t.equal(isPool({ query: async () => ({ rows: [] }) }), false)
})
