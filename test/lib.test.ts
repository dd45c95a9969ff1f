import { readdirSync, readFileSync } from 'node:fs'
import { dirname, posix, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const lib = fileURLToPath(new URL('../lib', import.meta.url))
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts')).map(name => name.replaceAll('\\', '/')).sort()

interface Import {
  /** Relative to `lib` for a file of ours, otherwise as it is written. */
  readonly from: string
  /** Erased before it runs. */
  readonly typeOnly: boolean
}

/** The imports and re-exports of a source, dynamic ones included. */
function importsOf (file: string, source: string): Import[] {
  const code = source.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const statements = code.matchAll(
    /^(?:import|export)\b(?:([^'"\n{]*(?:\{[^}'"]*\}[^'"\n{]*)?)\bfrom)?\s*['"]([^'"]+)['"]|\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/gm
  )
  return Array.from(statements, ([, clause, still, dynamic]) => {
    const specifier = still ?? dynamic ?? ''
    const from = specifier.startsWith('.') ? posix.join(dirname(file), specifier) : specifier
    return { from, typeOnly: /^\s*type\b/.test(clause ?? '') }
  })
}

/** The files at the root of `lib`, but for the index: the public contracts. At run time they import only `node:` and each other. */
const contracts = [
  'awaitable.ts', 'delivery-queue.ts', 'logout-event.ts', 'principal.ts', 'provider-session-index.ts', 'revocation-store.ts',
  'session-source.ts', 'session-store.ts', 'token-digest.ts', 'token-verifier.ts', 'user-status-store.ts'
]

/** Public functions at the root of `lib`, beside the contracts: hosts call them from their own handlers. */
const functions = ['logout-actions.ts', 'logout-notifier.ts', 'security-event-poller.ts']

/** What each folder may import besides itself and `node:`. Whatever is not listed is a violation, and so is a folder that is not listed. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  index: ['flows', 'guards', 'contracts', 'functions', 'internal/revocation', 'types of internal'],
  contracts: ['types of fastify'],
  functions: ['contracts', 'internal/delivery', 'internal/session-logout', 'internal/security-events', 'types of fastify'],

  flows: ['contracts', 'internal/async', 'internal/plugin', 'internal/http', 'internal/revocation', 'fastify', 'typebox'],
  'flows/global-token-revocation': ['internal/oauth', 'internal/security-events'],
  'flows/kratos-*': ['internal/kratos'],
  'flows/openid-*': ['internal/oauth', 'internal/openid'],
  'flows/openid-rp-initiated': ['internal/session-logout'],
  'flows/security-events': ['internal/oauth', 'internal/security-events'],
  'flows/session': ['internal/session-logout'],
  'flows/signinghub': ['internal/signinghub'],
  'flows/tenant-status': ['internal/tenant-status'],
  'flows/token-revocation': ['internal/oauth'],
  guards: ['contracts', 'internal/async', 'internal/plugin', 'internal/revocation', 'fastify'],
  'guards/tenant-activity': ['internal/tenant-status'],
  bridges: ['contracts', 'internal/async', 'internal/plugin', 'internal/marks', 'internal/revocation', 'types of fastify'],

  'session-sources': ['contracts', 'internal/plugin', 'internal/http', 'internal/session-logout', 'internal/revocation', 'internal/marks',
    'types of fastify'],
  'session-sources/session-store': ['internal/async'],
  'session-stores': [
    'contracts', 'internal/records', 'internal/databases', 'internal/collections', 'internal/plugin', 'internal/redis-sessions'
  ],
  'session-stores/express-session': ['internal/async'],
  'user-status-stores': ['contracts', 'internal/records', 'internal/databases', 'internal/plugin'],
  'revocation-stores': ['contracts', 'internal/marks', 'internal/records', 'internal/databases', 'internal/feeds'],
  'provider-session-indexes': ['contracts', 'internal/records', 'internal/databases', 'internal/collections'],
  'provider-session-indexes/redis': ['internal/marks'],
  'delivery-queues': ['contracts', 'internal/databases', 'internal/records'],
  'rate-limit-stores': ['internal/databases', 'internal/plugin'],
  'token-verifiers': [
    'contracts', 'internal/async', 'internal/jose', 'internal/oauth', 'internal/http', 'internal/collections', 'internal/plugin'
  ],
  conformance: ['contracts', 'internal/conformance', 'types of fastify'],

  'internal/delivery': ['contracts', 'internal/http', 'internal/jose', 'internal/plugin', 'internal/records',
    'types of internal/security-events', 'types of fastify'],
  'internal/async': ['contracts'],
  'internal/plugin': ['contracts', 'internal/async', 'fastify', 'typebox'],
  'internal/http': ['internal/plugin', 'types of fastify'],
  'internal/kratos': ['contracts', 'internal/plugin', 'internal/http', 'types of fastify', 'typebox'],
  'internal/openid': ['contracts', 'internal/async', 'internal/plugin', 'internal/jose', 'internal/http', 'internal/oauth',
    'internal/session-logout', 'types of fastify'],
  'internal/security-events': ['contracts', 'internal/async', 'internal/http', 'internal/jose', 'internal/plugin', 'internal/revocation',
    'types of fastify'],
  'internal/session-logout': ['contracts', 'internal/async', 'internal/plugin', 'internal/http', 'internal/marks', 'types of fastify'],
  'internal/signinghub': ['internal/plugin', 'types of fastify', 'typebox'],
  'internal/tenant-status': ['contracts', 'internal/plugin', 'types of fastify', 'typebox'],
  'internal/revocation': ['contracts', 'internal/async', 'internal/marks', 'internal/plugin', 'types of fastify'],
  'internal/marks': ['contracts', 'internal/async', 'internal/databases'],
  'internal/feeds': ['contracts', 'internal/marks', 'internal/databases'],
  'internal/records': ['contracts'],
  'internal/databases': ['internal/records', 'types of contracts', 'types of internal/marks'],
  'internal/redis-sessions': ['contracts', 'internal/records', 'internal/databases'],
  'internal/jose': ['contracts', 'internal/plugin', 'internal/http', 'fast-jwt'],
  'internal/oauth': ['internal/plugin', 'internal/http', 'internal/jose', 'types of fastify', 'typebox'],
  'internal/collections': [],
  'internal/conformance': ['contracts']
}

/** The folder that a file of `lib` belongs to, or the package that is imported. */
function placeOf (name: string): string {
  if (name === 'index.ts') return 'index'
  if (contracts.includes(name)) return 'contracts'
  if (functions.includes(name)) return 'functions'
  if (name.endsWith('.ts')) return dirname(name)
  if (/^(?:fastify|fastify-plugin|@fastify\/.*)$/.test(name)) return 'fastify'
  return name.startsWith('@sinclair/typebox') ? 'typebox' : name
}

/** What a file may import: what its folder may, and what is allowed to it by its own name. */
function allowedTo (file: string): readonly string[] {
  const place = placeOf(file)
  const byName = Object.keys(allowed).filter(name => name.startsWith(`${place}/`) && file.startsWith(name.replace('*', '')))
  return [place, ...byName].flatMap(name => allowed[name] ?? [])
}

function isAllowed (file: string, { from, typeOnly }: Import): boolean {
  const [place, target] = [placeOf(file), placeOf(from)]
  if (from.startsWith('node:')) return true
  // Flows and guards know nothing of each other, whatever folder they stand in.
  if (target === place) return !['flows', 'guards', 'token-verifiers'].includes(place)
  const names = allowedTo(file)
  return names.includes(target) || (typeOnly && [target, target.split('/')[0]].some(name => names.includes(`types of ${name}`)))
}

function violations (sources: Readonly<Record<string, string>>): string[] {
  return Object.entries(sources).flatMap(([file, source]) =>
    importsOf(file, source).filter(imported => !isAllowed(file, imported)).map(({ from }) => `${file} must not import ${from}`))
}

t.test('every file of lib can be imported by itself', async t => {
  t.ok(files.length > 20)
  for (const file of files) await t.resolves(import(`../lib/${file}`), file)
})

t.test('the root of lib holds the index, the public contracts and public functions, and nothing else', async t => {
  t.strictSame(files.filter(name => !name.includes('/')), [...contracts, ...functions, 'index.ts'].sort())
})

t.test('every import is allowed by the table of folders', async t => {
  const sources = Object.fromEntries(files.map(file => [file, readFileSync(resolve(lib, file), 'utf8')]))
  t.strictSame(violations(sources), [])
  const ours = files.flatMap(file => importsOf(file, sources[file] ?? '')).map(({ from }) => from).filter(from => from.endsWith('.ts'))
  t.strictSame(ours.filter(name => !files.includes(name)), [], 'each import was read as what it is')
  const written = files.reduce(
    (count, file) => count + (sources[file]?.match(/^(?:import|export)\b.*\bfrom '|^\} from '/gm)?.length ?? 0), 0
  )
  t.ok(files.flatMap(file => importsOf(file, sources[file] ?? '')).length >= written, 'and none was overlooked')

  const usedBy = (file: string, name: string) => importsOf(file, sources[file] ?? '').some(
    ({ from }) => name.endsWith(placeOf(from)) || (name === 'types of internal' && from.startsWith('internal/'))
  )
  const standsIn = (file: string, place: string) => placeOf(file) === place || file.startsWith(place.replace('*', ''))
  const used = (place: string, name: string) =>
    files.some(file => allowedTo(file).includes(name) && standsIn(file, place) && usedBy(file, name))
  const unused = Object.entries(allowed).flatMap(
    ([place, names]) => names.filter(name => !used(place, name)).map(name => `${place}: ${name}`)
  )
  t.strictSame(unused, [], 'the table allows nothing that is not needed')
})

t.test('a forbidden import is detected', async t => {
  const planted: ReadonlyArray<readonly [file: string, source: string]> = [
    ['index.ts', "export { memorySessionStore } from './session-stores/memory.ts'"],
    ['index.ts', "export { operationId } from './internal/plugin/openapi.ts'"],
    ['session-store.ts', "import { Type } from '@sinclair/typebox'"],
    ['session-store.ts', "import { markId } from './internal/marks/id.ts'"],
    ['principal.ts', "import fp from 'fastify-plugin'"],
    ['flows/signinghub.ts', "import type { KratosLogoutOptions } from './kratos-native.ts'"],
    ['flows/signinghub.ts', "import {\n  a,\n  b\n} from '../session-stores/memory.ts'"],
    ['flows/signinghub.ts', "import { kratosErrorSchema } from '../internal/kratos/error.ts'"],
    ['flows/tenant-status.ts', "const guard = await import('../guards/tenant-activity.ts')"],
    ['guards/tenant-activity.ts', "import { tenantStatusLogout } from '../flows/tenant-status.ts'"],
    ['guards/revocation.ts', "import { sendTenantError } from '../internal/tenant-status/envelope.ts'"],
    ['session-stores/redis.ts', "import Fastify from 'fastify'"],
    ['token-verifiers/jwks.ts', "import '@fastify/jwt'"],
    ['session-stores/redis.ts', "export * from '../user-status-stores/redis.ts'"],
    ['conformance/session-store.ts', "import { memorySessionStore } from '../session-stores/memory.ts'"],
    ['conformance/session-store.ts', "import Fastify from 'fastify'"],
    ['internal/plugin/ask.ts', "import { kratosLogout } from '../../flows/kratos-native.ts'"],
    ['internal/marks/set.ts', "import { revocationReplica } from '../revocation/replica.ts'"],
    ['logout-actions.ts', "import { sessionLogout } from './flows/session.ts'"],
    ['session-sources/jwt.ts', "import { memoryRevocationStore } from '../revocation-stores/memory.ts'"],
    ['internal/new-room/part.ts', "import { isLive } from '../../session-store.ts'"]
  ]
  for (const [file, source] of planted) t.equal(violations({ [file]: source }).length, 1, `${file}: ${source}`)
  t.strictSame(violations({
    'session-store.ts': "import type { Awaitable } from './awaitable.ts'\nimport { randomUUID } from 'node:crypto'\n" +
      "import type { FastifyRequest } from 'fastify'",
    'session-stores/redis.ts': "import { tokenDigest } from '../token-digest.ts'\nimport { script } from './redis-script.ts'",
    'conformance/session-store.ts': "import assert from 'node:assert/strict'\nimport type { SessionStore } from '../session-store.ts'",
    'flows/kratos-native.ts': "export type A = 'a'\nexport const b = './signinghub.ts'\n" +
      "import { kratosErrorSchema } from '../internal/kratos/error.ts'",
    'flows/signinghub.ts': "// import { x } from './kratos-native.ts'\n/* import { x } from './kratos-native.ts' */"
  }), [], 'and what is allowed is not')
})

t.test('every-flow.ts, on which the tests of all flows build, registers every flow', async t => {
  const list = readFileSync(resolve(lib, '../test/every-flow.ts'), 'utf8')
  const flows = files.filter(file => file.startsWith('flows/'))
  t.ok(flows.length >= 13)
  for (const file of flows) {
    const plugins = [...readFileSync(resolve(lib, file), 'utf8').matchAll(/^export const (\w+)/gm)].map(([, name]) => name)
    t.ok(plugins.length > 0 && plugins.every(name => list.includes(`.register(${name},`)), file)
  }
})
