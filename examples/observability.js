// Logouts as OpenTelemetry metrics and as an audit log. Here both are printed: in earnest an exporter of yours takes the
// metrics, and the audit log goes to a place that nobody can rewrite.
import { ConsoleMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import Fastify from 'fastify'
import { pathToFileURL } from 'node:url'
import { audit } from './audit-log.js'
import * as kratos from './kratos.js'
import { listen } from './listen.js'
import { measure } from './metrics.js'
import * as tenantStatus from './tenant-status.js'

/**
 * @param {import('fastify').FastifyServerOptions} options
 * @param {import('@opentelemetry/api').Meter} meter
 */
export async function build (options, meter) {
  const app = Fastify(options)
  const stops = [measure(meter), audit(app.log.child({ log: 'audit' }, { level: 'info' }))]
  app.addHook('onClose', async () => { for (const stop of stops) stop() })
  return { app, kratos: await kratos.add(app), tenantStatus: await tenantStatus.add(app) }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: new ConsoleMetricExporter(), exportIntervalMillis: 30_000 })]
  })
  const example = await build({ logger: { level: 'warn' } }, provider.getMeter('fastify-logout'))
  example.app.addHook('onClose', () => provider.shutdown())
  await listen(example.app, address => `${kratos.curls(address, example.kratos)}\n\n${tenantStatus.curls(address, example.tenantStatus)}`)
}
