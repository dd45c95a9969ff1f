import callbackMysql from 'mysql2'
import type { Pool, PoolOptions } from 'mysql2/promise'
import t, { type Test } from 'tap'
import type { MysqlClient } from '../../lib/internal/databases/mysql.ts'
import { mysqlProviderSessionIndex } from '../../lib/provider-session-indexes/mysql.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { mysqlUserStatusStore } from '../../lib/user-status-stores/mysql.ts'
import { clientOptions, sqlModes } from '../servers/mysql-settings.ts'
import { mysqlPool, withMysql } from '../servers/mysql.ts'
import { keepsEveryRule } from './every-rule.ts'

let made = 0

/** A store on a table of its own, which is dropped with the test. */
async function onTable<Store extends { migrate (): Promise<void> }> (
  t: Test, pool: Pool, make: (table: string) => Store
): Promise<Store> {
  const table = `test_settings_${process.pid}_${Date.now()}_${made++}`
  t.teardown(() => pool.query(`DROP TABLE IF EXISTS ${['', '_everywhere', '_cutoff'].map(end => table + end).join()}`))
  const store = make(table)
  await Promise.all([store.migrate(), store.migrate(), store.migrate()])
  return store
}

function keepsEveryRuleOn (t: Test, pool: Pool, client: MysqlClient): Promise<void> {
  return keepsEveryRule(t, {
    sessions: () => onTable(t, pool, table => mysqlSessionStore(client, { table })),
    users: () => onTable(t, pool, table => mysqlUserStatusStore(client, { table })),
    marks: () => onTable(t, pool, table => mysqlRevocationStore(client, { table, pollInterval: 5 })),
    logins: () => onTable(t, pool, table => mysqlProviderSessionIndex(client, { table }))
  })
}

const settings: Array<readonly [name: string, options: PoolOptions, first: readonly string[]]> = [
  ...Object.entries(clientOptions).map(([name, options]) => [`the client option ${name}`, options, []] as const),
  ...Object.entries(sqlModes).map(([name, first]) => [name, {}, first] as const)
]

t.test('on a server that others use too', t => withMysql(t, async ({ url }) => {
  const pool = mysqlPool(t, url)
  for (const [name, options, first] of settings) {
    await t.test(`with ${name}`, t => keepsEveryRuleOn(t, pool, mysqlPool(t, url, { connectionLimit: 8, ...options }, first)))
  }

  await t.test('with a pool of callbacks', async t => {
    const callbacks = callbackMysql.createPool({ uri: url, connectionLimit: 8 })
    t.teardown(() => callbacks.promise().end())
    await keepsEveryRuleOn(t, pool, callbacks)
  })

  await t.test('with a connection of callbacks', async t => {
    const connection = callbackMysql.createConnection(url)
    t.teardown(() => connection.destroy())
    await keepsEveryRuleOn(t, pool, connection)
  })
}))
