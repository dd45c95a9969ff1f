import { randomInt } from 'node:crypto'
import { setImmediate as otherWork } from 'node:timers/promises'
import type { Immediate } from '../awaitable.ts'
import { isSessionId, isSubject, sessionRecord } from '../internal/records/session.ts'
import { firstSession, pageStart, sessionColumns, sessionOfRow } from '../internal/records/session-row.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { migrateSqlite, sqliteStatements, type SqliteDatabase } from '../internal/databases/sqlite.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in the database {@link sqliteSessionStore} keeps its sessions. */
export interface SqliteSessionStoreOptions {
  /** The table. A second one, `<table>_subject`, stands beside it. @default 'logout_session' */
  readonly table?: string | undefined
}

/** {@link sqliteSessionStore}. It answers with plain values; a failure is thrown. */
export interface SqliteSessionStore extends Immediate<SessionStore> {
  /** Makes the tables where they are not there. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
  /** Deletes what is past its `keepUntil`, a thousand rows with each transaction. Answers with the number of sessions deleted. */
  prune (): Promise<number>
}

const batch = 1000

/**
 * Keeps sessions in two tables of SQLite, shared by the processes of one machine. A call blocks this process while
 * another one writes, for as long as the database's `busy_timeout` says; no timeout ends that.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is no such database, or the table's name has other characters than letters, digits and underscores.
 */
export function sqliteSessionStore (database: SqliteDatabase, options: SqliteSessionStoreOptions = {}): SqliteSessionStore {
  const { table = 'logout_session' } = options
  const prepare = sqliteStatements(database, table, 'sqliteSessionStore')
  const sql = statements(namesOf(table, 'sqliteSessionStore'))
  const find = prepare(sql.find)
  const findById = prepare(sql.findById)
  const mark = prepare(sql.mark)
  const keepSubject = prepare(sql.keepSubject)
  const forget = prepare(sql.forget)
  const insert = prepare(sql.insert)
  const endEpoch = prepare(sql.endEpoch)
  const spare = prepare(sql.spare)
  const countEnded = prepare(sql.countEnded)
  const list = prepare(sql.list)
  const prune = prepare(sql.prune)
  const pruneSubjects = prepare(sql.pruneSubjects)

  /** Also within a transaction of the host. */
  function together<T> (write: () => T): T {
    database.exec('SAVEPOINT fastify_logout')
    try {
      const written = write()
      database.exec('RELEASE fastify_logout')
      return written
    } catch (error) {
      undo()
      throw error
    }
  }

  function undo () {
    try {
      database.exec('ROLLBACK TO fastify_logout; RELEASE fastify_logout')
    } catch {
      // A full disk, for one, has undone the whole transaction already.
    }
  }

  // An unknown token, or one that is logged out already, waits for no other writer.
  function logOut (look: () => Session | undefined): Session | undefined {
    const before = look()
    if (before === undefined || before.status === 'logged_out') return before
    return mark(before.id).length === 1 ? before : look()
  }

  async function deleted (some: () => unknown[], sum = 0): Promise<number> {
    const { length } = some()
    if (length < batch) return sum + length
    await otherWork()
    return deleted(some, sum + length)
  }

  const findByToken = (token: string) => firstSession(find(tokenDigest(token), Date.now()))

  return {
    create (token, session) {
      const { id, subject, createdAt, expiresAt, keepUntil, details } = sessionRecord(token, session)
      const digest = tokenDigest(token)
      const now = Date.now()
      together(() => {
        keepSubject(subject, randomInt(2 ** 47), keepUntil)
        forget(digest, id, now)
        insert(digest, id, createdAt, expiresAt, keepUntil, details, subject)
      })
    },

    find: findByToken,

    logOut: token => logOut(() => findByToken(token)),

    logOutById ({ id, subject }) {
      if (!isSessionId(id) || !(subject === undefined || isSubject(subject))) return undefined
      return logOut(() => firstSession(findById(id, Date.now(), subject ?? null)))
    },

    logOutSubject ({ subject, except, count }) {
      if (!isSubject(subject)) return count === true ? 0 : undefined
      if (except === undefined && count !== true) {
        endEpoch(subject)
        return undefined
      }
      return together(() => {
        const [ended] = endEpoch(subject)
        const epoch = ended === undefined ? null : Number(ended['epoch'])
        if (isSessionId(except)) spare(except, subject, epoch)
        return count === true ? Number(countEnded(subject, epoch, Date.now())[0]?.['ended']) : undefined
      })
    },

    list (page) {
      if (!isSubject(page.subject)) return []
      const rows = list(page.subject, Date.now(), isSessionId(page.except) ? page.except : null, ...pageStart(page), page.limit)
      return rows.map(sessionOfRow)
    },

    migrate () {
      return migrateSqlite(database, sqliteSessionTables(table))
    },

    async prune () {
      const now = Date.now()
      const sessions = await deleted(() => prune(now, batch))
      await deleted(() => pruneSubjects(now, batch))
      return sessions
    }
  }
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 */
export function sqliteSessionTables (table = 'logout_session'): string {
  const { sessions, subjects, index } = namesOf(table, 'sqliteSessionTables')
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
CREATE INDEX IF NOT EXISTS ${index('list')} (subject, epoch, created_at, id);
CREATE INDEX IF NOT EXISTS ${index('keep')} (keep_until)`
}

interface Names {
  readonly sessions: string
  readonly subjects: string
  /** The index's name and its table. */
  readonly index: (purpose: string) => string
}

function namesOf (table: string, caller: string): Names {
  const sessions = quotedTable(table, caller)
  return {
    sessions,
    subjects: quotedTable(`${table}_subject`, caller),
    index: purpose => `${quotedTable(`${table}_${purpose}_index`, caller)} ON ${sessions.split('.').at(-1)}`
  }
}

/** A session is active while it has the epoch of its subject. Epochs begin at random: one that was pruned never comes back. */
function statements ({ sessions, subjects }: Names) {
  const find = (condition: string) => `SELECT ${sessionColumns}, NOT kept.logged_out AND kept.epoch = owner.epoch AS active
    FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject WHERE ${condition}`
  const deleteDue = (table: string, key: string) => `DELETE FROM ${table}
    WHERE ${key} IN (SELECT ${key} FROM ${table} WHERE keep_until <= ? LIMIT ?) RETURNING 1`

  return {
    find: find('kept.digest = ? AND kept.keep_until > ?'),
    findById: find('kept.id = ? AND kept.keep_until > ? AND kept.subject = coalesce(?, kept.subject)'),
    mark: `UPDATE ${sessions} AS kept SET logged_out = 1 WHERE id = ? AND NOT logged_out
      AND epoch = (SELECT epoch FROM ${subjects} AS owner WHERE owner.subject = kept.subject) RETURNING 1`,
    keepSubject: `INSERT INTO ${subjects} (subject, epoch, keep_until) VALUES (?, ?, ?)
      ON CONFLICT (subject) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until) RETURNING 1`,
    forget: `DELETE FROM ${sessions} WHERE (digest = ? OR id = ?) AND keep_until <= ? RETURNING 1`,
    insert: `INSERT INTO ${sessions} (digest, id, created_at, expires_at, keep_until, details, subject, epoch)
      SELECT ?, ?, ?, ?, ?, ?, subject, epoch FROM ${subjects} WHERE subject = ? RETURNING 1`,
    endEpoch: `UPDATE ${subjects} SET epoch = epoch + 1 WHERE subject = ? RETURNING epoch - 1 AS epoch`,
    countEnded: `SELECT count(*) AS ended FROM ${sessions} WHERE subject = ? AND epoch = ? AND NOT logged_out AND expires_at > ?`,
    spare: `UPDATE ${sessions} SET epoch = epoch + 1 WHERE id = ? AND subject = ? AND epoch = ? RETURNING 1`,
    list: `SELECT ${sessionColumns}, 1 AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject AND owner.epoch = kept.epoch
      WHERE kept.subject = ? AND NOT kept.logged_out AND kept.expires_at > ? AND kept.id IS NOT ?
      AND (kept.created_at, kept.id) < (?, ?)
      ORDER BY kept.created_at DESC, kept.id DESC LIMIT ?`,
    prune: deleteDue(sessions, 'digest'),
    pruneSubjects: deleteDue(subjects, 'subject')
  }
}
