import { randomInt } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { inTurns } from '../internal/databases/in-turns.ts'
import { revocationStatements, revocationTable, revocationTableName } from '../internal/databases/mysql-revocation-sql.ts'
import {
  isDuplicate, mysqlStatements, resolveMysqlOptions, wasRolledBack, type MysqlClient, type MysqlStoreOptions, type RunMysql
} from '../internal/databases/mysql.ts'
import { rowCalls } from '../internal/databases/row-calls.ts'
import { mysqlFeed } from '../internal/feeds/mysql.ts'
import { assertMarks, claimEnd, markId } from '../internal/marks/id.ts'
import { isNews } from '../internal/marks/news.ts'
import { isRevokedBy, questionOf, rowOfMark, type MarkQuestion, type MarkRow } from '../internal/marks/row.ts'
import type { FollowableRevocationStore, Mark, RevocationStore } from '../revocation-store.ts'

/** Where in the database {@link mysqlRevocationStore} keeps its marks, and how it asks for them. */
export interface MysqlRevocationStoreOptions extends MysqlStoreOptions {
  /** The table, with its database in front if needed: at most 40 characters. @default 'logout_revocation' */
  readonly table?: string | undefined
  /** How long a replica waits between two questions for new marks, in milliseconds. @default 100 */
  readonly pollInterval?: number | undefined
}

/** {@link mysqlRevocationStore} */
export interface MysqlRevocationStore extends Promised<RevocationStore>, Pick<FollowableRevocationStore, 'feed'> {
  /** Makes the table where it is missing. Safe to run twice, and from two nodes at once. Ends a transaction, as MySQL does. */
  migrate (): Promise<void>
  /**
   * Deletes what ended a minute ago or more, 500 rows with each statement, and resolves to their number. On a pool, calls do so
   * by themselves.
   */
  prune (): Promise<number>
}

/**
 * Keeps marks in a table of MySQL 8.0 or MariaDB 10.6, or newer. The statements are the same for both.
 *
 * `check` is one statement, and so is `revoke` of tokens and sessions that were not revoked before; calls of one turn of the
 * event loop share one. `revoke` of subjects, or of what is revoked already, takes two, and so does `claimOnce` of a key that
 * is claimed. `revokeOnce` takes two, or three of what is revoked already: the server cannot return what was there before. The
 * server's clock decides what has ended. On a pool, one of sixteen calls also forgets what ended a minute ago or
 * more, with a statement of its own; a client that may be in a transaction of the host needs `prune()`.
 *
 * A `revoke` whose row another transaction has locked waits for it, until `timeout` at most. Those that share its statement
 * wait with it: on MariaDB for a second, on MySQL for the server's `innodb_lock_wait_timeout`. Then each goes on by itself.
 *
 * A mark that was made is as durable as a commit on that server. After a failover to a replica that was behind, the marks of
 * the last moments are lost: semi-synchronous replication prevents this.
 *
 * A `revoke` whose ids are held by a transaction that revoked them and is still open waits for it, with the calls that share
 * its statement.
 *
 * A `revocationReplica` asks the server for new marks ten times a second, and takes no connection for itself. It needs a pool
 * that always reaches the same server: on another one, as after a failover, it loads every mark again.
 *
 * @param client A pool of `mysql2`, of its promises or of its callbacks, or any object with the `query` of its promises. It is
 * never closed.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { mysqlRevocationStore } from 'fastify-logout/revocation-stores/mysql'
 * import { createPool } from 'mysql2/promise'
 *
 * const pool = createPool({ host: '127.0.0.1', user: 'app', database: 'app' })
 * const revocations = mysqlRevocationStore(pool)
 * await revocations.migrate()
 * ```
 */
export function mysqlRevocationStore (client: MysqlClient, options: MysqlRevocationStoreOptions = {}): MysqlRevocationStore {
  const { name, table, batch, timeout, pollInterval, mayBeInTransaction } = resolveOptions(client, options)
  const run = mysqlStatements({ client, table: name, timeout }, caller)
  const sql = revocationStatements(table)
  const deleteEnded = async () => (await run(sql.sweep(rowsOfOneSweep))).changed
  // Within a transaction, the rows around those that are deleted would stay locked until its end.
  const sweep = sometimes(mayBeInTransaction ? async () => {} : deleteEnded)
  const revokeRows = revoker(calls => revokeEach(run, sql, calls), batch)
  const revoke = async (marks: readonly Mark[], question?: MarkQuestion) => {
    assertMarks(marks)
    if (marks.length === 0) return false
    await sweep()
    return revokeRows({ marks: marks.map(rowOfMark), question })
  }

  return {
    revoke: async (...marks) => revoke(marks),

    revokeOnce: async (credential, ...marks) => revoke(marks, questionOf(credential)),

    async check (credential) {
      const question = questionOf(credential)
      if (question.ids.length === 0) return 'live'
      return (await run(sql.check(question))).rows.length === 0 ? 'live' : 'revoked'
    },

    async claimOnce (key, until) {
      const end = claimEnd(until)
      await sweep()
      return claim(run, sql, { id: `c${markId(key)}`, end })
    },

    migrate: async () => { await run(revocationTable(table)) },

    prune: () => pruneWith(deleteEnded),

    feed: () => mysqlFeed({ run, table, pollInterval })
  }
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { mysqlRevocationTable } from 'fastify-logout/revocation-stores/mysql'
 *
 * console.log(mysqlRevocationTable('app_revocation')) // the SQL of a migration
 * ```
 */
export function mysqlRevocationTable (table = 'logout_revocation'): string {
  return `${revocationTable(revocationTableName(table, 'mysqlRevocationTable'))};\n`
}

const caller = 'mysqlRevocationStore'

function resolveOptions (client: MysqlClient, options: MysqlRevocationStoreOptions) {
  const { table: name = 'logout_revocation', pollInterval = 100 } = options
  const table = revocationTableName(name, caller)
  if (!(typeof pollInterval === 'number' && pollInterval >= 1 && pollInterval <= 60_000)) {
    throw new TypeError(`${caller}: option "pollInterval" must be a number of milliseconds from 1 to 60000`)
  }
  return { name, table, pollInterval, ...resolveMysqlOptions(client, options, caller) }
}

/** One call of `revoke`, or of `revokeOnce` with the question of its credential. */
interface RevokeCall {
  readonly marks: readonly MarkRow[]
  readonly question?: MarkQuestion | undefined
}
type Row = Readonly<Record<string, unknown>>
type Statements = ReturnType<typeof revocationStatements>

/** So many statements of `revoke` are under way at once. The other connections of the pool are for those who check. */
const statementsAtOnce = 3
/** How many marks one statement makes at most. */
const marksOfOneStatement = 500
/** A call of so many marks or less shares a statement. Most calls have one or two. */
const marksOfSmallCall = 3

/** Makes marks. Resolves whether one of them revokes something more. */
function revoker (run: (calls: readonly RevokeCall[]) => Promise<Row[]>, batch: boolean): (marks: RevokeCall) => Promise<boolean> {
  const inTurn = inTurns(statementsAtOnce)
  const runInTurn = (calls: readonly RevokeCall[]) => inTurn(() => run(calls))
  const together = rowCalls({ batch, wasRolledBack, run: runInTurn })
  const alone = rowCalls({ batch: false, wasRolledBack, run: runInTurn })

  return async ({ marks, question }) => {
    let news = false
    const call = marks.length <= marksOfSmallCall ? together : alone
    for (let from = 0; from < marks.length; from += marksOfOneStatement) {
      const row = await call({ marks: marks.slice(from, from + marksOfOneStatement), question })
      news ||= row?.['news'] === true
    }
    return news
  }
}

/** Makes the marks of several calls, and says of each call whether it revokes something more. */
async function revokeEach (run: RunMysql, sql: Statements, calls: readonly RevokeCall[]): Promise<Row[]> {
  const rows = inOrder(calls.flatMap(({ marks }) => marks))
  const known = await knownMarks(run, sql, calls)
  const isLive = calls.map(({ question }) => question === undefined || !known.areRevoking(question))
  const maker = newMaker()
  const { changed, insertId } = await run(sql.revoke(rows, maker, calls.length > 1))
  const areAllNew = insertId === 0 && changed === rows.length
  const made = areAllNew ? new Set(rows.map(keyOf)) : await keysMadeBy(run, sql, { rows, maker })

  return calls.map(({ marks }, index) => {
    const news = marks.map(row => isOfSubject(row) ? known.add(row) : made.delete(keyOf(row)))
    return { nth: index + 1, news: isLive[index] === true && news.includes(true) }
  })
}

/** Whether this is the first claim until its end. */
async function claim (run: RunMysql, sql: Statements, { id, end }: { id: string, end: number }): Promise<boolean> {
  const maker = newMaker()
  try {
    await run(sql.claim(id, end, maker))
    return true
  } catch (error) {
    if (!isDuplicate(error)) throw error
    return (await run(sql.claimAgain(id, end, maker))).changed === 1
  }
}

/** The rows in an order that is the same for all who write, so that they do not wait for each other in a circle. */
function inOrder (rows: readonly MarkRow[]): MarkRow[] {
  return rows.map(row => [keyOf(row), row] as const).sort(([one], [other]) => one < other ? -1 : 1).map(([, row]) => row)
}

/** The token and session marks that the call with this number has made. */
async function keysMadeBy (run: RunMysql, sql: Statements, { rows, maker }: { rows: readonly MarkRow[], maker: number }) {
  const made = await run(sql.makers([...new Set(rows.map(({ id }) => id))]))
  return new Set(made.rows.filter(row => Number(row['maker']) === maker).map(keyOf))
}

function isOfSubject ({ id }: MarkRow): boolean {
  return id.startsWith('u')
}

/** The marks of the calls' subjects and credentials as they are known, to which cutoffs are added one after the other. */
async function knownMarks (run: RunMysql, sql: Statements, calls: readonly RevokeCall[]) {
  const asked = calls.flatMap(({ marks, question }) => [...marks.filter(isOfSubject).map(({ id }) => id), ...question?.ids ?? []])
  const ids = [...new Set(asked)]
  const found = ids.length === 0 ? [] : (await run(sql.known(ids))).rows
  const now = Number(found[0]?.['now'])
  const known = found.filter(row => row['id'] !== null).map(row => markRowOf(row))
  return {
    /** Whether one of them revokes a credential. */
    areRevoking: (question: MarkQuestion) => known.some(row => question.ids.includes(row.id) && isRevokedBy(row, question, now)),
    /** Whether the cutoff revokes something more than those before it. */
    add (row: MarkRow): boolean {
      const news = row.until > now && isNews(row, known)
      if (row.until > now) known.push(row)
      return news
    }
  }
}

function markRowOf (row: Row): MarkRow {
  const text = (name: string) => String(row[name])
  return {
    id: text('id'),
    issuer: text('issuer'),
    tenant: text('tenant'),
    except: text('except'),
    cutoff: Number(row['cutoff']),
    until: Number(row['until'])
  }
}

function keyOf (row: Row | MarkRow): string {
  const { id, issuer, tenant, except } = row as MarkRow
  return JSON.stringify([id, issuer, tenant, except])
}

function newMaker (): number {
  return randomInt(1, 2 ** 47)
}

const callsForEachSweep = 16
const rowsOfOneSweep = 500

/** Does something with the first call, and with every sixteenth after it. */
function sometimes (act: () => Promise<unknown>): () => Promise<unknown> {
  let calls = 0
  return async () => calls++ % callsForEachSweep === 0 ? act() : undefined
}

/** Deletes until a statement finds less than it could delete. Resolves to the number of rows. */
async function pruneWith (deleteEnded: () => Promise<number>): Promise<number> {
  let sum = 0
  for (let deleted = rowsOfOneSweep; deleted === rowsOfOneSweep; sum += deleted) deleted = await deleteEnded()
  return sum
}
