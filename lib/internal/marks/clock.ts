const second = 1000
const hour = 3_600_000

/** Epoch milliseconds by the wall clock, and milliseconds by one that nobody sets. */
export interface Clocks {
  readonly wall: () => number
  readonly steady: () => number
}

/**
 * A wall clock for forgetting. A jump ahead counts only after it has lasted for an hour, so that a clock that is wrong for a
 * while makes no mark be forgotten. After a machine has slept, forgetting is an hour late.
 */
export function cautiousClock ({ wall, steady }: Clocks = { wall: () => Date.now(), steady: () => performance.now() }): () => number {
  let offset = wall() - steady()
  let aheadSince: number | undefined

  return () => {
    const now = steady()
    const seen = wall() - now
    const isAhead = seen > offset + second
    aheadSince = isAhead ? aheadSince ?? now : undefined
    if (aheadSince === undefined || now - aheadSince > hour) {
      offset = seen
      aheadSince = undefined
    }
    return now + offset
  }
}
