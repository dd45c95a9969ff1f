import { setTimeout as sleep } from 'node:timers/promises'
import pg, { type PoolConfig } from 'pg'
import t, { type Test } from 'tap'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { create, failed, filesHold, host, survives, tokenOf, until204 } from './session-survival.ts'

t.test('a network that swallows every packet', t => withPrivatePostgres(t, async server => {
  const direct = new pg.Pool({ connectionString: server.url })
  t.teardown(() => direct.end())
  const store = postgresSessionStore(direct)
  await store.migrate()

  /** A node whose connections go through a proxy, all of them open. */
  async function nodeBehindProxy (t: Test, names: string[], timeouts: PoolConfig) {
    const proxy = await tcpProxy(t, server.port)
    const pool = new pg.Pool({ ...timeouts, connectionString: server.url.replace(String(server.port), String(proxy.port)), max: 4 })
    pool.on('error', () => {})
    t.teardown(() => {
      proxy.cut()
      return pool.end()
    })
    await Promise.all(names.map(name => create(store, name)))
    await Promise.all(Array.from({ length: 4 }, () => pool.query('SELECT pg_sleep(0.1)')))
    t.equal(pool.totalCount, 4)
    return { proxy, pool, node: await host(postgresSessionStore(pool)) }
  }

  /** One after the other, so that each is a statement of its own. */
  async function logOutEach ({ logOut }: Awaited<ReturnType<typeof host>>, names: string[]) {
    const answers = []
    for (const name of names) {
      await sleep(5)
      answers.push(logOut(name))
    }
    return (await Promise.all(answers)).map(({ status }) => status)
  }

  await t.test('a Pool with query_timeout and connectionTimeoutMillis heals by itself, and no answered logout is lost', async t => {
    const names = Array.from({ length: 8 }, (_, index) => `healed-${index}`)
    const { proxy, node } = await nodeBehindProxy(t, names, { query_timeout: 400, connectionTimeoutMillis: 400 })
    proxy.swallow()
    t.strictSame(await logOutEach(node, names), names.map(() => 500))
    proxy.heal()
    for (const name of names) {
      t.equal(await until204(node, name), 204)
      t.equal((await store.find(tokenOf(name)))?.status, 'logged_out')
    }
  })

  await t.test('a Pool without them keeps the silent connections, which is why a warning asks for them', async t => {
    const names = Array.from({ length: 8 }, (_, index) => `silent-${index}`)
    const { proxy, pool, node } = await nodeBehindProxy(t, names, {})
    proxy.swallow()
    t.strictSame(await logOutEach(node, names), names.map(() => 500))
    proxy.heal()
    t.strictSame(await logOutEach(node, names), names.map(() => 500))
    t.equal(pool.totalCount, 4)
    t.equal(pool.idleCount, 0)
  })
}))

t.test('Postgres', t => withPrivatePostgres(t, async server => {
  const pools = [1, 2].map(() => new pg.Pool({ connectionString: server.url, max: 10, connectionTimeoutMillis: 10_000 }))
  const [pool, otherPool] = pools as [pg.Pool, pg.Pool]
  for (const each of pools) each.on('error', () => {})
  t.teardown(() => Promise.all(pools.map(each => each.end())))
  const store = postgresSessionStore(pool)
  await store.migrate()
  await survives(t, server, {
    store,
    other: postgresSessionStore(otherPool),
    cutConnections: () => otherPool.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = \'client backend\''
    )
  })
  await otherPool.query('CHECKPOINT')
  t.ok(filesHold(server.directory, 'session-1'), 'its files hold the sessions')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')

  await t.test('a server that only reads: 500, and nothing changes', async t => {
    await create(store, 'reader')
    const readOnly = new pg.Pool({ connectionString: server.url, options: '-c default_transaction_read_only=on' })
    t.teardown(() => readOnly.end())
    const node = await host(postgresSessionStore(readOnly))
    t.match(await node.logOut('reader'), { status: 500, body: failed })
    t.equal((await store.find(tokenOf('reader')))?.status, 'active')
    t.equal((await postgresSessionStore(readOnly).find(tokenOf('reader')))?.status, 'active', 'it can be read there')
  })

  await t.test('a pool that is exhausted: 500 at its timeout, and it heals when a connection is free', async t => {
    await create(store, 'exhausted')
    const single = new pg.Pool({ connectionString: server.url, max: 1, connectionTimeoutMillis: 300, query_timeout: 300 })
    t.teardown(() => single.end())
    const taken = await single.connect()
    const node = await host(postgresSessionStore(single))
    t.match(await node.logOut('exhausted'), { status: 500, body: failed })
    taken.release()
    t.equal((await node.logOut('exhausted')).status, 204)
    t.strictSame(node.ended, ['exhausted'])
  })

  await t.test('a login that waits for a lock until the server gives up is an error, and the next one succeeds', async t => {
    const impatient = new pg.Pool({ connectionString: server.url, options: '-c lock_timeout=300' })
    t.teardown(() => impatient.end())
    const connection = await pool.connect()
    await connection.query('BEGIN')
    await create(postgresSessionStore(connection), 'twice')
    await t.rejects(async () => create(postgresSessionStore(impatient), 'twice'), { message: /lock timeout/ })
    await connection.query('ROLLBACK')
    connection.release()
    await create(postgresSessionStore(impatient), 'twice')
    t.equal((await store.find(tokenOf('twice')))?.status, 'active')
  })

  await t.test('a deadlock with transactions of the host ends in a logout', async t => {
    for (const id of ['one', 'other']) await create(store, id, 'deadlock')
    const connection = await pool.connect()
    await connection.query('BEGIN')
    await connection.query("SELECT 1 FROM logout_session WHERE id = 'one' FOR UPDATE")
    const counting = store.logOutSubject({ subject: 'deadlock', count: true })
    await sleep(50)
    await connection.query("SELECT 1 FROM logout_session WHERE id = 'other' FOR UPDATE").catch(() => {})
    await connection.query('ROLLBACK')
    connection.release()
    t.equal(await counting, 2)
  })

  await t.test('a missing table: 500, and what to do stands in the log only', async t => {
    const node = await host(postgresSessionStore(pool, { table: 'nowhere' }))
    const { status, body } = await node.logOut('reader')
    t.match({ status, body }, { status: 500, body: failed })
    t.notMatch(JSON.stringify(body), /migrate|nowhere/)
    t.match(node.logged.join(), /table nowhere is missing.*: run migrate\(\)/)
  })
}, { durable: true }))

/** A segment of the log of Postgres, which is as large from its beginning. */
const segment = 16 * 1024 * 1024
const needsLimits = process.platform === 'linux' ? false : 'needs prlimit of Linux'

t.test('a Postgres without room: what was answered is the truth, reading goes on, and it heals', { skip: needsLimits }, t => {
  return withPrivatePostgres(t, async server => {
    const pool = new pg.Pool({ connectionString: server.url, max: 4, connectionTimeoutMillis: 5000, query_timeout: 5000 })
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    const sessions = postgresSessionStore(pool)
    await sessions.migrate()
    const node = await host(sessions)
    await create(sessions, 'first')
    await fillTo(pool, segment - 40 * 8192)
    server.limitFiles(segment)
    const made: string[] = []
    const fill = async () => {
      for (;;) {
        await create(sessions, `fill-${made.length}`)
        made.push(`fill-${made.length}`)
      }
    }
    await t.rejects(fill, { message: /could not extend file/ })
    t.comment(`${made.length} sessions fit`)

    for (const id of ['first', ...made.slice(-20)]) {
      const { status, body } = await node.logOut(id)
      const after = (await sessions.find(tokenOf(id)))?.status
      if (status === 204) t.equal(after, 'logged_out')
      else t.match({ status, body, after }, { status: 500, body: failed, after: 'active' })
    }
    t.equal(await sessions.find(tokenOf(`fill-${made.length}`)), undefined, 'the login that was refused is not there')

    server.limitFiles()
    await create(sessions, 'later')
    t.equal(await until204(node, 'later'), 204)
  })
})

/** Writes rows until the table is of this size in bytes. */
async function fillTo (pool: pg.Pool, size: number): Promise<void> {
  for (let filled = 0; filled < size;) {
    await pool.query(`INSERT INTO logout_session (digest, id, subject, epoch, created_at, expires_at, keep_until, details)
      SELECT row || details, row || details, 'nobody', 0, 0, 0, 0, details
      FROM (SELECT number AS row, repeat(md5(random()::text), 10) AS details FROM generate_series(1, 500) AS number) AS given`)
    const { rows: [row] } = await pool.query("SELECT pg_relation_size('logout_session')::integer AS size")
    filled = row.size
  }
}
