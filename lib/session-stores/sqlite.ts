import { randomInt } from 'node:crypto'
import type { Immediate } from '../awaitable.ts'
import { sessionNames, sessionStatements, sessionTables } from '../internal/databases/sqlite-session-sql.ts'
import {
  deleteDue, inTransaction, migrateSqlite, prepareAll, sqliteStatements, type RunSqlite, type SqliteDatabase
} from '../internal/databases/sqlite.ts'
import { queryById, queryBySubject, queryPage, type PageQuery, type SubjectQuery } from '../internal/records/session-query.ts'
import { firstSession, sessionOfRow } from '../internal/records/session-row.ts'
import { sessionRecord, type SessionRecord } from '../internal/records/session.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in the database {@link sqliteSessionStore} keeps its sessions. */
export interface SqliteSessionStoreOptions {
  /** The table. A second one, `<table>_subject`, stands beside it. @default 'logout_session' */
  readonly table?: string | undefined
}

/** {@link sqliteSessionStore}. It returns plain values; a failure is thrown. */
export interface SqliteSessionStore extends Immediate<SessionStore> {
  /** Creates the tables if they do not exist. Safe to run twice, and from two processes at once. */
  migrate (): Promise<void>
  /**
   * Deletes the sessions that are past their `keepUntil`, a thousand rows with each transaction. Resolves to the number of
   * sessions deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps sessions in two tables of SQLite, shared by the processes of one machine. A call blocks this process while
 * another one writes, for as long as the database's `busy_timeout` says; no timeout ends that.
 *
 * Put the file into WAL mode before the store is made. Without it a process that reads makes logouts of other processes
 * fail as "locked", which a process warning says once. A call within a transaction of the host is part of it, and true
 * when that is committed.
 *
 * @param database Of `node:sqlite` (`DatabaseSync`, Node 22.13 or newer) or better-sqlite3. It is never closed.
 * @throws {TypeError} when it is not such a database, or the table's name has other characters than letters, digits and underscores.
 * @example
 * ```ts
 * import { sqliteSessionStore } from 'fastify-logout/session-stores/sqlite'
 * import Database from 'better-sqlite3'
 *
 * const database = new Database('sessions.db')
 * database.exec('PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 500')
 * const sessions = sqliteSessionStore(database)
 * await sessions.migrate()
 * ```
 */
export function sqliteSessionStore (database: SqliteDatabase, options: SqliteSessionStoreOptions = {}): SqliteSessionStore {
  const { table = 'logout_session' } = options
  const names = sessionNames(table, 'sqliteSessionStore')
  const run = prepareAll(sqliteStatements(database, table, 'sqliteSessionStore'), sessionStatements(names))
  const findByDigest = (digest: string) => firstSession(run.find(digest, Date.now()))

  return {
    create (token, session) {
      const record = sessionRecord(token, session)
      inTransaction(database, () => insert(run, tokenDigest(token), record))
    },

    find: token => findByDigest(tokenDigest(token)),

    logOut (token) {
      const digest = tokenDigest(token)
      return logOut(() => findByDigest(digest), () => run.mark(digest))
    },

    logOutById (asked) {
      const query = queryById(asked)
      return query && logOut(() => firstSession(run.findById(query.id, Date.now(), query.subject)), () => run.markById(query.id))
    },

    logOutSubject ({ count, ...asked }) {
      const query = queryBySubject(asked)
      if (count === true) return query === undefined ? 0 : inTransaction(database, () => countEnded(run, query))
      if (query?.except === null) run.endEpoch(query.subject)
      else if (query !== undefined) inTransaction(database, () => endSessions(run, query))
      return undefined
    },

    list: page => pageOf(run, queryPage(page)),

    migrate: () => migrateSqlite(database, sessionTables(names)),

    prune: () => prune(run)
  }
}

type Statements = Readonly<Record<keyof ReturnType<typeof sessionStatements>, RunSqlite>>

function insert (run: Statements, digest: string, { id, subject, createdAt, expiresAt, keepUntil, details }: SessionRecord): void {
  run.keepSubject(subject, randomInt(2 ** 47), keepUntil)
  run.forget(digest, id, Date.now())
  run.insert(digest, id, createdAt, expiresAt, keepUntil, details, subject)
}

/** An unknown token, or one that is logged out already, waits for no other writer. */
function logOut (find: () => Session | undefined, mark: () => readonly unknown[]): Session | undefined {
  const before = find()
  if (before === undefined || before.status === 'logged_out') return before
  return mark().length === 1 ? before : find()
}

/** Ends the sessions of a subject except one, and returns the epoch that they had. */
function endSessions (run: Statements, { subject, except }: SubjectQuery): number | null {
  const [ended] = run.endEpoch(subject)
  const epoch = ended === undefined ? null : Number(ended['epoch'])
  if (except !== null) run.except(except, subject, epoch)
  return epoch
}

/** The same, and returns how many of them were live. */
function countEnded (run: Statements, query: SubjectQuery): number {
  const epoch = endSessions(run, query)
  return Number(run.countEnded(query.subject, epoch, Date.now())[0]?.['ended'])
}

async function prune (run: Statements): Promise<number> {
  const sessions = await deleteDue(run.prune)
  await deleteDue(run.pruneSubjects)
  return sessions
}

function pageOf (run: Statements, query: PageQuery | undefined): Session[] {
  if (query === undefined) return []
  const { subject, except, start, limit } = query
  return run.list(subject, Date.now(), except, start.createdAt, start.id, limit).map(sessionOfRow)
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 *
 * @example
 * ```ts
 * import { sqliteSessionTables } from 'fastify-logout/session-stores/sqlite'
 *
 * console.log(sqliteSessionTables('app_session')) // the SQL of a migration
 * ```
 */
export function sqliteSessionTables (table = 'logout_session'): string {
  return sessionTables(sessionNames(table, 'sqliteSessionTables'))
}
