import type { FastifyRequest } from 'fastify'
import type { Awaitable } from './awaitable.ts'
import type { Session } from './session-store.ts'

/** What was logged out: one session, every other session of a subject, or all of them. */
export type LogoutEvent =
  | { readonly scope: 'session', readonly session: Session }
  | { readonly scope: 'others' | 'all', readonly subject: string, readonly except?: string | undefined, readonly count?: number | undefined }

/**
 * Told of a logout after the store said yes, once, on the edge from active to logged out. Awaited; its failure is logged
 * and changes no answer.
 */
export type OnLogout = (event: LogoutEvent, request: FastifyRequest) => Awaitable<unknown>
