import type { Awaitable } from './awaitable.ts'

/**
 * A mark says what is revoked, and until when that must be remembered. Marks only add up: no mark undoes another one, so it
 * does not matter in which order, how often or where they arrive. {@link logoutMarks} makes them.
 *
 * Ids are non-empty strings. A number is converted to a string.
 */
export type Mark = TokenMark | SessionMark | SubjectMark

/** What every mark says besides the ids that it is about. */
export interface MarkScope {
  /** The issuer within which the ids are unique. Without it, the mark covers the ids of every issuer. */
  readonly issuer?: string | undefined
  /**
   * Epoch milliseconds: the latest instant at which a credential that the mark covers could still be accepted. A store
   * remembers the mark at least until then, and forgets it afterwards.
   */
  readonly until: number
  /**
   * Set on marks that a store returns. Stores keep ids that are long or have unusual characters as digests: in such a mark,
   * an id that begins with `#` is a digest. Never set it yourself: in other marks `#` is an ordinary character.
   */
  readonly digested?: true | undefined
}

/** Revokes one token. */
export interface TokenMark extends MarkScope {
  /** The `jti`, or the digest of a token without one. */
  readonly tokenId: string
}

/** Revokes everything that belongs to one session. */
export interface SessionMark extends MarkScope {
  readonly sessionId: string
}

/** Revokes everything of a subject that goes back to a login at or before an instant, except for one session. */
export interface SubjectMark extends MarkScope {
  readonly subject: string
  /** The tenant within which the subject is unique. Without it, the mark covers the subject in every tenant. */
  readonly tenant?: string | undefined
  /** Epoch milliseconds: the mark covers what was issued at this instant or before. */
  readonly cutoff: number
  /** The one session that this mark leaves alone. Other marks may still cover that session. */
  readonly except?: string | undefined
}

/**
 * Identifiers of a verified credential. Each one present lets more kinds of marks match, so give everything that is known.
 *
 * Issuer and tenant only keep apart what differs in them: a credential that does not name its issuer is covered by the
 * marks of every issuer, and the same is true of tenants. Leaving one out can revoke too much, never too little.
 *
 * @example
 * ```ts
 * import type { Credential } from 'fastify-logout'
 *
 * const credential: Credential = {
 *   tokenId: '0b9c0e2e', sessionId: 'b2c4', subject: 'alice', issuer: 'https://id.example.com',
 *   issuedAt: Date.now(), loggedInAt: Date.now() - 60_000
 * }
 * ```
 */
export interface Credential {
  readonly tokenId?: string | undefined
  readonly sessionId?: string | undefined
  readonly subject?: string | undefined
  readonly tenant?: string | undefined
  readonly issuer?: string | undefined
  /** Epoch milliseconds. A credential with neither `issuedAt` nor `loggedInAt` is covered by every cutoff of its subject. */
  readonly issuedAt?: number | undefined
  /**
   * When the user logged in, in epoch milliseconds. Cutoffs are then compared with this instant and not with `issuedAt`,
   * so that a token which was refreshed after "log out everywhere" stays revoked.
   */
  readonly loggedInAt?: number | undefined
  /** When the credential expires, in epoch milliseconds. Marks made from it last until then or longer. */
  readonly expiresAt?: number | undefined
}

/** Whether some live mark covers a credential. */
export type Verdict = 'live' | 'revoked'

/**
 * Keeps marks. A rejection means "could not tell".
 *
 * @example
 * ```ts
 * import { logoutMarks, type RevocationStore } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const revocations: RevocationStore = memoryRevocationStore()
 * const credential = { tokenId: '0b9c0e2e', subject: 'alice', issuedAt: Date.now() }
 *
 * const first = await revocations.revoke(...logoutMarks(credential, { lifetime: 3_600_000 }))
 * console.log(first, await revocations.check(credential)) // true 'revoked'
 * ```
 */
export interface RevocationStore {
  /**
   * Adds marks to those that are there, in one round trip. Once it resolves, every `check` that starts afterwards sees them.
   * A mark whose `until` has passed does nothing. Rejects with a `TypeError` for a malformed mark, and adds nothing then.
   *
   * Resolves `true` if one of the marks revokes something that the marks of the same ids, issuer and tenant did not
   * revoke before; a later `until` alone adds nothing. Of many concurrent calls with the same token mark or the same
   * session mark, exactly one resolves `true`.
   */
  revoke (...marks: readonly Mark[]): Awaitable<boolean>

  /**
   * Adds marks as `revoke` does, and says whether they ended this credential: resolves `true` if no mark covered it before
   * and one of these is new, `false` if it was revoked already. This is one round trip where the backend allows it.
   *
   * Of many concurrent calls with the same token mark or the same session mark, exactly one resolves `true`.
   */
  revokeOnce (credential: Credential, ...marks: readonly Mark[]): Awaitable<boolean>

  /** Judges one credential, in one round trip. */
  check (credential: Credential): Awaitable<Verdict>

  /** Resolves `true` for the first caller who claims this key, and `false` for everybody else until the claim ends: one use of a `jti`. */
  claimOnce (key: string, until: number): Awaitable<boolean>
}

/**
 * Reports marks as they become known on this node, wherever they were made.
 *
 * @example
 * ```ts
 * import type { RevocationSource } from 'fastify-logout'
 *
 * export function countMarks (source: RevocationSource): { count: number, stop: () => void } {
 *   const counter = { count: 0, stop: source.onRevoked(() => { counter.count++ }) }
 *   return counter
 * }
 * ```
 */
export interface RevocationSource {
  /**
   * Calls the listener once for each mark that revokes something more than was known. Returns a function that ends this.
   * A listener that throws or rejects keeps nothing from being revoked, and no other listener from being called.
   */
  onRevoked (listener: (mark: Mark) => void): () => void
}

/**
 * A store that a replica in this process can follow. `revocationReplica` does, and makes the feed itself.
 *
 * @example
 * ```ts
 * import { revocationReplica, type FollowableRevocationStore } from 'fastify-logout'
 * import { redisRevocationStore } from 'fastify-logout/revocation-stores/redis'
 * import { Redis } from 'ioredis'
 *
 * const revocations: FollowableRevocationStore = redisRevocationStore(new Redis())
 * const replica = revocationReplica(revocations)
 * ```
 */
export interface FollowableRevocationStore extends RevocationStore {
  /** Makes a feed of this store's marks. Each replica needs a feed of its own. */
  feed (): RevocationFeed
}

/**
 * How a replica follows a store: it calls `next` again and again. `fastify-logout/conformance/revocation-feed` has the rules.
 *
 * @example
 * ```ts
 * import type { FeedPage, RevocationFeed } from 'fastify-logout'
 *
 * export async function firstMarks (feed: RevocationFeed): Promise<FeedPage['marks']> {
 *   try {
 *     const { marks } = await feed.next(undefined, 1000)
 *     return marks
 *   } finally {
 *     feed.close()
 *   }
 * }
 * ```
 */
export interface RevocationFeed {
  /**
   * Resolves marks that were added after this position. Without a position it starts from the beginning, with every live
   * mark. It also starts again when it cannot continue from a position, because the server is another one or has lost data.
   *
   * While there are no new marks, it waits. Once every mark was handed out, it resolves a complete page at least every
   * `timeout` milliseconds. Rejects when the store cannot be reached, or when the feed reads from another server than the
   * store writes to. The caller then closes the feed and calls `next` again, with its last position.
   */
  next (position: string | undefined, timeout: number): Promise<FeedPage>

  /** Closes the connections that the feed opened, whatever their state. The next call of `next` opens new ones. */
  close (): void
}

/** Some marks, and where to go on. */
export interface FeedPage {
  readonly marks: readonly Mark[]
  /** To be passed to the next call of `next`. */
  readonly position: string
  /**
   * Whether every mark that was added before `next` was called has now been handed out. A feed may say so only after it
   * has read what the store wrote since that call.
   */
  readonly complete: boolean
  /** The clock of the store's server in epoch milliseconds, by which marks end. */
  readonly now?: number | undefined
}
