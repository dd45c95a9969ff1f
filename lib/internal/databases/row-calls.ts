import { setTimeout as sleep } from 'node:timers/promises'
import { isTrue } from '../records/row-value.ts'
import { waitingCalls } from './call-batch.ts'

/** A row of a statement for several calls. */
type Row = Readonly<Record<string, unknown>>

/** How {@link rowCalls} runs calls. */
export interface RowCalls<Call> {
  /**
   * Runs calls as one statement. In each row `nth` says whose it is, counted from 1; `locked` says that another
   * transaction holds what the call would change, so nothing was done for it.
   */
  readonly run: (calls: readonly Call[]) => Promise<readonly Row[]>
  /** Whether the server rolled the statement back and can still be asked: another statement may succeed. */
  readonly wasRolledBack: (error: unknown) => boolean
  /** Whether calls of one turn of the event loop share a statement. */
  readonly batch: boolean
  /** How many calls share a statement at most. @default 100 */
  readonly most?: number
  /** How long a call whose row is locked is repeated, in milliseconds. @default 30000 */
  readonly timeout?: number
}

const shortestPause = 5
const longestPause = 100

/**
 * Runs calls so that none of them holds up or fails another one, and resolves each to its row.
 *
 * A call whose row is locked holds no connection and no other call: it is repeated until the row is free. When a shared
 * statement fails and was rolled back (a value that the server refuses, a deadlock, a limit of time), each of its
 * calls runs alone. Without `batch` each call is a statement of its own, in the asynchronous context of its caller.
 */
export function rowCalls<Call> (options: RowCalls<Call>): (call: Call) => Promise<Row | undefined> {
  const { run, wasRolledBack, batch, most, timeout = 30_000 } = options
  const runAlone = async (call: Call) => (await run([call]))[0]
  const runOnce = batch ? waitingCalls(runTogether, most) : runAlone

  async function runTogether (calls: readonly Call[]): Promise<ReadonlyArray<Row | undefined | Promise<Row | undefined>>> {
    try {
      const rows = new Map((await run(calls)).map(row => [Number(row['nth']), row]))
      return calls.map((_, index) => rows.get(index + 1))
    } catch (error) {
      if (calls.length === 1 || !wasRolledBack(error)) throw error
      return calls.map(runAlone)
    }
  }

  async function runUnlocked (call: Call, waited = 0): Promise<Row | undefined> {
    const row = await runOnce(call)
    if (!isTrue(row?.['locked'])) return row
    if (waited >= timeout) throw new Error(`another transaction has locked the row for ${timeout} ms`)
    const pause = Math.min(Math.max(waited, shortestPause), longestPause)
    await sleep(pause)
    return runUnlocked(call, waited + pause)
  }

  return call => runUnlocked(call)
}
