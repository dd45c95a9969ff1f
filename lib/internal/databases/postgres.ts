import { missingTable } from './sql-table.ts'

/** What is asked of the host's `pg` Pool, or of anything that answers like one. */
export interface PostgresClient {
  /** Runs one statement with its values, and resolves its rows. */
  query (text: string, values?: unknown[]): Promise<{ rows: Array<Record<string, unknown>> }>
}

/** Runs one statement, and resolves its rows. */
export type RunStatement = (text: string, ...values: unknown[]) => Promise<Array<Record<string, unknown>>>

/**
 * Runs statements on a table, each in one round trip, without prepared statements: through PgBouncer too.
 *
 * @throws {TypeError} when the client has no `query`; `caller` begins the message.
 */
export function postgresStatements (client: PostgresClient, table: string, caller: string): RunStatement {
  if (typeof (client as PostgresClient | undefined)?.query !== 'function') {
    throw new TypeError(`${caller}: pass a Pool of pg, or anything with its query`)
  }
  return async (text, ...values) => {
    try {
      return (await client.query(text, values)).rows
    } catch (error) {
      throw missingTable(error, table)
    }
  }
}

/** One statement that makes what is not there yet: safe to run twice, and from two nodes at once. */
export function underLock (definition: string): string {
  return `DO $migration$ BEGIN
PERFORM pg_advisory_xact_lock(hashtext('fastify-logout'));
${definition}
END $migration$`
}
