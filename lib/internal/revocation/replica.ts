import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../../awaitable.ts'
import { cautiousClock } from '../marks/clock.ts'
import { assertMarks } from '../marks/id.ts'
import { markListeners } from '../marks/listeners.ts'
import { markSet } from '../marks/set.ts'
import { assertFunctions, assertOption, duration } from '../plugin/options.ts'
import { askWithin } from '../plugin/ask.ts'
import type { Credential, FeedPage, Mark, RevocationFeed, RevocationSource, RevocationStore, Verdict } from '../../revocation-store.ts'

/** What {@link revocationReplica} follows, and for how long it may answer by itself. `store` and `feed` are required. */
export interface RevocationReplicaOptions {
  /** The store that is followed: asked when the replica is behind, and told of every mark made here. */
  readonly store: RevocationStore
  /** The store's feed: `redisRevocationFeed(redis)`, `postgresRevocationFeed(pool)`. */
  readonly feed: RevocationFeed
  /** How long the replica answers by itself after it was last known to be complete, in milliseconds. @default 2000 */
  readonly maxStaleness?: number | undefined
  /** Told of each failure to follow, for the log, and of each listener that throws. The replica tries again by itself. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** A {@link RevocationStore} that answers out of this process's memory as long as it is up to date. */
export interface RevocationReplica extends RevocationStore, RevocationSource {
  /** Begins to follow. Resolves when the replica is complete, or after `maxStaleness` without being so; it never rejects. */
  start (): Promise<void>
  /** Ceases to follow, and gives up the feed's connection. From then on the store answers. */
  close (): Promise<void>
  /** Milliseconds since the replica was last known to be complete. */
  staleness (): number
  /** How many cutoffs of subjects are remembered, and how many bytes all marks take. */
  size (): { readonly subjects: number, readonly bytes: number }
}

/**
 * Keeps every live mark of a store in this process's memory, so that a request costs one lookup there and no round trip.
 *
 * A mark made on another node kills here within milliseconds while the feed is up. When the feed is silent for longer
 * than `maxStaleness`, what is known to be revoked stays revoked, and about everything else the store is asked. Marks
 * take 21 to 32 bytes for each token or session.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function revocationReplica (options: RevocationReplicaOptions): RevocationReplica {
  const { store, feed, maxStaleness, onError } = resolveOptions(options)
  const marks = markSet()
  const clock = cautiousClock()
  const listeners = markListeners(onError)
  const completeAt = instant(-Infinity)
  let following: { readonly stop: AbortController, readonly ended: Promise<void> } | undefined

  const join = (added: readonly Mark[]) => {
    const now = clock()
    listeners.notify(added.filter(mark => marks.join(mark, now)))
  }

  return {
    async start () {
      if (following !== undefined) return
      const stop = new AbortController()
      const complete = new Promise<void>(resolve => {
        const onPage = (page: FeedPage, asked: Instant) => {
          join(page.marks)
          if (!page.complete) return
          Object.assign(completeAt, asked)
          resolve()
        }
        following = { stop, ended: follow({ feed, timeout: Math.ceil(maxStaleness / 4), onPage, onError, signal: stop.signal }) }
      })
      await Promise.race([complete, sleep(maxStaleness, undefined, { signal: stop.signal }).catch(() => {})])
    },

    async close () {
      const closed = following
      following = undefined
      Object.assign(completeAt, instant(-Infinity))
      closed?.stop.abort()
      feed.close()
      await closed?.ended
    },

    check (credential: Credential): Awaitable<Verdict> {
      // Marks only join: what is known to be dead is dead, however old the knowledge.
      if (marks.check(credential, Date.now()) === 'revoked') return 'revoked'
      return since(completeAt) <= maxStaleness ? 'live' : store.check(credential)
    },

    async revoke (...added) {
      assertMarks(added)
      const news = await store.revoke(...added)
      join(added)
      return news
    },

    claimOnce: (key, until) => store.claimOnce(key, until),

    onRevoked: listeners.onRevoked,

    staleness: () => since(completeAt),
    size: () => marks.size()
  }
}

interface Following {
  readonly feed: RevocationFeed
  readonly timeout: number
  readonly onPage: (page: FeedPage, asked: Instant) => void
  readonly onError: (error: unknown) => void
  readonly signal: AbortSignal
}

/** Asks the feed for the next page for ever; a feed that fails or is silent is opened anew. */
async function follow ({ feed, timeout, onPage, onError, signal }: Following): Promise<void> {
  let position: string | undefined
  let wait = 1
  let pause = 10
  // Read through a function: the signal changes while we wait.
  const stopped = () => signal.aborted

  while (!stopped()) {
    const asked = instant(0)
    try {
      const page = await askWithin(2 * timeout + 500, 'revocationReplica')('feed.next', () => feed.next(position, wait))
      if (stopped()) return
      onPage(page, asked)
      position = page.position
      wait = page.complete ? timeout : 1
      pause = 10
    } catch (error) {
      if (stopped()) return
      onError(error)
      feed.close()
      await sleep(pause * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
      pause = Math.min(2 * pause, 1000)
    }
  }
}

/** A moment on two clocks: one stands still while a machine sleeps, the other one may be set back. */
interface Instant { readonly wall: number, readonly steady: number }

function instant (offset: number): Instant {
  return { wall: Date.now() + offset, steady: performance.now() + offset }
}

function since ({ wall, steady }: Instant): number {
  return Math.max(Date.now() - wall, performance.now() - steady)
}

function resolveOptions (options: RevocationReplicaOptions) {
  const plugin = 'revocationReplica'
  const { store, feed } = options
  assertOption(typeof store?.check === 'function' && typeof store.revoke === 'function', plugin, 'store', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertOption(typeof feed?.next === 'function' && typeof feed.close === 'function', plugin, 'feed', 'is missing: pass the feed of the store, redisRevocationFeed(redis) for instance')
  assertFunctions(options, plugin, ['onError'])
  return { store, feed, maxStaleness: duration(options.maxStaleness, 2000, plugin, 'maxStaleness'), onError: options.onError ?? (() => {}) }
}
