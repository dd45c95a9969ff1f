import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { build } from '../../examples/server.js'

// A client that a generator makes of the example server's documents: it compiles, and logs out. The generator does not
// know the compiler that this project uses, so it brings its own. Needs `npm run build`, and a registry or npm's cache.

const run = promisify(execFile)
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-client-')))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const compilerOptions = {
  module: 'nodenext',
  target: 'es2023',
  lib: ['es2023', 'dom'],
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  types: ['node']
}
writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
await run('npm', [
  'install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock',
  'openapi-typescript@7', 'openapi-fetch@0.17', 'typescript@5', '@types/node@20'
], { cwd: folder })

for (const version of ['3.0.3', '3.1.0']) {
  t.test(`a client generated from the OpenAPI ${version} document compiles, and the responses match its types`, async t => {
    const server = await build({}, undefined, undefined, version)
    t.teardown(() => server.app.close())
    const called = new Set<string>()
    server.app.addHook('onResponse', async ({ method, routeOptions }) => {
      const { hide = false } = (routeOptions.schema ?? {}) as { hide?: boolean }
      if (!hide) called.add(`${method} ${routeOptions.url?.replaceAll(/:(\w+)/g, '{$1}')}`)
    })
    const address = await server.app.listen({ port: 0, host: '127.0.0.1' })

    const place = join(folder, version)
    mkdirSync(place)
    const document = await (await fetch(`${address}/docs/json`)).json() as { openapi: string, paths: Record<string, object> }
    t.equal(document.openapi, version)
    writeFileSync(join(place, 'document.json'), JSON.stringify(document))
    await run('npx', ['--no-install', 'openapi-typescript', join(place, 'document.json'), '--output', join(place, 'document.ts')], {
      cwd: folder
    })
    copyFileSync(fileURLToPath(new URL('client-program.ts.txt', import.meta.url)), join(place, 'program.ts'))
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
    const compiled = await run('npx', ['--no-install', 'tsc', '-p', place], { cwd: folder }).catch((error: { stdout: string }) => error)
    t.equal(compiled.stdout, '')

    called.clear()
    const credentials = {
      address,
      bearer: server.signingHub.token,
      adminKey: server.demoPage.adminKey,
      tenantToken: server.tenantStatus.tenantToken,
      userToken: server.tenantStatus.token
    }
    const ran = await run(process.execPath, [join(place, 'program.js')], {
      env: { ...process.env, CREDENTIALS: JSON.stringify(credentials) }
    })
    t.strictSame(ran, { stdout: 'every call was answered\n', stderr: '' })
    const operations = Object.entries(document.paths).flatMap(
      ([path, methods]) => Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`)
    )
    t.strictSame([...called].sort(), operations.sort(), 'each operation was called')
  })
}
