import type { Immediate } from '../awaitable.ts'
import { cautiousClock } from '../internal/marks/clock.ts'
import { assertMarks, claimEnd } from '../internal/marks/id.ts'
import { markListeners, warn } from '../internal/marks/listeners.ts'
import { markSet } from '../internal/marks/set.ts'
import type { Credential, Mark, RevocationSource, RevocationStore } from '../revocation-store.ts'

/** {@link memoryRevocationStore}. It returns plain values, and reports marks as they are made. */
export interface MemoryRevocationStore extends Immediate<RevocationStore>, RevocationSource {}

/**
 * Keeps marks in the memory of this process: for tests, and for a server of one process that may forget its marks when it
 * restarts. A million tokens or sessions take 21 to 32 megabytes. Errors of listeners are warnings of the process.
 *
 * @example
 * ```ts
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const revocations = memoryRevocationStore()
 * revocations.revoke({ sessionId: 'b2c4', until: Date.now() + 3_600_000 })
 * console.log(revocations.check({ sessionId: 'b2c4' })) // 'revoked'
 * ```
 */
export function memoryRevocationStore (): MemoryRevocationStore {
  const marks = markSet()
  const listeners = markListeners(warn)
  const clock = cautiousClock()

  const check = (credential: Credential) => marks.check(credential, Date.now())
  const revoke = (...added: readonly Mark[]) => {
    assertMarks(added)
    const now = clock()
    const news = added.filter(mark => marks.join(mark, now))
    listeners.notify(news)
    return news.length > 0
  }

  return {
    revoke,
    revokeOnce (credential, ...added) {
      const wasLive = check(credential) === 'live'
      return revoke(...added) && wasLive
    },
    check,
    claimOnce: (key, until) => marks.claim(key, claimEnd(until), clock()),
    onRevoked: listeners.onRevoked
  }
}
