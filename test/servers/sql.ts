import type { Connection, Pool as MysqlPool } from 'mysql2/promise'
import type { Pool as PostgresPool, PoolClient } from 'pg'
import type { Test } from 'tap'
import type { MysqlClient, MysqlStatement } from '../../lib/internal/databases/mysql.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'

/** A pool of any client, for tests that are the same on every SQL database. */
export interface SqlPool<Client> {
  /** What a store takes. */
  readonly client: Client
  query (sql: string): Promise<Array<Record<string, unknown>>>
  /** A connection with an open transaction. */
  begin (): Promise<SqlTransaction<Client>>
  end (): Promise<void>
}

/** An open transaction. */
export interface SqlTransaction<Client> {
  readonly client: Client
  query (sql: string): Promise<Array<Record<string, unknown>>>
  commit (): Promise<void>
  rollback (): Promise<void>
}

/** What a database does in its own way. */
export interface SqlDatabase<Client> {
  pool (max: number): SqlPool<Client>
  /** A client that takes each statement to another one, such as that of the current transaction. */
  routed (choose: () => Client): Client
  /** A client that reports each statement. */
  watched (client: Client, onStatement: () => void): Client
}

/** A database, and a store on it. */
export interface SqlStores<Client, Store> extends SqlDatabase<Client> {
  store (client: Client, options: { readonly table: string, readonly batch?: boolean }): Store
  /** The statements that delete what a store made. */
  drop (table: string): readonly string[]
}

/** Four pools, and stores on tables of their own. */
export interface SqlScene<Client, Store, Database> {
  readonly database: Database
  readonly pools: ReadonlyArray<SqlPool<Client>>
  readonly pool: SqlPool<Client>
  freshTable (): string
  /** Makes a table, and a store on it through each pool. */
  fresh (): Promise<{ readonly table: string, readonly stores: readonly Store[], readonly store: Store }>
}

let made = 0

/** Makes a scene, whose tables are dropped when the test ends. */
export function sqlScene<Client, Store extends { migrate (): Promise<void> }, Database extends SqlStores<Client, Store>> (
  t: Test, database: Database & SqlStores<Client, Store>
): SqlScene<Client, Store, Database> {
  const pools = Array.from({ length: 4 }, () => database.pool(4))
  const [pool] = pools as [SqlPool<Client>]
  const used: string[] = []
  t.teardown(async () => {
    for (const statement of used.flatMap(table => database.drop(table))) await pool.query(statement)
    await Promise.all(pools.map(each => each.end()))
  })
  const freshTable = () => {
    const table = `test_${process.pid}_${Date.now()}_${made++}`
    used.push(table)
    return table
  }
  return {
    database,
    pools,
    pool,
    freshTable,
    async fresh () {
      const table = freshTable()
      const stores = pools.map(each => database.store(each.client, { table }))
      const [store] = stores as [Store]
      await store.migrate()
      return { table, stores, store }
    }
  }
}

export function postgresDatabase (makePool: (max: number) => PostgresPool): SqlDatabase<PostgresClient> {
  return {
    pool (max) {
      const pool = makePool(max)
      return {
        client: pool,
        query: async sql => (await pool.query(sql)).rows,
        end: () => pool.end(),
        async begin () {
          const connection: PoolClient = await pool.connect()
          const finish = async (sql: string) => {
            await connection.query(sql)
            connection.release()
          }
          await connection.query('BEGIN')
          return {
            client: connection,
            query: async sql => (await connection.query(sql)).rows,
            commit: () => finish('COMMIT'),
            rollback: () => finish('ROLLBACK')
          }
        }
      }
    },
    routed: choose => ({ query: (text, values) => choose().query(text, values) }),
    watched: (client, onStatement) => ({
      query (text, values) {
        onStatement()
        return client.query(text, values)
      }
    })
  }
}

type Queries = Pick<MysqlPool | Connection, 'query'>

export function mysqlDatabase (makePool: (max: number) => MysqlPool): SqlDatabase<MysqlClient> {
  const ask = (client: MysqlClient, statement: MysqlStatement) =>
    (client as { query (statement: MysqlStatement): Promise<readonly [unknown, ...unknown[]]> }).query(statement)
  const rowsOf = async (queries: Queries, sql: string) => (await queries.query(sql))[0] as Array<Record<string, unknown>>
  return {
    pool (max) {
      const pool = makePool(max)
      return {
        client: pool,
        query: sql => rowsOf(pool, sql),
        end: () => pool.end(),
        async begin () {
          const connection = await pool.getConnection()
          const finish = async (sql: string) => {
            await connection.query(sql)
            connection.release()
          }
          await connection.query('BEGIN')
          return {
            client: connection,
            query: sql => rowsOf(connection, sql),
            commit: () => finish('COMMIT'),
            rollback: () => finish('ROLLBACK')
          }
        }
      }
    },
    routed: choose => ({ query: statement => ask(choose(), statement) }),
    watched: (client, onStatement) => ({
      query (statement) {
        onStatement()
        return ask(client, statement)
      }
    })
  }
}
