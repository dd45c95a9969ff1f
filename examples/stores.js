import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
import { mysqlProviderSessionIndex } from 'fastify-logout/provider-session-indexes/mysql'
import { postgresProviderSessionIndex } from 'fastify-logout/provider-session-indexes/postgres'
import { redisProviderSessionIndex } from 'fastify-logout/provider-session-indexes/redis'
import { sqliteProviderSessionIndex } from 'fastify-logout/provider-session-indexes/sqlite'
import { memorySessionStore } from 'fastify-logout/session-stores/memory'
import { mysqlSessionStore } from 'fastify-logout/session-stores/mysql'
import { postgresSessionStore } from 'fastify-logout/session-stores/postgres'
import { redisSessionStore } from 'fastify-logout/session-stores/redis'
import { sqliteSessionStore } from 'fastify-logout/session-stores/sqlite'
import { redisRateLimitStore } from 'fastify-logout/rate-limit-stores/redis'
import { memoryUserStatusStore } from 'fastify-logout/user-status-stores/memory'
import { mysqlUserStatusStore } from 'fastify-logout/user-status-stores/mysql'
import { postgresUserStatusStore } from 'fastify-logout/user-status-stores/postgres'
import { redisUserStatusStore } from 'fastify-logout/user-status-stores/redis'
import { sqliteUserStatusStore } from 'fastify-logout/user-status-stores/sqlite'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

/**
 * @typedef {object} Stores
 * @property {string} name for the greeting
 * @property {import('fastify-logout').SessionStore} sessions
 * @property {import('fastify-logout').UserStatusStore} users
 * @property {import('fastify-logout').ProviderSessionIndex} index
 * @property {import('fastify-logout').LogoutRateLimit} [rateLimit]
 * @property {() => unknown} [close]
 */

/** @returns {Stores} */
export function memory () {
  return {
    name: 'memory: a restart forgets every logout',
    sessions: memorySessionStore(),
    users: memoryUserStatusStore(),
    index: memoryProviderSessionIndex()
  }
}

/** @returns {Promise<Stores>} */
async function sqlite () {
  const file = process.env.SQLITE_FILE ?? 'fastify-logout-example.sqlite'
  const database = openSqlite(file)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 1000')
  const sessions = sqliteSessionStore(database)
  const users = sqliteUserStatusStore(database)
  const index = sqliteProviderSessionIndex(database)
  await sessions.migrate()
  await users.migrate()
  await index.migrate()
  return { name: `SQLite, in ${file}`, sessions, users, index, close: () => database.close() }
}

/**
 * Opens a file with what there is: `node:sqlite` (Node 22.13 or newer), or better-sqlite3.
 * @param {string} file
 */
function openSqlite (file) {
  const { DatabaseSync } = /** @type {any} */ (process.getBuiltinModule('node:sqlite') ?? {})
  const Database = DatabaseSync ?? createRequire(import.meta.url)('better-sqlite3')
  return new Database(file)
}

function hasSqlite () {
  try {
    openSqlite(':memory:').close()
    return true
  } catch {
    return false
  }
}

/** @returns {Promise<Stores>} */
async function redis () {
  const { Redis } = await import('ioredis')
  const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
  const retryStrategy = (/** @type {number} */ attempt) => Math.min(attempt * 100, 2000)
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1, socketTimeout: 5000, retryStrategy })
  /** @type {unknown} */
  let trouble
  client.on('error', error => { trouble = error }) // Each failed command says so itself.
  await client.connect().catch((error) => {
    client.disconnect()
    throw trouble ?? error
  })
  return {
    name: 'Redis, by REDIS_URL',
    sessions: redisSessionStore(client),
    users: redisUserStatusStore(client),
    index: redisProviderSessionIndex(client),
    rateLimit: { store: redisRateLimitStore(client) },
    close: () => client.disconnect()
  }
}

/** @returns {Promise<Stores>} */
async function postgres () {
  const { default: { Pool } } = await import('pg')
  const pool = new Pool({
    connectionString: process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres',
    connectionTimeoutMillis: 5000,
    query_timeout: 5000
  })
  pool.on('error', () => {}) // A connection that broke while idle: the next query opens another.
  const sessions = postgresSessionStore(pool)
  const users = postgresUserStatusStore(pool)
  const index = postgresProviderSessionIndex(pool)
  await sessions.migrate()
  await users.migrate()
  await index.migrate()
  return { name: 'Postgres, by DATABASE_URL', sessions, users, index, close: () => pool.end() }
}

/** @returns {Promise<Stores>} */
async function mysql () {
  const { createPool } = await import('mysql2/promise')
  const pool = createPool({ uri: process.env.MYSQL_URL ?? 'mysql://root@127.0.0.1:3306/test', connectTimeout: 5000 })
  const sessions = mysqlSessionStore(pool, { timeout: 5000 })
  const users = mysqlUserStatusStore(pool, { timeout: 5000 })
  const index = mysqlProviderSessionIndex(pool, { timeout: 5000 })
  await sessions.migrate()
  await users.migrate()
  await index.migrate()
  return { name: 'MySQL, by MYSQL_URL', sessions, users, index, close: () => pool.end() }
}

const kinds = { memory, sqlite, redis, postgres, mysql }

/**
 * The stores that `--store memory|sqlite|redis|postgres|mysql` chooses. Without it: SQLite where there is one, so that a
 * logout survives a restart, and memory elsewhere.
 *
 * @param {string[]} argv
 * @returns {Promise<Stores>}
 */
export async function chosenStores (argv) {
  const { store } = parseArgs({ args: argv, options: { store: { type: 'string' } } }).values
  if (store === undefined) return open(hasSqlite() ? 'sqlite' : 'memory')
  if (!Object.hasOwn(kinds, store)) throw new Error(`--store ${store} is unknown: choose one of ${Object.keys(kinds).join(', ')}`)
  return open(/** @type {keyof typeof kinds} */ (store))
}

/** @param {keyof typeof kinds} store */
async function open (store) {
  try {
    return await kinds[store]()
  } catch (error) {
    const { message, code, cause } = /** @type {any} */ (error)
    throw new Error(`--store ${store} cannot be opened: ${message || (cause?.message ?? code)}`)
  }
}
