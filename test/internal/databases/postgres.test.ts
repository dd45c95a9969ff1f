import pg from 'pg'
import t from 'tap'
import { postgresStatements, underLock, wasRolledBack, type PostgresClient } from '../../../lib/internal/databases/postgres.ts'
import { warningsOf } from './warnings.ts'

const failure = (code: string) => Object.assign(new Error(`failed with ${code}`), { code })

/** A client whose statements fail with these errors, one after the other, and then succeed. */
function failing (...errors: unknown[]) {
  const asked: unknown[][] = []
  const client: PostgresClient = {
    async query (text, values) {
      asked.push([text, values])
      if (errors.length > 0) throw errors.shift()
      return { rows: [{ answer: 42 }] }
    }
  }
  return { asked, run: postgresStatements(client, 'members', 'caller') }
}

t.test('a statement runs with its values and resolves to its rows', async t => {
  const { asked, run } = failing()
  t.strictSame(await run('SELECT $1', 1, 'two'), [{ answer: 42 }])
  t.strictSame(asked, [['SELECT $1', [1, 'two']]])
})

t.test('a statement that lost a conflict with another transaction runs again', async t => {
  const { asked, run } = failing(failure('40001'), failure('40P01'), failure('40001'))
  t.strictSame(await run('SELECT 1'), [{ answer: 42 }])
  t.equal(asked.length, 4)
})

t.test('it runs at most ten times', async t => {
  const { asked, run } = failing(...Array.from({ length: 20 }, () => failure('40001')))
  await t.rejects(run('SELECT 1'), { code: '40001' })
  t.equal(asked.length, 10)
})

t.test('no other failure is repeated: whether that statement ran is unknown', async t => {
  for (const error of [failure('57P01'), failure('08006'), new Error('Query read timeout'), 'gone']) {
    const { asked, run } = failing(error)
    t.equal(await run('SELECT 1').catch((reason: unknown) => reason), error)
    t.equal(asked.length, 1)
  }
})

t.test('a failure after a conflict is passed on unchanged', async t => {
  await t.rejects(failing(failure('40001'), failure('57P01')).run('SELECT 1'), { code: '57P01' })
})

t.test('within a transaction of the host the host gets the conflict, and can run its transaction again', async t => {
  const { asked, run } = failing(failure('40001'), failure('25P02'))
  await t.rejects(run('SELECT 1'), { code: '40001' })
  t.equal(asked.length, 2)
})

t.test('a table that is missing is named', async t => {
  await t.rejects(failing(failure('42P01')).run('SELECT 1'), { message: 'table members is missing: run migrate()' })
})

t.test('after conflicts, refused values and timeouts a statement was rolled back; after other errors that is unknown', async t => {
  const separable = ['22P02', '22021', '23505', '40001', '40P01', '55P03', '57014']
  for (const code of separable) t.ok(wasRolledBack(failure(code)), code)
  const codes = ['08006', '53100', '57P01', '25006', '42P01', 'XX234']
  const others = [...codes.map(failure), new Error('timeout'), { code: '57014' }, undefined]
  for (const error of others) {
    t.notOk(wasRolledBack(error), String(error))
  }
})

t.test('a client without query is a TypeError', async t => {
  for (const client of [undefined, null, {}, 'postgres://127.0.0.1']) {
    t.throws(() => postgresStatements(client as PostgresClient, 'members', 'caller'), {
      name: 'TypeError', message: /^caller: pass a Pool of pg/
    })
  }
})

t.test('a migration is one statement under a lock', async t => {
  t.match(underLock('CREATE TABLE a ()'), /^DO .*pg_advisory_xact_lock.*CREATE TABLE a \(\).*END/s)
})

t.test('a Pool without timeouts is warned of, once', async t => {
  const pool = new pg.Pool()
  const warnings = await warningsOf(t, () => {
    postgresStatements(pool, 'a', 'postgresSessionStore')
    postgresStatements(pool, 'b', 'postgresUserStatusStore')
  })
  t.match(warnings, [{
    code: 'FASTIFY_LOGOUT_POOL_TIMEOUTS', message: /^postgresSessionStore: the Pool has no query_timeout and no connectionTimeoutMillis\./
  }])
  t.equal(warnings.length, 1)
})

t.test('the warning names the timeout that is missing', async t => {
  const warnings = await warningsOf(t, () => {
    postgresStatements(new pg.Pool({ query_timeout: 5000 }), 'a', 'one')
    postgresStatements(new pg.Pool({ connectionTimeoutMillis: 5000 }), 'a', 'two')
  })
  t.match(warnings.map(({ message }) => message), [
    /^one: the Pool has no connectionTimeoutMillis\./, /^two: the Pool has no query_timeout\./
  ])
})

t.test('a Pool with both timeouts is not warned of, nor is a client whose options cannot be seen', async t => {
  t.strictSame(await warningsOf(t, () => {
    postgresStatements(new pg.Pool({ query_timeout: 5000, connectionTimeoutMillis: 5000 }), 'a', 'caller')
    const connectionString = 'postgres://127.0.0.1/app?query_timeout=5000'
    postgresStatements(new pg.Pool({ connectionString, connectionTimeoutMillis: 5000 }), 'a', 'caller')
    postgresStatements({ query: async () => ({ rows: [] }) }, 'a', 'caller')
  }), [])
})
