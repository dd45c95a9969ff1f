import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import type { BoundSession } from '../../provider-session-index.ts'
import type { HostSession, SessionsById } from '../../session-source.ts'
import { inParallel } from '../async/in-parallel.ts'
import type { Ask } from '../plugin/ask.ts'
import type { NotifyLogout } from '../plugin/logout-notice.ts'

/** What {@link sessionEnder} needs. */
export interface SessionEnderOptions<S extends HostSession> {
  readonly ask: Ask
  /** How many sessions are ended at once. */
  readonly parallel: number
  readonly notify: NotifyLogout<LogoutEvent<S>>
}

/**
 * Ends sessions, and then does what follows. Rejects with an `Outage` if one of them could not be ended, or if all of them
 * take longer than the timeout: then the work goes on, and what follows is done when it has succeeded.
 */
export type EndSessions = (
  sessions: readonly BoundSession[], request: FastifyRequest, finish: () => Awaitable<unknown>
) => Promise<void>

/** Makes the function that ends sessions. The host is notified of each session that was live, also where others fail. */
export function sessionEnder<S extends HostSession> (
  sessions: SessionsById<S>, { ask, parallel, notify }: SessionEnderOptions<S>
): EndSessions {
  const end = async ({ sessionId, subject }: BoundSession, request: FastifyRequest): Promise<void> => {
    await ask('sessions.logOutById', () => sessions.logOutById({ id: sessionId, subject }), async before => {
      if (wasLive(before)) await notify({ scope: 'session', session: before }, { request })
    })
  }

  /** Resolves to the outages, which are reported already. */
  const endEach = async (given: readonly BoundSession[], request: FastifyRequest): Promise<unknown[]> => {
    const outages = await inParallel(given, parallel, session => end(session, request).then(() => [], (outage: unknown) => [outage]))
    return outages.flat()
  }

  return async (given, request, finish) => {
    await ask('sessions', () => endEach(given, request), async ([outage]) => {
      if (outage !== undefined) throw outage
      await finish()
    })
  }
}

function wasLive<S extends HostSession> (before: S | undefined | null): before is S {
  const { status = 'active', expiresAt = Infinity } = Object(before) as { readonly status?: unknown, readonly expiresAt?: unknown }
  return typeof before === 'object' && before !== null && status === 'active' && Number(expiresAt) > Date.now()
}
