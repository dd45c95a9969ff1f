import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'
import { findProgram, missing, startPrivateServer, type PrivateServer } from './private-process.ts'
import { unprivileged as firstOf } from './unprivileged.ts'

const install = 'install PostgreSQL (initdb and postgres), or set DATABASE_URL'
const installOwn = 'install PostgreSQL (initdb and postgres): this test kills or counts, so it needs a server of its own'

export interface PostgresOptions {
  /** Whether a commit must outlive the server. @default false, which is fast */
  readonly durable?: boolean
  /** Settings: `{ log_statement: 'all' }`. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Runs a test against PostgreSQL: a private server, or the one at `DATABASE_URL`, where other tables may be in use.
 * Where neither is there, `t` is skipped with one line; with `CI` set, it fails.
 */
export async function withPostgres (t: Test, use: (server: { readonly url: string }) => Promise<void>): Promise<void> {
  const url = process.env['DATABASE_URL']
  if (url !== undefined && url !== '') return use({ url })
  return withServer(t, use, {}, install)
}

/** Runs a test against a PostgreSQL of its own, which it may configure, kill, freeze and count on. */
export async function withPrivatePostgres (
  t: Test, use: (server: PrivateServer) => Promise<void>, options: PostgresOptions = {}
): Promise<void> {
  return withServer(t, use, options, installOwn)
}

/** A program of PostgreSQL (`pg_dump`), from the same place as its server. */
export function postgresProgram (name: string): string | undefined {
  return findProgram(name, installedFolders())
}

async function withServer (t: Test, use: (server: PrivateServer) => Promise<void>, options: PostgresOptions, whatToInstall: string) {
  const command = postgresProgram('postgres')
  const initdb = postgresProgram('initdb')
  if (command === undefined || initdb === undefined) {
    t.plan(0, missing(whatToInstall))
    return
  }
  const identity = unprivileged()
  const server = await startPrivateServer({
    name: 'postgres',
    command,
    identity,
    args: ({ directory, port }) => ['-D', join(directory, 'data'), ...settings(port, options)],
    url: port => `postgresql://postgres@127.0.0.1:${port}/postgres`,
    ping,
    prepare ({ directory }) {
      if (identity !== undefined) chownSync(directory, identity.uid, identity.gid)
      execFileSync(initdb, ['-D', join(directory, 'data'), ...initOptions], { cwd: directory, stdio: 'pipe', ...identity })
    },
    stopSignal: 'SIGINT'
  })
  t.teardown(() => server.remove())
  await use(server)
}

const initOptions = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--no-locale', '--no-sync', '--no-instructions']

export function settings (port: number, options: PostgresOptions): string[] {
  const values = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    shared_buffers: '16MB',
    max_connections: '60',
    ...(options.durable === true ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...options.config
  }
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

/** PostgreSQL refuses to run as root. */
export function unprivileged (): { uid: number, gid: number } | undefined {
  return firstOf(['postgres', 'nobody'])
}

function installedFolders (): string[] {
  const folder = '/usr/lib/postgresql'
  if (!existsSync(folder)) return []
  return readdirSync(folder).sort((a, b) => Number(b) - Number(a)).map(version => join(folder, version, 'bin'))
}

export async function ping (port: number): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('SELECT 1')
  } finally {
    await client.end().catch(() => {})
  }
}
