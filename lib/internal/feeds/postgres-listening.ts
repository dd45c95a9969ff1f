import { randomUUID } from 'node:crypto'
import { plannedOnce, type PostgresConnection } from '../databases/postgres-connection.ts'
import type { revocationFeedStatements } from '../databases/postgres-revocation-sql.ts'
import { markOfRow, type MarkRow } from '../marks/row.ts'
import type { Mark } from '../../revocation-store.ts'

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
  takeNews (): News
}

/** Marks that were sent, unless there were too many to be sent or kept. */
export interface News {
  readonly marks: readonly Mark[]
  readonly isWhole: boolean
}

type Statements = ReturnType<typeof revocationFeedStatements>
type StatementName = keyof Statements

const mostNews = 10_000

/** Listens on a connection of a pool until the signal is aborted. Then, or when it cannot listen, the connection is closed. */
export async function listen (connection: PostgresConnection, statements: Statements, signal: AbortSignal): Promise<Listening> {
  const news = inbox()
  connection.on('notification', news.put)
  connection.on('error', news.end)
  connection.on('end', news.end)
  const end = () => {
    signal.removeEventListener('abort', end)
    connection.off('notification', news.put)
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

function inbox () {
  let marks: Mark[] = []
  let isWhole = true
  let isLost = false
  let wake = () => {}

  const hasNews = () => marks.length > 0 || !isWhole || isLost
  const news = (milliseconds: number) => new Promise<void>(resolve => {
    const timer = setTimeout(resolve, milliseconds)
    wake = () => {
      clearTimeout(timer)
      resolve()
    }
  })

  return {
    put (notification?: { payload?: unknown }) {
      const sent = sentMarks(notification?.payload)
      if (sent === undefined || marks.length > mostNews) isWhole = false
      else marks.push(...sent)
      wake()
    },
    end () {
      isLost = true
      wake()
    },
    take (): News {
      const taken = { marks, isWhole }
      marks = []
      isWhole = true
      return taken
    },
    async wait (milliseconds: number) {
      if (!hasNews()) await news(milliseconds)
      if (isLost) throw new Error('the connection that listened was lost')
    }
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
