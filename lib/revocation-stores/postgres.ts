import type { Promised } from '../awaitable.ts'
import { inTurns } from '../internal/databases/in-turns.ts'
import { postgresCalls, resolveBatch } from '../internal/databases/postgres-batch.ts'
import {
  marksOfOneStatement, revocationNames, revocationStatements, revocationTable
} from '../internal/databases/postgres-revocation-sql.ts'
import { postgresStatements, type PostgresClient, type RunStatement } from '../internal/databases/postgres.ts'
import { postgresFeed } from '../internal/feeds/postgres.ts'
import { assertMarks, claimEnd, markId } from '../internal/marks/id.ts'
import { questionOf, rowOfMark, type MarkQuestion, type MarkRow } from '../internal/marks/row.ts'
import { isTrue } from '../internal/records/row-value.ts'
import type { FollowableRevocationStore, Mark, RevocationStore } from '../revocation-store.ts'

/** Where in the database {@link postgresRevocationStore} keeps its marks, and how it makes them. */
export interface PostgresRevocationStoreOptions {
  /**
   * The table, with its schema in front if needed: at most 40 characters. A function, `<table>_revoke`, stands beside it.
   *
   * @default 'logout_revocation'
   */
  readonly table?: string | undefined
  /**
   * Whether calls of `revoke` of one turn of the event loop share a statement, which is much cheaper under load. Leave it off
   * for a client whose `query` looks up the current transaction of the request, for example in AsyncLocalStorage: the marks
   * of other requests would become part of that transaction, and end with its rollback.
   *
   * @default true for a Pool of pg, false for any other client
   */
  readonly batch?: boolean | undefined
}

/** {@link postgresRevocationStore} */
export interface PostgresRevocationStore extends Promised<RevocationStore>, Pick<FollowableRevocationStore, 'feed'> {
  /** Creates the table and the function if they do not exist. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps marks in a table of PostgreSQL 13 or newer. Every call is one statement, and calls of `revoke` of one turn of the
 * event loop share one; more than 50 marks take one for each 50. The server's clock decides what has ended, and now and then a
 * call forgets what ended a minute ago or more.
 *
 * A mark that was made is as durable as a commit on that server. After a failover to a standby that was behind, the marks of
 * the last moments are lost: `synchronous_standby_names` prevents this.
 *
 * No `revoke` waits for another one. One whose ids are held by a transaction that revoked them and is still open is repeated
 * for half a minute, and holds up no other.
 *
 * A replica follows by `LISTEN`, on a connection that it takes out of the pool for itself: a pooler that shares
 * connections between transactions (PgBouncer with `pool_mode = transaction`) cannot be in between. New marks are sent to
 * replicas as notifications, which every role that may connect to the database could listen to: ids of tokens, sessions and
 * users, never tokens.
 *
 * @param client A Pool of `pg`, or for all but replicas any object with its `query`. It is never closed. Give the Pool
 * `query_timeout` and `connectionTimeoutMillis`: connections that fall silent stay in a Pool without them for up to 15 minutes.
 * @throws {TypeError} when the client has no `query`, or an option is wrong.
 * @example
 * ```ts
 * import { postgresRevocationStore } from 'fastify-logout/revocation-stores/postgres'
 * import pg from 'pg'
 *
 * const pool = new pg.Pool({ connectionTimeoutMillis: 5000, query_timeout: 5000 })
 * const revocations = postgresRevocationStore(pool)
 * await revocations.migrate()
 * ```
 */
export function postgresRevocationStore (client: PostgresClient, options: PostgresRevocationStoreOptions = {}): PostgresRevocationStore {
  const { table, names, batch } = resolveOptions(client, options)
  const run = postgresStatements(client, table, caller)
  const sql = revocationStatements(names)
  const sweep = sweepsSometimes()
  const revokeRows = revoker(calls => run(...revokeStatement(sql, calls, sweep())), batch)
  const revoke = async (marks: readonly Mark[], question?: MarkQuestion) => {
    assertMarks(marks)
    return revokeRows({ marks: marks.map(rowOfMark), question })
  }

  return {
    revoke: async (...marks) => revoke(marks),

    revokeOnce: async (credential, ...marks) => revoke(marks, questionOf(credential)),

    async check (credential) {
      const { ids, issuer, tenant, session, issuedAt } = questionOf(credential)
      if (ids.length === 0) return 'live'
      return (await run(sql.check, ids, issuedAt, session, issuer, tenant)).length === 0 ? 'live' : 'revoked'
    },

    async claimOnce (key, until) {
      const end = claimEnd(until)
      const due = sweep()
      if (due > 0) await run(sql.revoke, '[]', due)
      return (await run(sql.claim, `c${markId(key)}`, end)).length === 1
    },

    async migrate () {
      await run(postgresRevocationTable(table))
    },

    feed: () => postgresFeed(client, { names, table, caller })
  }
}

/**
 * Returns the SQL that `migrate()` runs, for hosts with their own migrations.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or with more than 40.
 *
 * @example
 * ```ts
 * import { postgresRevocationTable } from 'fastify-logout/revocation-stores/postgres'
 *
 * console.log(postgresRevocationTable('app_revocation')) // the SQL of a migration
 * ```
 */
export function postgresRevocationTable (table = 'logout_revocation'): string {
  return revocationTable(revocationNames(table, 'postgresRevocationTable'))
}

const caller = 'postgresRevocationStore'

function resolveOptions (client: PostgresClient, { table = 'logout_revocation', batch }: PostgresRevocationStoreOptions) {
  return { table, names: revocationNames(table, caller), batch: resolveBatch(batch, client, caller) }
}

/** So many statements of `revoke` are under way at once. The other connections of the pool are for those who check. */
const statementsAtOnce = 3
/** A call of so many marks or less shares a statement. Most calls have one or two. */
const marksOfSmallCall = 3

/** One call of `revoke`, or of `revokeOnce` with the question of its credential. */
interface RevokeCall {
  readonly marks: readonly MarkRow[]
  readonly question?: MarkQuestion | undefined
}
/** Runs calls as one statement. */
type RunRevokes = (calls: readonly RevokeCall[]) => ReturnType<RunStatement>

/** The statement for some calls, with its values. Without questions it is a simpler one. */
function revokeStatement (
  sql: ReturnType<typeof revocationStatements>, calls: readonly RevokeCall[], sweep: number
): readonly [text: string, ...values: unknown[]] {
  const marks = JSON.stringify(calls.map(({ marks }) => marks))
  if (calls.every(({ question }) => question === undefined)) return [sql.revoke, marks, sweep]
  return [sql.revokeOnce, marks, sweep, JSON.stringify(calls.map(({ question = {} }) => question))]
}

/** Makes marks, in as few statements as the locks of a server allow. Resolves whether one of them revokes something more. */
function revoker (run: RunRevokes, batch: boolean): (marks: RevokeCall) => Promise<boolean> {
  const inTurn = inTurns(statementsAtOnce)
  const runInTurn: RunRevokes = calls => inTurn(() => run(calls))
  const together = postgresCalls({ batch, most: Math.floor(marksOfOneStatement / marksOfSmallCall), run: runInTurn })
  const alone = postgresCalls({ batch: false, run: runInTurn })

  return async ({ marks, question }) => {
    let news = false
    const call = marks.length <= marksOfSmallCall ? together : alone
    for (let from = 0; from < marks.length; from += marksOfOneStatement) {
      const row = await call({ marks: marks.slice(from, from + marksOfOneStatement), question })
      news ||= isTrue(row?.['news'])
    }
    return news
  }
}

const callsForEachSweep = 16
const rowsOfOneSweep = 500

/** How many ended rows the next statement should delete: some with the first one, and with every sixteenth after it. */
function sweepsSometimes (): () => number {
  let calls = 0
  return () => calls++ % callsForEachSweep === 0 ? rowsOfOneSweep : 0
}
