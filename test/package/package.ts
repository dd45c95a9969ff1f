import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

// What is packed, and what those see who install it. Needs `npm run build`, and a registry or npm's cache.
// `UPDATE=1 npx tap --disable-coverage test/package/package.ts` writes the list of files anew.

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const list = join(root, 'test/package/files.txt')
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-package-')))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root, maxBuffer: 2 ** 26 })
const [packed] = JSON.parse(stdout) as Array<{ filename: string, files: Array<{ path: string }> }>
const files = (packed?.files ?? []).map(({ path }) => path).sort()

/** A module's five files are one line. */
function folded (paths: readonly string[]): string[] {
  const modules = paths.filter(path => /^lib\/.*\.ts$/.test(path)).map(path => path.slice('lib/'.length, -'.ts'.length))
  const whole = modules.filter(name => filesOf(name).every(path => paths.includes(path)))
  const covered = new Set(whole.flatMap(filesOf))
  return [...paths.filter(path => !covered.has(path)), ...whole.map(name => `{lib,dist}/${name}`)]
}

function filesOf (name: string): string[] {
  return [`lib/${name}.ts`, ...['js', 'js.map', 'd.ts', 'd.ts.map'].map(ending => `dist/${name}.${ending}`)]
}

t.test('the packed files are those of the committed list', async t => {
  const lines = folded(files)
  if (process.env['UPDATE'] !== undefined) writeFileSync(list, `${lines.join('\n')}\n`)
  t.strictSame(lines, readFileSync(list, 'utf8').trimEnd().split('\n'), 'if this is meant: UPDATE=1')
  t.strictSame(
    lines.filter(line => !/^\{lib,dist\}\/[a-z\d/-]+$|^(LICENSE|README\.md|package\.json)$/.test(line)), [],
    'nothing that is left over from another build, and nothing private'
  )
})

t.test('source maps point to packed sources', async t => {
  const maps = files.filter(path => path.endsWith('.map'))
  t.ok(maps.length > 100)
  for (const map of maps) {
    const { sources } = JSON.parse(readFileSync(join(root, map), 'utf8')) as { sources: string[] }
    t.strictSame(sources.filter(source => !files.includes(posix.join(posix.dirname(map), source))), [], map)
  }
})

const { exports, typesVersions } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string>
  typesVersions: object
}
const modules = Object.keys(exports).filter(name => name !== './package.json')
/** Every name that can be imported. */
const names = modules.map(name => `fastify-logout${name.slice(1)}`)

t.test('package.json has typesVersions for each public folder', async t => {
  const folders = new Set(modules.filter(name => name !== '.').map(name => name.split('/')[1] ?? ''))
  const expected = [...folders].sort().map(name => [`${name}/*`, [`./dist/${name}/*.d.ts`]])
  t.strictSame(typesVersions, { '*': Object.fromEntries(expected) })
})

t.test('package.json exports the index and every file in the public folders of lib, and nothing else', async t => {
  const paths = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter(
    name => /^(?!internal\/).+\/.+\.ts$/.test(name)
  )
  const expected = paths.map(path => path.replace(/\.ts$/, '')).map(name => [`./${name}`, `./dist/${name}.js`])
  t.strictSame(exports, Object.fromEntries([['.', './dist/index.js'], ...expected, ['./package.json', './package.json']]))
})

t.test('no public declaration uses a type of the schema library', async t => {
  for (const path of files.filter(path => path === 'dist/index.d.ts' || /^dist\/(?!internal\/).+\/.+\.d\.ts$/.test(path))) {
    t.notMatch(readFileSync(join(root, path), 'utf8'), /typebox|TSchema|TObject/, path)
  }
})

t.test('every public name has types, for each module resolution', async t => {
  const options = ['--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm', '--format', 'ascii', '--no-emoji', '--no-color']
  const subpaths = names.slice(1).map(name => name.slice('fastify-logout/'.length))
  const judged = await run(
    'npx', ['--no-install', 'attw', join(folder, packed?.filename ?? ''), ...options, '--entrypoints', '.', ...subpaths],
    { cwd: root, maxBuffer: 2 ** 26 }
  )
    .catch((error: { stdout: string }) => {
      t.fail(error.stdout)
      return error
    })
  for (const name of names) t.ok(judged.stdout.includes(`"${name}"`), `${name} was looked at`)
})

// The same program in four languages: it logs out a session, and imports everything that can be imported.
const program = `
async function main () {
  const sessions = memorySessionStore()
  const now = Date.now()
  await sessions.create('a-token', { id: 'a', subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  const app = Fastify()
  await app.register(kratosLogout, { sessions, prefix: '/auth' })
  const answers = []
  for (const session_token of ['a-token', 'a-token', 'another']) {
    const { statusCode } = await app.inject({ method: 'DELETE', url: '/auth/self-service/logout/api', payload: { session_token } })
    answers.push(statusCode)
  }
  await app.close()
  const empty = everything.filter(module => module === undefined).length
  console.log(JSON.stringify({ answers, empty, same: m0.kratosLogout === kratosLogout }))
}
main().catch(error => { console.error(error); process.exitCode = 1 })
`
const expected = '{"answers":[204,204,403],"empty":0,"same":true}\n'
const named = (source: (name: string, index: number) => string) => names.map(source).join('\n')
const everything = `\nconst everything = [${names.map((_, index) => `m${index}`).join(', ')}]\n`

/** This host has registered nothing that adds members to Fastify's types. */
const withoutAugmentation = `
// @ts-expect-error @fastify/rate-limit would add it.
export type Limiter = import('fastify').FastifyInstance['rateLimit']
// @ts-expect-error @fastify/jwt would add it.
export type Jwt = import('fastify').FastifyInstance['jwt']
// @ts-expect-error @fastify/session would add it.
export type Session = import('fastify').FastifyRequest['session']
// @ts-expect-error @fastify/cookie would add it.
export type Cookies = import('fastify').FastifyRequest['cookies']
// @ts-expect-error @fastify/websocket would add it.
export type Socket = import('fastify').FastifyInstance['injectWS']
`

const consumers = {
  'esm.mjs': `import Fastify from 'fastify'
import { kratosLogout } from 'fastify-logout'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
${named((name, index) => `import * as m${index} from '${name}'`)}${everything}${program}`,

  'commonjs.cjs': `const Fastify = require('fastify')
const { kratosLogout } = require('fastify-logout')
const { memorySessionStore } = require('fastify-logout/session-stores/memory')
${named((name, index) => `const m${index} = require('${name}')`)}${everything}${program}`,

  'esm-typescript.mts': `import Fastify from 'fastify'
import { kratosLogout, type KratosLogoutOptions, type SessionStore } from 'fastify-logout'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
${named((name, index) => `import * as m${index} from '${name}'`)}
export const options: KratosLogoutOptions = { sessions: memorySessionStore() satisfies SessionStore }
// @ts-expect-error An option of the wrong type is refused: the plugin is no any.
export const wrong: KratosLogoutOptions = { sessions: 5 }
${withoutAugmentation}${everything}${program}`,

  'commonjs-typescript.cts': `import fastify = require('fastify')
import logout = require('fastify-logout')
import store = require('fastify-logout/session-stores/memory')
${named((name, index) => `import m${index} = require('${name}')`)}
const { default: Fastify } = fastify
const { kratosLogout } = logout
const { memorySessionStore } = store
// @ts-expect-error An option of the wrong type is refused: the plugin is no any.
export const wrong: logout.KratosLogoutOptions = { sessions: 5 }
${everything}${program}`
}
const commonJs = {
  static: `import Fastify from 'fastify'
import { kratosLogout, type KratosLogoutOptions } from 'fastify-logout'
${named((name, index) => `import * as m${index} from '${name}'`)}
export const options: KratosLogoutOptions = { sessions: { logOut: () => undefined } }
export const app = Fastify().register(kratosLogout, options)
${everything}${withoutAugmentation}`,

  dynamic: `import Fastify from 'fastify'
import type { KratosLogoutOptions } from 'fastify-logout' with { 'resolution-mode': 'import' }
export async function build () {
  const { kratosLogout } = await import('fastify-logout')
  const { memorySessionStore } = await import('fastify-logout/session-stores/memory')
  const options: KratosLogoutOptions = { sessions: memorySessionStore() }
  return Fastify().register(kratosLogout, options)
}
`
}
const compilerOptions = {
  module: 'nodenext', target: 'es2023', strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, types: ['node']
}

t.test('the installed tarball works', async t => {
  const started = Date.now()
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  await run('npm', [
    'install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', join(folder, packed?.filename ?? ''),
    `fastify@${devDependencies.fastify}`, `@types/node@${devDependencies['@types/node']}`
  ], { cwd: folder })
  t.comment(`installed in ${Date.now() - started} ms`)

  for (const [file, source] of Object.entries(consumers)) writeFileSync(join(folder, file), source)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
    compilerOptions, files: Object.keys(consumers).filter(file => file.endsWith('ts'))
  }))
  const compiled = await run(process.execPath, [tsc, '-p', folder]).catch((error: { stdout: string }) => error)
  t.equal(compiled.stdout, '', 'the TypeScript compiles, with the declarations of the package and of what it depends on')

  for (const file of Object.keys(consumers)) {
    const ran = await run(process.execPath, [join(folder, file.replace(/ts$/, 'js'))], { cwd: folder })
    t.strictSame({ ...ran }, { stdout: expected, stderr: '' }, `${file} runs on Node ${process.version}`)
  }

  t.test('CommonJS TypeScript compiles under the settings that the README names', async t => {
    const files = ['static.ts', 'dynamic.ts']
    const compile = async (settings: object) => {
      const tsconfig = join(folder, `${Object.values(settings).join('-')}.json`)
      writeFileSync(tsconfig, JSON.stringify({ compilerOptions: { ...compilerOptions, ...settings, noEmit: true }, files }))
      const { stdout } = await run(process.execPath, [tsc, '--pretty', 'false', '-p', tsconfig]).catch((error: { stdout: string }) => error)
      return stdout.split('\n').filter(line => /error TS/.test(line)).map(line => line.replace(/^[^(]*\//, ''))
    }
    writeFileSync(join(folder, 'static.ts'), commonJs.static)
    writeFileSync(join(folder, 'dynamic.ts'), commonJs.dynamic)
    for (const settings of [
      { module: 'nodenext' },
      { module: 'node20' },
      { module: 'commonjs', moduleResolution: 'bundler' },
      { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0' }
    ]) {
      t.strictSame(await compile(settings), [], JSON.stringify(settings))
    }
    for (const settings of [{ module: 'node16' }, { module: 'node18' }]) {
      const errors = await compile(settings)
      t.ok(
        errors.length > 0 && errors.every(error => /^static\.ts.*TS1479/.test(error)), `only await import(): ${JSON.stringify(settings)}`
      )
    }
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    for (const setting of ['nodenext', 'node20', 'bundler', 'node10', 'node16', 'node18']) t.match(readme, `\`${setting}\``)
  })

  t.test('modules that are not in the exports map cannot be imported', async t => {
    for (const name of ['fastify-logout/dist/index.js', 'fastify-logout/lib/index.ts', 'fastify-logout/outage']) {
      await t.rejects(
        run(process.execPath, ['--input-type=module', '--eval', `await import('${name}')`], { cwd: folder }),
        { message: /ERR_PACKAGE_PATH_NOT_EXPORTED/ }, name
      )
    }
  })
})
