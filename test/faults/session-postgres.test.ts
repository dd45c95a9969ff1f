import pg from 'pg'
import t from 'tap'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { create, failed, filesHold, host, survives, tokenOf } from './session-survival.ts'

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
    cutConnections: () => otherPool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = \'client backend\'')
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

  await t.test('a missing table: 500, and what to do stands in the log only', async t => {
    const node = await host(postgresSessionStore(pool, { table: 'nowhere' }))
    const { status, body } = await node.logOut('reader')
    t.match({ status, body }, { status: 500, body: failed })
    t.notMatch(JSON.stringify(body), /migrate|nowhere/)
    t.match(node.logged.join(), /table nowhere is missing: run migrate\(\)/)
  })
}, { durable: true }))
