import type { FastifyRequest } from 'fastify'
import type { Awaitable } from './awaitable.ts'
import type { Session } from './session-store.ts'

/** What was logged out: one session, every other session of a subject, or all of them. */
export type LogoutEvent<S = Session> =
  | { readonly scope: 'session', readonly session: S }
  | SubjectLogoutEvent

/** A logout of many sessions of one subject. */
export interface SubjectLogoutEvent {
  readonly scope: 'others' | 'all'
  readonly subject: string
  /** The tenant of the subject, if the host's sessions have one. */
  readonly tenant?: string | undefined
  /** The public id of the session that was left alone. */
  readonly except?: string | undefined
  /** How many sessions were ended, if the store counted them. */
  readonly count?: number | undefined
}

/**
 * Called once when the store has confirmed that live sessions are now logged out, and awaited. Its failure is logged and does
 * not change the response.
 *
 * @example
 * ```ts
 * import type { OnLogout } from 'fastify-logout'
 *
 * export const onLogout: OnLogout = (event, request) => {
 *   const subject = event.scope === 'session' ? event.session.subject : event.subject
 *   request.log.info({ scope: event.scope, subject }, 'logged out')
 * }
 * ```
 */
export type OnLogout = (event: LogoutEvent, request: FastifyRequest) => Awaitable<unknown>
