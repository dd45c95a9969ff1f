import type { Awaitable } from '../../awaitable.ts'
import type { JwkSet } from './jwk-set.ts'
import type { CheckSignature } from './jwt.ts'
import type { SignatureAlgorithm } from './signature-algorithm.ts'

/** When a {@link RemoteJwkSet} asks again. In milliseconds. */
export interface RemoteJwkSetTimes {
  /** An unknown key id makes it ask at most once in so long. */
  readonly cooldown: number
  /** Keys older than this are fetched anew. */
  readonly refreshAfter: number
}

/** The keys of one issuer, fetched when they are needed. */
export interface RemoteJwkSet {
  /**
   * Like {@link JwkSet.find}: at once when the key is at hand. Rejects when it could not be told, because the key is
   * not among those we have and the issuer did not answer.
   */
  find (kid: string | undefined, algorithm: SignatureAlgorithm): Awaitable<CheckSignature | undefined>
}

/** After a failure the issuer is asked again no sooner than this. */
const longestPause = 1000

/**
 * Keeps the keys of the issuer, which `load` fetches. Of many concurrent callers one fetches; keys that we have outlive an issuer that is
 * down; a new key is found as soon as a token names it, cooldown permitting; a withdrawn key is forgotten within twice
 * `refreshAfter` while the issuer answers.
 */
export function remoteJwkSet (issuer: string, load: () => Promise<JwkSet>, { cooldown, refreshAfter }: RemoteJwkSetTimes): RemoteJwkSet {
  const pause = Math.min(cooldown, longestPause)
  let keys: JwkSet | undefined
  let failure: Error | undefined
  let pending: Promise<void> | undefined
  let fetchedAt = -Infinity
  let attemptedAt = -Infinity
  let missedAt = -Infinity

  async function fetchKeys (): Promise<void> {
    attemptedAt = performance.now()
    try {
      keys = await load()
      fetchedAt = attemptedAt
      failure = undefined
    } catch (cause) {
      failure = new Error(`the keys of ${issuer} could not be fetched`, { cause })
    }
    pending = undefined
  }

  function refresh (): Promise<void> {
    pending ??= fetchKeys()
    return pending
  }

  function mayAsk (isMissing: boolean): boolean {
    if (pending !== undefined) return true
    if (failure !== undefined) return performance.now() - attemptedAt >= pause
    return !isMissing || performance.now() - missedAt >= cooldown
  }

  function settle (kid: string | undefined, algorithm: SignatureAlgorithm): CheckSignature | undefined {
    const found = keys?.find(kid, algorithm)
    if (found === undefined && failure !== undefined) throw failure
    return found
  }

  async function findAnew (kid: string | undefined, algorithm: SignatureAlgorithm): Promise<CheckSignature | undefined> {
    const isFirst = keys === undefined
    await refresh()
    const found = settle(kid, algorithm)
    if (found === undefined || !isFirst) missedAt = attemptedAt
    return found
  }

  return {
    find (kid, algorithm) {
      const found = keys?.find(kid, algorithm)
      const age = performance.now() - fetchedAt
      if (found !== undefined && age < refreshAfter) return found
      if (!mayAsk(found === undefined)) return settle(kid, algorithm)
      if (found === undefined || (age >= 2 * refreshAfter && failure === undefined)) return findAnew(kid, algorithm)
      refresh()
      return found
    }
  }
}
