import { randomInt } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { postgresCalls, resolveBatch } from '../internal/databases/postgres-batch.ts'
import { sessionNames, sessionStatements, sessionTables } from '../internal/databases/postgres-session-sql.ts'
import { deleteDue, postgresStatements, type PostgresClient, type RunStatement } from '../internal/databases/postgres.ts'
import { sessionLogouts } from '../internal/records/session-logouts.ts'
import { queryBySubject, queryPage, type IdQuery } from '../internal/records/session-query.ts'
import { firstSession, sessionOfRow } from '../internal/records/session-row.ts'
import { sessionRecord } from '../internal/records/session.ts'
import type { SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in the database {@link postgresSessionStore} keeps its sessions, and how it asks for them. */
export interface PostgresSessionStoreOptions {
  /**
   * The table, with its schema in front if needed: at most 40 characters. A second table, `<table>_subject`, and a function,
   * `<table>_log_out`, are made beside it. @default 'logout_session'
   */
  readonly table?: string | undefined
  /**
   * Whether logouts of one turn of the event loop share a statement, which is much cheaper under load. Leave it off for a
   * client whose `query` looks up the current transaction of the request, for example in AsyncLocalStorage: the logouts
   * of other requests would become part of that transaction, and end with its rollback.
   *
   * @default true for a Pool of pg, false for any other client
   */
  readonly batch?: boolean | undefined
}

/** {@link postgresSessionStore} */
export interface PostgresSessionStore extends Promised<SessionStore> {
  /** Creates the tables and the function if they do not exist. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
  /**
   * Deletes the sessions that are past their `keepUntil` by the clock of the server, a thousand rows with each statement.
   * Resolves to the number of sessions deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps sessions in two tables of PostgreSQL 13 or newer. Every call is one statement, and logouts of one turn of the
 * event loop share one.
 *
 * A logout that was answered is as durable as a commit on that server. After a failover to a standby that was behind
 * (asynchronous replication), the store is as it was at an earlier instant: the logouts of the last moments are undone, and
 * the logins too. `synchronous_standby_names` prevents this: then a commit waits for the standby.
 *
 * A logout whose session is locked by another transaction is repeated for half a minute, and holds up no other logout.
 * Conflicts at the isolation levels `REPEATABLE READ` and `SERIALIZABLE` are repeated too. A login that commits while
 * `logOutSubject` waits for it is ended, but is not in the `count`.
 *
 * @param client A Pool of `pg`, or any object with its `query`. It is never closed. Give the Pool `query_timeout` and
 * `connectionTimeoutMillis`: connections that fall silent stay in a Pool without them for up to 15 minutes.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { postgresSessionStore } from 'fastify-logout/session-stores/postgres'
 * import pg from 'pg'
 *
 * const pool = new pg.Pool({ connectionTimeoutMillis: 5000, query_timeout: 5000, statement_timeout: 4000 })
 * const sessions = postgresSessionStore(pool)
 * await sessions.migrate()
 * ```
 */
export function postgresSessionStore (client: PostgresClient, options: PostgresSessionStoreOptions = {}): PostgresSessionStore {
  const { table, names, batch } = resolveOptions(client, options)
  const run = postgresStatements(client, table, caller)
  const sql = sessionStatements(names)

  return {
    ...loginsAndLists(run, sql),
    ...logouts(run, sql, batch),

    async migrate () {
      await run(postgresSessionTables(table))
    },

    async prune () {
      const sessions = await deleteDue(run, sql.prune)
      await deleteDue(run, sql.pruneSubjects)
      return sessions
    }
  }
}

const caller = 'postgresSessionStore'

function resolveOptions (client: PostgresClient, { table = 'logout_session', batch }: PostgresSessionStoreOptions) {
  return { table, names: sessionNames(table, caller), batch: resolveBatch(batch, client, caller) }
}

type Statements = ReturnType<typeof sessionStatements>

function loginsAndLists (run: RunStatement, sql: Statements): Pick<PostgresSessionStore, 'create' | 'find' | 'list'> {
  return {
    async create (token, session) {
      const { id, subject, createdAt, expiresAt, keepUntil, details } = sessionRecord(token, session)
      await run(sql.create, tokenDigest(token), id, subject, createdAt, expiresAt, keepUntil, details, Date.now(), randomInt(2 ** 47))
    },

    async find (token) {
      return firstSession(await run(sql.find, tokenDigest(token), Date.now()))
    },

    async list (page) {
      const query = queryPage(page)
      if (query === undefined) return []
      const { subject, except, start, limit } = query
      return (await run(sql.list, subject, Date.now(), except, start.createdAt, start.id, limit)).map(sessionOfRow)
    }
  }
}

type Logouts = Pick<PostgresSessionStore, 'logOut' | 'logOutById' | 'logOutSubject'>

function logouts (run: RunStatement, sql: Statements, batch: boolean): Logouts {
  const byToken = postgresCalls<string>({ batch, run: digests => run(sql.logOut, digests, Date.now()) })
  const byId = postgresCalls<IdQuery>({ batch: false, run: ([query]) => run(sql.logOutById, query?.id, Date.now(), query?.subject) })

  return {
    ...sessionLogouts({ byToken, byId }),

    async logOutSubject ({ count, ...asked }) {
      const query = queryBySubject(asked)
      if (query === undefined) return count === true ? 0 : undefined
      if (count === true) return countEnded(await run(sql.countSubject, query.subject, query.except, Date.now()))
      await run(sql.logOutSubject, query.subject, query.except)
      return undefined
    }
  }
}

function countEnded ([row]: ReadonlyArray<Readonly<Record<string, unknown>>>): number {
  return Number(row?.['ended'])
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { postgresSessionTables } from 'fastify-logout/session-stores/postgres'
 *
 * console.log(postgresSessionTables('app_session')) // the SQL of a migration
 * ```
 */
export function postgresSessionTables (table = 'logout_session'): string {
  return sessionTables(sessionNames(table, 'postgresSessionTables'))
}
