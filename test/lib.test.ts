import { readdirSync, readFileSync } from 'node:fs'
import { dirname, posix, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const lib = fileURLToPath(new URL('../lib', import.meta.url))
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).map(name => name.replaceAll('\\', '/')).sort()

interface Import {
  /** Relative to `lib` for a file of ours, otherwise as it is written. */
  readonly from: string
  /** Erased before it runs. */
  readonly typeOnly: boolean
}

/** The imports and re-exports of a source, dynamic ones included. */
function importsOf (file: string, source: string): Import[] {
  const code = source.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const statements = code.matchAll(/^(?:import|export)\b(?:([^'"\n{]*(?:\{[^}'"]*\}[^'"\n{]*)?)\bfrom)?\s*['"]([^'"]+)['"]|\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/gm)
  return Array.from(statements, ([, clause, still, dynamic]) => {
    const specifier = still ?? dynamic ?? ''
    const from = specifier.startsWith('.') ? posix.join(dirname(file), specifier) : specifier
    return { from, typeOnly: /^\s*type\b/.test(clause ?? '') }
  })
}

const contracts = ['session-store.ts', 'revocation-store.ts', 'user-status-store.ts', 'token-verifier.ts', 'principal.ts', 'logout-event.ts', 'awaitable.ts']
const adapters = /^(?:session-stores|revocation-stores|user-status-stores|rate-limit-stores|token-verifiers)\//

const isOurs = ({ from }: Import) => from.endsWith('.ts')
const isFastify = ({ from }: Import) => /^(?:fastify|fastify-plugin|@fastify\/.*)$/.test(from)

/** Who must not import what. A type costs nothing at run time, but still points the wrong way: most rules count it too. */
const rules: ReadonlyArray<readonly [who: string, concerns: (file: string) => boolean, forbidden: (imported: Import, file: string) => boolean]> = [
  ['the index imports flows, guards and contracts, no adapter', file => file === 'index.ts',
    ({ from }) => adapters.test(from) || from.startsWith('conformance/')],
  ['contracts import, at run time, only node: and each other', file => contracts.includes(file),
    ({ from, typeOnly }) => !typeOnly && !from.startsWith('node:') && !contracts.includes(from)],
  ['flows import neither an adapter nor each other nor a guard', file => file.startsWith('flows/'),
    imported => isOurs(imported) && (/^(?:flows|guards|bridges|conformance)\/|^index\.ts$/.test(imported.from) || adapters.test(imported.from))],
  ['guards import neither an adapter nor a flow nor each other', file => file.startsWith('guards/'),
    imported => isOurs(imported) && (/^(?:flows|guards|bridges|conformance)\/|^index\.ts$/.test(imported.from) || adapters.test(imported.from))],
  ['adapters never import Fastify', file => adapters.test(file),
    imported => isFastify(imported) && !imported.typeOnly],
  ['adapters import no flow, no guard, no conformance rule and no adapter of another kind', file => adapters.test(file),
    ({ from }, file) => /^(?:flows|guards|bridges|conformance)\/|^index\.ts$/.test(from) || (adapters.test(from) && dirname(from) !== dirname(file))],
  ['conformance imports no implementation', file => file.startsWith('conformance/'),
    imported => isFastify(imported) || (isOurs(imported) && !imported.from.startsWith('conformance/') && !contracts.includes(imported.from))],
  ['the small parts import no flow, guard, adapter or conformance rule', file => !file.includes('/') && file !== 'index.ts',
    ({ from }) => /^(?:flows|guards|bridges|conformance)\/|^index\.ts$/.test(from) || adapters.test(from)]
]

function violations (sources: Readonly<Record<string, string>>): string[] {
  return Object.entries(sources).flatMap(([file, source]) => importsOf(file, source).flatMap(imported =>
    rules.filter(([, concerns, forbidden]) => concerns(file) && forbidden(imported, file)).map(([rule]) => `${file} -> ${imported.from}: ${rule}`)
  ))
}

t.test('every file of lib can be imported by itself', async t => {
  t.ok(files.length > 20)
  for (const file of files) await t.resolves(import(`../lib/${file}`), file)
})

t.test('imports point from the index over flows and guards to the contracts, and from the adapters to the contracts', async t => {
  const sources = Object.fromEntries(files.map(file => [file, readFileSync(resolve(lib, file), 'utf8')]))
  t.strictSame(violations(sources), [])
  const read = files.flatMap(file => importsOf(file, sources[file] ?? '')).filter(isOurs).map(({ from }) => from)
  t.strictSame(read.filter(name => !files.includes(name)), [], 'each import was read as what it is')
  const written = files.reduce((count, file) => count + (sources[file]?.match(/^(?:import|export)\b.*\bfrom '|^\} from '/gm)?.length ?? 0), 0)
  t.ok(files.flatMap(file => importsOf(file, sources[file] ?? '')).length >= written, 'and none was overlooked')
})

t.test('a planted violation is caught', async t => {
  const planted: ReadonlyArray<readonly [file: string, source: string, caught: string]> = [
    ['index.ts', "export { memorySessionStore } from './session-stores/memory.ts'", 'the index'],
    ['session-store.ts', "import { Type } from '@sinclair/typebox'", 'contracts'],
    ['session-store.ts', "import { tokenDigest } from './token-digest.ts'", 'contracts'],
    ['principal.ts', "import fp from 'fastify-plugin'", 'contracts'],
    ['flows/signinghub.ts', "import type { KratosLogoutOptions } from './kratos-native.ts'", 'flows'],
    ['flows/signinghub.ts', "import {\n  a,\n  b\n} from '../session-stores/memory.ts'", 'flows'],
    ['flows/tenant-status.ts', "const guard = await import('../guards/tenant-activity.ts')", 'flows'],
    ['guards/tenant-activity.ts', "import { tenantStatusLogout } from '../flows/tenant-status.ts'", 'guards'],
    ['session-stores/redis.ts', "import Fastify from 'fastify'", 'adapters'],
    ['token-verifiers/jwks.ts', "import '@fastify/jwt'", 'adapters'],
    ['session-stores/redis.ts', "export * from '../user-status-stores/redis.ts'", 'adapters'],
    ['conformance/session-store.ts', "import { memorySessionStore } from '../session-stores/memory.ts'", 'conformance'],
    ['conformance/session-store.ts', "import Fastify from 'fastify'", 'conformance'],
    ['outage.ts', "import { kratosLogout } from './flows/kratos-native.ts'", 'the small parts']
  ]
  for (const [file, source, caught] of planted) t.match(violations({ [file]: source }).join(), new RegExp(`: ${caught}`), `${file}: ${source}`)
  t.strictSame(violations({
    'session-store.ts': "import type { Awaitable } from './awaitable.ts'\nimport { randomUUID } from 'node:crypto'\nimport type { FastifyRequest } from 'fastify'",
    'session-stores/redis.ts': "import type { FastifyRequest } from 'fastify'\nimport { tokenDigest } from '../token-digest.ts'\nimport { script } from './redis-script.ts'",
    'conformance/session-store.ts': "import assert from 'node:assert/strict'\nimport type { SessionStore } from '../session-store.ts'\nimport type { Rule } from './rule.ts'",
    'flows/kratos-native.ts': "export type A = 'a'\nexport const b = './signinghub.ts'",
    'flows/signinghub.ts': "// import { x } from './kratos-native.ts'\n/* import { x } from './kratos-native.ts' */"
  }), [], 'and what is allowed is not')
})
