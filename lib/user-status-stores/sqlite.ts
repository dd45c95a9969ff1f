import { randomUUID } from 'node:crypto'
import type { Immediate } from '../awaitable.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, prepareAll, sqliteStatements, type SqliteDatabase } from '../internal/databases/sqlite.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { idsOf } from '../internal/records/user-key.ts'
import { userStatusOf } from '../internal/records/user-status-row.ts'
import type { UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** Where in the database {@link sqliteUserStatusStore} keeps its records. */
export interface SqliteUserStatusStoreOptions {
  /** The table. @default 'logout_user_status' */
  readonly table?: string | undefined
}

/** {@link sqliteUserStatusStore}. It returns plain values; a failure is thrown. */
export interface SqliteUserStatusStore extends Immediate<Required<UserStatusStore> & UserRecords> {
  /** Creates the table if it does not exist. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps the status of users in a table of SQLite, shared by the processes of one machine. Every call is one statement,
 * and a logout two: one that reads, and one that writes if the record still has the version that was read. A statement that
 * writes blocks this process while another one writes, for as long as the database's `busy_timeout` says.
 *
 * Put the file into WAL mode before the store is made. Without it a process that reads makes logouts of other processes
 * fail as "locked", which a process warning says once. A host that writes to the table itself sets
 * `version = hex(randomblob(16))` with every write.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is not such a database, or the table's name has other characters than letters, digits and underscores.
 * @example
 * ```ts
 * import { sqliteUserStatusStore } from 'fastify-logout/user-status-stores/sqlite'
 * import Database from 'better-sqlite3'
 *
 * const database = new Database('users.db')
 * database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 500')
 * const users = sqliteUserStatusStore(database)
 * await users.migrate()
 * users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * ```
 */
export function sqliteUserStatusStore (database: SqliteDatabase, options: SqliteUserStatusStoreOptions = {}): SqliteUserStatusStore {
  const { table = 'logout_user_status' } = options
  const sql = statements(quotedTable(table, 'sqliteUserStatusStore'))
  const run = prepareAll(sqliteStatements(database, table, 'sqliteUserStatusStore'), sql)

  return {
    get (user) {
      return userStatusOf(run.get(...idsOf(user))[0])
    },

    compareAndSet (user, expected, change) {
      const { at, requestId } = checkedChange(change)
      const times = change.status === 'logged_out' ? [at, null] as const : [null, at] as const
      const written = expected === undefined
        ? run.create(...idsOf(user), randomUUID(), change.status, requestId, ...times)
        : run.update(randomUUID(), change.status, requestId, ...times, ...idsOf(user), `${expected}`)
      return written.length === 1
    },

    logOut (user, change) {
      const { at, requestId } = checkedChange(change)
      const ids = idsOf(user)
      for (;;) {
        const before = userStatusOf(run.get(...ids)[0])
        if (before === undefined || !isOurs(before)) return before
        if (run.logOut(randomUUID(), at, at, requestId, ...ids, before.version).length === 1) return before
      }
    },

    set (user, status) {
      run.set(...idsOf(user), randomUUID(), status)
    },

    remove (user) {
      run.remove(...idsOf(user))
    },

    migrate: () => migrateSqlite(database, sqliteUserStatusTable(table))
  }
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 *
 * @example
 * ```ts
 * import { sqliteUserStatusTable } from 'fastify-logout/user-status-stores/sqlite'
 *
 * console.log(sqliteUserStatusTable('app_user_status')) // the SQL of a migration
 * ```
 */
export function sqliteUserStatusTable (table = 'logout_user_status'): string {
  return `CREATE TABLE IF NOT EXISTS ${quotedTable(table, 'sqliteUserStatusTable')} (
  tenant TEXT NOT NULL,
  subject TEXT NOT NULL,
  status TEXT NOT NULL,
  version TEXT NOT NULL DEFAULT (hex(randomblob(16))),
  logged_out_at INTEGER,
  last_seen_at INTEGER,
  request_id TEXT,
  PRIMARY KEY (tenant, subject)
) WITHOUT ROWID`
}

function statements (table: string) {
  const ours = (status: string) => `${status} IN ('logged_in', 'logged_out')`
  return {
    get: `SELECT status, version, logged_out_at, last_seen_at FROM ${table} WHERE tenant = ? AND subject = ?`,
    create: `INSERT INTO ${table} (tenant, subject, version, status, request_id, logged_out_at, last_seen_at)
      VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING version`,
    update: `UPDATE ${table} AS now SET version = new_version, status = new_status, request_id = new_request,
      logged_out_at = coalesce(max(logged_out_at, new_out), new_out, logged_out_at),
      last_seen_at = coalesce(max(last_seen_at, new_seen), new_seen, last_seen_at)
      FROM (SELECT ? AS new_version, ? AS new_status, ? AS new_request, ? AS new_out, ? AS new_seen)
      WHERE tenant = ? AND subject = ? AND version = ? AND ${ours('now.status')} RETURNING version`,
    logOut: `UPDATE ${table} SET version = ?, status = 'logged_out', logged_out_at = max(coalesce(logged_out_at, ?), ?), request_id = ?
      WHERE tenant = ? AND subject = ? AND version = ? AND ${ours('status')} RETURNING version`,
    set: `INSERT INTO ${table} (tenant, subject, version, status) VALUES (?, ?, ?, ?)
      ON CONFLICT (tenant, subject) DO UPDATE SET version = excluded.version, status = excluded.status RETURNING version`,
    remove: `DELETE FROM ${table} WHERE tenant = ? AND subject = ? RETURNING version`
  }
}

function isOurs ({ status }: UserStatus): boolean {
  return status === 'logged_in' || status === 'logged_out'
}
