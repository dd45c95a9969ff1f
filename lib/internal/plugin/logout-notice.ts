import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { aboutRequest, publish, type LogoutSummary } from './diagnostics.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import type { Ask } from './ask.ts'

/** Tells the host and the diagnostics channel of a logout. Never rejects: when the host fails, it is logged. */
export type NotifyLogout<Event> = (event: Event, reply: FastifyReply) => Promise<void>

/** Makes the teller of a plugin. */
export function logoutNotice<Event> (
  caller: string,
  ask: Ask,
  onLogout: ((event: Event, request: FastifyRequest) => Awaitable<unknown>) | undefined,
  summaryOf: (event: Event) => LogoutSummary
): NotifyLogout<Event> {
  return async (event, reply) => {
    publish('fastify-logout:logout', () => ({ ...aboutRequest(caller, reply), ...summaryOf(event) }))
    if (onLogout === undefined) return
    try {
      await ask('onLogout', () => onLogout(event, reply.request))
    } catch (error) {
      reply.log.error({ err: error, event: 'logout.hook-failed' }, 'onLogout failed after a logout')
    }
  }
}

/** The summary of a logout of sessions. */
export function sessionSummary (event: LogoutEvent): LogoutSummary {
  return event.scope === 'session'
    ? { scope: 'session', subject: event.session.subject, sessionId: event.session.id }
    : { scope: event.scope, subject: event.subject, sessionId: event.except }
}
