import { setTimeout as sleep } from 'node:timers/promises'
import { missingTable } from './sql-table.ts'

/** What is asked of a database of `node:sqlite` (`DatabaseSync`) or better-sqlite3. */
export interface SqliteDatabase {
  /** Compiles a statement, to be run more than once. */
  prepare (sql: string): SqliteStatement
  /** Runs statements that answer with nothing. */
  exec (sql: string): unknown
}

/** A compiled statement of {@link SqliteDatabase}. */
export interface SqliteStatement {
  /** Runs it to its end with these values, and answers with every row. */
  all (...values: Array<string | number | null>): unknown[]
}

/** Runs a statement to its end, and answers with its rows. */
export type RunSqlite = (...values: Array<string | number | null>) => Array<Record<string, unknown>>

/**
 * Prepares statements on a table, each when it is first needed.
 *
 * Each of them must return rows (`RETURNING`), and runs to its end: after the first row alone the commit is still to
 * come, and its failure would go unseen.
 *
 * @throws {TypeError} when it is no such database; `caller` begins the message.
 */
export function sqliteStatements (database: SqliteDatabase, table: string, caller: string): (sql: string) => RunSqlite {
  if (typeof (database as SqliteDatabase | undefined)?.prepare !== 'function') {
    throw new TypeError(`${caller}: pass a database of node:sqlite or better-sqlite3`)
  }
  return sql => {
    let statement: ReturnType<SqliteDatabase['prepare']> | undefined
    return (...values) => {
      try {
        statement ??= database.prepare(sql)
        return statement.all(...values) as Array<Record<string, unknown>>
      } catch (error) {
        throw missingTable(error, table)
      }
    }
  }
}

/** Makes what is not there yet. Where another process is just doing so, it waits for it, up to five seconds. */
export async function migrateSqlite (database: SqliteDatabase, definition: string): Promise<void> {
  const end = Date.now() + 5000
  for (;;) {
    try {
      database.exec(definition)
      return
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('locked')) || Date.now() > end) throw error
      await sleep(20)
    }
  }
}
