import { isOwnMethodOf } from './plain-pool.ts'
import { wasRolledBack, type PostgresClient } from './postgres.ts'
import { rowCalls, type RowCalls } from './row-calls.ts'

/** Runs calls as {@link rowCalls} does, on PostgreSQL. */
export function postgresCalls<Call> (options: Omit<RowCalls<Call>, 'wasRolledBack'>): ReturnType<typeof rowCalls<Call>> {
  return rowCalls({ ...options, wasRolledBack })
}

/**
 * The option `batch`, or its default: true for a Pool of `pg` as `pg` makes it. Any other `query` may look up the
 * transaction of the request that calls, in AsyncLocalStorage, and a shared statement would become part of it.
 *
 * @throws {TypeError} unless it is a boolean; `caller` begins the message.
 */
export function resolveBatch (batch: unknown, client: PostgresClient, caller: string): boolean {
  if (batch !== undefined && typeof batch !== 'boolean') throw new TypeError(`${caller}: option "batch" must be true or false`)
  return batch ?? isOwnMethodOf(client, ['query', 'connect', 'totalCount'])
}
