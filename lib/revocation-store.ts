import type { Awaitable } from './awaitable.ts'

/**
 * Marks say what is dead, and until when that must be remembered. They only ever join: no mark takes another one back,
 * so the order, the repetition and the place of their arrival change no verdict.
 *
 * `until` is epoch milliseconds: the latest instant at which a credential that the mark kills could still be accepted,
 * {@link logoutMarks} computes it. A store remembers the mark at least until then, and forgets it afterwards.
 */
export type Mark = TokenMark | SessionMark | SubjectMark

/** This one token is dead. */
export interface TokenMark {
  /** The `jti`, or the digest of a token without one. Unique within the store: a host with several issuers puts the issuer into it. */
  readonly tokenId: string
  readonly until: number
}

/** Everything that belongs to this session is dead. */
export interface SessionMark {
  readonly sessionId: string
  readonly until: number
}

/** Everything of this subject that was issued at or before an instant is dead, but for one session. */
export interface SubjectMark {
  readonly subject: string
  /** The tenant (or issuer) within which the subject is unique. Without it, the mark covers the subject in every tenant. */
  readonly tenant?: string | undefined
  /** Epoch milliseconds: what was issued at this instant or before is dead. */
  readonly cutoff: number
  /** The one session that this mark leaves alone. Another mark without it, or with another, does not. */
  readonly except?: string | undefined
  readonly until: number
}

/** What a verified credential says of itself. The more of it is there, the more marks can reach it. */
export interface Credential {
  readonly tokenId?: string | undefined
  readonly sessionId?: string | undefined
  readonly subject?: string | undefined
  readonly tenant?: string | undefined
  /** Epoch milliseconds. A credential that does not say when it was issued is dead by every cutoff of its subject. */
  readonly issuedAt?: number | undefined
}

/** Whether some live mark covers a credential. */
export type Verdict = 'live' | 'revoked'

/** Where marks live. A rejection means "could not tell". */
export interface RevocationStore {
  /**
   * Joins marks to those that are there, in one round trip. Once it resolves, every `check` that starts afterwards sees them.
   * A mark whose `until` has passed does nothing. Rejects with a `TypeError` when a mark is not well-formed.
   */
  revoke (...marks: readonly Mark[]): Awaitable<void>

  /** Judges one credential, in one round trip. */
  check (facts: Credential): Awaitable<Verdict>

  /** `true` for the first who claims this key, `false` for everybody else until the claim ends: one use of a `jti`. */
  claimOnce (key: string, until: number): Awaitable<boolean>
}

/** Tells of marks as they become known on this node, wherever they were made. */
export interface RevocationSource {
  /** Calls the listener once for each mark that adds something to what was known. Answers with the way to stop. */
  onRevoked (listener: (mark: Mark) => void): () => void
}

/** How a local replica follows a store: one question, asked again and again. */
export interface RevocationFeed {
  /**
   * The marks that were joined behind this position. Without a position, or with one that the feed can no longer connect
   * to, it begins anew: every live mark follows, and `complete` is false until the last of them was handed out.
   * When there is nothing new, it waits for news for at most `timeout` milliseconds. Rejects when the store cannot be
   * reached; who asks then closes the feed and asks again.
   */
  next (position: string | undefined, timeout: number): Promise<FeedPage>

  /** Gives up the connection of its own that the feed opened, whatever its state. The next question opens another. */
  close (): void
}

/** Some marks, and where to go on. */
export interface FeedPage {
  readonly marks: readonly Mark[]
  readonly position: string
  /** Whether everything that was joined before the question is now handed out. */
  readonly complete: boolean
}
