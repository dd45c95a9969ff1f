import { assertMarks } from '../mark-id.ts'
import { markSet } from '../mark-set.ts'
import type { Mark, RevocationSource, RevocationStore } from '../revocation-store.ts'

/**
 * Marks in the memory of this process: for tests, and for a server of one process that may forget its marks when it
 * restarts. A million marks take 21 to 32 megabytes.
 */
export function memoryRevocationStore (): RevocationStore & RevocationSource {
  const marks = markSet()
  const listeners = new Set<(mark: Mark) => void>()

  return {
    revoke (...added) {
      assertMarks(added)
      const now = Date.now()
      for (const mark of added.filter(mark => marks.join(mark, now))) {
        for (const listener of listeners) listener(mark)
      }
    },
    check: facts => marks.check(facts, Date.now()),
    claimOnce: (key, until) => marks.claim(key, until, Date.now()),
    onRevoked (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}
