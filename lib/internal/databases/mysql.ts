import { setTimeout as sleep } from 'node:timers/promises'
import { isOwnMethodOf } from './plain-pool.ts'
import { missingTable } from './sql-table.ts'

/**
 * A pool or a connection of `mysql2`, of its promises or of its callbacks, or any object with the `query` of its promises.
 *
 * Options of the client that change what is read (`rowsAsArray`, `typeCast`, `bigNumberStrings`, `namedPlaceholders`, ...)
 * make no difference: each statement brings its own.
 */
export type MysqlClient = MysqlQueries | {
  /** Returns the same client with promises. */
  promise (): MysqlQueries
}

/** What the stores on MySQL have in common. */
export interface MysqlStoreOptions {
  /**
   * Whether logouts of one turn of the event loop share a statement, which is much cheaper under load. Leave it off for a
   * client whose `query` looks up the current transaction of the request, for example in AsyncLocalStorage: the logouts
   * of other requests would become part of that transaction, and end with its rollback.
   *
   * @default true for a pool of mysql2, false for any other client
   */
  readonly batch?: boolean | undefined
  /**
   * How long a statement of a pool may take, with waiting for a connection, in milliseconds. Then it rejects, and its
   * connection is closed. @default 10000
   */
  readonly timeout?: number | undefined
}

/** What statements are sent through. */
export interface MysqlQueries {
  /** Runs one statement and resolves to its rows, or to what it changed, and something more. */
  query (statement: MysqlStatement): Promise<readonly [result: unknown, ...more: unknown[]]>
}

/** A statement with the options that `mysql2` takes for it. */
export interface MysqlStatement {
  readonly sql: string
  readonly values: never[]
  readonly namedPlaceholders: false
  readonly rowsAsArray: false
  readonly nestTables: false
  readonly typeCast: true
  readonly supportBigNumbers: true
  readonly bigNumberStrings: false
}

/** What a statement did. */
export interface MysqlResult {
  readonly rows: Array<Record<string, unknown>>
  /** How many rows it changed: those that it found and changed, whether or not they were equal before. */
  readonly changed: number
  /** What `LAST_INSERT_ID(...)` was given, or the number of the row that was inserted; 0 for neither. */
  readonly insertId: number
}

/** Runs one statement. */
export type RunMysql = (sql: string) => Promise<MysqlResult>

/** Where statements run. */
export interface MysqlTarget {
  readonly client: MysqlClient
  /** The table, for errors. */
  readonly table: string
  /** How long a statement of a pool may take, in milliseconds. */
  readonly timeout: number
}

/**
 * Runs statements on a table, each in one round trip and not prepared, so that proxies may share connections.
 *
 * On a pool, a statement that takes longer than the timeout rejects and its connection is closed, so that one that fell
 * silent does not stay in the pool. What the server rolled back because of a deadlock runs again. A statement that the
 * connection does not commit by itself (`autocommit = 0`) rejects: it would be lost.
 *
 * Any other client may be within a transaction of the host: there nothing runs again, and the host commits.
 *
 * @throws {TypeError} when it is not such a client; `caller` begins the message.
 */
export function mysqlStatements ({ client, table, timeout }: MysqlTarget, caller: string): RunMysql {
  const queries = promising(client, caller)
  const send = isPlainPool(client, queries)
    ? repeated(sql => queryPool(queries, sql, timeout))
    : async (sql: string) => read(await queries.query(statementOf(sql)))
  return async sql => {
    try {
      return await send(sql)
    } catch (error) {
      throw missingTable(error, table)
    }
  }
}

/**
 * The options with their defaults, and whether a statement may be part of a transaction of the host.
 *
 * @throws {TypeError} when one is wrong; `caller` begins the message.
 */
export function resolveMysqlOptions (client: MysqlClient, options: MysqlStoreOptions, caller: string) {
  const isPool = isPlainPool(client, promising(client, caller))
  const { batch = isPool, timeout = 10_000 } = options
  if (typeof batch !== 'boolean') throw new TypeError(`${caller}: option "batch" must be true or false`)
  if (typeof timeout !== 'number' || !(timeout > 0 && timeout <= longestTimer)) {
    throw new TypeError(`${caller}: option "timeout" must be a positive number of milliseconds, at most ${longestTimer}`)
  }
  return { batch, timeout, mayBeInTransaction: !isPool && !batch }
}

/** Whether the server rolled the statement back and can still be asked: another statement may succeed. */
export function wasRolledBack (error: unknown): boolean {
  const { sqlState, errno } = Object(error) as { sqlState?: unknown, errno?: unknown }
  return (typeof sqlState === 'string' && /^(?:22|23|40)/.test(sqlState)) || interrupted.includes(Number(errno))
}

/** Whether a row with this key is there already. */
export function isDuplicate (error: unknown): boolean {
  return errnoOf(error) === 1062
}

/** Milliseconds: a longer timer of Node fires at once. */
const longestTimer = 2 ** 31 - 1

const lockWaitTimeout = 1205
const deadlock = 1213
/** MariaDB: another transaction has changed the row since the snapshot. */
const changedSinceRead = 1020
/** Another one ended the statement, or a limit of the server for its time did: 1317, 3024 of MySQL, 1969 of MariaDB. */
const interrupted = [lockWaitTimeout, changedSinceRead, 1317, 3024, 1969]
/** The server only reads. After a failover the name of the server may lead to another one. */
const readOnly = [1290, 1792, 1836]

interface Pool extends MysqlQueries {
  getConnection (): Promise<Connection>
}

interface Connection extends MysqlQueries {
  release (): void
  destroy (): void
}

function promising (client: MysqlClient, caller: string): MysqlQueries {
  const given = Object(client) as Partial<MysqlQueries> & { promise?: () => MysqlQueries }
  const queries = typeof given.promise === 'function' ? given.promise() : given
  if (typeof queries.query !== 'function') {
    throw new TypeError(`${caller}: pass a pool of mysql2, or any object with the query of its promises`)
  }
  return queries as MysqlQueries
}

function isPlainPool (client: MysqlClient, queries: MysqlQueries): queries is Pool {
  return [client, queries].every(object => isOwnMethodOf(object, ['query', 'getConnection', 'execute']))
}

function statementOf (sql: string): MysqlStatement {
  return {
    sql,
    values: [],
    namedPlaceholders: false,
    rowsAsArray: false,
    nestTables: false,
    typeCast: true,
    supportBigNumbers: true,
    bigNumberStrings: false
  }
}

const mostAttempts = 10

function repeated (send: RunMysql): RunMysql {
  const attempt = async (sql: string, count: number): Promise<MysqlResult> => {
    try {
      return await send(sql)
    } catch (error) {
      if (![deadlock, changedSinceRead].includes(errnoOf(error)) || count === mostAttempts) throw error
      await sleep(Math.random() * 2 ** count)
      return attempt(sql, count + 1)
    }
  }
  return sql => attempt(sql, 1)
}

async function queryPool (pool: Pool, sql: string, timeout: number): Promise<MysqlResult> {
  const late = new AbortController()
  const overdue = new Promise<never>((_resolve, reject) => {
    late.signal.addEventListener('abort', () => reject(late.signal.reason))
  })
  const timer = setTimeout(() => late.abort(new Error(`the database did not answer within ${timeout} ms`)), timeout)
  const answer = queryConnection(pool, sql, late.signal)
  try {
    return await Promise.race([answer, overdue])
  } finally {
    answer.catch(() => {})
    clearTimeout(timer)
  }
}

/** Borrows a connection. It is closed when the signal is aborted, and after errors that it might not survive. */
async function queryConnection (pool: Pool, sql: string, signal: AbortSignal): Promise<MysqlResult> {
  const connection = await pool.getConnection()
  const destroy = () => connection.destroy()
  if (signal.aborted) {
    connection.release()
    throw signal.reason
  }
  signal.addEventListener('abort', destroy)
  try {
    const result = committed(await connection.query(statementOf(sql)))
    connection.release()
    return result
  } catch (error) {
    if (isRefusal(error) && !readOnly.includes(errnoOf(error))) connection.release()
    else destroy()
    throw error
  }
}

/** Whether the server answered with an error, and goes on. */
function isRefusal (error: unknown): boolean {
  const { sqlState, fatal } = Object(error) as { sqlState?: unknown, fatal?: unknown }
  return typeof sqlState === 'string' && fatal !== true
}

const inTransaction = 1
const autocommits = 2

/** What a statement did, if it is committed. */
function committed (answer: readonly [result: unknown, ...more: unknown[]]): MysqlResult {
  const { serverStatus } = Object(answer[0]) as { serverStatus?: unknown }
  if (typeof serverStatus === 'number' && (serverStatus & (inTransaction | autocommits)) !== autocommits) {
    throw new Error('the connections of the pool do not commit by themselves: set autocommit = 1')
  }
  return read(answer)
}

function read ([result]: readonly [result: unknown, ...more: unknown[]]): MysqlResult {
  if (Array.isArray(result)) return { rows: result.map(rowOf), changed: 0, insertId: 0 }
  const { affectedRows, insertId } = Object(result) as { affectedRows?: unknown, insertId?: unknown }
  return { rows: [], changed: Number(affectedRows), insertId: Number(insertId) }
}

/** A row with its texts, which are bytes in the database, as strings. */
function rowOf (row: unknown): Record<string, unknown> {
  if (Array.isArray(row)) throw new TypeError('the database client returns rows as arrays: have it return objects')
  return Object.fromEntries(Object.entries(Object(row)).map(([name, value]) => [name, textOf(value)]))
}

function textOf (value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8') : value
}

function errnoOf (error: unknown): number {
  return Number((Object(error) as { errno?: unknown }).errno)
}
