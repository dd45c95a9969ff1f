import { execFileSync } from 'node:child_process'
import { chownSync, chmodSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Test } from 'tap'
import { ping, postgresProgram, settings, unprivileged, withPrivatePostgres } from './postgres.ts'
import { startPrivateServer, type PrivateServer } from './private-process.ts'
import type { Replicated } from './replicated.ts'
import { tcpProxy } from './tcp-proxy.ts'

/** Runs a test against a primary and a standby of its own. Replication is asynchronous until the test changes that. */
export async function withPostgresStandby (t: Test, use: (servers: Replicated) => Promise<void>): Promise<void> {
  await withPrivatePostgres(t, async primary => {
    const link = await tcpProxy(t, primary.port)
    const standby = await startStandby(t, { primaryPort: primary.port, linkPort: link.port })
    await use({
      primary,
      standby,
      cutReplication: link.cut,
      caughtUp: () => caughtUp(primary, standby),
      promote: () => queryOnce(standby.url, 'SELECT pg_promote()'),
      async waitForStandby () {
        await queryOnce(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await queryOnce(primary.url, 'SELECT pg_reload_conf()')
      },
      async failOver () {
        await primary.kill()
        await queryOnce(standby.url, 'SELECT pg_promote()')
      }
    })
  }, { durable: true })
}

/** Copies the primary directly, because that blocks this process and the proxy with it, and follows it through the proxy. */
async function startStandby (t: Test, { primaryPort, linkPort }: { primaryPort: number, linkPort: number }): Promise<PrivateServer> {
  const identity = unprivileged()
  const followed = `host=127.0.0.1 port=${linkPort} user=postgres`
  const standby = await startPrivateServer({
    name: 'postgres-standby',
    command: String(postgresProgram('postgres')),
    identity,
    args: ({ directory, port }) => ['-D', join(directory, 'data'), ...settings(port, { config: { primary_conninfo: followed } })],
    url: port => `postgresql://postgres@127.0.0.1:${port}/postgres`,
    ping,
    prepare ({ directory }) {
      if (identity !== undefined) chownSync(directory, identity.uid, identity.gid)
      const data = join(directory, 'data')
      execFileSync(String(postgresProgram('pg_basebackup')), [
        '--host=127.0.0.1', `--port=${primaryPort}`, '--username=postgres', `--pgdata=${data}`,
        '--write-recovery-conf', '--checkpoint=fast', '--no-sync'
      ], { cwd: directory, stdio: 'pipe', ...identity })
      chmodSync(data, 0o700)
    },
    stopSignal: 'SIGINT'
  })
  t.teardown(() => standby.remove())
  return standby
}

async function caughtUp (primary: PrivateServer, standby: PrivateServer): Promise<void> {
  const [{ lsn }] = await queryOnce(primary.url, 'SELECT pg_current_wal_lsn() AS lsn') as [{ lsn: string }]
  for (let attempt = 0; attempt < 500; attempt++) {
    const [{ there }] = await queryOnce(standby.url, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there', lsn) as [{ there: boolean }]
    if (there) return
    await sleep(20)
  }
  throw new Error('the standby does not catch up')
}

async function queryOnce (url: string, text: string, ...values: unknown[]): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
