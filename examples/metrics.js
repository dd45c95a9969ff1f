// What fastify-logout publishes, as OpenTelemetry metrics. No attribute holds a token or names a person, a tenant, a
// session or a request, and each has few values, so the number of time series stays small however many users there are.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** @typedef {import('fastify-logout').DiagnosticsMessages} Messages */

/**
 * Measures this process until the answer is called.
 * @param {import('@opentelemetry/api').Meter} meter
 */
export function measure (meter) {
  const logouts = meter.createCounter('fastify_logout.logouts', { unit: '{logout}', description: 'Logouts that the store said yes to' })
  const refusals = meter.createCounter('fastify_logout.refusals', { unit: '{request}', description: 'Logout requests that were answered with an error' })
  const outages = meter.createCounter('fastify_logout.outages', { unit: '{call}', description: 'Calls to stores and functions of the host that failed or were late' })
  const verdicts = meter.createCounter('fastify_logout.guard.verdicts', { unit: '{request}', description: 'Credentials that a guard judged' })
  const deliveries = meter.createCounter('fastify_logout.deliveries', { unit: '{attempt}', description: 'Attempts to notify other applications of logouts' })
  const duration = meter.createHistogram('fastify_logout.request.duration', {
    unit: 's',
    description: 'How long logout requests took, but for those that found nothing to log out',
    advice: { explicitBucketBoundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] }
  })

  /** @type {{ [Name in keyof Messages]: (message: Messages[Name]) => void }} */
  const listeners = {
    'fastify-logout:logout': ({ plugin, scope, duration: ms }) => {
      logouts.add(1, { 'fastify_logout.plugin': plugin, 'fastify_logout.scope': scope })
      duration.record(ms / 1000, { 'fastify_logout.plugin': plugin, 'fastify_logout.outcome': 'logged_out' })
    },
    'fastify-logout:refusal': ({ plugin, status, duration: ms }) => {
      refusals.add(1, { 'fastify_logout.plugin': plugin, 'http.response.status_code': status })
      duration.record(ms / 1000, { 'fastify_logout.plugin': plugin, 'fastify_logout.outcome': status < 500 ? 'refused' : 'failed' })
    },
    'fastify-logout:outage': ({ plugin, question }) => {
      outages.add(1, { 'fastify_logout.plugin': plugin, 'fastify_logout.question': question })
    },
    'fastify-logout:guard': ({ plugin, verdict }) => {
      verdicts.add(1, { 'fastify_logout.plugin': plugin, 'fastify_logout.verdict': verdict })
    },
    'fastify-logout:delivery': ({ clientId, outcome }) => {
      deliveries.add(1, { 'fastify_logout.client': clientId, 'fastify_logout.outcome': outcome })
    }
  }
  for (const [name, listener] of Object.entries(listeners)) subscribe(name, /** @type {any} */ (listener))
  return () => { for (const [name, listener] of Object.entries(listeners)) unsubscribe(name, /** @type {any} */ (listener)) }
}
