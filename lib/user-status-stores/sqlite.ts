import { randomUUID } from 'node:crypto'
import type { Immediate } from '../awaitable.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, sqliteStatements, type SqliteDatabase } from '../internal/databases/sqlite.ts'
import { idsOf } from '../internal/records/user-key.ts'
import type { UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'
import { userStatusOf } from '../internal/records/user-status-row.ts'

/** Where in the database {@link sqliteUserStatusStore} keeps its records. */
export interface SqliteUserStatusStoreOptions {
  /** The table. @default 'logout_user_status' */
  readonly table?: string | undefined
}

/** {@link sqliteUserStatusStore}. It answers with plain values; a failure is thrown. */
export interface SqliteUserStatusStore extends Immediate<Required<UserStatusStore> & UserRecords> {
  /** Makes the table where it is not there. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps the status of users in a table of SQLite, shared by the processes of one machine. Every call is one statement,
 * which blocks this process while another one writes, for as long as the database's `busy_timeout` says.
 *
 * A host that writes to the table by itself changes `version` with every write, to `hex(randomblob(16))`.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is no such database, or the table's name has other characters than letters, digits and underscores.
 */
export function sqliteUserStatusStore (database: SqliteDatabase, options: SqliteUserStatusStoreOptions = {}): SqliteUserStatusStore {
  const { table = 'logout_user_status' } = options
  const prepare = sqliteStatements(database, table, 'sqliteUserStatusStore')
  const sql = statements(quotedTable(table, 'sqliteUserStatusStore'))
  const [get, create, update, logOut, set, remove] = [prepare(sql.get), prepare(sql.create), prepare(sql.update), prepare(sql.logOut), prepare(sql.set), prepare(sql.remove)] as const

  return {
    get (user) {
      return userStatusOf(get(...idsOf(user))[0])
    },

    compareAndSet (user, expected, { status, at, requestId }) {
      const loggedOutAt = status === 'logged_out' ? at : null
      const lastSeenAt = status === 'logged_in' ? at : null
      const written = expected === undefined
        ? create(...idsOf(user), randomUUID(), status, requestId, loggedOutAt, lastSeenAt)
        : update(randomUUID(), status, requestId, loggedOutAt, lastSeenAt, ...idsOf(user), `${expected}`)
      return written.length === 1
    },

    logOut (user, { at, requestId }) {
      return beforeLogout(logOut(randomUUID(), at, requestId, ...idsOf(user))[0])
    },

    set (user, status) {
      set(...idsOf(user), randomUUID(), status)
    },

    remove (user) {
      remove(...idsOf(user))
    },

    migrate () {
      return migrateSqlite(database, sqliteUserStatusTable(table))
    }
  }
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
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
  before_logout TEXT,
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
    logOut: `UPDATE ${table} AS now SET
      before_logout = json_object('status', status, 'version', version, 'logged_out_at', logged_out_at, 'last_seen_at', last_seen_at),
      version = iif(${ours('now.status')}, new_version, version),
      logged_out_at = iif(${ours('now.status')}, max(coalesce(logged_out_at, new_out), new_out), logged_out_at),
      request_id = iif(${ours('now.status')}, new_request, request_id),
      status = iif(${ours('now.status')}, 'logged_out', status)
      FROM (SELECT ? AS new_version, ? AS new_out, ? AS new_request)
      WHERE tenant = ? AND subject = ? RETURNING before_logout`,
    set: `INSERT INTO ${table} (tenant, subject, version, status) VALUES (?, ?, ?, ?)
      ON CONFLICT (tenant, subject) DO UPDATE SET version = excluded.version, status = excluded.status RETURNING version`,
    remove: `DELETE FROM ${table} WHERE tenant = ? AND subject = ? RETURNING version`
  }
}

/** SQLite returns a row as it is after an update: `before_logout` carries what it was before. */
function beforeLogout (row: Record<string, unknown> | undefined): UserStatus | undefined {
  return row && userStatusOf(JSON.parse(String(row['before_logout'])))
}
