import { poller, type SecurityEventPoller, type SecurityEventPollerOptions } from './internal/security-events/poller.ts'

/**
 * Receives security events by polling (RFC 8936), for hosts that a transmitter cannot reach. The checks and the effects are
 * those of `securityEvents`.
 *
 * An event is acknowledged after it had its effect. One that could not be carried out is not, so that it comes again. Two
 * nodes may poll one stream: an event that both get has one effect. One node is enough.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @see https://www.rfc-editor.org/rfc/rfc8936
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { securityEventPoller } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const poller = securityEventPoller({
 *   stream: {
 *     issuer: 'https://transmitter.example',
 *     audience: 'https://app.example',
 *     jwksUri: 'https://transmitter.example/keys',
 *     endpoint: 'https://transmitter.example/poll',
 *     authorization: () => `Bearer ${process.env['STREAM_TOKEN']}`
 *   },
 *   revocations: memoryRevocationStore(),
 *   resolveSubject: (subject, { issuer }) => {
 *     return subject.format === 'iss_sub' && subject.iss === issuer ? [{ subject: subject.sub }] : []
 *   },
 *   end: { sessions: memorySessionStore() },
 *   log: app.log
 * })
 * app.addHook('onReady', async () => poller.start())
 * app.addHook('onClose', () => poller.stop())
 * ```
 */
export function securityEventPoller (options: SecurityEventPollerOptions): SecurityEventPoller {
  return poller(options, 'securityEventPoller')
}
