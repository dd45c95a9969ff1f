import { quotedTable } from './sql-table.ts'

/** The names of what `sqliteProviderSessionIndex` keeps in the database, quoted. */
export interface ProviderSessionNames {
  readonly logins: string
  readonly cutoffs: string
  /** The name of an index of a table, and the table. */
  readonly index: (purpose: string, table: string) => string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function providerSessionNames (table: string, caller: string): ProviderSessionNames {
  return {
    logins: quotedTable(table, caller),
    cutoffs: quotedTable(`${table}_cutoff`, caller),
    index: (purpose, on) => `${quotedTable(`${table}_${purpose}_index`, caller)} ON ${on.split('.').at(-1)}`
  }
}

/** The statements that create the tables if they do not exist. */
export function providerSessionTables ({ logins, cutoffs, index }: ProviderSessionNames): string {
  return `CREATE TABLE IF NOT EXISTS ${logins} (
  id TEXT NOT NULL PRIMARY KEY,
  subject_key TEXT NOT NULL,
  sid_key TEXT NOT NULL,
  session TEXT NOT NULL,
  issued_at INTEGER NOT NULL,
  until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ${cutoffs} (
  group_key TEXT NOT NULL,
  scope TEXT NOT NULL,
  cutoff INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (group_key, scope)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${index('subject', logins)} (subject_key);
CREATE INDEX IF NOT EXISTS ${index('sid', logins)} (sid_key);
CREATE INDEX IF NOT EXISTS ${index('until', logins)} (until);
CREATE INDEX IF NOT EXISTS ${index('cutoff_until', cutoffs)} (until)`
}

/** The statements of the index. */
export function providerSessionStatements ({ logins, cutoffs }: ProviderSessionNames) {
  const deleteDue = (table: string, key: string) => `DELETE FROM ${table}
    WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE until <= ? LIMIT ?) RETURNING 1`

  return {
    remember: `INSERT INTO ${logins} (id, subject_key, sid_key, session, issued_at, until) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until) RETURNING 1`,

    isRevoked: `SELECT 1 FROM ${cutoffs} WHERE (group_key, scope) IN (VALUES (?, ?), (?, ?), (?, ?)) AND cutoff >= ? AND until > ? LIMIT 1`,

    join: `INSERT INTO ${cutoffs} (group_key, scope, cutoff, until) VALUES (?, ?, ?, ?)
      ON CONFLICT (group_key, scope) DO UPDATE SET until = max(until, excluded.until),
        cutoff = CASE WHEN until > ? THEN max(cutoff, excluded.cutoff) ELSE excluded.cutoff END
      RETURNING cutoff`,

    covered: `SELECT session FROM ${logins} WHERE (subject_key = ? OR sid_key = ?) AND sid_key = coalesce(?, sid_key)
      AND issued_at <= ? AND until > ?`,

    prune: deleteDue(logins, 'id'),

    pruneCutoffs: deleteDue(cutoffs, 'group_key, scope')
  }
}
