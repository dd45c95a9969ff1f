import type { Awaitable } from '../../awaitable.ts'
import type { Delivery } from '../../delivery-queue.ts'
import { tokenDigest } from '../../token-digest.ts'
import { deliveryRecord } from '../records/delivery.ts'
import type { LogoutClient } from './clients.ts'

/** A logout that a client is to be notified of. At least one of `subject` and `sid` is there. */
export interface ClientLogout {
  /** The application, as `findClient` knows it. */
  readonly clientId: string
  /** The user, as the client knows them. Alone, it means all sessions of the user. */
  readonly subject?: string | undefined
  /** The tenant of the user. */
  readonly tenant?: string | undefined
  /** The session, as the client knows it. */
  readonly sid?: string | undefined
  /** When the logout happened, in epoch milliseconds. @default now */
  readonly at?: number | undefined
}

/**
 * The deliveries of logouts. Equal logouts have equal ids.
 *
 * @throws {TypeError} for a logout that has neither a subject nor a sid, or no sid although its client requires one
 */
export async function deliveriesOf (
  logouts: readonly ClientLogout[], findClient: (clientId: string) => Awaitable<LogoutClient | undefined | null>
): Promise<readonly Delivery[]> {
  const since = Date.now()
  const deliveries = logouts.map(logout => deliveryOf(logout, since))
  const withoutSid = new Set(deliveries.filter(({ sid }) => sid === undefined).map(({ clientId }) => clientId))
  await Promise.all(Array.from(withoutSid, async clientId => {
    const client = await findClient(clientId)
    const isRequired = client !== undefined && client !== null && 'sessionRequired' in client && client.sessionRequired === true
    if (isRequired) throw new TypeError('logoutNotifier: the client requires a "sid" for each logout')
  }))
  return deliveries
}

function deliveryOf ({ clientId, subject, tenant, sid, at = Date.now() }: ClientLogout, since: number): Delivery {
  if (subject === undefined && sid === undefined) throw new TypeError('logoutNotifier: a logout needs a "subject" or a "sid"')
  const id = tokenDigest(JSON.stringify([clientId, tenant, subject, sid, at]))
  return deliveryRecord({ id, clientId, subject, tenant, sid, at, since, attempt: 1, refusals: 0 })
}
