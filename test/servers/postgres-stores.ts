import pg from 'pg'
import type { Test } from 'tap'

/** Makes four pools, and stores on tables of their own, which are dropped when the test ends. */
export function postgresStores<Store extends { migrate (): Promise<void> }> (
  t: Test, url: string, make: (pool: pg.Pool, table: string) => Store
) {
  const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: url, max: 4 }))
  const [pool] = pools as [pg.Pool]
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(dropping(table))
    await Promise.all(pools.map(each => each.end()))
  })
  const freshTable = () => {
    const table = `test_own_${process.pid}_${Date.now()}_${tables.length}`
    tables.push(table)
    return table
  }

  return {
    pools,
    pool,
    freshTable,
    /** Makes a table, and a store on it through each pool. */
    async fresh () {
      const table = freshTable()
      const stores = pools.map(each => make(each, table))
      const [store] = stores as [Store]
      await store.migrate()
      return { table, stores, store }
    }
  }
}

/** The statements that drop whatever a store of ours makes for a table. */
export function dropping (table: string): string {
  return `DROP TABLE IF EXISTS ${table}, ${table}_subject, ${table}_cutoff;
    DROP FUNCTION IF EXISTS ${table}_log_out, ${table}_bind, ${table}_revoke`
}
