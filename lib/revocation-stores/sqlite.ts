import type { Immediate } from '../awaitable.ts'
import { cautiousClock } from '../internal/marks/clock.ts'
import { assertMarks, claimEnd, markId } from '../internal/marks/id.ts'
import { questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import type { Credential, Mark, RevocationStore } from '../revocation-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, sqliteStatements, type RunSqlite, type SqliteDatabase } from '../internal/databases/sqlite.ts'

/** Where in the database {@link sqliteRevocationStore} keeps its marks. */
export interface SqliteRevocationStoreOptions {
  /** The table. @default 'logout_revocation' */
  readonly table?: string | undefined
}

/** {@link sqliteRevocationStore}. It returns plain values and throws its failures. */
export interface SqliteRevocationStore extends Immediate<RevocationStore> {
  /** Creates the table if it does not exist. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
}

const callsForEachSweep = 64
/** Milliseconds. */
const keptAfterEnd = 60_000
/** Epoch milliseconds by the clock of the database, or those of the parameter if they are earlier. */
const earlierTime = "min(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), ?)"

/**
 * Keeps marks in a table of SQLite, shared by the processes of one machine. A call is one statement, or two if it repeats
 * marks; `revokeOnce` takes one more. It blocks this process while another one writes, for as long as the database's
 * `busy_timeout` says. One of 64 calls also forgets what ended a minute ago or more, by the clock of the database and by that
 * of the process.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} for any other database, and for a table whose name has other characters than letters, digits and underscores
 *
 * @example
 * ```ts
 * import Database from 'better-sqlite3'
 * import { sqliteRevocationStore } from 'fastify-logout/revocation-stores/sqlite'
 *
 * const database = new Database('sessions.db')
 * database.pragma('journal_mode = WAL')
 * const revocations = sqliteRevocationStore(database)
 * await revocations.migrate()
 * ```
 */
export function sqliteRevocationStore (database: SqliteDatabase, options: SqliteRevocationStoreOptions = {}): SqliteRevocationStore {
  const { table = 'logout_revocation' } = options
  const prepare = sqliteStatements(database, table, 'sqliteRevocationStore')
  const { add, extend, check, claim, sweep } = statements(quotedTable(table, 'sqliteRevocationStore'), prepare)
  const clock = cautiousClock()
  const sweepSometimes = sometimes(() => { sweep(clock(), 100 * callsForEachSweep) })

  const isLive = (credential: Credential) => check(...checkValues(credential)).length === 0
  const revoke = (...marks: readonly Mark[]) => {
    assertMarks(marks)
    const rows = rowsOfMarks(marks, Date.now())
    if (rows.length === 0) return false
    sweepSometimes()
    const json = JSON.stringify(rows)
    const added = add(json, Date.now()).length
    if (added < rows.length) extend(json)
    return added > 0
  }

  return {
    revoke,

    revokeOnce (credential, ...marks) {
      const wasLive = isLive(credential)
      return revoke(...marks) && wasLive
    },

    check: credential => isLive(credential) ? 'live' : 'revoked',

    claimOnce (key, until) {
      const end = claimEnd(until)
      sweepSometimes()
      return claim(`c${markId(key)}`, end, clock()).length === 1
    },

    migrate () {
      return migrateSqlite(database, sqliteRevocationTable(table))
    }
  }
}

/**
 * The statements that `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table whose name has other characters than letters, digits and underscores
 *
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs'
 * import { sqliteRevocationTable } from 'fastify-logout/revocation-stores/sqlite'
 *
 * writeFileSync('migrations/7-logout-revocation.sql', sqliteRevocationTable())
 * ```
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

/** The values of the statement `check`. */
function checkValues (credential: Credential) {
  const { ids: [first = '', second = '', third = ''], issuer, tenant, session, issuedAt } = questionOf(credential)
  return [Date.now(), first, second, third, issuedAt, session, issuer, issuer, tenant, tenant] as const
}

/** Acts with the first call, and then with one of so many. */
function sometimes (act: () => void): () => void {
  let callsLeft = 0
  return () => {
    if (callsLeft-- > 0) return
    act()
    callsLeft = callsForEachSweep
  }
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
      ON CONFLICT (${key}) DO UPDATE SET until = excluded.until WHERE until <= ${earlierTime} RETURNING id`),
    sweep: prepare(`DELETE FROM ${table} WHERE (${key}) IN (
      SELECT ${key} FROM ${table} WHERE until <= ${earlierTime} - ${keptAfterEnd} ORDER BY until LIMIT ?
    ) RETURNING id`)
  }
}
