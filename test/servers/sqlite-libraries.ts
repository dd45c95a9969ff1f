import { createRequire } from 'node:module'

import type { SqliteDatabase } from '../../lib/sqlite-database.ts'

export type OpenSqlite = (path: string) => SqliteDatabase & { close (): void }

type SqliteClass = new (path: string) => ReturnType<OpenSqlite>

const BetterSqlite: SqliteClass = createRequire(import.meta.url)('better-sqlite3')
const nodeSqlite = process.getBuiltinModule('node:sqlite') as { DatabaseSync: SqliteClass } | undefined

/** Each library that we take, and how to open a file with it. Nobody waits for a lock unless told so by `PRAGMA busy_timeout`. */
export const sqliteLibraries: ReadonlyArray<{ readonly name: string, readonly open: OpenSqlite, readonly skip: string | false }> = [
  library('better-sqlite3', BetterSqlite),
  library('node:sqlite', nodeSqlite?.DatabaseSync)
]

function library (name: string, Library: SqliteClass | undefined) {
  return {
    name,
    skip: Library === undefined && 'needs Node 22.13 or newer' as const,
    open (path: string) {
      if (Library === undefined) throw new Error(`${name} is not there`)
      const database = new Library(path)
      database.exec('PRAGMA busy_timeout = 0')
      return database
    }
  }
}
