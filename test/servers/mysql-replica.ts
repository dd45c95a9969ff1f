import mysql, { type RowDataPacket } from 'mysql2/promise'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { withPrivateMysql } from './mysql.ts'
import type { Replicated } from './replicated.ts'
import type { PrivateServer } from './private-process.ts'
import { tcpProxy } from './tcp-proxy.ts'

/** MariaDB has no option for global ids, and takes no notice of what begins with `loose`. */
const config = (serverId: number) => ({
  'log-bin': 'binlog',
  'server-id': String(serverId),
  'binlog-format': 'ROW',
  'sync-binlog': '1',
  'loose-gtid-mode': 'ON',
  'loose-enforce-gtid-consistency': 'ON'
})

/** Runs a test against a primary of MariaDB or MySQL and a replica of it. Replication is asynchronous until the test changes that. */
export async function withMysqlReplica (t: Test, use: (servers: Replicated) => Promise<void>): Promise<void> {
  await withPrivateMysql(t, async primary => {
    await withPrivateMysql(t, async standby => {
      const link = await tcpProxy(t, primary.port)
      const dialect = await dialectOf(primary)
      const promote = () => ask(standby, ...dialect.promote)
      await ask(standby, ...dialect.follow(link.port))
      await use({
        primary,
        standby,
        cutReplication: link.cut,
        caughtUp: () => caughtUp(primary, standby, dialect),
        promote,
        async waitForStandby () {
          // A replica of MySQL acknowledges only if the primary asked for it when it connected.
          await ask(primary, ...dialect.waitForAcknowledgement)
          await ask(standby, ...dialect.acknowledge)
          for (let waited = 0; waited < 500; waited++) {
            const [row] = await ask(primary, `SHOW STATUS LIKE '${dialect.acknowledging}'`)
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

/** What MariaDB and MySQL call by different names. */
interface Dialect {
  follow (port: number): string[]
  readonly promote: readonly string[]
  /** Reads up to where the primary is. */
  readonly place: string
  /** Waits on the replica until it is there: 0 when it is. */
  waitFor (place: string): string
  /** Has the replica acknowledge, and the primary wait for that. */
  readonly acknowledge: readonly string[]
  readonly waitForAcknowledgement: readonly string[]
  /** The status of the primary that counts who acknowledges. */
  readonly acknowledging: string
}

const mariadb: Dialect = {
  follow: port => [
    "SET GLOBAL gtid_slave_pos = ''",
    `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = 'root', MASTER_USE_GTID = slave_pos,
      MASTER_CONNECT_RETRY = 1`,
    'SET GLOBAL read_only = 1',
    'START SLAVE'
  ],
  promote: ['STOP SLAVE', 'RESET SLAVE ALL', 'SET GLOBAL read_only = 0'],
  place: 'SELECT @@GLOBAL.gtid_binlog_pos AS place',
  waitFor: place => `SELECT MASTER_GTID_WAIT('${place}', 20) AS outcome`,
  acknowledge: ['SET GLOBAL rpl_semi_sync_slave_enabled = 1', 'STOP SLAVE IO_THREAD', 'START SLAVE IO_THREAD'],
  waitForAcknowledgement: [
    "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
    'SET GLOBAL rpl_semi_sync_master_timeout = 600000',
    'SET GLOBAL rpl_semi_sync_master_enabled = 1'
  ],
  acknowledging: 'Rpl_semi_sync_master_clients'
}

const mysqlDialect: Dialect = {
  follow: port => [
    `CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = ${port}, SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1,
      SOURCE_CONNECT_RETRY = 1, GET_SOURCE_PUBLIC_KEY = 1`,
    'SET GLOBAL read_only = 1',
    'START REPLICA'
  ],
  promote: ['STOP REPLICA', 'RESET REPLICA ALL', 'SET GLOBAL read_only = 0'],
  place: 'SELECT @@GLOBAL.gtid_executed AS place',
  waitFor: place => `SELECT WAIT_FOR_EXECUTED_GTID_SET('${place}', 20) AS outcome`,
  acknowledge: [
    "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
    'SET GLOBAL rpl_semi_sync_replica_enabled = 1',
    'STOP REPLICA IO_THREAD',
    'START REPLICA IO_THREAD'
  ],
  waitForAcknowledgement: [
    "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
    "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'",
    'SET GLOBAL rpl_semi_sync_source_timeout = 600000',
    'SET GLOBAL rpl_semi_sync_source_enabled = 1'
  ],
  acknowledging: 'Rpl_semi_sync_source_clients'
}

async function dialectOf (server: PrivateServer): Promise<Dialect> {
  const [row] = await ask(server, 'SELECT VERSION() AS version')
  return String(row?.['version']).includes('MariaDB') ? mariadb : mysqlDialect
}

async function caughtUp (primary: PrivateServer, standby: PrivateServer, dialect: Dialect): Promise<void> {
  const [position] = await ask(primary, dialect.place)
  const [waited] = await ask(standby, dialect.waitFor(String(position?.['place'])))
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
