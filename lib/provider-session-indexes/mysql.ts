import type { Promised } from '../awaitable.ts'
import {
  providerSessionNames, providerSessionStatements, providerSessionTables
} from '../internal/databases/mysql-provider-session-sql.ts'
import { mysqlStatements, resolveMysqlOptions, type MysqlClient, type MysqlStoreOptions } from '../internal/databases/mysql.ts'
import { boundSessions, loginRecord, logoutRecord } from '../internal/records/provider-session.ts'
import type { ProviderSessionIndex } from '../provider-session-index.ts'

/** Where in the database {@link mysqlProviderSessionIndex} keeps its logins, and how it asks for them. */
export interface MysqlProviderSessionIndexOptions extends Pick<MysqlStoreOptions, 'timeout'> {
  /**
   * The table, with its database in front if needed: at most 40 characters. A second table, `<table>_cutoff`, is made beside
   * it. @default 'logout_provider_session'
   */
  readonly table?: string | undefined
}

/** {@link mysqlProviderSessionIndex} */
export interface MysqlProviderSessionIndex extends Promised<ProviderSessionIndex> {
  /** Makes the tables where they are missing. Safe to run twice, and from two nodes at once. Ends a transaction, as MySQL does. */
  migrate (): Promise<void>
  /**
   * Deletes the logins and logouts that are past their `until` by the clock of the server, a thousand rows with each
   * statement. Resolves to the number of logins deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps the index in two tables of MySQL 8.0 or MariaDB 10.6, or newer. The statements are the same for both. Every call is two
 * statements, one that writes and one that reads. The server's clock decides what has ended.
 *
 * A host can bind within the transaction that creates the session: a logout waits for it, and then finds the session. It waits
 * on its connection, for at most `timeout`.
 *
 * A result is as durable as a commit on that server. After a failover to a replica that was behind, the logins and
 * logouts of the last moments are lost: semi-synchronous replication prevents this.
 *
 * @param client A pool of `mysql2`, of its promises or of its callbacks, or any object with the `query` of its promises. It is
 * never closed.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { mysqlProviderSessionIndex } from 'fastify-logout/provider-session-indexes/mysql'
 * import { createPool } from 'mysql2/promise'
 *
 * const pool = createPool({ host: '127.0.0.1', user: 'app', database: 'app' })
 * const index = mysqlProviderSessionIndex(pool)
 * await index.migrate()
 * ```
 */
export function mysqlProviderSessionIndex (
  client: MysqlClient, options: MysqlProviderSessionIndexOptions = {}
): MysqlProviderSessionIndex {
  const { table = 'logout_provider_session' } = options
  const names = providerSessionNames(table, caller)
  const run = mysqlStatements({ client, table, timeout: resolveMysqlOptions(client, options, caller).timeout }, caller)
  const sql = providerSessionStatements(names)

  const deleteDue = async (statement: string, sum = 0): Promise<number> => {
    const { changed } = await run(statement)
    return changed < rowsAtOnce ? sum + changed : deleteDue(statement, sum + changed)
  }

  return {
    async bind (login, session, until) {
      const record = loginRecord(login, session, until)
      await run(sql.remember(record))
      const { rows } = await run(sql.isRevoked(record))
      return rows.length === 0 ? 'live' : 'revoked'
    },

    async logOut (logout) {
      const record = logoutRecord(logout)
      await run(sql.join(record))
      const { rows } = await run(sql.covered(record))
      return boundSessions(rows.map(row => String(row['session'])))
    },

    async migrate () {
      for (const statement of providerSessionTables(names)) await run(statement)
    },

    async prune () {
      const logins = await deleteDue(sql.prune(rowsAtOnce))
      await deleteDue(sql.pruneCutoffs(rowsAtOnce))
      return logins
    }
  }
}

const caller = 'mysqlProviderSessionIndex'

const rowsAtOnce = 1000

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations: a statement for each table.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { mysqlProviderSessionTables } from 'fastify-logout/provider-session-indexes/mysql'
 *
 * console.log(mysqlProviderSessionTables('app_provider_session')) // the SQL of a migration
 * ```
 */
export function mysqlProviderSessionTables (table = 'logout_provider_session'): string {
  return `${providerSessionTables(providerSessionNames(table, 'mysqlProviderSessionTables')).join(';\n')};\n`
}
