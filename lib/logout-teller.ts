import type { FastifyRequest } from 'fastify'
import type { LogoutEvent, OnLogout } from './logout-event.ts'
import type { Ask } from './outage.ts'

/** Tells the host of a logout, and logs it when the host fails. */
export function logoutTeller (ask: Ask, onLogout: OnLogout = () => {}): (event: LogoutEvent, request: FastifyRequest) => Promise<void> {
  return async (event, request) => {
    try {
      await ask('onLogout', () => onLogout(event, request))
    } catch (error) {
      request.log.error({ err: error, event: 'logout.hook-failed' }, 'onLogout failed after a logout')
    }
  }
}
