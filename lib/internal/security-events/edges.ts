import type { FastifyRequest } from 'fastify'
import type { LogoutEvent } from '../../logout-event.ts'
import { inParallel } from '../async/in-parallel.ts'
import type { NotifyLogout } from '../plugin/logout-notice.ts'

/** The logouts that one message caused, until the host is notified of them. */
export interface Edges {
  /** Keeps a logout for `notify`. One that comes later, because a store was late, is reported at once. */
  add (event: LogoutEvent): Promise<void>
  /** Notifies the host of the logouts so far. */
  notify (): Promise<void>
}

const parallel = 16

/** Collects the logouts of a message: the host is notified after everything else, also when a later step failed. */
export function collectEdges<Request extends FastifyRequest | undefined> (notify: NotifyLogout<LogoutEvent, Request>,
  request: Request): Edges {
  const events: LogoutEvent[] = []
  let isOpen = true
  return {
    async add (event) {
      if (isOpen) events.push(event)
      else await notify(event, { request })
    },
    async notify () {
      isOpen = false
      await inParallel(events, parallel, async event => notify(event, { request }))
    }
  }
}
