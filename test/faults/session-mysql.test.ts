import { setTimeout as sleep } from 'node:timers/promises'
import mysql from 'mysql2/promise'
import t, { type Test } from 'tap'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { killConnections, mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { create, failed, filesHold, host, survives, tokenOf, until204 } from './session-survival.ts'

t.test('a network that swallows every packet', t => withPrivateMysql(t, async server => {
  const store = mysqlSessionStore(mysqlPool(t, server.url))
  await store.migrate()
  const names = Array.from({ length: 8 }, (_, index) => `healed-${index}`)
  await Promise.all(names.map(name => create(store, name)))
  const proxy = await tcpProxy(t, server.port)
  const uri = server.url.replace(String(server.port), String(proxy.port))
  const pool = mysql.createPool({ uri, connectionLimit: 4, connectTimeout: 400 })
  t.teardown(() => {
    proxy.cut()
    return pool.end().catch(() => {})
  })
  await Promise.all(Array.from({ length: 4 }, () => pool.query('SELECT SLEEP(0.1)')))
  const node = await host(mysqlSessionStore(pool, { timeout: 400 }))

  await t.test('the pool heals by itself, and no answered logout is lost', async t => {
    proxy.swallow()
    const answers = []
    for (const name of names) {
      await sleep(5)
      answers.push(node.logOut(name))
    }
    t.strictSame((await Promise.all(answers)).map(({ status }) => status), names.map(() => 500))
    proxy.heal()
    for (const name of names) {
      t.equal(await until204(node, name), 204)
      t.equal((await store.find(tokenOf(name)))?.status, 'logged_out')
    }
  })
}))

t.test('MySQL', t => withPrivateMysql(t, async server => {
  const pools = [1, 2].map(() => mysqlPool(t, server.url, { connectionLimit: 10 }))
  const [pool, otherPool] = pools as [mysql.Pool, mysql.Pool]
  const store = mysqlSessionStore(pool)
  await store.migrate()
  await survives(t, server, { store, other: mysqlSessionStore(otherPool), cutConnections: () => killConnections(otherPool) })
  t.ok(filesHold(server.directory, 'session-1'), 'its files hold the sessions')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')
  await refusals(t, pool, server.url)
}, { durable: true }))

async function refusals (t: Test, pool: mysql.Pool, url: string) {
  const store = mysqlSessionStore(pool)

  await t.test('a server that only reads: 500, and nothing changes; on the next one that writes, it succeeds', async t => {
    await create(store, 'reader')
    await pool.query("CREATE USER app IDENTIFIED BY ''")
    await pool.query('GRANT ALL ON test.* TO app')
    await pool.query('SET GLOBAL read_only = 1')
    const node = await host(mysqlSessionStore(mysqlPool(t, url.replace('root', 'app'))))
    t.match(await node.logOut('reader'), { status: 500, body: failed })
    t.equal((await store.find(tokenOf('reader')))?.status, 'active')
    await pool.query('SET GLOBAL read_only = 0')
    t.equal((await node.logOut('reader')).status, 204)
  })

  await t.test('a pool that is exhausted: 500 at the timeout, and it heals when a connection is free', async t => {
    await create(store, 'exhausted')
    const single = mysqlPool(t, url, { connectionLimit: 1 })
    const taken = await single.getConnection()
    const node = await host(mysqlSessionStore(single, { timeout: 300 }))
    t.match(await node.logOut('exhausted'), { status: 500, body: failed })
    taken.release()
    t.equal((await node.logOut('exhausted')).status, 204)
  })

  await t.test('a login that waits for a lock until the server gives up is an error, and the next one succeeds', async t => {
    const impatient = mysqlSessionStore(mysqlPool(t, url, {}, ['SET SESSION innodb_lock_wait_timeout = 1']))
    const connection = await pool.getConnection()
    await connection.query('BEGIN')
    await create(mysqlSessionStore(connection), 'twice')
    await t.rejects(async () => create(impatient, 'twice'), { message: /Lock wait timeout/ })
    await connection.query('ROLLBACK')
    connection.release()
    await create(impatient, 'twice')
    t.equal((await store.find(tokenOf('twice')))?.status, 'active')
  })

  await t.test('a deadlock with transactions of the host ends in a logout', async t => {
    for (const id of ['one', 'other']) await create(store, id, 'deadlock')
    const connection = await pool.getConnection()
    await connection.query('BEGIN')
    await connection.query("SELECT 1 FROM logout_session WHERE id = 'one' FOR UPDATE")
    const counting = store.logOutSubject({ subject: 'deadlock', count: true })
    await sleep(50)
    await connection.query("SELECT 1 FROM logout_session WHERE id = 'other' FOR UPDATE").catch(() => {})
    await connection.query('ROLLBACK')
    connection.release()
    t.equal(await counting, 2)
  })

  await t.test('a table that is reported to be full: 500, nothing changes, and reading goes on', async t => {
    await create(store, 'full')
    await pool.query(`CREATE TRIGGER no_room BEFORE UPDATE ON logout_session
      FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114`)
    const node = await host(store)
    t.match(await node.logOut('full'), { status: 500, body: failed })
    t.equal((await store.find(tokenOf('full')))?.status, 'active')
    await pool.query('DROP TRIGGER no_room')
    t.equal((await node.logOut('full')).status, 204)
  })

  await t.test('a missing table: 500, and what to do stands in the log only', async t => {
    const node = await host(mysqlSessionStore(pool, { table: 'nowhere' }))
    const { status, body } = await node.logOut('reader')
    t.match({ status, body }, { status: 500, body: failed })
    t.notMatch(JSON.stringify(body), /migrate|nowhere/)
    t.match(node.logged.join(), /table nowhere is missing.*: run migrate\(\)/)
  })
}

/** The files of the server do not grow: InnoDB reports a full table as on a full disk. */
const fullSoon = { config: { 'innodb-file-per-table': '0', 'innodb-data-file-path': 'ibdata1:12M' } }

t.test('a server without room: what was answered is the truth, reading goes on, and it heals', t => withPrivateMysql(t, async server => {
  const pool = mysqlPool(t, server.url)
  const [sessions, revocations] = [mysqlSessionStore(pool), mysqlRevocationStore(pool)]
  await sessions.migrate()
  await revocations.migrate()
  const node = await host(sessions)
  await create(sessions, 'first')
  const made: string[] = []
  const fill = async () => {
    for (let index = 0; ; index++) {
      await create(sessions, `fill-${index}`)
      made.push(`fill-${index}`)
    }
  }
  await t.rejects(fill, { errno: 1114, message: /is full/ })
  t.comment(`${made.length} sessions fit`)

  const marks = Array.from({ length: 20_000 }, (_, index) => ({ tokenId: `token-${index}`, until: Date.now() + 3_600_000 }))
  await t.rejects(async () => revocations.revoke(...marks), { errno: 1114, message: /is full/ }, 'marks')
  t.equal(await revocations.check({ tokenId: 'token-0' }), 'live', 'a call that was rejected has revoked nothing')

  for (const id of ['first', ...made.slice(0, 20)]) {
    const { status, body } = await node.logOut(id)
    const after = (await sessions.find(tokenOf(id)))?.status
    if (status === 204) t.equal(after, 'logged_out')
    else t.match({ status, body, after }, { status: 500, body: failed, after: 'active' })
  }

  await pool.query("DELETE FROM logout_session WHERE id LIKE 'fill%'")
  for (let attempt = 0, opened = false; attempt < 100 && !opened; attempt++) {
    await sleep(100)
    opened = await Promise.resolve(create(sessions, 'later')).then(() => true, () => false)
  }
  t.equal((await sessions.find(tokenOf('later')))?.status, 'active', 'once there is room')
  t.equal(await until204(node, 'later'), 204)
}, fullSoon))
