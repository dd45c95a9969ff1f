import type { Awaitable } from './awaitable.ts'
import type { ClientLogout } from './internal/delivery/deliveries.ts'
import { notifier, type LogoutNotifier, type LogoutNotifierOptions } from './internal/delivery/notifier.ts'
import { notifyingFirst, type EndingSession, type EndingSessions, type SessionsEnd } from './internal/delivery/notify-first.ts'

/**
 * Notifies other applications of logouts: OpenID Connect clients by logout tokens (Back-Channel Logout), receivers of security
 * events by CAEP's `session-revoked`, and any application by a signed webhook.
 *
 * Each application gets each message at least once, however often processes die: deliveries wait in a queue of the host until
 * the application has accepted them, for up to 24 hours. What was refused, has expired or leads to a forbidden address is kept
 * as dead, with the reason. Messages are sent to addresses on the Internet only, unless `network.allowAddresses` names others.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html
 * @see https://www.standardwebhooks.com
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { clientLogouts, kratosLogout, logoutNotifier } from 'fastify-logout'
 * import { memoryDeliveryQueue } from 'fastify-logout/delivery-queues/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const notifier = logoutNotifier({
 *   issuer: 'https://login.example',
 *   sign: { privateKey: process.env['SIGNING_KEY'] ?? '', algorithm: 'RS256', keyId: '2026-11' },
 *   findClient: clientId => clientId === 'shop' ? { uri: 'https://shop.example/backchannel-logout' } : undefined,
 *   queue: memoryDeliveryQueue(),
 *   log: app.log
 * })
 * app.register(kratosLogout, {
 *   sessions: memorySessionStore(),
 *   onLogout: event => notifier.notify(clientLogouts(event, ['shop']))
 * })
 * app.addHook('onReady', async () => { await notifier.start() })
 * app.addHook('onClose', () => notifier.stop())
 * ```
 */
export function logoutNotifier (options: LogoutNotifierOptions): LogoutNotifier {
  return notifier(options, 'logoutNotifier')
}

/** What a flow passes to `onLogout`, as far as other applications must know it. */
export type EndedSessions =
  | { readonly scope: 'session', readonly session: EndingSession }
  | { readonly scope?: 'others' | 'all' | undefined, readonly subject: string, readonly tenant?: string | undefined }

/**
 * What these clients must know of a logout: the event that any flow gives to `onLogout`. The `sid` is the public id of the
 * session. For every other scope there is none: the client ends all sessions of the user. No standard has a message for "all but
 * one", so a logout of the `others` reaches all sessions at the clients.
 *
 * @example
 * ```ts
 * import { clientLogouts, type LogoutNotifier, type OnLogout } from 'fastify-logout'
 *
 * declare const notifier: LogoutNotifier
 * export const onLogout: OnLogout = event => notifier.notify(clientLogouts(event, ['shop', 'mail']))
 * ```
 */
export function clientLogouts (event: EndedSessions, clientIds: readonly string[]): ClientLogout[] {
  const at = Date.now()
  const { subject, tenant } = event.scope === 'session' ? event.session : event
  const what = {
    ...subject !== undefined && { subject: String(subject) },
    ...tenant !== undefined && { tenant },
    ...event.scope === 'session' && { sid: String(event.session.id) },
    at
  }
  return clientIds.map(clientId => ({ clientId, ...what }))
}

/**
 * Makes an outage of the queue an outage of the logout: calls `notify` before a store or source ends sessions. If `notify` rejects,
 * nothing is ended and the flow responds with its 5xx. A retry calls `notify` again, also for a session that has ended already and
 * that the store still knows. Without this, a failure in `onLogout` is logged, and the logout stands.
 *
 * It needs `find`, and costs that call for each logout. Returns an object that does everything else as the given one does.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { clientLogouts, kratosLogout, notifyFirst, type LogoutNotifier } from 'fastify-logout'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * declare const notifier: LogoutNotifier
 * const sessions = notifyFirst(memorySessionStore(), event => notifier.notify(clientLogouts(event, ['shop'])))
 * Fastify().register(kratosLogout, { sessions })
 * ```
 */
export function notifyFirst<Sessions extends EndingSessions> (
  sessions: Sessions, notify: (event: SessionsEnd) => Awaitable<unknown>
): Sessions {
  return notifyingFirst(sessions, notify)
}
