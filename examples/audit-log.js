// What fastify-logout publishes, as an audit log: who was logged out, what was refused, what could not be told, and who
// came with a credential that is logged out. No line holds a token. `requestId` leads to the request's own log lines,
// which have its address.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** @typedef {import('fastify-logout').DiagnosticsMessages} Messages */

/**
 * Writes one line for each event of this process until the answer is called.
 * @param {import('fastify').FastifyBaseLogger} log with a level of its own, so that a quieter server does not silence it
 */
export function audit (log) {
  /** @type {{ [Name in keyof Messages]: (message: Messages[Name]) => void }} */
  const listeners = {
    'fastify-logout:logout': ({ plugin, requestId, scope, tenant, subject, sessionId }) => {
      log.info({ event: 'audit.logout', plugin, requestId, scope, tenant, subject, sessionId }, 'logged out')
    },
    'fastify-logout:refusal': ({ plugin, requestId, status }) => {
      log.warn({ event: 'audit.refusal', plugin, requestId, status }, status < 500 ? 'a logout was refused' : 'a logout failed')
    },
    'fastify-logout:outage': ({ plugin, question, duration }) => {
      log.error({ event: 'audit.outage', plugin, question, duration }, 'no answer')
    },
    'fastify-logout:guard': ({ plugin, requestId, verdict }) => {
      if (verdict === 'revoked') log.warn({ event: 'audit.revoked', plugin, requestId }, 'a credential was used that is logged out')
    },
    'fastify-logout:delivery': ({ clientId, outcome, attempt, status }) => {
      if (outcome !== 'failed') log.info({ event: 'audit.delivery', clientId, outcome, attempt, status }, 'an application was notified of a logout, or given up')
    }
  }
  for (const [name, listener] of Object.entries(listeners)) subscribe(name, /** @type {any} */ (listener))
  return () => { for (const [name, listener] of Object.entries(listeners)) unsubscribe(name, /** @type {any} */ (listener)) }
}
