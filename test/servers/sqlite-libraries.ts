import { createRequire } from 'node:module'

import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { missing } from './private-process.ts'

export type OpenSqlite = (path: string) => SqliteDatabase & { close (): void }

type SqliteClass = new (path: string) => ReturnType<OpenSqlite>

const BetterSqlite: SqliteClass = createRequire(import.meta.url)('better-sqlite3')
const nodeSqlite = process.getBuiltinModule('node:sqlite') as { DatabaseSync: SqliteClass } | undefined

/** Each library that we take, and how to open a file with it. Nobody waits for a lock unless told so by `PRAGMA busy_timeout`. */
export const sqliteLibraries: ReadonlyArray<{ readonly name: string, readonly open: OpenSqlite, readonly skip: string | false }> = [
  library('better-sqlite3', BetterSqlite, isBuilt(BetterSqlite) ? false : skipped('run npm rebuild better-sqlite3: it is built for another Node')),
  library('node:sqlite', nodeSqlite?.DatabaseSync, nodeSqlite === undefined && 'needs Node 22.13 or newer')
]

/** Nobody needs both: where Node has a SQLite of its own, the other one may be missing, in CI too. */
function skipped (whatToDo: string): string {
  return nodeSqlite === undefined ? missing(whatToDo) : whatToDo
}

/** Its native part is built for one version of Node, and loaded with the first database. */
function isBuilt (Library: SqliteClass): boolean {
  try {
    new Library(':memory:').close()
    return true
  } catch (error) {
    if (error instanceof Error && /NODE_MODULE_VERSION|bindings file/.test(error.message)) return false
    throw error
  }
}

function library (name: string, Library: SqliteClass | undefined, skip: string | false) {
  return {
    name,
    skip,
    open (path: string) {
      if (Library === undefined) throw new Error(`${name} is not there`)
      const database = new Library(path)
      database.exec('PRAGMA busy_timeout = 0')
      return database
    }
  }
}
