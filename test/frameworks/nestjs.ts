import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { installed, run, writeFilesOf } from '../docs/packed.ts'
import { freePort } from '../servers/private-process.ts'

// The guide docs/guides/nestjs.md, followed in an empty folder. Needs `npm run build`, and a registry or npm's cache.

t.setTimeout(900_000)

// That of `nest new`, with NestJS 11.
const tsconfig = {
  compilerOptions: {
    module: 'nodenext',
    moduleResolution: 'nodenext',
    resolvePackageJsonExports: true,
    esModuleInterop: true,
    isolatedModules: true,
    declaration: true,
    removeComments: true,
    emitDecoratorMetadata: true,
    experimentalDecorators: true,
    allowSyntheticDefaultImports: true,
    target: 'ES2023',
    types: ['node'],
    sourceMap: true,
    rootDir: './src',
    outDir: './dist',
    incremental: true,
    skipLibCheck: true,
    strictNullChecks: true,
    forceConsistentCasingInFileNames: true,
    noImplicitAny: false,
    strictBindCallApply: false,
    noFallthroughCasesInSwitch: false
  },
  include: ['src']
}

// Nest first, as `nest new` has it: then npm takes its version of Fastify for all.
const nest = ['@nestjs/common@11', '@nestjs/core@11', '@nestjs/platform-fastify@11', '@nestjs/jwt@11', 'reflect-metadata@0.2', 'rxjs@7']
const folder = await installed(t, [...nest, '@fastify/cookie@11', '@fastify/session@11', 'typescript@5.9', '@types/node@20'])
const versions = [...(await run('npm', ['ls', 'fastify', '--all', '--parseable'], { cwd: folder })).matchAll(/fastify$/gm)]
if (versions.length > 1) {
  const manifest = join(folder, 'node_modules', '@nestjs', 'platform-fastify', 'package.json')
  const version = (await run(process.execPath, ['--print', `require('${manifest}').dependencies.fastify`], { cwd: folder })).trim()
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `fastify@${version}`], { cwd: folder })
}

t.test('the files of the guide compile with the settings of `nest new`', async t => {
  const files = writeFilesOf('docs/guides/nestjs.md', folder)
  t.strictSame(files, ['src/main.ts', 'src/sessions.ts', 'src/app.module.ts', 'src/auth.controller.ts', 'src/tokens.ts'])
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig))
  t.equal(await run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], { cwd: folder }), '')
})

/** Starts a host, and gives its address once it listens. */
async function start (t: Test, file: string): Promise<string> {
  const port = await freePort()
  const env = { ...process.env, PORT: String(port), SECRET: 'at-least-as-long-as-32-characters', NODE_OPTIONS: '' }
  const child = spawn(process.execPath, [join('dist', file)], { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const address = `http://127.0.0.1:${port}`
  for (let waited = 0; waited < 600 && !await fetch(address).then(() => true, () => false); waited++) await sleep(50)
  return address
}

t.test('a host of NestJS with sessions logs in, logs out as often as it is asked, and refuses the old cookie', async t => {
  const address = await start(t, 'main.js')
  const send = async (method: string, path: string, cookie = '', body?: object) => {
    const response = await fetch(`${address}${path}`, {
      method,
      headers: { cookie, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) })
    })
    const [set = ''] = response.headers.getSetCookie()
    return { status: response.status, cookie: set.split(';', 1)[0] ?? '', set, text: await response.text() }
  }
  const logIn = async () => (await send('POST', '/login')).cookie
  const [laptop, phone, tablet, other] = [await logIn(), await logIn(), await logIn(), await logIn()]
  const me = async (cookie: string) => (await send('GET', '/me', cookie)).status
  t.strictSame([await me(laptop), await me(phone), await me(tablet), await me('')], [200, 200, 200, 401])

  for (const cookie of [phone, phone, '']) {
    const { status, set } = await send('POST', '/logout', cookie)
    t.equal(status, 204)
    t.match(set, /^sessionId=; .*Max-Age=0/)
  }
  t.strictSame([await me(phone), await me(laptop)], [401, 200])

  t.match(await send('POST', '/password', laptop), { status: 200, text: '{"changed":true}' })
  t.strictSame([await me(tablet), await me(other), await me(laptop)], [401, 401, 200])
  t.match(await send('POST', '/logout', laptop, { scope: 'all' }), { status: 204 })
  t.equal(await me(laptop), 401)
  const { status, text } = await send('POST', '/logout', laptop, { scope: 'all' })
  t.match([status, JSON.parse(text)], [401, { statusCode: 401, code: 'LOGOUT_NOT_LOGGED_IN' }])
})

t.test('a host of NestJS with tokens logs in, logs out as often as it is asked, and refuses the old token', async t => {
  const address = await start(t, 'tokens.js')
  const send = (method: string, path: string, token = '') => {
    return fetch(`${address}${path}`, { method, headers: token === '' ? {} : { authorization: `Bearer ${token}` } })
  }
  const logIn = async () => (await (await send('POST', '/login')).json() as { access: string }).access
  const [laptop, phone] = [await logIn(), await logIn()]
  const me = async (token: string) => (await send('GET', '/me', token)).status
  t.strictSame([await me(laptop), await me(phone), await me('no token'), await me('')], [200, 200, 401, 401])
  for (const token of [phone, phone, '']) t.equal((await send('POST', '/logout', token)).status, 204)
  t.strictSame([await me(phone), await me(laptop)], [401, 200])
})
