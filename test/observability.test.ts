import { metrics, type Attributes } from '@opentelemetry/api'
import {
  AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader, type MetricData
} from '@opentelemetry/sdk-metrics'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { audit } from '../examples/audit-log.js'
import { measure } from '../examples/metrics.js'
import { build } from '../examples/observability.js'
import { delivery, handOut } from './delivery-host.ts'
import { host, requests, secret } from './diagnostics-host.ts'

/** A meter, and what it has measured so far: the points of each instrument by its name. */
function provide (t: Test) {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const provider = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 600_000 })] })
  t.teardown(() => provider.shutdown())
  const measured = async (): Promise<Record<string, MetricData>> => {
    exporter.reset()
    await provider.forceFlush()
    return Object.fromEntries(
      exporter.getMetrics().at(-1)?.scopeMetrics.flatMap(({ metrics }) => metrics).map(metric => [metric.descriptor.name, metric]) ?? []
    )
  }
  return { provider, meter: provider.getMeter('test'), measured }
}

/** A counter's points as `attribute=value ...: count`. */
const counted = (metric: MetricData | undefined) => metric?.dataPoints.map(({ attributes, value }) => {
  return `${named(attributes)}: ${typeof value === 'number' ? value : value.count}`
}).sort()
const named = (attributes: Attributes) => {
  return Object.entries(attributes).map(([name, value]) => `${name.replace('fastify_logout.', '')}=${value}`).join(' ')
}

async function ask (t: Test, failing: boolean): Promise<void> {
  const app = await host(t, failing)
  for (const request of [
    requests.guarded, requests.signingHub, requests.kratos, requests.kratos, requests.tenantStatus, requests.guarded
  ]) await app.inject(request)
  await app.inject({ ...requests.guarded, headers: { 'token-id': 'dead' } })
  await app.inject({ ...requests.kratos, payload: { session_token: 'unknown' } })
  await app.inject({ method: 'POST', url: '/v3/logout' })
}

t.test('the example counts every logout, refusal, outage and verdict, and how long requests took', async t => {
  const { meter, measured } = provide(t)
  t.teardown(measure(meter))
  const started = performance.now()
  await ask(t, false)
  await ask(t, true)
  const elapsed = (performance.now() - started) / 1000
  const all = await measured()
  t.strictSame(counted(all['fastify_logout.logouts']), [
    'plugin=kratosLogout scope=session: 1', 'plugin=signingHubLogout scope=all: 1', 'plugin=tenantStatusLogout scope=all: 1'
  ])
  t.strictSame(counted(all['fastify_logout.refusals']), [
    'plugin=kratosLogout http.response.status_code=403: 1',
    'plugin=kratosLogout http.response.status_code=500: 3',
    'plugin=signingHubLogout http.response.status_code=401: 2',
    'plugin=signingHubLogout http.response.status_code=500: 1',
    'plugin=tenantStatusLogout http.response.status_code=500: 1'
  ])
  t.strictSame(counted(all['fastify_logout.outages']), [
    'plugin=kratosLogout question=sessions.logOut: 3',
    'plugin=revocationGuard question=revocations.check: 3',
    'plugin=signingHubLogout question=recordActivity: 1',
    'plugin=tenantActivity question=users.get: 3',
    'plugin=tenantStatusLogout question=user.beforeLogOut: 1'
  ])
  t.strictSame(counted(all['fastify_logout.guard.verdicts']), [
    'plugin=revocationGuard verdict=live: 1',
    'plugin=revocationGuard verdict=unknown: 3',
    'plugin=tenantActivity verdict=live: 1',
    'plugin=tenantActivity verdict=revoked: 2',
    'plugin=tenantActivity verdict=unknown: 3'
  ])
  const { dataPoints, descriptor } = all['fastify_logout.request.duration'] ?? { dataPoints: [], descriptor: undefined }
  t.match(descriptor, { unit: 's', name: 'fastify_logout.request.duration' })
  t.strictSame(counted(all['fastify_logout.request.duration']), [
    'plugin=kratosLogout outcome=failed: 3',
    'plugin=kratosLogout outcome=logged_out: 1',
    'plugin=kratosLogout outcome=refused: 1',
    'plugin=signingHubLogout outcome=failed: 1',
    'plugin=signingHubLogout outcome=logged_out: 1',
    'plugin=signingHubLogout outcome=refused: 2',
    'plugin=tenantStatusLogout outcome=failed: 1',
    'plugin=tenantStatusLogout outcome=logged_out: 1'
  ])
  const sum = dataPoints.reduce((sum, { value }) => sum + (typeof value === 'number' ? NaN : value.sum ?? NaN), 0)
  t.ok(sum > 0 && sum < elapsed, `${sum} s of ${elapsed} s`)
})

t.test('no metric attribute has a token, a user or a request, so the number of time series does not grow', async t => {
  const { meter, measured } = provide(t)
  t.teardown(measure(meter))
  const pointsAfter = async (count: number) => {
    const { app, kratos, tenantStatus } = await build({}, provide(t).meter)
    t.teardown(() => app.close())
    const now = Date.now()
    for (let user = 0; user < count; user++) {
      await kratos.sessions.create(`token-${user}`, {
        id: `id-${user}`, subject: `user-${user}`, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000
      })
      await app.inject({ ...requests.kratos, payload: { session_token: `token-${user}` } })
      await app.inject({ ...requests.kratos, payload: { session_token: `unknown-${user}` } })
      await app.inject({
        url: '/auth/logout',
        remoteAddress: `10.0.0.${user}`,
        headers: { 'x-tenant-token': tenantStatus.tenantToken, 'x-token': `wrong-${user}` }
      })
    }
    const points = Object.values(await measured()).flatMap(({ dataPoints }) => [...dataPoints])
    const words = points.flatMap(({ attributes }) => Object.entries(attributes).flat().map(String))
    t.strictSame(words.filter(word => /token-|user-|tenant-|id-|wrong-|unknown-|req-/.test(word)), [])
    return points.length
  }
  const one = await pointsAfter(1)
  t.ok(one >= 6)
  t.equal(await pointsAfter(200), one)
})

t.test('the example writes an audit line for each logout, refusal, outage and use of a revoked token, without tokens', async t => {
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const quiet = await host(t, false, { logger: { level: 'fatal', stream } })
  t.teardown(audit(quiet.log.child({ log: 'audit' }, { level: 'info' })))
  await ask(t, false)
  await ask(t, true)

  t.notMatch(lines.join(''), secret)
  const written = lines.map(line => {
    const { time, pid, hostname, level, msg, duration, ...rest } = JSON.parse(line)
    t.ok(Math.abs(Date.now() - time) < 60_000)
    return { level, ...rest, ...duration !== undefined && { duration: typeof duration } }
  })
  const [info, warn, error] = [{ level: 30, log: 'audit' }, { level: 40, log: 'audit' }, { level: 50, log: 'audit' }]
  t.strictSame(written.slice(0, 7), [
    { ...info, event: 'audit.logout', plugin: 'signingHubLogout', requestId: 'req-2', scope: 'all', subject: 'alice', tenant: 'acme' },
    { ...info, event: 'audit.logout', plugin: 'kratosLogout', requestId: 'req-3', scope: 'session', subject: 'alice', sessionId: 's1' },
    { ...info, event: 'audit.logout', plugin: 'tenantStatusLogout', requestId: 'req-5', scope: 'all', tenant: 'acme', subject: 'alice' },
    { ...warn, event: 'audit.revoked', plugin: 'tenantActivity', requestId: 'req-6' },
    { ...warn, event: 'audit.revoked', plugin: 'tenantActivity', requestId: 'req-7' },
    { ...warn, event: 'audit.refusal', plugin: 'kratosLogout', requestId: 'req-8', status: 403 },
    { ...warn, event: 'audit.refusal', plugin: 'signingHubLogout', requestId: 'req-9', status: 401 }
  ])
  const texts = new Set(
    lines.map(line => JSON.parse(line)).filter(({ event }) => event === 'audit.refusal').map(({ status, msg }) => `${status}: ${msg}`)
  )
  t.strictSame([...texts].sort(), ['401: a logout was refused', '403: a logout was refused', '500: a logout failed'])
  t.strictSame(written.find(({ question }) => question === 'sessions.logOut'), {
    ...error, event: 'audit.outage', plugin: 'kratosLogout', question: 'sessions.logOut', duration: 'number'
  })
  t.strictSame(written.slice(7).reduce((counts, { event }) => ({ ...counts, [event]: (counts[event] ?? 0) + 1 }), {}), {
    'audit.outage': 11, 'audit.refusal': 6
  })
})

t.test('nothing is measured or written after stopping', async t => {
  const { meter, measured } = provide(t)
  const lines: string[] = []
  const { app, kratos } = await build({ logger: { level: 'warn', stream: { write: line => { lines.push(line) } } } }, meter)
  await app.inject({ ...requests.kratos, payload: { session_token: kratos.token } })
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0] ?? ''), { event: 'audit.logout', log: 'audit' })
  const before = counted((await measured())['fastify_logout.logouts'])
  t.strictSame(before, ['plugin=kratosLogout scope=session: 1'])
  await app.close()

  await ask(t, false)
  t.equal(lines.length, 1)
  t.strictSame(counted((await measured())['fastify_logout.logouts']), before)
})

t.test('the lines of docs/observability.md count logouts and outages, and write an audit line', async t => {
  const page = await readFile('docs/observability.md', 'utf8')
  const [, code = ''] = /^```js\n([^`]*@opentelemetry\/api.*?)^```$/ms.exec(page) ?? []
  const { provider, measured } = provide(t)
  metrics.setGlobalMeterProvider(provider)
  const file = fileURLToPath(new URL(`observability-block-${process.pid}.mjs`, import.meta.url))
  t.teardown(() => rm(file))
  await writeFile(file, code)
  const printed = t.capture(console, 'log', () => {})
  await import(pathToFileURL(file).href)
  await ask(t, false)
  await ask(t, true)
  const all = await measured()
  t.strictSame(counted(all['fastify_logout.logouts']), [
    'plugin=kratosLogout scope=session: 1', 'plugin=signingHubLogout scope=all: 1', 'plugin=tenantStatusLogout scope=all: 1'
  ])
  t.equal(counted(all['fastify_logout.outages'])?.length, 5)
  const lines = printed().map(({ args: [line] }) => String(line))
  t.match(JSON.parse(lines[1] ?? ''), { event: 'audit.logout', subject: 'alice', sessionId: 's1', requestId: 'req-3' })
  t.equal(lines.length, 3)
  t.notMatch(lines.join(''), secret)
})

/** The names that Prometheus has for what the example measures: instruments, and their attributes. */
async function prometheusNames (t: Test): Promise<{ metrics: string[], attributes: string[], values: Record<string, string[]> }> {
  const { meter, measured } = provide(t)
  t.teardown(measure(meter))
  await ask(t, false)
  await ask(t, true)
  const { attempt } = await handOut(t, undefined)
  for (const since of [Date.now(), 0]) await attempt(delivery({ since }))
  const all = Object.values(await measured())
  const written = (name: string) => name.replaceAll('.', '_')
  const points = all.flatMap(({ dataPoints }) => dataPoints.flatMap(({ attributes }) => Object.entries(attributes)))
  const values: Record<string, string[]> = {}
  for (const [name, value] of points) (values[written(name)] ??= []).push(String(value))
  return {
    metrics: all.map(({ descriptor: { name, unit } }) => `${written(name)}${unit === 's' ? '_seconds_bucket' : '_total'}`).sort(),
    attributes: Object.keys(values).sort(),
    values
  }
}

t.test('dashboard and alert rules of docs/observability.md use exactly the metrics, attributes and values of the example', async t => {
  const page = await readFile('docs/observability.md', 'utf8')
  const rules = /^```yaml\n(.*?)^```$/ms.exec(page)?.[1] ?? ''
  const panels = [...page.matchAll(/^\| [^|`]+ \| `(.+)` \|$/gm)].map(([, query = '']) => query)
  const queries = [...panels, ...[...rules.matchAll(/^ +expr: (.*)$/gm)].map(([, query = '']) => query)]
  t.ok(panels.length >= 6 && queries.length >= panels.length + 6)
  const { metrics, attributes, values } = await prometheusNames(t)
  const text = queries.join('\n')
  const used = [...new Set(text.match(/\bfastify_logout_\w+|\bhttp_\w+/g))].sort()
  t.strictSame(used, [...metrics, ...attributes].sort())
  for (const [, name = '', operator, value = ''] of text.matchAll(/(\w+)(=~?)"([^"]+)"/g)) {
    const is = (one: string) => operator === '=' ? one === value : new RegExp(`^(?:${value})$`).test(one)
    t.ok(values[name]?.some(is), `${name} can be ${value}`)
  }
  for (const [, label = ''] of rules.matchAll(/\$labels\.(\w+)/g)) t.ok(attributes.includes(label), label)
  for (const query of queries) {
    for (const [open, close] of ['()', '{}', '[]']) {
      t.equal(query.split(open ?? '').length, query.split(close ?? '').length, `${open}${close} in ${query}`)
    }
  }
})

/** Every text of this form in the sources of the library. */
async function inSources (form: RegExp): Promise<string[]> {
  const names = (await readdir('lib', { recursive: true })).filter(name => name.endsWith('.ts'))
  const texts = await Promise.all(names.map(name => readFile(`lib/${name}`, 'utf8')))
  return [...new Set(texts.flatMap(text => [...text.matchAll(form)].map(([, found = '']) => found)))].sort()
}

t.test('docs/observability.md has exactly the channels and the log events of the library', async t => {
  const page = await readFile('docs/observability.md', 'utf8')
  const rows = (form: RegExp) => [...page.matchAll(form)].map(([, name = '']) => name).sort()
  t.strictSame(rows(/^\| `(fastify-logout:\w+)` \|/gm), await inSources(/channel\('(fastify-logout:\w+)'\)/g))
  t.strictSame(rows(/^\| `([a-z]+[a-z-]*\.[a-z-]+)` \| (?:info|warn|error)/gm), await inSources(/event: '([a-z-]+\.[a-z-]+)'/g))
})
