import { setTimeout as sleep } from 'node:timers/promises'

/** Lets callers wait for first attempts that are made in this process. */
export interface FirstAttempts {
  /** Begins to watch for attempts of these deliveries: before they are put into the queue. */
  expect (ids: readonly string[]): ExpectedAttempts
  /** A delivery was attempted. */
  note (id: string): void
}

/** Attempts that somebody watches for. */
export interface ExpectedAttempts {
  /** Waits until all were made, for at most so many milliseconds. */
  wait (milliseconds: number): Promise<void>
  /** Ends watching. */
  forget (): void
}

/** See {@link FirstAttempts}. */
export function firstAttempts (): FirstAttempts {
  const watchers = new Set<(id: string) => void>()

  return {
    expect (ids) {
      const left = new Set(ids)
      const done = new AbortController()
      const watcher = (id: string) => {
        left.delete(id)
        if (left.size === 0) done.abort()
      }
      watchers.add(watcher)
      return {
        wait: milliseconds => sleep(milliseconds, undefined, { signal: done.signal }).catch(() => {}),
        forget () { watchers.delete(watcher) }
      }
    },

    note (id) {
      for (const watcher of watchers) watcher(id)
    }
  }
}
