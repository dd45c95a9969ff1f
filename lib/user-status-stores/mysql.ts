import { randomUUID } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { mostBytes, userStatements, userTable, userTableName, type SeenLogout } from '../internal/databases/mysql-user-sql.ts'
import {
  isDuplicate, mysqlStatements, resolveMysqlOptions, wasRolledBack, type MysqlClient, type MysqlStoreOptions, type RunMysql
} from '../internal/databases/mysql.ts'
import { rowCalls } from '../internal/databases/row-calls.ts'
import { checkedChange } from '../internal/records/status-change.ts'
import { idsOf } from '../internal/records/user-key.ts'
import { userStatusOf } from '../internal/records/user-status-row.ts'
import type { UserKey, UserRecords, UserStatus, UserStatusStore } from '../user-status-store.ts'

/** Where in the database {@link mysqlUserStatusStore} keeps its records, and how it asks for them. */
export interface MysqlUserStatusStoreOptions extends MysqlStoreOptions {
  /** The table, with its database in front if needed: at most 40 characters. @default 'logout_user_status' */
  readonly table?: string | undefined
}

/** {@link mysqlUserStatusStore} */
export interface MysqlUserStatusStore extends Promised<Required<UserStatusStore> & UserRecords> {
  /** Makes the table where it is missing. Safe to run twice, and from two nodes at once. Ends a transaction, as MySQL does. */
  migrate (): Promise<void>
}

/**
 * Keeps the status of users in a table of MySQL 8.0 or MariaDB 10.6, or newer. The statements are the same for both.
 *
 * Every call is one statement, but for `logOut`: it reads the record, and if there is something to change writes it with a
 * second statement, because MySQL returns nothing from what it writes. Logouts of one turn of the event loop share both.
 *
 * A logout that was answered is as durable as a commit on that server, which with `innodb_flush_log_at_trx_commit = 1` (the
 * default) is on disk. After a failover to a replica that was behind, the store is as it was at an earlier instant: the
 * changes of the last moments are undone. Semi-synchronous replication prevents this.
 *
 * A logout of a user whose row is locked by another transaction is repeated for half a minute, and holds up no other
 * logout. Ids with a NUL are refused, as by the other stores; so are ids of a tenant with more than 1020 bytes of UTF-8, and of
 * a subject with more than 2048.
 *
 * A host that writes to the table itself sets `version = UUID()` with every write.
 *
 * @param client A pool of `mysql2`, of its promises or of its callbacks, or any object with the `query` of its promises. It is
 * never closed.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { mysqlUserStatusStore } from 'fastify-logout/user-status-stores/mysql'
 * import { createPool } from 'mysql2/promise'
 *
 * const pool = createPool({ host: '127.0.0.1', user: 'app', database: 'app' })
 * const users = mysqlUserStatusStore(pool)
 * await users.migrate()
 * await users.set({ tenant: 'acme', subject: 'alice' }, 'logged_in')
 * ```
 */
export function mysqlUserStatusStore (client: MysqlClient, options: MysqlUserStatusStoreOptions = {}): MysqlUserStatusStore {
  const { table = 'logout_user_status' } = options
  const users = userTableName(table, caller)
  const { batch, timeout } = resolveMysqlOptions(client, options, caller)
  const run = mysqlStatements({ client, table, timeout }, caller)
  const sql = userStatements(users)
  const logOut = rowCalls<Logout>({ batch, wasRolledBack, run: calls => logOutEach(run, sql, calls) })

  return {
    async get (user) {
      const { rows: [row] } = await run(sql.get([keyOf(user)]))
      return userStatusOf(row)
    },

    async compareAndSet (user, expected, change) {
      const written = { ...checkedChange(change), status: change.status, version: randomUUID() }
      const key = keyOf(user)
      if (expected === undefined) return inserted(() => run(sql.create(key, written)))
      return (await run(sql.update(key, `${expected}`, written))).changed === 1
    },

    async logOut (user, change) {
      return userStatusOf(await logOut({ key: keyOf(user), version: randomUUID(), ...checkedChange(change) }))
    },

    async set (user, status) {
      assertBytes(status, 'status', 'a status')
      await run(sql.set(keyOf(user), randomUUID(), status))
    },

    async remove (user) {
      await run(sql.remove(keyOf(user)))
    },

    async migrate () {
      await run(userTable(users))
    }
  }
}

const caller = 'mysqlUserStatusStore'

type Key = readonly [tenant: string, subject: string]
type Statements = ReturnType<typeof userStatements>
type Row = Readonly<Record<string, unknown>>

/** The ids, if they fit: a server without a strict `sql_mode` would cut them, and take two users for one. */
function keyOf (user: UserKey): Key {
  const [tenant, subject] = idsOf(user)
  assertBytes(tenant, 'tenant', 'the id of a tenant')
  assertBytes(subject, 'subject', 'the id of a subject')
  return [tenant, subject]
}

function assertBytes (text: string, column: keyof typeof mostBytes, name: string): void {
  const most = mostBytes[column]
  if (Buffer.byteLength(text) > most) throw new TypeError(`${name} must have at most ${most} bytes in MySQL`)
}

async function inserted (insert: () => Promise<unknown>): Promise<boolean> {
  try {
    await insert()
    return true
  } catch (error) {
    if (isDuplicate(error)) return false
    throw error
  }
}

interface Logout {
  readonly key: Key
  readonly version: string
  readonly at: number
  readonly requestId: string
}

/**
 * Logs users out, and returns each record as it was before. A record that another one changed or locked in between is
 * unchanged, and its row says that it is locked.
 */
async function logOutEach (run: RunMysql, sql: Statements, calls: readonly Logout[]): Promise<Row[]> {
  const { rows } = await run(sql.get(keysOf(calls)))
  const { answers, logouts } = inTheirOrder(rows, calls)
  if (logouts.length === 0) return answers
  const { changed } = await run(sql.logOut(logouts))
  if (changed === logouts.length) return answers

  const after = await run(sql.get(logouts.map(({ tenant, subject }) => [tenant, subject])))
  const versions = new Map(after.rows.map(row => [nameOf(row), row['version']]))
  const undone = new Set(logouts.filter(logout => versions.get(nameOf(logout)) !== logout.version).map(nameOf))
  return answers.map(answer => ({ ...answer, locked: undone.has(nameOf(answer)) }))
}

/** What the calls find, one after the other, and what is to be written in the end: one change for each user. */
function inTheirOrder (rows: readonly Row[], calls: readonly Logout[]) {
  const records = new Map(rows.map(row => [nameOf(row), row]))
  const logouts = new Map<string, SeenLogout>()
  const answers = calls.flatMap(({ key: [tenant, subject], version, at, requestId }, index) => {
    const name = nameOf({ tenant, subject })
    const before = records.get(name)
    if (before === undefined) return []
    const { status, loggedOutAt = at, version: seen } = userStatusOf(before) as UserStatus
    if (status === 'logged_in' || status === 'logged_out') {
      const after = { tenant, subject, version, requestId, loggedOutAt: Math.max(loggedOutAt, at) }
      logouts.set(name, { ...after, seen: logouts.get(name)?.seen ?? `${seen}` })
      records.set(name, { ...before, status: 'logged_out', version, logged_out_at: after.loggedOutAt })
    }
    return [{ ...before, tenant, subject, nth: index + 1 }]
  })
  return { answers, logouts: [...logouts.values()] }
}

function keysOf (calls: readonly Logout[]): Key[] {
  return [...new Map(calls.map(({ key }) => [nameOf({ tenant: key[0], subject: key[1] }), key])).values()]
}

function nameOf (user: { readonly tenant?: unknown, readonly subject?: unknown }): string {
  return JSON.stringify([user.tenant, user.subject])
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { mysqlUserStatusTable } from 'fastify-logout/user-status-stores/mysql'
 *
 * console.log(mysqlUserStatusTable('app_user_status')) // the SQL of a migration
 * ```
 */
export function mysqlUserStatusTable (table = 'logout_user_status'): string {
  return `${userTable(userTableName(table, 'mysqlUserStatusTable'))};\n`
}
