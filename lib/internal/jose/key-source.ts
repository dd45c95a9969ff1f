import type { JwkSet } from './jwk-set.ts'

/** Looks in a key set for what verifies a token. `undefined`: it is not there. What it throws is the outcome. */
export type LookUp<Found> = (keys: JwkSet) => Found | undefined

/** The key set of an issuer as it was fetched last. */
export interface KeySource {
  /** What is found in the keys at hand. */
  find<Found> (lookUp: LookUp<Found>): Found | undefined
  /**
   * Fetches the keys, or waits for the fetch that is under way. Shortly after a failure it does nothing. Never rejects.
   * Resolves to the number of the fetch that it waited for, counted from 1.
   */
  fetch (): Promise<number>
  isFetching (): boolean
  /** Whether there are keys at hand. */
  isLoaded (): boolean
  /** Milliseconds since the fetch began that brought the keys at hand. */
  age (): number
  /** When that fetch began, in epoch milliseconds. Before every instant without keys. */
  loadedAt (): number
  /** How many fetches have begun. */
  begun (): number
  /** Whether the last fetch failed. */
  hasFailed (): boolean
  /** Throws why the last fetch failed, if it did. */
  assertFetched (): void
}

/**
 * Fetches the keys of an issuer by `load`, never twice at the same time.
 *
 * @param pause after a failure the issuer is asked again no sooner than this, in milliseconds
 */
export function keySource (issuer: string, load: () => Promise<JwkSet>, pause: number): KeySource {
  let latest: { readonly keys: JwkSet, readonly begunAt: number, readonly instant: number } | undefined
  let failure: Error | undefined
  let pending: Promise<void> | undefined
  let begun = 0
  let begunAt = 0

  async function fetchNow (): Promise<void> {
    begun++
    begunAt = performance.now()
    const instant = Date.now()
    try {
      latest = { keys: await load(), begunAt, instant }
      failure = undefined
    } catch (cause) {
      failure = new Error(`the keys of ${issuer} could not be fetched`, { cause })
    }
  }

  return {
    find: lookUp => latest && lookUp(latest.keys),
    async fetch () {
      const isPausing = failure !== undefined && performance.now() - begunAt < pause
      if (pending === undefined && !isPausing) pending = fetchNow().finally(() => { pending = undefined })
      const number = begun
      await pending
      return number
    },
    isFetching: () => pending !== undefined,
    isLoaded: () => latest !== undefined,
    age: () => performance.now() - (latest?.begunAt ?? -Infinity),
    loadedAt: () => latest?.instant ?? -Infinity,
    begun: () => begun,
    hasFailed: () => failure !== undefined,
    assertFetched () {
      if (failure !== undefined) throw failure
    }
  }
}

/** So many fetches in a row, and one more for each interval. In milliseconds. */
export function fetchAllowance (inARow: number, interval: number): { isLeft (): boolean, use (): void } {
  let usedUntil = 0
  return {
    isLeft: () => usedUntil - performance.now() <= (inARow - 1) * interval,
    use () { usedUntil = Math.max(usedUntil, performance.now()) + interval }
  }
}
