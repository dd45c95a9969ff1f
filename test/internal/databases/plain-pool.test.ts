import callbackMysql from 'mysql2'
import mysql from 'mysql2/promise'
import pg from 'pg'
import t from 'tap'
import { isOwnMethodOf } from '../../../lib/internal/databases/plain-pool.ts'

t.test('the pools of the clients are plain', async t => {
  t.ok(isOwnMethodOf(new pg.Pool(), ['query', 'connect', 'totalCount']))
  for (const pool of [mysql.createPool({}), callbackMysql.createPool({}), callbackMysql.createPool({}).promise()]) {
    t.ok(isOwnMethodOf(pool, ['query', 'getConnection', 'execute']))
  }
})

t.test('an object that was changed, wrapped or made by the host is not', async t => {
  class RequestPool extends pg.Pool {
    override query (): never { throw new Error('the transaction of the request') }
  }
  const members = ['query', 'connect']
  const changed = Object.assign(new pg.Pool(), { query () {} })
  for (const client of [
    new RequestPool(), new Proxy(new pg.Pool(), {}), changed, { query () {}, connect () {} }, {}, null, undefined
  ]) t.notOk(isOwnMethodOf(client as object, members))
})
