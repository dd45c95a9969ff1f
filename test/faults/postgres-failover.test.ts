import pg from 'pg'
import t, { type Test } from 'tap'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { withPostgresStandby } from '../servers/postgres-standby.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { create, host, tokenOf } from './session-survival.ts'

const alice = { tenant: 'acme', subject: 'alice' }

function storesOn (t: Test, { url }: PrivateServer) {
  const pool = new pg.Pool({ connectionString: url, query_timeout: 3000, connectionTimeoutMillis: 3000 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return { pool, sessions: postgresSessionStore(pool), users: postgresUserStatusStore(pool) }
}

t.test('after a standby that was behind is promoted, the stores are as they were earlier', t => withPostgresStandby(t, async servers => {
  const before = storesOn(t, servers.primary)
  await before.sessions.migrate()
  await before.users.migrate()
  for (const id of ['kept', 'ended', 'ended-late']) await create(before.sessions, id)
  await create(before.sessions, 'ended-with-subject', 'bob')
  await before.sessions.logOut(tokenOf('ended'))
  await before.users.set(alice, 'logged_in')
  await servers.caughtUp()

  servers.cutReplication()
  t.equal((await before.sessions.logOut(tokenOf('ended-late')))?.status, 'active')
  t.equal(await before.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
  await create(before.sessions, 'opened-late', 'bob')
  await before.users.logOut(alice, { at: 1000, requestId: 'r' })
  await servers.failOver()

  const after = storesOn(t, servers.standby)
  const statuses = Object.fromEntries(await Promise.all(['kept', 'ended', 'ended-late', 'ended-with-subject', 'opened-late'].map(async id =>
    [id, (await after.sessions.find(tokenOf(id)))?.status])))
  t.strictSame(statuses, {
    kept: 'active', ended: 'logged_out', 'ended-late': 'active', 'ended-with-subject': 'active', 'opened-late': undefined
  })
  t.equal((await after.users.get(alice))?.status, 'logged_in')

  t.equal((await after.sessions.logOut(tokenOf('ended-late')))?.status, 'active', 'logging out again holds')
  t.equal(await after.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
  t.equal((await after.sessions.find(tokenOf('ended-with-subject')))?.status, 'logged_out')
  t.equal((await after.users.logOut(alice, { at: 1000, requestId: 'r' }))?.status, 'logged_in')
}))

t.test('with synchronous_standby_names no failover undoes an answered logout', t => withPostgresStandby(t, async servers => {
  const before = storesOn(t, servers.primary)
  await before.pool.query('ALTER SYSTEM SET synchronous_standby_names = \'*\'')
  await before.pool.query('SELECT pg_reload_conf()')
  await before.sessions.migrate()
  const ids = Array.from({ length: 40 }, (_, index) => `session-${index}`)
  for (const id of ids) await create(before.sessions, id)
  const node = await host(before.sessions)
  const early = await Promise.all(ids.slice(0, 20).map(id => node.logOut(id)))
  servers.cutReplication()
  const late = await Promise.all(ids.slice(20).map(id => node.logOut(id)))
  await servers.failOver()

  t.ok(early.every(({ status }) => status === 204))
  t.ok(late.every(({ status }) => status === 500), 'what the standby does not have was answered to nobody')
  const after = storesOn(t, servers.standby)
  const statuses = await Promise.all(ids.map(async id => (await after.sessions.find(tokenOf(id)))?.status))
  t.strictSame(statuses, ids.map((_, index) => index < 20 ? 'logged_out' : 'active'))
}))
