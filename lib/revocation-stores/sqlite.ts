import type { Immediate } from '../awaitable.ts'
import { assertMarks, markId } from '../internal/marks/id.ts'
import { questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import type { RevocationStore } from '../revocation-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, sqliteStatements, type RunSqlite, type SqliteDatabase } from '../internal/databases/sqlite.ts'

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

const callsForEachSweep = 64
/** Milliseconds. A clock that was ahead for a while has not made anything be forgotten. */
const keptAfterEnd = 60_000
/** Epoch milliseconds by the clock of the database. */
const databaseTime = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

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
  const { add, extend, check, claim, sweep } = statements(quotedTable(table, 'sqliteRevocationStore'), prepare)
  let callsUntilSweep = 0

  const sweepSometimes = () => {
    if (callsUntilSweep-- > 0) return
    sweep(100 * callsForEachSweep)
    callsUntilSweep = callsForEachSweep
  }

  return {
    revoke (...marks) {
      assertMarks(marks)
      const rows = rowsOfMarks(marks, Date.now())
      if (rows.length === 0) return false
      sweepSometimes()
      const json = JSON.stringify(rows)
      const added = add(json, Date.now()).length
      if (added < rows.length) extend(json)
      return added > 0
    },

    check (credential) {
      const { ids: [first = '', second = '', third = ''], issuer, tenant, session, issuedAt } = questionOf(credential)
      const found = check(Date.now(), first, second, third, issuedAt, session, issuer, issuer, tenant, tenant)
      return found.length === 0 ? 'live' : 'revoked'
    },

    claimOnce (key, until) {
      sweepSometimes()
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
  const caller = 'sqliteRevocationTable'
  const quoted = quotedTable(table, caller)
  return `CREATE TABLE IF NOT EXISTS ${quoted} (
  id TEXT NOT NULL,
  issuer TEXT NOT NULL,
  tenant TEXT NOT NULL,
  "except" TEXT NOT NULL,
  cutoff INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (id, issuer, tenant, "except")
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${quotedTable(`${table}_until`, caller)} ON ${quotedTable(table.replace(/^.*\./, ''), caller)} (until)`
}

/** One statement adds what revokes something more, and returns it; the other one makes what was known stay longer. */
function statements (table: string, prepare: (sql: string) => RunSqlite) {
  const key = 'id, issuer, tenant, "except"'
  const insert = `INSERT INTO ${table} (${key}, cutoff, until) SELECT ${key}, cutoff, until FROM given`
  const update = `ON CONFLICT (${key}) DO UPDATE SET cutoff = max(cutoff, excluded.cutoff), until = max(until, excluded.until) RETURNING id`
  const given = ['id', 'issuer', 'tenant', 'except', 'cutoff', 'until'].map(name => `value ->> '${name}' AS "${name}"`).join(', ')
  return {
    // Two cutoffs that leave different sessions alone leave none alone together.
    add: prepare(`WITH given AS (SELECT ${given} FROM json_each(?)) ${insert} WHERE (
        SELECT count(*) + count(*) FILTER (WHERE known."except" IN ('', given."except")) FROM ${table} AS known
        WHERE known.id = given.id AND known.issuer = given.issuer AND known.tenant = given.tenant
        AND known.cutoff >= given.cutoff AND known.until > ?
      ) < 2 ${update}`),
    extend: prepare(`WITH given AS (SELECT ${given} FROM json_each(?)) ${insert} WHERE true ${update}`),
    check: prepare(`SELECT 1 FROM ${table} WHERE until > ? AND id IN (?, ?, ?) AND cutoff >= ? AND ("except" = '' OR "except" <> ?)
      AND (issuer = '' OR ? = '' OR issuer = ?) AND (tenant = '' OR ? = '' OR tenant = ?) LIMIT 1`),
    claim: prepare(`INSERT INTO ${table} (${key}, cutoff, until) VALUES (?, '', '', '', 0, ?)
      ON CONFLICT (${key}) DO UPDATE SET until = excluded.until WHERE until <= ? RETURNING id`),
    sweep: prepare(`DELETE FROM ${table} WHERE (${key}) IN (
      SELECT ${key} FROM ${table} WHERE until <= ${databaseTime} - ${keptAfterEnd} ORDER BY until LIMIT ?
    ) RETURNING id`)
  }
}
