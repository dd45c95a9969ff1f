import type { Immediate } from '../awaitable.ts'
import {
  providerSessionNames, providerSessionStatements, providerSessionTables
} from '../internal/databases/sqlite-provider-session-sql.ts'
import {
  deleteDue, inTransaction, migrateSqlite, prepareAll, sqliteStatements, type RunSqlite, type SqliteDatabase
} from '../internal/databases/sqlite.ts'
import {
  boundSessions, loginRecord, logoutRecord, wholeGroup, type LoginRecord, type LogoutRecord
} from '../internal/records/provider-session.ts'
import type { ProviderSessionIndex } from '../provider-session-index.ts'

/** Where in the database {@link sqliteProviderSessionIndex} keeps its logins. */
export interface SqliteProviderSessionIndexOptions {
  /** The table. A second one, `<table>_cutoff`, stands beside it. @default 'logout_provider_session' */
  readonly table?: string | undefined
}

/** {@link sqliteProviderSessionIndex}. It returns plain values; a failure is thrown. */
export interface SqliteProviderSessionIndex extends Immediate<ProviderSessionIndex> {
  /** Creates the tables if they do not exist. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
  /**
   * Deletes the logins and logouts that are past their `until`, a thousand rows with each transaction. Resolves to the number
   * of logins deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps the index in two tables of SQLite, shared by the processes of one machine. A call blocks this process while another
 * one writes, for as long as the database's `busy_timeout` says; no timeout ends that.
 *
 * Put the file into WAL mode before the index is made. A call within a transaction of the host is part of it, and true when
 * that is committed: bind within the transaction that creates the session, and a logout waits for it.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is not such a database, or the table's name has other characters than letters, digits and underscores.
 * @example
 * ```ts
 * import Database from 'better-sqlite3'
 * import { sqliteProviderSessionIndex } from 'fastify-logout/provider-session-indexes/sqlite'
 *
 * const database = new Database('sessions.db')
 * database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 500')
 * const index = sqliteProviderSessionIndex(database)
 * await index.migrate()
 * ```
 */
export function sqliteProviderSessionIndex (
  database: SqliteDatabase, options: SqliteProviderSessionIndexOptions = {}
): SqliteProviderSessionIndex {
  const { table = 'logout_provider_session' } = options
  const names = providerSessionNames(table, caller)
  const run = prepareAll(sqliteStatements(database, table, caller), providerSessionStatements(names))

  return {
    bind (login, session, until) {
      const record = loginRecord(login, session, until)
      return inTransaction(database, () => remember(run, record))
    },

    logOut (logout) {
      const record = logoutRecord(logout)
      return boundSessions(inTransaction(database, () => record.scopes.flatMap(scope => end(run, record, scope))))
    },

    migrate: () => migrateSqlite(database, providerSessionTables(names)),

    async prune () {
      const logins = await deleteDue(run.prune)
      await deleteDue(run.pruneCutoffs)
      return logins
    }
  }
}

const caller = 'sqliteProviderSessionIndex'

type Statements = Readonly<Record<keyof ReturnType<typeof providerSessionStatements>, RunSqlite>>

function remember (run: Statements, { id, subjectKey, sidKey, session, issuedAt, until }: LoginRecord): 'live' | 'revoked' {
  const now = Date.now()
  if (until > now) run.remember(id, subjectKey, sidKey, session, issuedAt, until)
  const found = run.isRevoked(subjectKey, wholeGroup, subjectKey, sidKey, sidKey, wholeGroup, issuedAt, now)
  return found.length === 0 ? 'live' : 'revoked'
}

/** Remembers the logout in one scope, and returns the sessions that it covers there. */
function end (run: Statements, { group, cutoff, until }: LogoutRecord, scope: string): string[] {
  const now = Date.now()
  const [joined] = run.join(group, scope, cutoff, until, now)
  const rows = run.covered(group, group, scope === wholeGroup ? null : scope, Number(joined?.['cutoff']), now)
  return rows.map(row => String(row['session']))
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 *
 * @example
 * ```ts
 * import { sqliteProviderSessionTables } from 'fastify-logout/provider-session-indexes/sqlite'
 *
 * console.log(sqliteProviderSessionTables('app_provider_session')) // the SQL of a migration
 * ```
 */
export function sqliteProviderSessionTables (table = 'logout_provider_session'): string {
  return providerSessionTables(providerSessionNames(table, 'sqliteProviderSessionTables'))
}
