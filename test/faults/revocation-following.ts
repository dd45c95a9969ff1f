import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { revocationReplica, type RevocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { FollowableRevocationStore, Mark } from '../../lib/revocation-store.ts'

export const until = Date.now() + 3_600_000
export const maxStaleness = 1000

/** So many marks of tokens. */
export function tokens (name: string, count: number): Mark[] {
  return Array.from({ length: count }, (_, index) => ({ tokenId: `${name}-${index}`, until }))
}

/** A replica of which a test learns what it says by itself, and what it leaves to the store. */
export interface Watched {
  readonly replica: RevocationReplica
  readonly errors: unknown[]
  /** `asked` where it is not up to date, and asks the store. */
  judge (mark: Mark): 'revoked' | 'live' | 'asked'
  /** Those of the marks that it calls live by itself. */
  missing (marks: readonly Mark[]): Mark[]
  /** Waits until it is up to date and knows all of the marks. */
  knows (marks: readonly Mark[], what: string): Promise<void>
}

/** Starts a replica. `onPage` is called between any two pages of its feed. */
export async function watch (t: Test, store: FollowableRevocationStore, onPage: (page: number) => unknown = () => {}): Promise<Watched> {
  const errors: unknown[] = []
  const followed: FollowableRevocationStore = { ...store, check: () => 'asked' as 'live', feed: () => feedOf(store, onPage) }
  const replica = revocationReplica(followed, { maxStaleness, onError: error => errors.push(error) })
  t.teardown(() => replica.close())
  await replica.start()
  const watched: Watched = {
    replica,
    errors,
    judge: mark => replica.check(mark as { tokenId: string }) as 'revoked' | 'live' | 'asked',
    missing: marks => marks.filter(mark => watched.judge(mark) === 'live'),
    async knows (marks, what) {
      const end = Date.now() + 30_000
      for (;;) {
        const unknown = marks.filter(mark => watched.judge(mark) !== 'revoked')
        if (unknown.length === 0 && replica.staleness() < maxStaleness) return
        if (Date.now() > end) {
          const state = `staleness ${replica.staleness()}, ${String(errors.at(-1))}: ${String((errors.at(-1) as Error | undefined)?.cause)}`
          throw new Error(`${what}: ${unknown.length} of ${marks.length} marks are unknown, ${state}`)
        }
        await sleep(10)
      }
    }
  }
  return watched
}

function feedOf (store: FollowableRevocationStore, onPage: (page: number) => unknown) {
  const feed = store.feed()
  let pages = 0
  return {
    async next (position: string | undefined, timeout: number) {
      await onPage(pages++)
      return feed.next(position, timeout)
    },
    close: () => feed.close()
  }
}

/**
 * Makes marks, one after the other, until it is stopped, and keeps them with the instants at which they were made. What a
 * server did not take is tried again.
 */
export function makeMarks (store: Pick<FollowableRevocationStore, 'revoke'>, name: string) {
  const made: Array<{ readonly mark: Mark, readonly at: number }> = []
  const stop = new AbortController()
  const ended = (async () => {
    for (let index = 0; !stop.signal.aborted; index++) {
      const mark = { tokenId: `${name}-${index}`, until }
      try {
        await store.revoke(mark)
        made.push({ mark, at: performance.now() })
      } catch {
        await sleep(5)
      }
      await sleep(2)
    }
  })()
  return {
    marks: () => made.map(({ mark }) => mark),
    /** The marks that a replica must not call live any more, because they are older than it may be behind. */
    old: () => made.filter(({ at }) => performance.now() - at > maxStaleness).map(({ mark }) => mark),
    async stop () {
      stop.abort()
      await ended
      return made.map(({ mark }) => mark)
    }
  }
}
