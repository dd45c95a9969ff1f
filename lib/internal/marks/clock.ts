const second = 1000
const hour = 3_600_000

/** Epoch milliseconds by the wall clock, and milliseconds by a clock that is never set. */
export interface Clocks {
  readonly wall: () => number
  readonly steady: () => number
}

/**
 * The wall clock by which marks are forgotten. A jump ahead counts only after it has lasted for an hour, so that no mark is
 * forgotten because a clock was wrong for a while. After a machine has slept, marks are forgotten an hour late.
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
