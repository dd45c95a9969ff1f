import type { Immediate } from '../awaitable.ts'
import { assertMarks, markId } from '../internal/marks/id.ts'
import { questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import type { RevocationStore } from '../revocation-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, sqliteStatements, type SqliteDatabase } from '../internal/databases/sqlite.ts'

/** Where in the database {@link sqliteRevocationStore} keeps its marks. */
export interface SqliteRevocationStoreOptions {
  /** The table. @default 'logout_revocation' */
  readonly table?: string | undefined
}

/** {@link sqliteRevocationStore}. It answers with plain values; a failure is thrown. */
export interface SqliteRevocationStore extends Immediate<RevocationStore> {
  /** Makes the table where it is not there. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
}

const revokesForEachSweep = 64

/**
 * Keeps marks in a table of SQLite, shared by the processes of one machine. Every call is one statement, which blocks
 * this process while another one writes, for as long as the database's `busy_timeout` says; now and then a call also
 * forgets what has ended.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is no such database, or the table's name has other characters than letters, digits and underscores.
 */
export function sqliteRevocationStore (database: SqliteDatabase, options: SqliteRevocationStoreOptions = {}): SqliteRevocationStore {
  const { table = 'logout_revocation' } = options
  const prepare = sqliteStatements(database, table, 'sqliteRevocationStore')
  const sql = statements(quotedTable(table, 'sqliteRevocationStore'))
  const [revoke, check, claim, sweep] = [prepare(sql.revoke), prepare(sql.check), prepare(sql.claim), prepare(sql.sweep)] as const
  let untilSweep = 0

  return {
    revoke (...marks) {
      assertMarks(marks)
      const now = Date.now()
      const rows = rowsOfMarks(marks, now)
      if (rows.length === 0) return
      if (untilSweep-- === 0) {
        sweep(now, 100 * revokesForEachSweep)
        untilSweep = revokesForEachSweep
      }
      revoke(JSON.stringify(rows))
    },

    check (facts) {
      const { ids, subjects, session, issuedAt } = questionOf(facts)
      return check(Date.now(), ...ids, ...subjects, issuedAt, session).length === 0 ? 'live' : 'revoked'
    },

    claimOnce (key, until) {
      return claim(`c${markId(key)}`, until, Date.now()).length === 1
    },

    migrate () {
      return migrateSqlite(database, sqliteRevocationTable(table))
    }
  }
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 */
export function sqliteRevocationTable (table = 'logout_revocation'): string {
  const quoted = quotedTable(table, 'sqliteRevocationTable')
  return `CREATE TABLE IF NOT EXISTS ${quoted} (
  id TEXT NOT NULL,
  spared TEXT NOT NULL,
  cutoff INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (id, spared)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${quotedTable(`${table}_until`, 'sqliteRevocationTable')} ON ${quotedTable(table.replace(/^.*\./, ''), 'sqliteRevocationTable')} (until)`
}

function statements (table: string) {
  return {
    revoke: `INSERT INTO ${table} (id, spared, cutoff, until)
      SELECT value ->> 'id', value ->> 'spared', value ->> 'cutoff', value ->> 'until' FROM json_each(?) WHERE true
      ON CONFLICT (id, spared) DO UPDATE SET cutoff = max(cutoff, excluded.cutoff), until = max(until, excluded.until) RETURNING id`,
    check: `SELECT 1 AS dead FROM ${table} WHERE until > ?
      AND (id IN (?, ?) OR (id IN (?, ?) AND cutoff >= ? AND (spared = '' OR spared <> ?))) LIMIT 1`,
    claim: `INSERT INTO ${table} (id, spared, cutoff, until) VALUES (?, '', 0, ?)
      ON CONFLICT (id, spared) DO UPDATE SET until = excluded.until WHERE until <= ? RETURNING id`,
    sweep: `DELETE FROM ${table} WHERE (id, spared) IN (SELECT id, spared FROM ${table} WHERE until <= ? ORDER BY until LIMIT ?) RETURNING id`
  }
}
