// The clients that a host has, the same for all subjects.

/** Opens the client of this kind of store. */
export async function openClient (store) {
  return clients[store.kind](store)
}

const clients = {
  redis: async ({ url }) => {
    const { Redis } = await import('ioredis')
    return new Redis(url)
  },
  postgres: async ({ url }) => {
    const { default: pg } = await import('pg')
    return new pg.Pool({ connectionString: url, max: 10 })
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
