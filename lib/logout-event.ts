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
 * Called after the store said yes, once, on the edge from active to logged out. Awaited. Its failure is logged and does
 * not change the response.
 */
export type OnLogout = (event: LogoutEvent, request: FastifyRequest) => Awaitable<unknown>
