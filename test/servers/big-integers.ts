import type { SqliteDatabase, SqliteStatement } from '../../lib/internal/databases/sqlite.ts'

type Statement = SqliteStatement & { safeIntegers? (on: boolean): unknown, setReadBigInts? (on: boolean): unknown }

/** The database with integers as BigInt, which both libraries offer. */
export function bigIntegers (database: SqliteDatabase): SqliteDatabase {
  return {
    exec: sql => database.exec(sql),
    prepare (sql) {
      const statement: Statement = database.prepare(sql)
      statement.safeIntegers?.(true)
      statement.setReadBigInts?.(true)
      return statement
    }
  }
}
