/** How many calls of one function may be unanswered: a client library keeps about 6 kB for each. */
export const mostUnanswered = 5000

/** How long an overdue call counts, in milliseconds, once later calls are answered. */
const longestMemory = 60_000

/** A call that was not answered within its timeout. */
export interface OverdueCall {
  readonly since: number
}

/** The unanswered calls of one function. */
export interface Backlog {
  /**
   * Whether one more call must be refused. When all unanswered calls are overdue, one call at a time is let through:
   * its answer shows that the function answers again.
   */
  isFull (): boolean
  /** A call began. */
  begin (): void
  /** A call was answered in time. `succeeded` shows that the function works: calls that are overdue for a minute count as lost. */
  end (succeeded: boolean): void
  /** A call was not answered in time. */
  timeOut (): OverdueCall
  /** A call was answered after its timeout. */
  endLate (call: OverdueCall): void
}

/** Counts the unanswered calls of one function, overdue ones included, so that an outage does not fill the memory. */
export function backlog (): Backlog {
  let waiting = 0
  const overdue = new Set<OverdueCall>()

  const forgetLost = (): void => {
    const lost = performance.now() - longestMemory
    for (const call of overdue) {
      if (call.since > lost) return
      overdue.delete(call)
    }
  }

  return {
    isFull: () => waiting > 0 && waiting + overdue.size >= mostUnanswered,
    begin () { waiting++ },
    end (succeeded) {
      waiting--
      if (succeeded && overdue.size > 0) forgetLost()
    },
    timeOut () {
      waiting--
      const call = { since: performance.now() }
      overdue.add(call)
      return call
    },
    endLate (call) { overdue.delete(call) }
  }
}
