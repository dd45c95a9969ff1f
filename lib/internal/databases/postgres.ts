import { setTimeout as sleep } from 'node:timers/promises'
import { missingTable, objectRows } from './sql-table.ts'
import { warnOnce } from './warning.ts'

/**
 * A Pool of `pg`, or any object with its `query`.
 *
 * Give a Pool `query_timeout` and `connectionTimeoutMillis`: without them a connection that fell silent (a cut cable, a
 * firewall that drops packets) stays in the pool for as long as the operating system waits, which can be 15 minutes.
 * `statement_timeout` also ends on the server what the client gave up; behind PgBouncer, set it for the role, because
 * PgBouncer refuses it from clients.
 */
export interface PostgresClient {
  /** Runs one statement with its values and resolves to its rows. */
  query (text: string, values?: unknown[]): Promise<{ rows: Array<Record<string, unknown>> }>
}

/** Runs one statement and resolves to its rows. */
export type RunStatement = (text: string, ...values: unknown[]) => Promise<Array<Record<string, unknown>>>

/**
 * Runs statements on a table, each in one round trip and without named statements, so PgBouncer may pool transactions.
 *
 * A statement that the server rolled back because of a conflict with another transaction runs again. Roles whose default
 * isolation level is `REPEATABLE READ` or `SERIALIZABLE` need this. Within a transaction of the host nothing runs again:
 * the host gets the error of the conflict.
 *
 * Emits a process warning, once for each Pool, when the Pool has no timeouts.
 *
 * @throws {TypeError} when the client has no `query`; `caller` begins the message.
 */
export function postgresStatements (client: PostgresClient, table: string, caller: string): RunStatement {
  if (typeof (client as PostgresClient | undefined)?.query !== 'function') {
    throw new TypeError(`${caller}: pass a Pool of pg, or any object with its query`)
  }
  warnOfMissingTimeouts(client, caller)
  return async (text, ...values) => {
    try {
      return objectRows((await queryAgain(client, { text, values })).rows)
    } catch (error) {
      throw missingTable(error, table)
    }
  }
}

/**
 * Whether the server rolled the statement back and can still be asked: another statement may succeed. After a lost
 * connection, or on a server without room, it may not.
 */
export function wasRolledBack (error: unknown): boolean {
  const code = codeOf(error)
  return /^(?:22|23|40)/.test(code) || code === lockNotAvailable || code === queryCanceled
}

/** Makes one statement of a migration that is safe to run twice: several nodes that run it at once wait for each other. */
export function underLock (definition: string): string {
  return `DO $migration$ BEGIN
PERFORM pg_advisory_xact_lock(hashtext('fastify-logout'));
${definition}
END $migration$`
}

const serializationFailure = '40001'
const deadlockDetected = '40P01'
const inFailedTransaction = '25P02'
const lockNotAvailable = '55P03'
const queryCanceled = '57014'

const mostAttempts = 10

interface Statement {
  readonly text: string
  readonly values: unknown[]
}

async function queryAgain (client: PostgresClient, statement: Statement, attempt = 1): ReturnType<PostgresClient['query']> {
  try {
    return await client.query(statement.text, statement.values)
  } catch (error) {
    if (![serializationFailure, deadlockDetected].includes(codeOf(error)) || attempt === mostAttempts) throw error
    await sleep(Math.random() * 2 ** attempt)
    return queryAgain(client, statement, attempt + 1).catch((later: unknown) => {
      throw codeOf(later) === inFailedTransaction ? error : later
    })
  }
}

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** A Pool of `pg` shows its options. Those in the connection string count too. */
function warnOfMissingTimeouts (client: PostgresClient, caller: string): void {
  if (!('totalCount' in client && 'options' in client)) return
  const options = client.options as Readonly<Record<string, unknown>>
  const missing = [
    ...options['query_timeout'] || /[?&]query_timeout=[1-9]/.test(String(options['connectionString'])) ? [] : ['query_timeout'],
    ...options['connectionTimeoutMillis'] ? [] : ['connectionTimeoutMillis']
  ]
  if (missing.length === 0) return
  warnOnce(client, 'FASTIFY_LOGOUT_POOL_TIMEOUTS', `${caller}: the Pool has no ${missing.join(' and no ')}. ` +
    'A connection that falls silent then stays in the Pool for minutes. Set both, for example to 5000 (milliseconds).')
}

const rowsAtOnce = 1000

/**
 * Deletes the rows that are due, a thousand with each statement. Resolves to the number of rows deleted. The statement takes
 * the number of rows, and returns a row for each that it deleted.
 */
export async function deleteDue (run: RunStatement, statement: string, sum = 0): Promise<number> {
  const { length } = await run(statement, rowsAtOnce)
  return length < rowsAtOnce ? sum + length : deleteDue(run, statement, sum + length)
}
