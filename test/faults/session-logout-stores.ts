import { RedisStore } from 'connect-redis'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool, type RowDataPacket } from 'mysql2/promise'
import pg from 'pg'
import { createClient } from 'redis'
import type { Test } from 'tap'
import type { ProtectableSessionStore } from '../../lib/bridges/express-session.ts'
import type { RevocationStore } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { sqliteRevocationStore } from '../../lib/revocation-stores/sqlite.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** The stores of a host, which all of its processes share. */
interface LogoutStores {
  readonly marks: RevocationStore
  readonly sessions: SessionStore
  /** For `@fastify/session`. */
  readonly innerStore: ProtectableSessionStore
}

/** A database in which a host keeps its sessions and marks. */
interface LogoutDatabase {
  readonly name: string
  /** Runs a test against a database of its own. */
  withOwn (t: Test, use: (database: { readonly url: string }) => Promise<void>): Promise<void>
  /** Opens the stores of a host, in one of its processes. */
  open (url: string, host: string): Promise<LogoutStores>
}

/** Texts by their keys. */
interface Table {
  get (id: string): Promise<string | undefined>
  set (id: string, text: string): Promise<unknown>
  remove (id: string): Promise<unknown>
}

/** A session store of express-session over a table, as hosts write it themselves. */
function storeOver ({ get, set, remove }: Table): ProtectableSessionStore {
  const callBack = (work: Promise<unknown>, callback: (error: unknown, value?: unknown) => void) => {
    work.then(value => callback(null, value), callback)
  }
  return {
    get: (id, callback) => callBack(get(id).then(text => text === undefined ? null : JSON.parse(text)), callback),
    set: (id, session, callback) => callBack(set(id, JSON.stringify(session)), callback),
    destroy: (id, callback) => callBack(remove(id), callback)
  }
}

async function migrated<Stores extends readonly { migrate (): Promise<void> }[]> (...stores: Stores): Promise<Stores> {
  for (const store of stores) await store.migrate()
  return stores
}

async function openPostgres (url: string, host: string): Promise<LogoutStores> {
  const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 10_000, query_timeout: 10_000 })
  const table = `kept_${host}`
  const [marks, sessions] = await migrated(
    postgresRevocationStore(pool, { table: `marks_${host}` }), postgresSessionStore(pool, { table: `sessions_${host}` }))
  await pool.query(`CREATE TABLE IF NOT EXISTS ${table} (id text PRIMARY KEY, text text)`)
  const set = `INSERT INTO ${table} VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET text = excluded.text`
  return {
    marks,
    sessions,
    innerStore: storeOver({
      get: async id => (await pool.query(`SELECT text FROM ${table} WHERE id = $1`, [id])).rows[0]?.text,
      set: (id, text) => pool.query(set, [id, text]),
      remove: id => pool.query(`DELETE FROM ${table} WHERE id = $1`, [id])
    })
  }
}

async function openMysql (url: string, host: string): Promise<LogoutStores> {
  const pool = createPool({ uri: url, connectionLimit: 4 })
  const table = `kept_${host}`
  const [marks, sessions] = await migrated(
    mysqlRevocationStore(pool, { table: `marks_${host}` }), mysqlSessionStore(pool, { table: `sessions_${host}` }))
  await pool.query(`CREATE TABLE IF NOT EXISTS ${table} (id VARCHAR(100) PRIMARY KEY, text TEXT)`)
  return {
    marks,
    sessions,
    innerStore: storeOver({
      get: async id => (await pool.query<RowDataPacket[]>(`SELECT text FROM ${table} WHERE id = ?`, [id]))[0][0]?.['text'],
      set: (id, text) => pool.query(`REPLACE INTO ${table} VALUES (?, ?)`, [id, text]),
      remove: id => pool.query(`DELETE FROM ${table} WHERE id = ?`, [id])
    })
  }
}

async function openSqlite (path: string, host: string): Promise<LogoutStores> {
  const library = sqliteLibraries.find(({ skip }) => skip === false)
  if (library === undefined) throw new Error('there is no library for SQLite')
  const database = library.open(path)
  database.exec('PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  const table = `kept_${host}`
  const [marks, sessions] = await migrated(
    sqliteRevocationStore(database, { table: `marks_${host}` }), sqliteSessionStore(database, { table: `sessions_${host}` }))
  database.exec(`CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY, text TEXT)`)
  const run = async (sql: string, ...values: string[]) => database.prepare(sql).all(...values) as Array<{ text: string }>
  return {
    marks,
    sessions,
    innerStore: storeOver({
      get: async id => (await run(`SELECT text FROM ${table} WHERE id = ?`, id))[0]?.text,
      set: (id, text) => run(`REPLACE INTO ${table} VALUES (?, ?) RETURNING id`, id, text),
      remove: id => run(`DELETE FROM ${table} WHERE id = ? RETURNING id`, id)
    })
  }
}

async function openRedis (url: string, host: string): Promise<LogoutStores> {
  const client = createClient({ url })
  await client.connect()
  return {
    marks: redisRevocationStore(client, { prefix: `${host}:marks` }),
    sessions: redisSessionStore(client, { prefix: `${host}:sessions` }),
    innerStore: new RedisStore({ client, prefix: `${host}:` }) as unknown as ProtectableSessionStore
  }
}

/** The databases whose stores outlive a process of the host. */
export const logoutDatabases: readonly LogoutDatabase[] = [
  { name: 'Redis', withOwn: withPrivateRedis, open: openRedis },
  { name: 'Postgres', withOwn: withPrivatePostgres, open: openPostgres },
  { name: 'MariaDB or MySQL', withOwn: withPrivateMysql, open: openMysql },
  {
    name: 'SQLite',
    withOwn: async (_t, use) => {
      const directory = mkdtempSync(join(tmpdir(), 'fastify-logout-'))
      try {
        await use({ url: join(directory, 'sessions.db') })
      } finally {
        rmSync(directory, { recursive: true })
      }
    },
    open: openSqlite
  }
]
