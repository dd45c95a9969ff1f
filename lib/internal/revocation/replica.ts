import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../../awaitable.ts'
import { recovered } from '../async/awaitable.ts'
import { cautiousClock } from '../marks/clock.ts'
import { assertMarks } from '../marks/id.ts'
import { markListeners } from '../marks/listeners.ts'
import { markSet } from '../marks/set.ts'
import { askWithin } from '../plugin/ask.ts'
import { assertFunctions, duration } from '../plugin/options.ts'
import type {
  Credential, FeedPage, FollowableRevocationStore, Mark, RevocationFeed, RevocationSource, RevocationStore, Verdict
} from '../../revocation-store.ts'

/** How {@link revocationReplica} follows its store. */
export interface RevocationReplicaOptions {
  /** How long the replica answers by itself after it was last known to be complete, in milliseconds. @default 2000 */
  readonly maxStaleness?: number | undefined
  /**
   * Called with each failure to follow, and with the error of each listener that throws or rejects. The replica tries
   * again by itself. @default a process warning for the first failure after each success
   */
  readonly onError?: ((error: unknown) => unknown) | undefined
}

/** A {@link RevocationStore} that answers from the memory of this process while it is up to date. */
export interface RevocationReplica extends RevocationStore, RevocationSource {
  /** Begins to follow. Resolves when the replica is complete, or after `maxStaleness` if it is not. It never rejects. */
  start (): Promise<void>
  /** Stops following, and closes the feed's connections. From then on the store is asked. */
  close (): Promise<void>
  /** Milliseconds since the replica was last known to be complete. */
  staleness (): number
  /** How many cutoffs of subjects are remembered, and how many bytes all marks take. */
  size (): { readonly subjects: number, readonly bytes: number }
}

/** A turn of the event loop adds at most so many marks, and no further step once it has taken so many milliseconds. */
const marksOfOneTurn = 500
const marksOfOneStep = 50
const timeOfOneTurn = 1

/** After what share of `maxStaleness` the replica proves again that it is complete. The rest is time for the answer. */
const shareOfStaleness = 0.75
/** The least that one question may wait: a feed that cannot prove anything is not asked all the time. */
const leastShare = 0.05

/**
 * Keeps every live mark of a store in this process's memory, so that a request costs one lookup there and no round trip.
 *
 * A mark that is made on another node counts here within milliseconds. Before `maxStaleness` has passed, the replica proves
 * again that it is complete: the feed must find what the store has just written. Without that proof for longer than
 * `maxStaleness`, because the server is out of reach, was demoted or is another one, what is known to be revoked stays
 * revoked, and the store is asked about everything else.
 *
 * Marks take 21 to 32 bytes for each token or session, and 91 to 136 for each subject. Loading takes time
 * in proportion to their number, about two seconds of processor time for a million, in short steps.
 *
 * @param store A store that can be followed: `redisRevocationStore(redis)`, `postgresRevocationStore(pool)` or
 * `mysqlRevocationStore(pool)`. It is not closed.
 * @throws {TypeError} when the store has no `feed()`, or an option is wrong.
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { revocationReplica } from 'fastify-logout'
 * import { redisRevocationStore } from 'fastify-logout/revocation-stores/redis'
 * import { Redis } from 'ioredis'
 *
 * const app = Fastify()
 * const revocations = revocationReplica(redisRevocationStore(new Redis()), { onError: error => app.log.warn(error) })
 * await revocations.start()
 * app.addHook('onClose', () => revocations.close())
 * ```
 */
export function revocationReplica (store: FollowableRevocationStore, options: RevocationReplicaOptions = {}): RevocationReplica {
  const resolved = resolveOptions(store, options)
  const memory = replicaMemory(resolved.onError)
  const { start, close, staleness } = follower(memory, resolved)

  return {
    start,
    close,
    staleness,

    check (credential: Credential): Awaitable<Verdict> {
      // Marks only add up: what is known to be revoked is revoked, however old the knowledge.
      if (memory.check(credential) === 'revoked') return 'revoked'
      return staleness() <= resolved.maxStaleness ? 'live' : store.check(credential)
    },

    async revoke (...marks) {
      assertMarks(marks)
      const news = await store.revoke(...marks)
      memory.join(marks)
      return news
    },

    async revokeOnce (credential, ...marks) {
      assertMarks(marks)
      const ended = await store.revokeOnce(credential, ...marks)
      memory.join(marks)
      return ended
    },

    claimOnce: (key, until) => store.claimOnce(key, until),
    onRevoked: memory.onRevoked,
    size: () => memory.size()
  }
}

/** Starts and stops following, and knows when the memory was last known to be complete. */
function follower (
  memory: Pick<ReplicaMemory, 'joinPage'>,
  { feed, maxStaleness, onError }: ResolvedOptions
): Pick<RevocationReplica, 'start' | 'close' | 'staleness'> {
  const completeAt = instant(-Infinity)
  const staleness = () => since(completeAt)
  let following: { readonly stop: AbortController, readonly ended: Promise<void> } | undefined

  return {
    async start () {
      if (following !== undefined) return
      const stop = new AbortController()
      const complete = new Promise<void>(resolve => {
        const onPage = async (page: FeedPage, asked: Instant) => {
          await memory.joinPage(page, stop.signal)
          if (!page.complete || stop.signal.aborted) return
          Object.assign(completeAt, asked)
          onError.reset()
          resolve()
        }
        following = { stop, ended: follow({ feed, maxStaleness, staleness, onPage, onError: onError.report, signal: stop.signal }) }
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

    staleness
  }
}

type ReplicaMemory = ReturnType<typeof replicaMemory>
type ResolvedOptions = ReturnType<typeof resolveOptions>

/** The marks in memory, and their listeners. */
function replicaMemory (onError: Reporter) {
  const marks = markSet()
  const listeners = markListeners(onError.report)
  const clock = cautiousClock()
  // A mark has ended when it has by both clocks, this process's and the store's.
  let ahead = 0
  const now = () => Date.now() - ahead

  const join = (added: readonly Mark[]) => {
    const at = Math.min(now(), clock())
    listeners.notify(added.filter(mark => marks.join(mark, at)))
  }
  /** Adds the marks from this place on. Returns up to which one there was time for. */
  const joinInOneTurn = (added: readonly Mark[], from: number) => {
    const begun = performance.now()
    const most = Math.min(added.length, from + marksOfOneTurn)
    let to = from
    do {
      join(added.slice(to, to + marksOfOneStep))
      to += marksOfOneStep
    } while (to < most && performance.now() - begun < timeOfOneTurn)
    return to
  }

  return {
    join,
    async joinPage (page: FeedPage, signal: AbortSignal) {
      ahead = Math.max(0, Date.now() - (page.now ?? now()))
      let from = 0
      do {
        from = joinInOneTurn(page.marks, from)
        await nextTurn()
      } while (from < page.marks.length && !signal.aborted)
    },
    check: (credential: Credential) => marks.check(credential, now()),
    onRevoked: listeners.onRevoked,
    size: () => marks.size()
  }
}

interface Following {
  readonly feed: RevocationFeed
  readonly maxStaleness: number
  readonly staleness: () => number
  readonly onPage: (page: FeedPage, asked: Instant) => Promise<void>
  readonly onError: (error: unknown) => void
  readonly signal: AbortSignal
}

/** Milliseconds. */
const shortestPause = 10
const longestPause = 1000

/** Asks the feed for one page after the other. When the feed fails or is silent, it is closed and asked again after a pause. */
async function follow ({ feed, maxStaleness, staleness, onPage, onError, signal }: Following): Promise<void> {
  const ask = askWithin(maxStaleness + 500, caller)
  let position: string | undefined
  let pause = shortestPause
  // Read through a function: the signal changes while we wait.
  const stopped = () => signal.aborted

  const takePage = async () => {
    const asked = instant(0)
    // A page may prove only what was true when it was asked for, so the question waits less the older the last proof is.
    const timeout = Math.ceil(Math.max(leastShare * maxStaleness, shareOfStaleness * maxStaleness - staleness()))
    const page = await ask('feed.next', () => feed.next(position, timeout))
    if (stopped()) return
    await onPage(page, asked)
    position = page.position
    pause = shortestPause
  }
  const recover = async (error: unknown) => {
    if (stopped()) return
    onError(error)
    feed.close()
    await sleep(pause * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
    pause = Math.min(2 * pause, longestPause)
  }
  while (!stopped()) await takePage().catch(recover)
}

/** A moment by two clocks: the steady one stops while the machine sleeps, the wall clock may be set back. */
interface Instant { readonly wall: number, readonly steady: number }

function instant (offset: number): Instant {
  return { wall: Date.now() + offset, steady: performance.now() + offset }
}

function since ({ wall, steady }: Instant): number {
  return Math.max(Date.now() - wall, performance.now() - steady)
}

const caller = 'revocationReplica'

function resolveOptions (store: FollowableRevocationStore, options: RevocationReplicaOptions) {
  if (!(['check', 'revoke', 'revokeOnce', 'feed'] as const).every(name => typeof store?.[name] === 'function')) {
    throw new TypeError(`${caller}: pass a revocation store that has feed(), for example redisRevocationStore(redis)`)
  }
  assertFunctions(options, caller, ['onError'])
  const maxStaleness = duration(options.maxStaleness, 2000, caller, 'maxStaleness')
  return { feed: store.feed(), maxStaleness, onError: reporter(options.onError) }
}

/** Where failures are reported. */
interface Reporter {
  report (error: unknown): void
  /** It works again. */
  reset (): void
}

function reporter (onError: RevocationReplicaOptions['onError']): Reporter {
  if (onError !== undefined) return { report: error => { recovered(() => onError(error), warn) }, reset () {} }
  let isWarned = false
  return {
    report (error) {
      if (!isWarned) warn(error)
      isWarned = true
    },
    reset () { isWarned = false }
  }
}

function warn (error: unknown): void {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? `${message}: ${cause.message}` : message
  const type = { type: 'FastifyLogoutWarning', code: 'FASTIFY_LOGOUT_REPLICA' }
  process.emitWarning(`${caller}: ${why}. While it is not up to date, the store is asked.`, type)
}
