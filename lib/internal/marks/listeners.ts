import { isPromise } from '../async/awaitable.ts'
import type { Mark, RevocationSource } from '../../revocation-store.ts'

/**
 * The listeners of a store or a replica. When one throws or rejects, the mark is made and the other listeners are called all
 * the same. The error is passed to `onError`, and an error of `onError` becomes a process warning.
 */
export function markListeners (onError: (error: unknown) => unknown): RevocationSource & { notify (marks: readonly Mark[]): void } {
  const listeners = new Set<(mark: Mark) => unknown>()
  const report = (error: unknown) => attempt(() => onError(error), warn)

  return {
    onRevoked (listener) {
      const own = (mark: Mark) => listener(mark)
      listeners.add(own)
      return () => { listeners.delete(own) }
    },
    notify (marks) {
      for (const mark of marks) {
        for (const listener of listeners) attempt(() => listener(mark), report)
      }
    }
  }
}

/** Calls a function of the host, which may be async. What it throws or rejects with is passed to `onError`. */
export function attempt (call: () => unknown, onError: (error: unknown) => void): void {
  try {
    const answer = call()
    if (isPromise(answer)) Promise.resolve(answer).catch(onError)
  } catch (error) {
    onError(error)
  }
}

/** Reports an error for which the host has no callback, on stderr by default. */
export function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error))
}
