import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../../awaitable.ts'
import type { JwkSet } from './jwk-set.ts'
import { fetchAllowance, keySource, type LookUp } from './key-source.ts'

/** When a {@link RemoteJwkSet} is fetched again. In milliseconds. */
export interface RemoteJwkSetTimes {
  /** Minimum time between fetches caused by unknown keys, on average. */
  readonly cooldown: number
  /** How many fetches caused by unknown keys may follow on each other without a cooldown between them. */
  readonly allowedInARow: number
  /** Keys older than this are fetched again. */
  readonly refreshAfter: number
  /** How far the clock of the issuer may differ from ours, beyond a minute. */
  readonly clockTolerance: number
}

/** The keys of one issuer, fetched when they are needed. */
export interface RemoteJwkSet {
  /**
   * Returns what `lookUp` finds, without a promise if it is in the keys at hand. `undefined` means that the issuer has no
   * such key: it was asked after the token came, or more than a minute after the token was issued. Throws or rejects when
   * that is unknown, because the issuer does not answer, or may not be asked again yet.
   *
   * @param issuedAt when the token was issued, as the token itself says, in epoch milliseconds
   */
  find<Found> (lookUp: LookUp<Found>, issuedAt: number | undefined): Awaitable<Found | undefined>
}

interface Question<Found> {
  readonly lookUp: LookUp<Found>
  readonly issuedAt: number | undefined
  /** How many fetches had begun when the token came. */
  readonly begunBefore: number
}

/** After a failure the issuer is asked again no sooner than this. */
const longestPause = 1000
/** How long a caller waits for a refresh while there are keys that could serve. */
const longestWait = 1000
const usualClockDifference = 60_000

/**
 * Keeps the keys of an issuer, which `load` fetches. Concurrent callers share a fetch.
 *
 * Keys at hand serve while the issuer is down or slow, and a withdrawn key is forgotten within twice `refreshAfter` while
 * it answers. A key that is not at hand is fetched when a token names it. Tokens with forged key ids cause `allowedInARow`
 * fetches, and then one for each `cooldown`. Nothing is remembered of them.
 */
export function remoteJwkSet (issuer: string, load: () => Promise<JwkSet>, times: RemoteJwkSetTimes): RemoteJwkSet {
  const { cooldown, allowedInARow, refreshAfter, clockTolerance } = times
  const source = keySource(issuer, load, Math.min(cooldown, longestPause))
  const allowance = fetchAllowance(allowedInARow, cooldown)

  const isOlderThanKeys = (issuedAt = Infinity) => issuedAt + usualClockDifference + clockTolerance < source.loadedAt()

  async function findAnew<Found> ({ lookUp, issuedAt, begunBefore }: Question<Found>): Promise<Found | undefined> {
    let answered
    do {
      const isCharged = !source.isFetching() && !isOlderThanKeys(issuedAt)
      if (isCharged && source.isLoaded() && !allowance.isLeft()) {
        throw new Error(`the keys of ${issuer} may not be fetched again before the cooldown is over`)
      }
      answered = await source.fetch()
      const found = source.find(lookUp)
      if (found !== undefined) return found
      source.assertFetched()
      if (isCharged) allowance.use()
      // A fetch that began before the token came may have been answered before its key was published.
    } while (answered <= begunBefore && !isOlderThanKeys(issuedAt))
    return undefined
  }

  function findAtHand<Found> (question: Question<Found>): Awaitable<Found | undefined> {
    const found = source.find(question.lookUp)
    const isAnswered = found !== undefined || (isOlderThanKeys(question.issuedAt) && source.age() < cooldown)
    return isAnswered ? found : findAnew(question)
  }

  return {
    find (lookUp, issuedAt) {
      const question = { lookUp, issuedAt, begunBefore: source.begun() }
      if (!source.isLoaded() || source.age() < refreshAfter) return findAtHand(question)
      const refreshed = source.fetch()
      if (source.age() < 2 * refreshAfter || source.hasFailed()) return findAtHand(question)
      return briefly(refreshed).then(() => findAtHand(question))
    }
  }
}

async function briefly (work: Promise<unknown>): Promise<void> {
  const done = new AbortController()
  await Promise.race([work, sleep(longestWait, undefined, { signal: done.signal }).catch(() => {})])
  done.abort()
}
