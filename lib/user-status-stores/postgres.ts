import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { postgresCalls, resolveBatch } from '../internal/databases/postgres-batch.ts'
import { userNames, userStatements, userTable } from '../internal/databases/postgres-user-sql.ts'
import { postgresStatements, type PostgresClient } from '../internal/databases/postgres.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { idsOf } from '../internal/records/user-key.ts'
import { userStatusOf } from '../internal/records/user-status-row.ts'
import type { UserRecords, UserStatusStore } from '../user-status-store.ts'

/** Where in the database {@link postgresUserStatusStore} keeps its records, and how it asks for them. */
export interface PostgresUserStatusStoreOptions {
  /**
   * The table, with its schema in front if needed: at most 40 characters. A function, `<table>_log_out`, is made beside it.
   * @default 'logout_user_status'
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

/** {@link postgresUserStatusStore} */
export interface PostgresUserStatusStore extends Promised<Required<UserStatusStore> & UserRecords> {
  /** Creates the table and the function if they do not exist. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps the status of users in a table of PostgreSQL 13 or newer. Every call is one statement, and logouts of one turn of
 * the event loop share one.
 *
 * A logout that was answered is as durable as a commit on that server. After a failover to a standby that was behind
 * (asynchronous replication), the store is as it was at an earlier instant: the changes of the last moments are undone.
 * `synchronous_standby_names` prevents this: then a commit waits for the standby.
 *
 * A logout of a user whose row is locked by another transaction is repeated for half a minute, and holds up no other
 * logout. Conflicts at the isolation levels `REPEATABLE READ` and `SERIALIZABLE` are repeated too. Ids with a NUL are
 * refused, because PostgreSQL cannot keep them.
 *
 * A host that writes to the table itself sets `version = gen_random_uuid()` with every write.
 *
 * @param client A Pool of `pg`, or any object with its `query`. It is never closed. Give the Pool `query_timeout` and
 * `connectionTimeoutMillis`: connections that fall silent stay in a Pool without them for up to 15 minutes.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { postgresUserStatusStore } from 'fastify-logout/user-status-stores/postgres'
 * import pg from 'pg'
 *
 * const pool = new pg.Pool({ connectionTimeoutMillis: 5000, query_timeout: 5000, statement_timeout: 4000 })
 * const users = postgresUserStatusStore(pool)
 * await users.migrate()
 * await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * ```
 */
export function postgresUserStatusStore (client: PostgresClient, options: PostgresUserStatusStoreOptions = {}): PostgresUserStatusStore {
  const { table, names, batch } = resolveOptions(client, options)
  const run = postgresStatements(client, table, caller)
  const sql = userStatements(names)
  const logOut = postgresCalls<Logout>({ batch, run: calls => run(sql.logOut, ...columnsOf(calls)) })

  return {
    async get (user) {
      return userStatusOf((await run(sql.get, ...idsOf(user)))[0])
    },

    async compareAndSet (user, expected, change) {
      const { at, requestId } = checkedChange(change)
      const values = [...idsOf(user), randomUUID(), change.status, at, requestId]
      const written = expected === undefined ? await run(sql.create, ...values) : await run(sql.update, ...values, `${expected}`)
      return written.length === 1
    },

    async logOut (user, change) {
      const { at, requestId } = checkedChange(change)
      return userStatusOf(await logOut([...idsOf(user), randomUUID(), at, requestId]))
    },

    async set (user, status) {
      await run(sql.set, ...idsOf(user), randomUUID(), status)
    },

    async remove (user) {
      await run(sql.remove, ...idsOf(user))
    },

    async migrate () {
      await run(postgresUserStatusTable(table))
    }
  }
}

const caller = 'postgresUserStatusStore'

function resolveOptions (client: PostgresClient, { table = 'logout_user_status', batch }: PostgresUserStatusStoreOptions) {
  return { table, names: userNames(table, caller), batch: resolveBatch(batch, client, caller) }
}

type Logout = readonly [tenant: string, subject: string, version: string, at: number, requestId: string]

/** The values of the statement: one array for each column. */
function columnsOf (calls: readonly Logout[]): unknown[][] {
  return [0, 1, 2, 3, 4].map(column => calls.map(call => call[column]))
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { postgresUserStatusTable } from 'fastify-logout/user-status-stores/postgres'
 *
 * console.log(postgresUserStatusTable('app_user_status')) // the SQL of a migration
 * ```
 */
export function postgresUserStatusTable (table = 'logout_user_status'): string {
  return userTable(userNames(table, 'postgresUserStatusTable'))
}
