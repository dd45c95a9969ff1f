import type { Promised } from '../awaitable.ts'
import { postgresCalls, resolveBatch } from '../internal/databases/postgres-batch.ts'
import {
  providerSessionNames, providerSessionStatements, providerSessionTables
} from '../internal/databases/postgres-provider-session-sql.ts'
import { deleteDue, postgresStatements, type PostgresClient } from '../internal/databases/postgres.ts'
import { boundSessions, loginRecord, logoutRecord, type LoginRecord, type LogoutRecord } from '../internal/records/provider-session.ts'
import type { ProviderSessionIndex } from '../provider-session-index.ts'

/** Where in the database {@link postgresProviderSessionIndex} keeps its logins, and how it asks for them. */
export interface PostgresProviderSessionIndexOptions {
  /**
   * The table, with its schema in front if needed: at most 40 characters. A second table, `<table>_cutoff`, and two functions,
   * `<table>_bind` and `<table>_log_out`, are made beside it. @default 'logout_provider_session'
   */
  readonly table?: string | undefined
  /**
   * Whether calls of one turn of the event loop share a statement, which is much cheaper under load. Leave it off for a
   * client whose `query` looks up the current transaction of the request, for example in AsyncLocalStorage: the calls of
   * other requests would become part of that transaction, and end with its rollback.
   *
   * @default true for a Pool of pg, false for any other client
   */
  readonly batch?: boolean | undefined
}

/** {@link postgresProviderSessionIndex} */
export interface PostgresProviderSessionIndex extends Promised<ProviderSessionIndex> {
  /** Creates the tables and the functions if they do not exist. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
  /**
   * Deletes the logins and logouts that are past their `until` by the clock of the server, a thousand rows with each
   * statement. Resolves to the number of logins deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps the index in two tables of PostgreSQL 13 or newer. Every call is one statement, and calls of one turn of the event
 * loop share one. The server's clock decides what has ended.
 *
 * A call about a user or a provider session that an open transaction has bound or logged out is repeated for half a minute,
 * and holds up no other one. So a host can bind within the transaction that creates the session: a logout waits for it, and
 * then finds the session. Conflicts at the isolation levels `REPEATABLE READ` and `SERIALIZABLE` are repeated too.
 *
 * A result is as durable as a commit on that server. After a failover to a standby that was behind, the logins and
 * logouts of the last moments are lost: `synchronous_standby_names` prevents this.
 *
 * @param client A Pool of `pg`, or any object with its `query`. It is never closed. Give the Pool `query_timeout` and
 * `connectionTimeoutMillis`: connections that fall silent stay in a Pool without them for up to 15 minutes.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { postgresProviderSessionIndex } from 'fastify-logout/provider-session-indexes/postgres'
 * import pg from 'pg'
 *
 * const pool = new pg.Pool({ connectionTimeoutMillis: 5000, query_timeout: 5000, statement_timeout: 4000 })
 * const index = postgresProviderSessionIndex(pool)
 * await index.migrate()
 * ```
 */
export function postgresProviderSessionIndex (
  client: PostgresClient, options: PostgresProviderSessionIndexOptions = {}
): PostgresProviderSessionIndex {
  const { table, names, batch } = resolveOptions(client, options)
  const run = postgresStatements(client, table, caller)
  const sql = providerSessionStatements(names)
  const bind = postgresCalls<LoginRecord>({ batch, most: bindsOfOneStatement, run: calls => run(sql.bind, JSON.stringify(calls)) })
  const logOut = postgresCalls<LogoutRecord>({ batch, most: logoutsOfOneStatement, run: calls => run(sql.logOut, JSON.stringify(calls)) })

  return {
    async bind (login, session, until) {
      const verdict = textOf(await bind(loginRecord(login, session, until)), 'verdict')
      return verdict === 'live' ? 'live' : 'revoked'
    },

    async logOut (logout) {
      return boundSessions(JSON.parse(textOf(await logOut(logoutRecord(logout)), 'sessions')))
    },

    async migrate () {
      await run(postgresProviderSessionTables(table))
    },

    async prune () {
      const logins = await deleteDue(run, sql.prune)
      await deleteDue(run, sql.pruneCutoffs)
      return logins
    }
  }
}

const caller = 'postgresProviderSessionIndex'

/** A call takes a lock for each of its groups, and a server has room for 64 locks of each connection. */
const bindsOfOneStatement = 25
const logoutsOfOneStatement = 50

function resolveOptions (client: PostgresClient, { table = 'logout_provider_session', batch }: PostgresProviderSessionIndexOptions) {
  return { table, names: providerSessionNames(table, caller), batch: resolveBatch(batch, client, caller) }
}

/** A missing row must not be read as "live", nor as "not logged in". */
function textOf (row: Readonly<Record<string, unknown>> | undefined, column: string): string {
  const text = row?.[column]
  if (typeof text !== 'string') throw new Error('the database returned no row')
  return text
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { postgresProviderSessionTables } from 'fastify-logout/provider-session-indexes/postgres'
 *
 * console.log(postgresProviderSessionTables('app_provider_session')) // the SQL of a migration
 * ```
 */
export function postgresProviderSessionTables (table = 'logout_provider_session'): string {
  return providerSessionTables(providerSessionNames(table, 'postgresProviderSessionTables'))
}
