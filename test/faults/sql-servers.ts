import pg from 'pg'
import type { Test } from 'tap'
import type { FollowableRevocationStore } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import type { UserRecords, UserStatusStore } from '../../lib/user-status-store.ts'
import { mysqlUserStatusStore } from '../../lib/user-status-stores/mysql.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { withMysqlReplica } from '../servers/mysql-replica.ts'
import { mysqlPool, withPrivateMysql, type MysqlOptions } from '../servers/mysql.ts'
import { withPostgresStandby } from '../servers/postgres-standby.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import type { Replicated } from '../servers/replicated.ts'

type Migratable<Store> = Store & { migrate (): Promise<void> }

/** The stores of one node, over a pool of its own that leads to a port. */
export interface SqlNode {
  readonly revocations: Migratable<FollowableRevocationStore>
  readonly sessions: Migratable<SessionStore>
  readonly users: Migratable<UserStatusStore & UserRecords>
  migrate (): Promise<void>
  /** Closes the connections that nobody uses, as a pool does after a while. */
  closeIdle (): Promise<unknown>
}

/** A database server with a standby, for tests that are the same on each. */
export interface SqlServer {
  readonly name: string
  withStandby (t: Test, use: (servers: Replicated) => Promise<void>): Promise<void>
  /** Runs a test against a server that loses its last commits when it is killed. */
  forgetful (t: Test, use: (server: PrivateServer) => Promise<void>): Promise<void>
  /** Has everything so far written where a kill does not lose it. */
  keep (node: SqlNode, server: PrivateServer): Promise<unknown>
  nodeAt (t: Test, port: number): SqlNode
}

function nodeOf (stores: Pick<SqlNode, 'revocations' | 'sessions' | 'users'>, closeIdle: SqlNode['closeIdle']): SqlNode {
  const migrate = async () => {
    await stores.revocations.migrate()
    await stores.sessions.migrate()
    await stores.users.migrate()
  }
  return { ...stores, migrate, closeIdle }
}

const postgresUrl = (port: number) => `postgresql://postgres@127.0.0.1:${port}/postgres`
const mysqlUrl = (port: number) => `mysql://root@127.0.0.1:${port}/test`
const mysqlForgets: MysqlOptions = { config: { 'innodb-flush-log-at-trx-commit': '0', 'innodb-flush-log-at-timeout': '2700' } }

function postgresNode (t: Test, port: number): SqlNode {
  const pool = new pg.Pool({ connectionString: postgresUrl(port), connectionTimeoutMillis: 3000, query_timeout: 3000, max: 6 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  const stores = {
    revocations: postgresRevocationStore(pool), sessions: postgresSessionStore(pool), users: postgresUserStatusStore(pool)
  }
  return nodeOf(stores, async () => {
    const clients = []
    while (pool.idleCount > 0) clients.push(await pool.connect())
    for (const client of clients) client.release(true)
  })
}

function mysqlNode (t: Test, port: number): SqlNode {
  const [pool, timeout] = [mysqlPool(t, mysqlUrl(port), { connectionLimit: 6, connectTimeout: 3000 }), 3000]
  return nodeOf({
    revocations: mysqlRevocationStore(pool, { timeout }),
    sessions: mysqlSessionStore(pool, { timeout }),
    users: mysqlUserStatusStore(pool, { timeout })
  }, async () => {
    for (const connection of await Promise.all(Array.from({ length: 6 }, () => pool.getConnection()))) connection.destroy()
  })
}

export const sqlServers: readonly SqlServer[] = [
  {
    name: 'Postgres',
    withStandby: withPostgresStandby,
    forgetful: (t, use) => withPrivatePostgres(t, use, { config: { wal_writer_delay: '10s', synchronous_commit: 'off' } }),
    async keep (_node, { url }) {
      const client = new pg.Client(url)
      await client.connect()
      await client.query('CHECKPOINT')
      await client.end()
    },
    nodeAt: postgresNode
  },
  {
    name: 'MariaDB or MySQL',
    withStandby: withMysqlReplica,
    forgetful: (t, use) => withPrivateMysql(t, use, mysqlForgets),
    async keep (_node, server) {
      await server.stop()
      await server.start()
    },
    nodeAt: mysqlNode
  }
]
