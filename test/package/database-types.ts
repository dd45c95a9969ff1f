import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

// Whether the stores take database clients as their packages declare them, for each TypeScript that hosts have. Needs
// `npm run build`, and a registry or npm's cache.

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-types-')))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const compilers = ['5.8', '5.9', '6.0', 'latest']
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const program = `
import Database from 'better-sqlite3'
import { mysqlRevocationStore } from 'fastify-logout/revocation-stores/mysql'
import { sqliteRevocationStore } from 'fastify-logout/revocation-stores/sqlite'
import mysql from 'mysql2'
import { createConnection, createPool } from 'mysql2/promise'
import { mysqlSessionStore } from 'fastify-logout/session-stores/mysql'
import { postgresSessionStore } from 'fastify-logout/session-stores/postgres'
import { sqliteSessionStore } from 'fastify-logout/session-stores/sqlite'
import { mysqlUserStatusStore } from 'fastify-logout/user-status-stores/mysql'
import { postgresUserStatusStore } from 'fastify-logout/user-status-stores/postgres'
import { sqliteUserStatusStore } from 'fastify-logout/user-status-stores/sqlite'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'

sqliteSessionStore(new Database())
sqliteSessionStore(new DatabaseSync(':memory:'))
sqliteUserStatusStore(new Database('users.db', { timeout: 500 }))
sqliteUserStatusStore(new DatabaseSync(':memory:'))
sqliteRevocationStore(new Database())
sqliteRevocationStore(new DatabaseSync(':memory:'))
postgresSessionStore(new pg.Pool())
postgresUserStatusStore(new pg.Client())
mysqlSessionStore(createPool({}))
mysqlRevocationStore(createPool({}))
mysqlSessionStore(mysql.createPool({}))
mysqlUserStatusStore(await createConnection({}))
mysqlUserStatusStore(mysql.createConnection({}))
// @ts-expect-error A pool is not a SQLite database.
sqliteSessionStore(new pg.Pool())
// @ts-expect-error A SQLite database is not a pool.
mysqlSessionStore(new Database())
// @ts-expect-error A SQLite database is not a pool.
postgresSessionStore(new Database())
`

t.test('the clients of better-sqlite3, node:sqlite, pg and mysql2 fit', async t => {
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: root, maxBuffer: 2 ** 26
  })
  const [packed] = JSON.parse(stdout) as Array<{ filename: string }>
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  await run('npm', [
    'install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', join(folder, packed?.filename ?? ''),
    `fastify@${devDependencies.fastify}`, '@types/node@24', `@types/better-sqlite3@${devDependencies['@types/better-sqlite3']}`,
    `@types/pg@${devDependencies['@types/pg']}`, `mysql2@${devDependencies['mysql2']}`,
    ...compilers.map(version => `typescript-${version}@npm:typescript@${version}`)
  ], { cwd: folder })
  writeFileSync(join(folder, 'program.ts'), program)
  const compilerOptions = { module: 'nodenext', target: 'es2023', strict: true, noEmit: true, skipLibCheck: true, types: ['node'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))

  // The loaders of tap, which children inherit, cannot load the compiler of TypeScript 7.
  for (const version of compilers) {
    const compiler = join(folder, 'node_modules', `typescript-${version}`, 'bin/tsc')
    const compiled = await run('env', ['--unset=NODE_OPTIONS', process.execPath, compiler, '-p', folder])
      .catch(({ stdout, stderr }: { stdout: string, stderr: string }) => ({ stdout, stderr }))
    t.strictSame({ ...compiled }, { stdout: '', stderr: '' }, `TypeScript ${version}`)
  }
})
