import { setImmediate as otherWork, setTimeout as sleep } from 'node:timers/promises'
import { missingTable, objectRows } from './sql-table.ts'
import { warnOnce } from './warning.ts'

/**
 * A database of `node:sqlite` (`DatabaseSync`) or better-sqlite3.
 *
 * Put a file that several processes share into WAL mode, with `PRAGMA journal_mode = WAL`, and set `PRAGMA busy_timeout`,
 * which is 0 in `node:sqlite`.
 */
export interface SqliteDatabase {
  /** Compiles a statement, which is run more than once. */
  prepare (sql: string): SqliteStatement
  /** Runs statements that return nothing. */
  exec (sql: string): unknown
}

/** A compiled statement of {@link SqliteDatabase}. */
export interface SqliteStatement {
  /** Runs it to its end with these values (strings, numbers, `null`) and returns every row. */
  all (...values: unknown[]): unknown[]
}

/** Runs a statement to its end and returns its rows. */
export type RunSqlite = (...values: Array<string | number | null>) => Array<Record<string, unknown>>

/**
 * Prepares statements on a table, each when it is first needed.
 *
 * Each of them must return rows (`RETURNING`) and runs to its end: after the first row alone the commit has not happened
 * yet, and its failure would not be seen.
 *
 * Emits a process warning, once for each database, when the file is not in WAL mode.
 *
 * @throws {TypeError} when it is not such a database; `caller` begins the message.
 */
export function sqliteStatements (database: SqliteDatabase, table: string, caller: string): (sql: string) => RunSqlite {
  if (typeof (database as SqliteDatabase | undefined)?.prepare !== 'function') {
    throw new TypeError(`${caller}: pass a database of node:sqlite or better-sqlite3`)
  }
  warnOfJournalMode(database, table, caller)
  return sql => {
    let statement: SqliteStatement | undefined
    return (...values) => {
      try {
        statement ??= database.prepare(sql)
        return objectRows(statement.all(...values))
      } catch (error) {
        throw missingTable(error, table)
      }
    }
  }
}

/** The same names, each with its statement. */
export function prepareAll<Name extends string> (
  prepare: (sql: string) => RunSqlite, statements: Readonly<Record<Name, string>>
): Readonly<Record<Name, RunSqlite>> {
  const prepared = Object.entries<string>(statements).map(([name, sql]) => [name, prepare(sql)])
  return Object.fromEntries(prepared)
}

/**
 * Runs writes as one: all of them are committed, or none. Within a transaction of the host they become part of it.
 *
 * A commit can fail because another process reads the file. SQLite then keeps the transaction open, and whatever the
 * connection wrote afterwards would be lost with it. So it is rolled back.
 */
export function inTransaction<T> (database: SqliteDatabase, write: () => T): T {
  const isOwn = begin(database, () => database.exec(`SAVEPOINT ${savepoint}`))
  const savepointEnds = { commit: release, rollback: `ROLLBACK TO ${savepoint}; ${release}` }
  return committed(database, write, isOwn ? { commit: 'COMMIT', rollback: 'ROLLBACK' } : savepointEnds)
}

interface TransactionEnds {
  readonly commit: string
  readonly rollback: string
}

function committed<T> (database: SqliteDatabase, write: () => T, { commit, rollback }: TransactionEnds): T {
  try {
    const written = write()
    database.exec(commit)
    return written
  } catch (error) {
    undo(database, rollback)
    throw error
  }
}

/**
 * Runs writes as one, as {@link inTransaction} does, but never as a part of a transaction of the host: within one, it does
 * nothing and returns `undefined`.
 */
export function inOwnTransaction<T> (database: SqliteDatabase, write: () => T): T | undefined {
  if (!begin(database, () => {})) return undefined
  return committed(database, write, { commit: 'COMMIT', rollback: 'ROLLBACK' })
}

/** Runs a migration. While another process has locked the file, it waits for up to five seconds. */
export async function migrateSqlite (database: SqliteDatabase, definition: string, end = Date.now() + 5000): Promise<void> {
  try {
    database.exec(definition)
  } catch (error) {
    if (!String(error).includes('locked') || Date.now() > end) throw error
    await sleep(20)
    await migrateSqlite(database, definition, end)
  }
}

const savepoint = 'fastify_logout'
const release = `RELEASE ${savepoint}`

/** Begins a transaction and returns true. Within a transaction of the host, calls the function and returns false. */
function begin (database: SqliteDatabase, whenWithin: () => unknown): boolean {
  try {
    database.exec('BEGIN IMMEDIATE')
    return true
  } catch (error) {
    if (!String(error).includes('within a transaction')) throw error
    whenWithin()
    return false
  }
}

function undo (database: SqliteDatabase, rollback: string): void {
  try {
    database.exec(rollback)
  } catch {
    // After some failures, for example on a full disk, SQLite has rolled back the whole transaction itself.
  }
}

function warnOfJournalMode (database: SqliteDatabase, table: string, caller: string): void {
  const mode = journalMode(database, `${table}`.includes('.') ? table.replace(/\..*/, '') : 'main')
  if (mode === undefined || mode === 'wal') return
  warnOnce(database, 'FASTIFY_LOGOUT_JOURNAL_MODE', `${caller}: the database file has journal_mode "${mode}". ` +
    'A process that reads the file then makes logouts of other processes fail with "database is locked". ' +
    'Run "PRAGMA journal_mode = WAL" once, before the store is made.')
}

/** How a database file keeps its journal; `undefined` for a database in memory, and when it cannot be read. */
function journalMode (database: SqliteDatabase, schema: string): string | undefined {
  try {
    const files = database.prepare('PRAGMA database_list').all() as ReadonlyArray<{ readonly name: string, readonly file: string | null }>
    if (!files.some(({ name, file }) => name === schema && file)) return undefined
    const [row] = database.prepare(`PRAGMA "${schema}".journal_mode`).all() as ReadonlyArray<{ readonly journal_mode: string }>
    return row?.journal_mode
  } catch {
    return undefined
  }
}

const rowsAtOnce = 1000

/**
 * Deletes the rows that are due, a thousand with each transaction, and lets other work run between two of them. Resolves to
 * the number of rows deleted. The statement takes the time and the number of rows, and returns a row for each that it deleted.
 */
export async function deleteDue (deleteSome: RunSqlite, sum = 0): Promise<number> {
  const { length } = deleteSome(Date.now(), rowsAtOnce)
  if (length < rowsAtOnce) return sum + length
  await otherWork()
  return deleteDue(deleteSome, sum + length)
}
