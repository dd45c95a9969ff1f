// What sessions and marks take in a store: put in through the library, measured by the server's own figures.
import { openClient } from './clients.js'
import { revocationStore, sessionStore } from './library-stores.js'
import { inParallel, sessionAt, tokenAt } from './tokens.js'

const day = 86_400_000

export default async function ({ store }) {
  const client = await openClient(store)
  const used = () => sizes[store.kind](client, store)

  return {
    run: async ({ count }) => {
      const sessions = await sessionStore(store)
      const first = await used()
      await inParallel(0, count, index => sessions.create(tokenAt(index), { ...sessionAt(index, `user-${index >> 1}`), id: tokenAt(index).slice(0, 22) }))
      const second = await used()
      const revocations = await revocationStore(store)
      const until = Date.now() + day
      for (let from = 0; from < count; from += 1000) {
        await revocations.revoke(...Array.from({ length: 1000 }, (_, index) => ({ tokenId: tokenAt(from + index), until })))
      }
      return { session: (second - first) / count, mark: (await used() - second) / count }
    }
  }
}

/** Bytes of memory of Redis, of the tables with their indexes, of the file. */
const sizes = {
  redis: async redis => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]),
  postgres: async (pool, { database }) => {
    const { rows: [{ bytes }] } = await pool.query(`SELECT coalesce(sum(pg_total_relation_size(oid)), 0) AS bytes FROM pg_class
      WHERE relkind = 'r' AND relnamespace = 'bench_${database}'::regnamespace`)
    return Number(bytes)
  },
  mysql: async (pool, { database }) => {
    const [tables] = await pool.query(`SHOW TABLES IN bench_${database}`)
    for (const table of tables) await pool.query(`ANALYZE TABLE \`${Object.values(table)[0]}\``)
    const [[{ bytes }]] = await pool.query('SELECT coalesce(sum(data_length + index_length), 0) AS bytes FROM information_schema.tables WHERE table_schema = ?', [`bench_${database}`])
    return Number(bytes)
  },
  sqlite: database => {
    database.pragma('wal_checkpoint(TRUNCATE)')
    return database.pragma('page_count', { simple: true }) * database.pragma('page_size', { simple: true })
  }
}
