// The clients that a host has, the same for all subjects.

/** Opens the client of this kind of store. */
export async function openClient (store) {
  return clients[store.kind](store)
}

/** Deletes what is at a place of our own in a database. */
export async function emptyPlace (store) {
  await emptying[store.kind]?.(store)
}

const emptying = {
  redis: async place => {
    const redis = await openClient(place)
    await redis.flushdb()
    await redis.quit()
  },
  postgres: async place => {
    const pool = await openClient(place)
    pool.on('error', () => {}) // its connection may still be open when the server ends
    await pool.query(`DROP SCHEMA bench_${place.database} CASCADE`)
    await pool.end()
  }
}

const clients = {
  redis: async ({ url, database = 0 }) => {
    const { Redis } = await import('ioredis')
    return new Redis(url, { db: database })
  },
  postgres: async ({ url, database }) => {
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ connectionString: url, max: 10 })
    if (database === undefined) return pool
    await pool.query(`CREATE SCHEMA IF NOT EXISTS bench_${database}`)
    await pool.end()
    return new pg.Pool({ connectionString: url, max: 10, options: `-c search_path=bench_${database}` })
  },
  mysql: async ({ url, database = 0 }) => {
    const { createConnection, createPool } = await import('mysql2/promise')
    const connection = await createConnection(url)
    await connection.query(`CREATE DATABASE IF NOT EXISTS bench_${database}`)
    await connection.end()
    return createPool({ uri: `${url}/bench_${database}`, connectionLimit: 10 })
  },
  sqlite: async ({ path }) => {
    const { default: Database } = await import('better-sqlite3')
    const database = new Database(path)
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = NORMAL')
    database.pragma('busy_timeout = 5000')
    return database
  }
}
