import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { installed, run, writeFilesOf } from '../docs/packed.ts'

// The guide docs/guides/jest.md, followed in an empty folder. Needs `npm run build`, and a registry or npm's cache.

t.setTimeout(900_000)

const folder = await installed(t, [
  'fastify@5', '@fastify/cookie@11', '@fastify/session@11', 'jest@30', '@babel/preset-env@7', 'ts-jest@29',
  'typescript@5.9', '@types/jest@30', '@types/node@20'
])
const jest = join('node_modules', 'jest', 'bin', 'jest.js')
const env = { ...process.env, NODE_OPTIONS: '--experimental-vm-modules' }

t.test('the files of the guide are there', async t => {
  t.strictSame(writeFilesOf('docs/guides/jest.md', folder), ['jest.config.js', 'jest-typescript.config.js', 'host.js', 'logout.test.js'])
})

t.test('without the settings, Jest says what the guide quotes', async t => {
  await t.rejects(
    run(process.execPath, [jest, '--config', '{ "transform": {} }', 'logout.test.js'], {
      cwd: folder, env: { ...process.env, NODE_OPTIONS: '' }
    }),
    { message: /Must use import to load ES Module: .*\/node_modules\/fastify-logout\/dist\/index\.js/ }
  )
})

t.test('with the settings for older versions of Node.js, Jest runs the test of the guide', async () => {
  await run(process.execPath, [jest, '--config', 'jest.config.js', 'logout.test.js'], { cwd: folder, env })
})

t.test('with the settings for ts-jest, Jest runs a test in TypeScript', async () => {
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      module: 'nodenext', target: 'es2023', esModuleInterop: true, isolatedModules: true, strict: true, skipLibCheck: true
    }
  }))
  writeFileSync(join(folder, 'typed.test.ts'), `
    import Fastify from 'fastify'
    import { kratosLogout } from 'fastify-logout'
    import { memorySessionStore } from 'fastify-logout/session-stores/memory'

    test('an unknown session is refused', async () => {
      const app = Fastify()
      await app.register(kratosLogout, { sessions: memorySessionStore() })
      const { statusCode } = await app.inject({
        method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: 'unknown' }
      })
      expect(statusCode).toBe(403)
      await app.close()
    })
  `)
  await run(process.execPath, [jest, '--config', 'jest-typescript.config.js', 'typed.test.ts'], { cwd: folder, env })
})

t.test('on Node.js 24.9 or newer, Jest needs no configuration', async () => {
  const args = [jest, '--config', '{ "transform": {} }', 'logout.test.js']
  await run('npx', ['--yes', '--package=node@24', 'node', ...args], { cwd: folder, env })
})
