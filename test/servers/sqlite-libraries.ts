import { createRequire } from 'node:module'

import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { missing } from './private-process.ts'

export type OpenSqlite = (path: string) => SqliteDatabase & { close (): void }

type SqliteClass = new (path: string) => ReturnType<OpenSqlite>

const BetterSqlite: SqliteClass = createRequire(import.meta.url)('better-sqlite3')
const nodeSqlite = process.getBuiltinModule('node:sqlite') as { DatabaseSync: SqliteClass } | undefined

interface SqliteLibrary {
  readonly name: string
  /** Opens a file. Nothing waits for a lock unless `PRAGMA busy_timeout` says so. */
  readonly open: OpenSqlite
  /** Opens a file as a host does that sets nothing. */
  readonly openAtDefaults: OpenSqlite
  readonly skip: string | false
}

/** Each library that the stores accept. */
export const sqliteLibraries: readonly SqliteLibrary[] = [
  library('better-sqlite3', BetterSqlite, !isBuilt(BetterSqlite) && skipped('run npm rebuild better-sqlite3')),
  library('node:sqlite', nodeSqlite?.DatabaseSync, nodeSqlite === undefined && 'needs Node 22.13 or newer')
]

/** No host needs both: where Node has a SQLite of its own, the other one may be missing, in CI too. */
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

function library (name: string, Library: SqliteClass | undefined, skip: string | false): SqliteLibrary {
  const openAtDefaults = (path: string) => {
    if (Library === undefined) throw new Error(`${name} is not there`)
    return new Library(path)
  }
  return {
    name,
    skip,
    openAtDefaults,
    open (path) {
      const database = openAtDefaults(path)
      database.exec('PRAGMA busy_timeout = 0')
      return database
    }
  }
}
