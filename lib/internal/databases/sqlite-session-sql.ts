import { sessionColumns } from '../records/session-row.ts'
import { quotedTable } from './sql-table.ts'

/** The names of what `sqliteSessionStore` keeps in the database, quoted. */
export interface SessionNames {
  readonly sessions: string
  readonly subjects: string
  /** The name of an index, which stands in the schema of the tables. */
  readonly index: (purpose: string) => string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function sessionNames (table: string, caller: string): SessionNames {
  const sessions = quotedTable(table, caller)
  return {
    sessions,
    subjects: quotedTable(`${table}_subject`, caller),
    index: purpose => quotedTable(`${table}_${purpose}_index`, caller)
  }
}

/** The statements that create the tables if they do not exist. */
export function sessionTables ({ sessions, subjects, index }: SessionNames): string {
  return `CREATE TABLE IF NOT EXISTS ${subjects} (
  subject TEXT NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL,
  keep_until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ${sessions} (
  digest TEXT NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  subject TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  logged_out INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  keep_until INTEGER NOT NULL,
  details TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${index('list')} ON ${withoutSchema(sessions)} (subject, epoch, created_at, id);
CREATE INDEX IF NOT EXISTS ${index('keep')} ON ${withoutSchema(sessions)} (keep_until);
CREATE INDEX IF NOT EXISTS ${index('subject_keep')} ON ${withoutSchema(subjects)} (keep_until)`
}

/** An index is always in the schema of its table, which SQLite lets nobody repeat. */
function withoutSchema (table: string): string {
  return table.replace(/^.*\./, '')
}

/**
 * The statements of the store. A session is active while it has the epoch of its subject. Epochs begin at random: one that
 * was pruned never comes back.
 */
export function sessionStatements ({ sessions, subjects }: SessionNames) {
  const find = (condition: string) => `SELECT ${sessionColumns}, NOT kept.logged_out AND kept.epoch = owner.epoch AS active
    FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject WHERE ${condition}`
  const mark = (condition: string) => `UPDATE ${sessions} AS kept SET logged_out = 1 WHERE ${condition} AND NOT logged_out
    AND epoch = (SELECT epoch FROM ${subjects} AS owner WHERE owner.subject = kept.subject) RETURNING 1`
  const deleteDue = (table: string, key: string) => `DELETE FROM ${table}
    WHERE ${key} IN (SELECT ${key} FROM ${table} WHERE keep_until <= ? LIMIT ?) RETURNING 1`

  return {
    find: find('kept.digest = ? AND kept.keep_until > ?'),

    findById: find('kept.id = ? AND kept.keep_until > ? AND kept.subject = coalesce(?, kept.subject)'),

    mark: mark('digest = ?'),

    // By its id takes a step more: the digest is the key of the table.
    markById: mark('id = ?'),

    keepSubject: `INSERT INTO ${subjects} (subject, epoch, keep_until) VALUES (?, ?, ?)
      ON CONFLICT (subject) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until) RETURNING 1`,

    forget: `DELETE FROM ${sessions} WHERE (digest = ? OR id = ?) AND keep_until <= ? RETURNING 1`,

    insert: `INSERT INTO ${sessions} (digest, id, created_at, expires_at, keep_until, details, subject, epoch)
      SELECT ?, ?, ?, ?, ?, ?, subject, epoch FROM ${subjects} WHERE subject = ? RETURNING 1`,

    endEpoch: `UPDATE ${subjects} SET epoch = epoch + 1 WHERE subject = ? RETURNING epoch - 1 AS epoch`,

    countEnded: `SELECT count(*) AS ended FROM ${sessions} WHERE subject = ? AND epoch = ? AND NOT logged_out AND expires_at > ?`,

    except: `UPDATE ${sessions} SET epoch = epoch + 1 WHERE id = ? AND subject = ? AND epoch = ? RETURNING 1`,

    list: `SELECT ${sessionColumns}, 1 AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject AND owner.epoch = kept.epoch
      WHERE kept.subject = ? AND NOT kept.logged_out AND kept.expires_at > ? AND kept.id IS NOT ?
      AND (kept.created_at, kept.id) < (?, ?)
      ORDER BY kept.created_at DESC, kept.id DESC LIMIT ?`,

    prune: deleteDue(sessions, 'digest'),

    pruneSubjects: deleteDue(subjects, 'subject')
  }
}
