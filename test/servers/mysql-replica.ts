import mysql, { type RowDataPacket } from 'mysql2/promise'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { withPrivateMysql } from './mysql.ts'
import type { Replicated } from './replicated.ts'
import type { PrivateServer } from './private-process.ts'
import { tcpProxy } from './tcp-proxy.ts'

const config = (serverId: number) => ({ 'log-bin': 'binlog', 'server-id': String(serverId), 'binlog-format': 'ROW', 'sync-binlog': '1' })

/** Runs a test against a primary of MariaDB and a replica of it. Replication is asynchronous until the test changes that. */
export async function withMysqlReplica (t: Test, use: (servers: Replicated) => Promise<void>): Promise<void> {
  await withPrivateMysql(t, async primary => {
    await withPrivateMysql(t, async standby => {
      const link = await tcpProxy(t, primary.port)
      const promote = () => ask(standby, 'STOP SLAVE', 'RESET SLAVE ALL', 'SET GLOBAL read_only = 0')
      await ask(standby, "SET GLOBAL gtid_slave_pos = ''",
        `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${link.port}, MASTER_USER = 'root', MASTER_USE_GTID = slave_pos,
          MASTER_CONNECT_RETRY = 1`, 'SET GLOBAL read_only = 1', 'START SLAVE')
      await use({
        primary,
        standby,
        cutReplication: link.cut,
        caughtUp: () => caughtUp(primary, standby),
        promote,
        async waitForStandby () {
          await ask(standby, 'SET GLOBAL rpl_semi_sync_slave_enabled = 1', 'STOP SLAVE IO_THREAD', 'START SLAVE IO_THREAD')
          await ask(primary, "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
            'SET GLOBAL rpl_semi_sync_master_timeout = 600000', 'SET GLOBAL rpl_semi_sync_master_enabled = 1')
          for (let waited = 0; waited < 500; waited++) {
            const [row] = await ask(primary, "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")
            if (row?.['Value'] === '1') return
            await sleep(20)
          }
          throw new Error('the replica does not acknowledge what it gets')
        },
        async failOver () {
          await primary.kill()
          await promote()
        }
      })
    }, { config: config(2) })
  }, { durable: true, config: config(1) })
}

async function caughtUp (primary: PrivateServer, standby: PrivateServer): Promise<void> {
  const [position] = await ask(primary, 'SELECT @@GLOBAL.gtid_binlog_pos AS place')
  const [waited] = await ask(standby, `SELECT MASTER_GTID_WAIT('${position?.['place']}', 20) AS outcome`)
  if (waited?.['outcome'] !== 0) throw new Error('the replica does not catch up')
}

/** The rows of the last statement. */
async function ask ({ url }: PrivateServer, ...statements: string[]): Promise<RowDataPacket[]> {
  const connection = await mysql.createConnection(url)
  try {
    let rows: unknown
    for (const statement of statements) [rows] = await connection.query(statement)
    return rows as RowDataPacket[]
  } finally {
    connection.destroy()
  }
}
