import type { Awaitable } from './awaitable.ts'

/** A login at an identity provider: what its verified ID Token said. */
export interface ProviderLogin {
  /** `iss`, exactly as in the token. */
  readonly issuer: string
  /** `sub`: the user at the provider. */
  readonly subject: string
  /** `sid`: the session at the provider, if the token names one. */
  readonly sid?: string | undefined
  /** `iat` in whole epoch milliseconds, by the clock of the provider: `Math.floor(claims.iat * 1000)`. */
  readonly issuedAt: number
}

/** A session of the host that a login opened. Both ids are of the host, as `SessionStore.logOutById` takes them. */
export interface BoundSession {
  /** The public id, never the secret. */
  readonly sessionId: string
  /** The user at the host. */
  readonly subject: string
}

/**
 * A logout at an identity provider. It covers the logins of this issuer whose `issuedAt` is at or before the cutoff, and
 *
 * - with a `sid` alone, that have this `sid`,
 * - with a `subject` alone, that have this subject,
 * - with both, that have both, and those of the subject without any `sid`: they cannot be told apart.
 */
export type ProviderLogout = {
  readonly issuer: string
  /** In whole epoch milliseconds, by the clock of the provider. */
  readonly cutoff: number
  /** The logout is remembered until this instant, in whole epoch milliseconds: when the last session that it covers has expired. */
  readonly until: number
} & ({ readonly sid: string, readonly subject?: string | undefined } | { readonly subject: string, readonly sid?: undefined })

/**
 * Finds the host's sessions that a logout at an identity provider must end. The host binds each login; `backChannelLogout`
 * and `frontChannelLogout` ask. The session store stays the truth: the index ends nothing itself.
 *
 * Everything is a comparison of times, so the repetition and the order of calls change nothing: a logout that arrives before
 * its login is bound is found by `bind`, and a new login in the same provider session needs no clean-up.
 *
 * A rejection means "could not tell". Both methods can be repeated. Ids of the provider are kept as digests.
 *
 * A login does four things in this order: it verifies the ID Token, creates the session, binds it, and sets the cookie only
 * if `bind` resolved `live`. Otherwise it logs the new session out and responds with a 401; when `bind` rejects, with a 503.
 *
 * @see `providerSessionIndexRules` of `fastify-logout/conformance/provider-session-index`: these promises as tests.
 * @example
 * ```ts
 * import { randomBytes, randomUUID } from 'node:crypto'
 * import type { ProviderSessionIndex, SessionStore } from 'fastify-logout'
 *
 * interface IdTokenClaims { readonly iss: string, readonly sub: string, readonly sid?: string, readonly iat: number }
 *
 * // Returns the value of the session cookie, or undefined for a login that the provider has ended already.
 * export async function logIn (claims: IdTokenClaims, sessions: SessionStore, index: ProviderSessionIndex) {
 *   const [token, id, now] = [randomBytes(32).toString('base64url'), randomUUID(), Date.now()]
 *   const until = now + 8 * 3_600_000
 *   await sessions.create(token, { id, subject: claims.sub, createdAt: now, expiresAt: until, keepUntil: until })
 *   const login = { issuer: claims.iss, subject: claims.sub, sid: claims.sid, issuedAt: Math.floor(claims.iat * 1000) }
 *   if (await index.bind(login, { sessionId: id, subject: claims.sub }, until) === 'live') return token
 *   await sessions.logOut(token)
 *   return undefined
 * }
 * ```
 */
export interface ProviderSessionIndex {
  /**
   * Remembers until `until` (epoch milliseconds; when the session expires) that this login opened this session. Resolves
   * `revoked` if a remembered logout covers the login: then hand out no session. A session may be bound to several logins.
   * Rejects with a `TypeError` for an empty id or a time that is not whole milliseconds, and remembers nothing then.
   */
  bind (login: ProviderLogin, session: BoundSession, until: number): Awaitable<'live' | 'revoked'>

  /**
   * Remembers the logout, and resolves every bound session that it covers, each once, those of earlier calls too. Logouts with
   * the same issuer, `sid` and subject join: the latest cutoff and the latest `until` count.
   */
  logOut (logout: ProviderLogout): Awaitable<readonly BoundSession[]>
}
