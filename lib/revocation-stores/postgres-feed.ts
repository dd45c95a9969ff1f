import { markOfRow } from '../internal/marks/row.ts'
import { postgresStatements, type PostgresClient, type RunStatement } from '../internal/databases/postgres.ts'
import type { FeedPage, RevocationFeed } from '../revocation-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { revocationChannel } from './postgres.ts'

/** What is asked of the host's Pool of `pg`. */
export interface PostgresPool {
  /** A connection for the feed alone, until it releases it. */
  connect (): Promise<PostgresConnection>
}

/** A connection out of the pool. */
export interface PostgresConnection extends PostgresClient {
  /** Tells of notifications, and of the end of the connection. */
  on (event: 'notification' | 'error', listener: () => void): unknown
  /** Tells no more. */
  off (event: 'notification' | 'error', listener: () => void): unknown
  /** Gives the connection back to the pool; `true` closes it. */
  release (destroy: boolean): void
}

/** Which table {@link postgresRevocationFeed} follows, and in what steps. */
export interface PostgresRevocationFeedOptions {
  /** The table of the store. @default 'logout_revocation' */
  readonly table?: string | undefined
  /** The most marks that are read at once. @default 1000 */
  readonly pageSize?: number | undefined
}

/**
 * Follows the marks in a table of `postgresRevocationStore`. It takes one connection out of the pool, for as long as it
 * follows, and listens there (`LISTEN`), so it cannot go through a PgBouncer that pools transactions.
 *
 * A notification only wakes it up: what is new it reads by position, so that none that was lost is missed, and nothing
 * is read again after a cut connection. A server that fell back behind that position is read from the beginning.
 *
 * @param pool A Pool of `pg`. It is never closed.
 * @throws {TypeError} when the pool has no `connect`, or an option is wrong.
 */
export function postgresRevocationFeed (pool: PostgresPool, options: PostgresRevocationFeedOptions = {}): RevocationFeed {
  const { table = 'logout_revocation', pageSize = 1000 } = options
  const caller = 'postgresRevocationFeed'
  if (typeof (pool as PostgresPool | undefined)?.connect !== 'function') throw new TypeError(`${caller}: pass a Pool of pg`)
  if (!(Number.isInteger(pageSize) && pageSize > 0)) throw new TypeError(`${caller}: pageSize must be a positive integer`)
  const quoted = quotedTable(table, caller)
  let listening: Promise<Listening> | undefined

  return {
    async next (position = start, timeout) {
      const { run, news } = await (listening ??= listen(pool, table))
      const [at, ...key] = JSON.parse(position) as [string, string, string, string, string]
      const read = () => run(
        `SELECT id, issuer, tenant, "except", cutoff, until, position FROM ${quoted}
        WHERE (position, id, issuer, tenant, "except") > ($1, $2, $3, $4, $5) AND until > $6
        ORDER BY position, id, issuer, tenant, "except" LIMIT $7`, at, ...key, Date.now(), pageSize)

      const woken = news(timeout)
      let rows = await read()
      if (rows.length === 0) {
        if (await fellBack(run, quoted, at)) return { marks: [], position: start, complete: false }
        await woken.wait()
        rows = await read()
      }
      woken.forget()
      return page(rows, position, pageSize)
    },

    close () {
      listening?.then(({ end }) => end(), () => {})
      listening = undefined
    }
  }
}

const start = '["0","","","",""]'

function page (rows: Array<Record<string, unknown>>, position: string, pageSize: number): FeedPage {
  const last = rows.at(-1)
  return {
    marks: rows.map(row => markOfRow({
      id: String(row['id']),
      issuer: String(row['issuer']),
      tenant: String(row['tenant']),
      except: String(row['except']),
      cutoff: Number(row['cutoff']),
      until: Number(row['until'])
    })),
    position: last === undefined ? position : JSON.stringify(['position', 'id', 'issuer', 'tenant', 'except'].map(name => String(last[name]))),
    complete: rows.length < pageSize
  }
}

/** Whether positions behind ours are given out again: this is not the server, or not the history, that we read from. */
async function fellBack (run: RunStatement, quoted: string, position: string): Promise<boolean> {
  const [row] = await run(`SELECT pg_sequence_last_value(pg_get_serial_sequence('${quoted}', 'position')::regclass) AS last`)
  return BigInt(String(row?.['last'] ?? 0)) < BigInt(position)
}

interface Listening {
  readonly run: RunStatement
  /** A wait for the next notification from now on, for at most so many milliseconds. */
  news (timeout: number): { wait (): Promise<void>, forget (): void }
  end (): void
}

async function listen (pool: PostgresPool, table: string): Promise<Listening> {
  const connection = await pool.connect()
  const run = postgresStatements(connection, table, 'postgresRevocationFeed')
  let wake = () => {}
  const onNotification = () => wake()
  connection.on('notification', onNotification)
  // A lost connection shows in the next statement.
  connection.on('error', onNotification)
  const end = () => {
    connection.off('notification', onNotification)
    connection.release(true)
  }

  try {
    await run(`LISTEN "${revocationChannel(table)}"`)
  } catch (error) {
    end()
    throw error
  }
  return {
    run,
    news (timeout) {
      let timer: NodeJS.Timeout | undefined
      const woken = new Promise<void>(resolve => {
        wake = resolve
        timer = setTimeout(resolve, timeout)
      })
      return { wait: () => woken, forget: () => clearTimeout(timer) }
    },
    end
  }
}
