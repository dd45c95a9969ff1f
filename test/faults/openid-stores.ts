import { Redis } from 'ioredis'
import mysql from 'mysql2/promise'
import { join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'
import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'
import { mysqlProviderSessionIndex } from '../../lib/provider-session-indexes/mysql.ts'
import { postgresProviderSessionIndex } from '../../lib/provider-session-indexes/postgres.ts'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { sqliteProviderSessionIndex } from '../../lib/provider-session-indexes/sqlite.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** What a receiver of logout tokens keeps in a database. */
export interface OpenidStores {
  readonly sessions: SessionStore
  readonly index: ProviderSessionIndex
}

/** The stores of one node, on a client of its own. */
export interface OpenidNode extends OpenidStores {
  migrate (): Promise<void>
  close (): unknown
}

/** A kind of database that several nodes share. */
export interface SharedDatabase {
  readonly name: string
  readonly skip: string | false
  open (url: string): OpenidNode
  /** Runs a test against a database of its own. A file has no server. */
  run (t: Test, use: (url: string, server: PrivateServer | undefined) => Promise<void>): Promise<void>
}

type Migratable = OpenidStores & Readonly<Record<'sessions' | 'index', { migrate (): Promise<void> }>>

/** A node with tables: they are made by `migrate()`. */
function node (stores: Migratable, close: () => unknown): OpenidNode {
  return {
    ...stores,
    close,
    migrate: async () => {
      await stores.sessions.migrate()
      await stores.index.migrate()
    }
  }
}

const sqlite = sqliteLibraries.find(({ skip }) => skip === false) ?? sqliteLibraries[0]

export const sharedDatabases: readonly SharedDatabase[] = [
  {
    name: 'Redis',
    skip: false,
    open (url) {
      const redis = new Redis(url, { maxRetriesPerRequest: 1 })
      redis.on('error', () => {})
      const stores = { sessions: redisSessionStore(redis), index: redisProviderSessionIndex(redis) }
      return { ...stores, migrate: async () => {}, close: () => redis.disconnect() }
    },
    run: (t, use) => withPrivateRedis(t, server => use(server.url, server))
  },
  {
    name: 'Postgres',
    skip: false,
    open (url) {
      const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 5000, query_timeout: 20_000 })
      pool.on('error', () => {})
      return node({ sessions: postgresSessionStore(pool), index: postgresProviderSessionIndex(pool) }, () => pool.end())
    },
    run: (t, use) => withPrivatePostgres(t, server => use(server.url, server))
  },
  {
    name: 'MariaDB or MySQL',
    skip: false,
    open (url) {
      const pool = mysql.createPool({ uri: url, connectionLimit: 8 })
      return node({ sessions: mysqlSessionStore(pool), index: mysqlProviderSessionIndex(pool) }, () => pool.end())
    },
    run: (t, use) => withPrivateMysql(t, server => use(server.url, server))
  },
  {
    name: 'a file of SQLite',
    skip: sqlite?.skip ?? 'no SQLite',
    open (path) {
      const database = sqlite?.openAtDefaults(path)
      if (database === undefined) throw new Error('no SQLite')
      database.exec('PRAGMA busy_timeout = 5000')
      return node({ sessions: sqliteSessionStore(database), index: sqliteProviderSessionIndex(database) }, () => database.close())
    },
    run: (t, use) => use(join(t.testdir(), 'sessions.db'), undefined)
  }
]

/** The kind of this name. */
export function sharedDatabase (name: string): SharedDatabase {
  const found = sharedDatabases.find(database => database.name === name)
  if (found === undefined) throw new Error(`there is no database ${name}`)
  return found
}
