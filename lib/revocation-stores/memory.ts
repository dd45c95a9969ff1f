import type { Immediate } from '../awaitable.ts'
import { assertMarks } from '../internal/marks/id.ts'
import { markListeners, warn } from '../internal/marks/listeners.ts'
import { markSet } from '../internal/marks/set.ts'
import type { RevocationSource, RevocationStore } from '../revocation-store.ts'

/** {@link memoryRevocationStore}. It returns plain values, and reports marks as they are made. */
export interface MemoryRevocationStore extends Immediate<RevocationStore>, RevocationSource {}

/**
 * Marks in the memory of this process: for tests, and for a server of one process that may forget its marks when it
 * restarts. A million marks take 21 to 32 megabytes.
 */
export function memoryRevocationStore (): MemoryRevocationStore {
  const marks = markSet()
  const listeners = markListeners(warn)

  return {
    revoke (...added) {
      assertMarks(added)
      const now = Date.now()
      const news = added.filter(mark => marks.join(mark, now))
      listeners.notify(news)
      return news.length > 0
    },
    check: credential => marks.check(credential, Date.now()),
    claimOnce: (key, until) => marks.claim(key, until, Date.now()),
    onRevoked: listeners.onRevoked
  }
}
