import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  isDuplicate, mysqlStatements, resolveMysqlOptions, wasRolledBack, type MysqlClient, type MysqlStatement
} from '../../../lib/internal/databases/mysql.ts'

type Answer = readonly [result: unknown, ...more: unknown[]]

const header = (given: object = {}) => [{ affectedRows: 1, insertId: 0, serverStatus: 2, ...given }, undefined] as const

/** A pool as mysql2 makes it, with one kind of connection. */
class Pool {
  readonly #answer: (statement: MysqlStatement, attempt: number) => Promise<Answer> | Answer
  readonly ends: string[] = []
  readonly statements: MysqlStatement[] = []

  constructor (answer: (statement: MysqlStatement, attempt: number) => Promise<Answer> | Answer) {
    this.#answer = answer
  }

  async query (): Promise<Answer> { throw new Error('a pool is asked for a connection') }
  async execute (): Promise<Answer> { throw new Error('nothing is prepared') }

  async getConnection () {
    return {
      query: async (statement: MysqlStatement) => {
        this.statements.push(statement)
        return this.#answer(statement, this.statements.length)
      },
      release: () => { this.ends.push('released') },
      destroy: () => { this.ends.push('destroyed') }
    }
  }
}

const run = (client: MysqlClient, timeout = 1000) => mysqlStatements({ client, table: 'members', timeout }, 'caller')
const refusal = (errno: number, code = '', sqlState = 'HY000') => Object.assign(new Error(`refused ${errno}`), { errno, code, sqlState })

t.test('what a statement did, or its rows with texts for bytes', async t => {
  const row = { id: Buffer.from('€'), n: 5, none: null }
  const pool = new Pool(({ sql }) => sql === 'SELECT' ? [[row], []] : header({ affectedRows: '2', insertId: '7' }))
  t.strictSame(await run(pool)('SELECT'), { rows: [{ id: '€', n: 5, none: null }], changed: 0, insertId: 0 })
  t.strictSame(await run(pool)('UPDATE'), { rows: [], changed: 2, insertId: 7 })
  t.strictSame(pool.ends, ['released', 'released'])
  const settings = { values: [], rowsAsArray: false, nestTables: false, typeCast: true, namedPlaceholders: false }
  t.match(pool.statements[0], { sql: 'SELECT', ...settings })
})

t.test('rows as arrays are refused: every column would be missing', async t => {
  await t.rejects(run({ query: async () => [[[1]]] })('SELECT'), { name: 'TypeError', message: /returns rows as arrays/ })
})

t.test('a statement that takes too long rejects, and its connection is closed', async t => {
  const pool = new Pool(() => new Promise(() => {}))
  await t.rejects(run(pool, 20)('UPDATE'), { message: 'the database did not answer within 20 ms' })
  t.strictSame(pool.ends, ['destroyed'])
})

t.test('a connection for which nobody waits any more is given back, and asked nothing', async t => {
  class Exhausted extends Pool {
    override async getConnection () {
      await sleep(60)
      return super.getConnection()
    }
  }
  const pool = new Exhausted(() => header())
  Object.defineProperty(Exhausted.prototype, 'query', { value: Pool.prototype.query })
  Object.defineProperty(Exhausted.prototype, 'execute', { value: Pool.prototype.execute })
  await t.rejects(run(pool, 20)('UPDATE'), { message: 'the database did not answer within 20 ms' })
  await sleep(80)
  t.strictSame(pool.ends, ['released'])
  t.strictSame(pool.statements, [])
})

t.test('a pool whose connections cannot be opened rejects with the reason', async t => {
  class Unreachable extends Pool {
    override async query (): Promise<Answer> { return header() }
    override async execute (): Promise<Answer> { return header() }
    override async getConnection (): Promise<never> { throw new Error('ECONNREFUSED') }
  }
  await t.rejects(run(new Unreachable(() => header()))('SELECT'), { message: 'ECONNREFUSED' })
})

t.test('after a refusal the connection is kept; after a lost one, and on a server that only reads, it is closed', async t => {
  const failures: ReadonlyArray<readonly [Error, string]> = [
    [refusal(1064), 'released'], [Object.assign(refusal(1053), { fatal: true }), 'destroyed'],
    [Object.assign(new Error('lost'), { code: 'ECONNRESET', fatal: true }), 'destroyed'],
    [refusal(1290), 'destroyed'], [refusal(1792), 'destroyed'], [refusal(1836), 'destroyed']
  ]
  for (const [error, end] of failures) {
    const pool = new Pool(() => { throw error })
    await t.rejects(run(pool)('UPDATE'), { message: error.message })
    t.strictSame(pool.ends, [end], error.message)
  }
})

t.test('on a pool, what was rolled back because of a conflict runs again, ten times at most', async t => {
  for (const errno of [1213, 1020]) {
    const pool = new Pool((_statement, attempt) => {
      if (attempt < 3) throw refusal(errno)
      return header()
    })
    t.match(await run(pool)('UPDATE'), { changed: 1 })
    t.equal(pool.statements.length, 3)
  }
  const never = new Pool(() => { throw refusal(1213) })
  await t.rejects(run(never)('UPDATE'), { message: 'refused 1213' })
  t.equal(never.statements.length, 10)
})

t.test('within what may be a transaction of the host nothing runs again: the server has rolled back all of it', async t => {
  let asked = 0
  const connection: MysqlClient = {
    async query () {
      asked++
      throw refusal(1213)
    }
  }
  await t.rejects(run(connection)('UPDATE'), { message: 'refused 1213' })
  t.equal(asked, 1)
})

t.test('a pool that does not commit is refused, and the connection is closed so that nothing is committed later', async t => {
  for (const serverStatus of [0, 1, 3]) {
    const pool = new Pool(() => header({ serverStatus }))
    await t.rejects(run(pool)('UPDATE'), { message: /do not commit by themselves: set autocommit = 1/ })
    t.strictSame(pool.ends, ['destroyed'])
  }
  t.match(await run({ query: async () => header({ serverStatus: 1 }) })('UPDATE'), { changed: 1 }, 'a connection may be in a transaction')
})

t.test('a missing table says what to do, with the cause', async t => {
  for (const [code, message] of [
    ['ER_NO_SUCH_TABLE', 'table members is missing: run migrate()'],
    ['ER_BAD_DB_ERROR', 'table members is missing: run migrate()'],
    ['ER_BAD_FIELD_ERROR', 'table members is missing, or another version made it: run migrate()']
  ] as const) {
    const pool = new Pool(() => { throw refusal(1146, code) })
    await t.rejects(run(pool)('SELECT'), { message, cause: { code } })
  }
})

t.test('which errors leave a server that can still be asked', async t => {
  const withState = [refusal(1213, '', '40001'), refusal(1406, '', '22001'), refusal(1062, '', '23000')]
  for (const error of [...[1205, 1317, 3024, 1969, 1020].map(errno => refusal(errno)), ...withState]) {
    t.ok(wasRolledBack(error), error.message)
  }
  for (const error of [refusal(1290), refusal(1114), new Error('lost'), undefined, { errno: 'ECONNRESET' }]) t.notOk(wasRolledBack(error))
  t.ok(isDuplicate(refusal(1062)))
  t.notOk(isDuplicate(refusal(1061)))
})

t.test('statements are shared on a pool as mysql2 makes it, unless the option says otherwise', async t => {
  const query = async () => header()
  const changed = Object.assign(new Pool(() => header()), { query })
  const batchOf = (client: MysqlClient, batch?: boolean) => resolveMysqlOptions(client, { batch }, 'caller').batch
  t.equal(batchOf(new Pool(() => header())), true)
  t.equal(batchOf(new Pool(() => header()), false), false)
  t.equal(batchOf(changed), false)
  t.equal(batchOf({ query }), false)
  t.equal(batchOf({ query }, true), true)
  t.equal(resolveMysqlOptions({ query }, {}, 'caller').timeout, 10_000)
})
