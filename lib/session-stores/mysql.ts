import { randomInt } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { sessionNames, sessionStatements, sessionTables } from '../internal/databases/mysql-session-sql.ts'
import {
  isDuplicate, mysqlStatements, resolveMysqlOptions, wasRolledBack, type MysqlClient, type MysqlStoreOptions, type RunMysql
} from '../internal/databases/mysql.ts'
import { rowCalls } from '../internal/databases/row-calls.ts'
import { sessionLogouts } from '../internal/records/session-logouts.ts'
import { queryBySubject, queryPage, type IdQuery } from '../internal/records/session-query.ts'
import { firstSession, sessionOfRow } from '../internal/records/session-row.ts'
import { sessionRecord } from '../internal/records/session.ts'
import { isTrue } from '../internal/records/row-value.ts'
import type { SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** Where in the database {@link mysqlSessionStore} keeps its sessions, and how it asks for them. */
export interface MysqlSessionStoreOptions extends MysqlStoreOptions {
  /**
   * The table, with its database in front if needed: at most 40 characters. A second table, `<table>_everywhere`, is made
   * beside it: who deletes all rows of one deletes those of the other one too. @default 'logout_session'
   */
  readonly table?: string | undefined
}

/** {@link mysqlSessionStore} */
export interface MysqlSessionStore extends Promised<SessionStore> {
  /** Makes the tables where they are missing. Safe to run twice, and from two nodes at once. Ends a transaction, as MySQL does. */
  migrate (): Promise<void>
  /**
   * Deletes the sessions that are past their `keepUntil` by the clock of the server, a thousand at a time. Resolves to the
   * number of sessions deleted.
   */
  prune (): Promise<number>
}

/**
 * Keeps sessions in two tables of MySQL 8.0 or MariaDB 10.6, or newer. The statements are the same for both.
 *
 * `create`, `find`, `list` and `logOutSubject` are one statement each. A logout of one session reads it, and if it is active
 * ends it with a second statement, because MySQL returns nothing from what it writes; logouts of one turn of the event loop
 * share both. `logOutSubject` with `count` takes two, and time proportional to the number of sessions.
 *
 * A logout that was answered is as durable as a commit on that server, which with `innodb_flush_log_at_trx_commit = 1` (the
 * default) is on disk. After a failover to a replica that was behind, the store is as it was at an earlier instant: the
 * logouts of the last moments are undone, and the logins too. Semi-synchronous replication prevents this. In a cluster in
 * which several servers write (Galera, Group Replication), send the logins and logouts of a user to one of them: after a
 * logout everywhere on one server, a login on another one that has not heard of it yet may be logged out with the others.
 *
 * A logout whose session is locked by another transaction is repeated for half a minute, and holds up no other logout.
 * `logOutSubject` waits for logins of the subject that are not committed yet.
 *
 * @param client A pool of `mysql2`, of its promises or of its callbacks, or any object with the `query` of its promises. It is
 * never closed.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { mysqlSessionStore } from 'fastify-logout/session-stores/mysql'
 * import { createPool } from 'mysql2/promise'
 *
 * const pool = createPool({ host: '127.0.0.1', user: 'app', database: 'app' })
 * const sessions = mysqlSessionStore(pool)
 * await sessions.migrate()
 * ```
 */
export function mysqlSessionStore (client: MysqlClient, options: MysqlSessionStoreOptions = {}): MysqlSessionStore {
  const { table = 'logout_session' } = options
  const names = sessionNames(table, caller)
  const { batch, timeout } = resolveMysqlOptions(client, options, caller)
  const run = mysqlStatements({ client, table, timeout }, caller)
  const sql = sessionStatements(names)

  return {
    ...loginsAndLists(run, sql),
    ...logouts(run, sql, batch),

    async migrate () {
      for (const statement of sessionTables(names)) await run(statement)
    },

    prune: () => deleteDue(run, sql)
  }
}

const caller = 'mysqlSessionStore'

type Statements = ReturnType<typeof sessionStatements>

function loginsAndLists (run: RunMysql, sql: Statements): Pick<MysqlSessionStore, 'create' | 'find' | 'list'> {
  return {
    async create (token, session) {
      const [digest, record] = [tokenDigest(token), sessionRecord(token, session)]
      try {
        await run(sql.create(digest, record))
      } catch (error) {
        if (!isDuplicate(error)) throw error
        const { changed } = await run(sql.forget(digest, record.id, Date.now()))
        if (changed === 0) throw error
        await run(sql.create(digest, record))
      }
    },

    async find (token) {
      return firstSession((await run(sql.find([tokenDigest(token)], Date.now()))).rows)
    },

    async list (page) {
      const query = queryPage(page)
      return query === undefined ? [] : (await run(sql.list(query, Date.now()))).rows.map(sessionOfRow)
    }
  }
}

type Logouts = Pick<MysqlSessionStore, 'logOut' | 'logOutById' | 'logOutSubject'>

function logouts (run: RunMysql, sql: Statements, batch: boolean): Logouts {
  const byToken = rowCalls<string>({ batch, wasRolledBack, run: digests => endByToken(run, sql, digests) })
  const byId = rowCalls<IdQuery>({ batch: false, wasRolledBack, run: ([query]) => endById(run, sql, query as IdQuery) })

  return {
    ...sessionLogouts({ byToken, byId }),

    async logOutSubject ({ count, ...asked }) {
      const query = queryBySubject(asked)
      if (query === undefined) return count === true ? 0 : undefined
      const ended = count === true ? (await run(sql.endEach(query, Date.now(), newEnder()))).changed : undefined
      await run(sql.logOutSubject(query))
      return ended
    }
  }
}

type Row = Readonly<Record<string, unknown>>

async function endByToken (run: RunMysql, sql: Statements, digests: readonly string[]): Promise<Row[]> {
  const { rows } = await run(sql.find([...new Set(digests)], Date.now()))
  const ended = new Map((await end(run, sql, rows)).map(row => [row['digest'], row]))
  return digests.flatMap((digest, index) => {
    const row = ended.get(digest)
    // Of several logouts of one session, the first one ends it.
    if (row !== undefined && !isTrue(row['locked'])) ended.set(digest, { ...row, active: false })
    return row === undefined ? [] : [{ ...row, nth: index + 1 }]
  })
}

async function endById (run: RunMysql, sql: Statements, { id, subject }: IdQuery): Promise<Row[]> {
  const { rows } = await run(sql.findById(id, Date.now()))
  return end(run, sql, rows.filter(row => subject === null || row['subject'] === subject))
}

/** Ends those of the sessions that are active. Each row says whether it was active before, or is locked and unchanged. */
async function end (run: RunMysql, sql: Statements, rows: readonly Row[]): Promise<Row[]> {
  const serialNumbers = rows.filter(row => isTrue(row['active'])).map(row => String(row['serial_number']))
  if (serialNumbers.length === 0) return [...rows]
  const ender = newEnder()
  const { changed } = await run(sql.end(serialNumbers, ender))
  if (changed === serialNumbers.length) return [...rows]

  const after = await run(sql.endedBy(serialNumbers))
  const enders = new Map(after.rows.map(row => [row['serial_number'], Number(row['ended_by'])]))
  return rows.map(row => {
    const endedBy = enders.get(row['serial_number'])
    return isTrue(row['active']) ? { ...row, active: endedBy === ender, locked: endedBy === 0 } : row
  })
}

function newEnder (): number {
  return randomInt(1, 2 ** 47)
}

const rowsAtOnce = 1000

async function deleteDue (run: RunMysql, sql: Statements, sum = 0): Promise<number> {
  const { rows } = await run(sql.due(rowsAtOnce))
  if (rows.length === 0) return sum
  const { changed } = await run(sql.prune(rows.map(row => String(row['serial_number']))))
  await run(sql.pruneEverywhere([...new Set(rows.map(row => String(row['subject'])))]))
  return rows.length < rowsAtOnce ? sum + changed : deleteDue(run, sql, sum + changed)
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations: a statement for each table.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { mysqlSessionTables } from 'fastify-logout/session-stores/mysql'
 *
 * console.log(mysqlSessionTables('app_session')) // the SQL of a migration
 * ```
 */
export function mysqlSessionTables (table = 'logout_session'): string {
  return `${sessionTables(sessionNames(table, 'mysqlSessionTables')).join(';\n')};\n`
}
