import { hash } from 'node:crypto'
import type { PostgresClient } from './postgres.ts'

/** A Pool of `pg` that lends its connections. */
export interface PostgresPool extends PostgresClient {
  connect (): Promise<PostgresConnection>
}

/** A connection out of a pool. */
export interface PostgresConnection {
  query (statement: PostgresStatement): Promise<{ rows: Array<Record<string, unknown>> }>
  on (event: 'notification' | 'error' | 'end', listener: (event?: { payload?: unknown }) => void): unknown
  off (event: 'notification' | 'error' | 'end', listener: (event?: { payload?: unknown }) => void): unknown
  /** Gives the connection back to the pool; `true` closes it. */
  release (destroy?: boolean): void
}

/** A statement that the server plans once for a connection, under its name. */
export interface PostgresStatement {
  readonly name?: string
  readonly text: string
  readonly values?: unknown[]
}

/** A statement with a name of its own, which the server plans when a connection sends it for the first time. */
export function plannedOnce (text: string, values: unknown[]): PostgresStatement {
  return { name: `fastify_logout_${hash('sha1', text)}`, text, values }
}

/** Whether a client lends connections. */
export function isPool (client: PostgresClient): client is PostgresPool {
  return typeof (client as Partial<PostgresPool>).connect === 'function'
}

/**
 * Takes connections out of a pool, and has never more than one on its way: where packets are swallowed, connections
 * neither come nor fail, and each of them would take a place in the host's pool. A connection for which nobody waits any
 * more is given back when it comes.
 */
export function connectionLender (pool: PostgresPool): (signal: AbortSignal) => Promise<PostgresConnection> {
  let arrived: Promise<unknown> = Promise.resolve()

  /** Connects when whatever was under way before has arrived, unless nobody waits any more. */
  const connect = async (signal: AbortSignal) => {
    const before = arrived
    const connection = before.then(() => {
      signal.throwIfAborted()
      return pool.connect()
    })
    arrived = connection.catch(() => {})
    return connection
  }

  return async signal => {
    const connecting = connect(signal)
    try {
      return await unlessAborted(connecting, signal)
    } catch (error) {
      connecting.then(connection => connection.release(), () => {})
      throw error
    }
  }
}

/** Resolves as the promise does, or rejects as soon as the signal is aborted. */
function unlessAborted<T> (promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
