import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { postgresStatements, underLock, type PostgresClient } from '../internal/databases/postgres.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { idsOf } from '../internal/records/user-key.ts'
import type { UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'
import { userStatusOf } from '../internal/records/user-status-row.ts'
import { waitingCalls } from '../internal/databases/call-batch.ts'

/** Where in the database {@link postgresUserStatusStore} keeps its records. */
export interface PostgresUserStatusStoreOptions {
  /** The table, with its schema in front if need be. @default 'logout_user_status' */
  readonly table?: string | undefined
}

/** {@link postgresUserStatusStore} */
export interface PostgresUserStatusStore extends Promised<Required<UserStatusStore> & UserRecords> {
  /** Makes the table where it is not there. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps the status of users in a table of PostgreSQL 13 or newer. Every call is one statement, which logouts of the
 * same turn of the event loop share. A logout that was answered is as durable as a commit is on that server. Ids with a NUL in them, which PostgreSQL cannot hold, are refused.
 *
 * A host that writes to the table by itself changes `version` with every write, to `gen_random_uuid()`.
 *
 * @param client A Pool of `pg`, or anything with its `query`. It is never closed.
 * @throws {TypeError} when the client has no `query`, or the table's name has other characters than letters, digits and underscores.
 */
export function postgresUserStatusStore (client: PostgresClient, options: PostgresUserStatusStoreOptions = {}): PostgresUserStatusStore {
  const { table = 'logout_user_status' } = options
  const run = postgresStatements(client, table, 'postgresUserStatusStore')
  const sql = statements(quotedTable(table, 'postgresUserStatusStore'))

  async function logOutAll (logouts: readonly Logout[]): Promise<Array<UserStatus | Error | undefined>> {
    const first = new Map<string, Logout>()
    for (const logout of logouts) if (!first.has(logout.user)) first.set(logout.user, logout)
    const values = [...first.values()]
    // As one of many, a lone logout would take a third longer.
    const rows = values.length === 1
      ? await run(sql.logOut, ...columns.map(column => values[0]?.[column]))
      : await run(sql.logOutMany, ...columns.map(column => values.map(logout => logout[column])))
    const before = new Map(rows.map(row => [userOf(String(row['tenant']), String(row['subject'])), userStatusOf(row)]))

    // Who is in it twice is logged out twice, one after the other. The first time is committed, whatever becomes of the second.
    const again = logouts.filter(logout => first.get(logout.user) !== logout)
    const failed = (cause: unknown) => again.map(() => new Error('the statement for users who log out twice at once failed', { cause }))
    const later = again.length === 0 ? [] : await logOutAll(again).catch(failed)
    return logouts.map(logout => first.get(logout.user) === logout ? before.get(logout.user) : later.shift())
  }
  const logOutTogether = waitingCalls(logOutAll)

  return {
    async get (user) {
      return userStatusOf((await run(sql.get, ...idsOf(user)))[0])
    },

    async compareAndSet (user, expected, { status, at, requestId }) {
      const written = expected === undefined
        ? await run(sql.create, ...idsOf(user), randomUUID(), status, at, requestId)
        : await run(sql.update, ...idsOf(user), randomUUID(), status, at, requestId, `${expected}`)
      return written.length === 1
    },

    async logOut (user, { at, requestId }) {
      const [tenant, subject] = idsOf(user)
      // The server would refuse everybody's logout with it.
      if (`${tenant}${subject}${requestId}`.includes('\0')) throw new Error('the id of a tenant, a subject or a request has a NUL')
      return logOutTogether({ user: userOf(tenant, subject), tenant, subject, version: randomUUID(), at, requestId })
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

interface Logout {
  readonly user: string
  readonly tenant: string
  readonly subject: string
  readonly version: string
  readonly at: number
  readonly requestId: string
}

/** What a logout asks for, in the order of the statements' values. */
const columns = ['tenant', 'subject', 'version', 'at', 'requestId'] as const

function userOf (tenant: string, subject: string): string {
  return JSON.stringify([tenant, subject])
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 */
export function postgresUserStatusTable (table = 'logout_user_status'): string {
  return underLock(`CREATE TABLE IF NOT EXISTS ${quotedTable(table, 'postgresUserStatusTable')} (
  tenant text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  status text NOT NULL,
  version text NOT NULL DEFAULT gen_random_uuid(),
  logged_out_at bigint,
  last_seen_at bigint,
  request_id text,
  PRIMARY KEY (tenant, subject)
);`)
}

function statements (table: string) {
  return {
    get: `SELECT status, version, logged_out_at, last_seen_at FROM ${table} WHERE tenant = $1 AND subject = $2`,
    create: `INSERT INTO ${table} (tenant, subject, version, status, logged_out_at, last_seen_at, request_id)
      VALUES ($1, $2, $3, $4::text, CASE WHEN $4 = 'logged_out' THEN $5::bigint END, CASE WHEN $4 = 'logged_in' THEN $5 END, $6)
      ON CONFLICT DO NOTHING RETURNING version`,
    update: `UPDATE ${table} SET version = $3, status = $4::text, request_id = $6,
      logged_out_at = CASE WHEN $4 = 'logged_out' THEN greatest(logged_out_at, $5::bigint) ELSE logged_out_at END,
      last_seen_at = CASE WHEN $4 = 'logged_in' THEN greatest(last_seen_at, $5) ELSE last_seen_at END
      WHERE tenant = $1 AND subject = $2 AND version = $7 AND status IN ('logged_in', 'logged_out') RETURNING version`,
    logOut: `WITH before AS MATERIALIZED (
        SELECT tenant, subject, status, version, logged_out_at, last_seen_at FROM ${table} WHERE tenant = $1 AND subject = $2 FOR UPDATE
      ), written AS (
        UPDATE ${table} AS now SET version = $3, status = 'logged_out', logged_out_at = greatest(now.logged_out_at, $4::bigint), request_id = $5
        FROM before WHERE now.tenant = before.tenant AND now.subject = before.subject AND before.status IN ('logged_in', 'logged_out')
      )
      SELECT * FROM before`,
    logOutMany: `WITH asked AS MATERIALIZED (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) AS asked (tenant, subject, next, at, request)
      ), before AS MATERIALIZED (
        SELECT kept.tenant, kept.subject, kept.status, kept.version, kept.logged_out_at, kept.last_seen_at, asked.next, asked.at, asked.request
        FROM ${table} AS kept JOIN asked ON kept.tenant = asked.tenant AND kept.subject = asked.subject
        ORDER BY kept.tenant, kept.subject FOR UPDATE OF kept
      ), written AS (
        UPDATE ${table} AS now SET version = before.next, status = 'logged_out', logged_out_at = greatest(now.logged_out_at, before.at), request_id = before.request
        FROM before WHERE now.tenant = before.tenant AND now.subject = before.subject AND before.status IN ('logged_in', 'logged_out')
      )
      SELECT tenant, subject, status, version, logged_out_at, last_seen_at FROM before`,
    set: `INSERT INTO ${table} (tenant, subject, version, status) VALUES ($1, $2, $3, $4)
      ON CONFLICT (tenant, subject) DO UPDATE SET version = excluded.version, status = excluded.status`,
    remove: `DELETE FROM ${table} WHERE tenant = $1 AND subject = $2`
  }
}
