import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import mysql, { type Pool, type PoolOptions, type RowDataPacket } from 'mysql2/promise'
import type { Test } from 'tap'
import { findFirst, findProgram, missing, startPrivateServer, type Place, type PrivateServer } from './private-process.ts'
import { unprivileged } from './unprivileged.ts'

const programs = 'MariaDB (mariadbd and mariadb-install-db) or MySQL (mysqld)'
const install = `install ${programs}, or set MYSQL_URL`
const installOwn = `install ${programs}: this test kills or counts, so it needs a server of its own`

export interface MysqlOptions {
  /** Whether a commit must outlive the server. @default false, which is fast */
  readonly durable?: boolean
  /** Settings: `{ general_log: 'on' }`. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Runs a test against MariaDB or MySQL: a private server, or the one at `MYSQL_URL`, where other tables may be in use.
 * Where neither is there, `t` is skipped with one line; with `CI` set, it fails.
 */
export async function withMysql (t: Test, use: (server: { readonly url: string }) => Promise<void>): Promise<void> {
  const url = process.env['MYSQL_URL']
  if (url !== undefined && url !== '') return use({ url })
  return withServer(t, use, {}, install)
}

/** Runs a test against a server of its own, which it may configure, kill, freeze and count on. */
export async function withPrivateMysql (
  t: Test, use: (server: PrivateServer) => Promise<void>, options: MysqlOptions = {}
): Promise<void> {
  return withServer(t, use, options, installOwn)
}

/** A pool that ends with the test. Each of its connections begins with the statements of `first`. */
export function mysqlPool (t: Test, url: string, options: PoolOptions = {}, first: readonly string[] = []): Pool {
  const pool = mysql.createPool({ uri: url, connectionLimit: 4, ...options })
  for (const statement of first) pool.pool.on('connection', connection => { connection.query(statement) })
  t.teardown(() => pool.end())
  return pool
}

/** Ends every connection of the server but the one that does so. */
export async function killConnections (pool: Pool): Promise<void> {
  const [rows] = await pool.query<RowDataPacket[]>(
    "SELECT id AS number FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()"
  )
  await Promise.all(rows.map(row => pool.query(`KILL ${row['number']}`).catch(() => {})))
}

async function withServer (t: Test, use: (server: PrivateServer) => Promise<void>, options: MysqlOptions, whatToInstall: string) {
  const command = findFirst(['mariadbd', 'mysqld'], folders)
  if (command === undefined) {
    t.plan(0, missing(whatToInstall))
    return
  }
  const identity = unprivileged(['mysql', 'nobody'])
  const server = await startPrivateServer({
    name: 'mysql',
    command,
    identity,
    args: place => ['--no-defaults', ...settings(place, options)],
    url: port => `mysql://root@127.0.0.1:${port}/test`,
    ping,
    prepare ({ directory }) {
      mkdirSync(join(directory, 'data'))
      if (identity !== undefined) for (const path of [directory, join(directory, 'data')]) chownSync(path, identity.uid, identity.gid)
      const [program, ...args] = initialization(command, directory)
      execFileSync(program, [...args, `--tmpdir=${directory}`], { cwd: directory, stdio: 'pipe', ...identity })
    },
    stopSignal: 'SIGTERM'
  })
  t.teardown(() => server.remove())
  await use(server)
}

const folders = ['/usr/sbin', '/usr/local/mysql/bin', '/usr/local/sbin']

/** The command that makes the files of a new server, with a root user who needs no password. */
function initialization (command: string, directory: string): [program: string, ...args: string[]] {
  const data = `--datadir=${join(directory, 'data')}`
  const installer = findProgram('mariadb-install-db', folders)
  if (command.endsWith('mysqld') || installer === undefined) return [command, '--no-defaults', '--initialize-insecure', data]
  return [installer, '--no-defaults', data, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve']
}

export function settings ({ directory, port }: Place, options: MysqlOptions): string[] {
  const values = {
    datadir: join(directory, 'data'),
    socket: join(directory, 'socket'),
    'pid-file': join(directory, 'pid'),
    tmpdir: directory,
    'secure-file-priv': directory,
    port: String(port),
    'bind-address': '127.0.0.1',
    'max-connections': '80',
    'innodb-buffer-pool-size': '32M',
    'innodb-flush-log-at-trx-commit': options.durable === true ? '1' : '0',
    // MySQL has a binary log unless told otherwise, and a second port. MariaDB takes no notice of what begins with `loose`.
    'sync-binlog': options.durable === true ? '1' : '0',
    'loose-mysqlx': 'OFF',
    ...options.config
  }
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`)
}

export async function ping (port: number): Promise<void> {
  const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root' })
  try {
    await connection.query('CREATE DATABASE IF NOT EXISTS test')
  } finally {
    connection.destroy()
  }
}
