import type { Awaitable } from '../../awaitable.ts'
import type { Credential, RevocationStore } from '../../revocation-store.ts'
import { tokenDigest } from '../../token-digest.ts'

/** What `protectSessionStore` knows about a store that it returned. A session source reads it by {@link protectionOf}. */
export interface SessionProtection {
  /** Where the marks are. */
  readonly revocations: Pick<RevocationStore, 'check' | 'revoke' | 'revokeOnce'>

  /**
   * How long a mark must last, in milliseconds: the longest life of a session after it was last saved, plus an hour for
   * requests that are still running.
   */
  readonly lifetime: number

  /**
   * The credential of a session as the host's store holds it. Its session id is {@link sessionMarkId}.
   *
   * @throws {TypeError} when the host's option `credential` throws or returns something else than an object or nothing
   */
  credentialOf (sessionId: string, session: object): Credential

  /**
   * Removes the data of a revoked session from the host's store. Rejects when the store fails, or takes longer than a
   * second. The session stays revoked in either case.
   */
  remove (sessionId: string): Awaitable<void>
}

/** Registered for the whole process: a host may have two copies of this package. */
const key = Symbol.for('fastify-logout/session-protection')

/** Attaches what `protectSessionStore` knows to the store that it returns. */
export function attachProtection (store: object, protection: SessionProtection): void {
  Object.defineProperty(store, key, { value: Object.freeze(protection) })
}

/** What `protectSessionStore` knows about this store, or `undefined` for a store that it did not return. */
export function protectionOf (store: unknown): SessionProtection | undefined {
  return typeof store === 'object' && store !== null && key in store ? store[key] as SessionProtection : undefined
}

/** The public id of a session, as marks hold it. The store's own id opens the session, so only its digest is shown. */
export function sessionMarkId (sessionId: string): string {
  return tokenDigest(sessionId)
}
