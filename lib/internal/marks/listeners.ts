import type { Mark, RevocationSource } from '../../revocation-store.ts'

/** Who wants to hear of marks. A listener that throws keeps neither the mark nor another listener from anything. */
export function markListeners (onError: (error: unknown) => void): RevocationSource & { notify (marks: readonly Mark[]): void } {
  const listeners = new Set<(mark: Mark) => void>()

  return {
    onRevoked (listener) {
      const own = (mark: Mark) => listener(mark)
      listeners.add(own)
      return () => { listeners.delete(own) }
    },
    notify (marks) {
      for (const mark of marks) {
        for (const listener of listeners) {
          try {
            listener(mark)
          } catch (error) {
            onError(error)
          }
        }
      }
    }
  }
}
