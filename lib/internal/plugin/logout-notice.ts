import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { aboutRequest, publish, type LogoutSummary } from './diagnostics.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import type { HostSession } from '../../session-source.ts'
import type { Ask } from './ask.ts'

/** The request that asked for a logout. A reply will do. */
export interface OfRequest<Request extends FastifyRequest | undefined = FastifyRequest> {
  readonly request: Request
}

/** Tells the host and the diagnostics channel of a logout. Never rejects: when the host fails, it is logged. */
export type NotifyLogout<Event, Request extends FastifyRequest | undefined = FastifyRequest> = (event: Event, of: OfRequest<Request>) => Promise<void>

/** Makes the {@link NotifyLogout} of a plugin. */
export function logoutNotice<Event, Request extends FastifyRequest | undefined = FastifyRequest> (
  caller: string,
  ask: Ask,
  onLogout: ((event: Event, request: Request) => Awaitable<unknown>) | undefined,
  summaryOf: (event: Event) => LogoutSummary
): NotifyLogout<Event, Request> {
  return async (event, { request }) => {
    publish('fastify-logout:logout', () => ({ ...aboutRequest(caller, { request }), ...summaryOf(event) }))
    if (onLogout === undefined) return
    try {
      await ask('onLogout', () => onLogout(event, request))
    } catch (error) {
      if (request === undefined) process.emitWarning(error instanceof Error ? error : String(error))
      else request.log.error({ err: error, event: 'logout.hook-failed' }, 'onLogout failed after a logout')
    }
  }
}

/** The summary of a logout of sessions. */
export function sessionSummary (event: LogoutEvent<HostSession>): LogoutSummary {
  if (event.scope !== 'session') return { scope: event.scope, subject: event.subject, tenant: event.tenant, sessionId: event.except }
  const { id, subject, tenant } = event.session
  return { scope: 'session', subject: String(subject), tenant, sessionId: String(id) }
}
