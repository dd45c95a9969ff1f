import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import type { HostSession } from '../../session-source.ts'
import type { Ask } from './ask.ts'
import { aboutRequest, publish, type LogoutSummary } from './diagnostics.ts'

/** The request that asked for a logout. A reply will do. */
export interface OfRequest<Request extends FastifyRequest | undefined = FastifyRequest> {
  readonly request: Request
}

/** Notifies the host and the diagnostics channel of a logout. Never fails: a failure of the host is logged. */
export type NotifyLogout<Event, Request extends FastifyRequest | undefined = FastifyRequest> =
  (event: Event, of: OfRequest<Request>) => Awaitable<void>

/** How {@link logoutNotice} notifies of one kind of event. */
export interface LogoutNoticeOptions<Event, Request extends FastifyRequest | undefined = FastifyRequest> {
  readonly onLogout: ((event: Event, request: Request) => Awaitable<unknown>) | undefined
  /** What the diagnostics channel gets. */
  readonly summaryOf: (event: Event) => LogoutSummary
}

/** Makes the {@link NotifyLogout} of a plugin. */
export function logoutNotice<Event, Request extends FastifyRequest | undefined = FastifyRequest> (
  caller: string, ask: Ask, { onLogout, summaryOf }: LogoutNoticeOptions<Event, Request>
): NotifyLogout<Event, Request> {
  const notifyHost = async (event: Event, request: Request): Promise<void> => {
    try {
      await ask('onLogout', () => onLogout?.(event, request))
    } catch (error) {
      if (request === undefined) process.emitWarning(error as Error)
      else request.log.error({ err: error, event: 'logout.hook-failed' }, 'onLogout failed after a logout')
    }
  }

  return (event, { request }) => {
    publish('fastify-logout:logout', () => ({ ...aboutRequest(caller, { request }), ...summaryOf(event) }))
    return onLogout === undefined ? undefined : notifyHost(event, request)
  }
}

/** The summary of a logout of sessions. */
export function sessionSummary (event: LogoutEvent<HostSession>): LogoutSummary {
  if (event.scope !== 'session') return { scope: event.scope, subject: event.subject, tenant: event.tenant, sessionId: event.except }
  const { id, subject, tenant } = event.session
  return { scope: 'session', subject: String(subject), tenant, sessionId: String(id) }
}
