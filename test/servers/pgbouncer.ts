import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { ping, unprivileged, withPrivatePostgres } from './postgres.ts'
import { findProgram, missing, startPrivateServer, type PrivateServer } from './private-process.ts'

/** A PgBouncer before a PostgreSQL of its own. */
export interface Bounced {
  /** Of PgBouncer. */
  readonly url: string
  /** Of the server behind it, for what a pooler refuses. */
  readonly directUrl: string
  readonly bouncer: PrivateServer
}

/** Runs a test behind a PgBouncer that pools transactions: clients share three connections of a private PostgreSQL. */
export async function withPgBouncer (t: Test, use: (bounced: Bounced) => Promise<void>): Promise<void> {
  const command = findProgram('pgbouncer', ['/usr/sbin'])
  if (command === undefined) {
    t.plan(0, missing('install PgBouncer (pgbouncer)'))
    return
  }
  await withPrivatePostgres(t, async postgres => {
    const identity = unprivileged()
    const bouncer = await startPrivateServer({
      name: 'pgbouncer',
      command,
      identity,
      args: ({ directory }) => [join(directory, 'pgbouncer.ini')],
      url: port => `postgresql://postgres@127.0.0.1:${port}/postgres`,
      prepare ({ directory, port }) {
        if (identity !== undefined) chownSync(directory, identity.uid, identity.gid)
        writeFileSync(join(directory, 'pgbouncer.ini'), configuration(port, postgres.port))
      },
      ping,
      stopSignal: 'SIGINT'
    })
    t.teardown(() => bouncer.remove())
    await use({ url: bouncer.url, directUrl: postgres.url, bouncer })
  })
}

function configuration (port: number, postgresPort: number): string {
  return `[databases]
* = host=127.0.0.1 port=${postgresPort} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
`
}
