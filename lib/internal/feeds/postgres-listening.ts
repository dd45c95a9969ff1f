import { randomUUID } from 'node:crypto'
import { plannedOnce, type PostgresConnection } from '../databases/postgres-connection.ts'
import type { revocationFeedStatements } from '../databases/postgres-revocation-sql.ts'
import { markOfRow, type MarkRow } from '../marks/row.ts'
import type { Mark } from '../../revocation-store.ts'
import { inbox, type News } from './inbox.ts'

/** A connection that listens to the marks of a table. */
export interface Listening {
  /** A name for this connection. */
  readonly session: string
  /** The server, its history and the table. */
  readonly server: string
  /** Runs one of the statements, which the server plans once. */
  run (name: StatementName, ...values: unknown[]): Promise<Array<Record<string, unknown>>>
  /** Waits for news that nobody has taken, for at most so many milliseconds. Rejects when the connection is lost. */
  wait (milliseconds: number): Promise<void>
  /** What was sent since it was last taken. */
  takeNews (): News<Mark>
}

type Statements = ReturnType<typeof revocationFeedStatements>
type StatementName = keyof Statements

/** So many marks wait to be taken. More than these are read from the table. */
const mostMarks = 10_000

/** Listens on a connection of a pool until the signal is aborted. Then, or when it cannot listen, the connection is closed. */
export async function listen (connection: PostgresConnection, statements: Statements, signal: AbortSignal): Promise<Listening> {
  const news = inbox<Mark>(mostMarks)
  const put = (notification?: { payload?: unknown }) => {
    const marks = sentMarks(notification?.payload)
    if (marks === undefined) news.lose()
    else news.put(...marks)
  }
  connection.on('notification', put)
  connection.on('error', news.end)
  connection.on('end', news.end)
  const end = () => {
    signal.removeEventListener('abort', end)
    connection.off('notification', put)
    connection.release(true)
    news.end()
  }
  signal.addEventListener('abort', end)
  try {
    await connection.query({ text: statements.listen })
    const { rows: [row] } = await connection.query({ text: statements.server })
    return {
      session: randomUUID(),
      server: String(row?.['server']),
      run: async (name, ...values) => (await connection.query(plannedOnce(statements[name], values))).rows,
      wait: news.wait,
      takeNews: news.take
    }
  } catch (error) {
    if (!signal.aborted) end()
    throw error
  }
}

/** The marks in a notification; `undefined` if they are not in it. */
function sentMarks (payload: unknown): Mark[] | undefined {
  try {
    return (JSON.parse(String(payload)) as MarkRow[]).map(markOfRow)
  } catch {
    return undefined
  }
}
