import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresProviderSessionIndex } from '../../lib/provider-session-indexes/postgres.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { spread as spreadIndexes } from '../provider-session-indexes/spread.ts'
import { valueTypes } from '../servers/postgres-types.ts'
import { dropping } from '../servers/postgres-stores.ts'
import { withPostgres } from '../servers/postgres.ts'
import { session } from '../session-stores/on-sql.ts'
import { spread } from '../session-stores/spread.ts'
import { logout } from '../user-status-stores/on-sql.ts'
import { keepsEveryRule } from './every-rule.ts'

const timeouts = { query_timeout: 20_000, connectionTimeoutMillis: 20_000 }
let made = 0

/** Makes stores on tables of their own, which are dropped with the test. */
function tablesOf (t: Test, pool: pg.Pool) {
  return async <Store extends { migrate (): Promise<void> }>(make: (client: PostgresClient, table: string) => Store) => {
    const table = `test_settings_${process.pid}_${made++}`
    t.teardown(() => pool.query(dropping(table)))
    await Promise.all(Array.from({ length: 3 }, () => make(pool, table).migrate()))
    return { table, on: (client: PostgresClient) => make(client, table) }
  }
}

const sessions = (client: PostgresClient, table: string) => postgresSessionStore(client, { table })
const users = (client: PostgresClient, table: string) => postgresUserStatusStore(client, { table })
const marks = (client: PostgresClient, table: string) => postgresRevocationStore(client, { table })
const logins = (client: PostgresClient, table: string) => postgresProviderSessionIndex(client, { table })

/** Checks every rule through a client. Without a Pool of pg there is no feed. */
async function keepsEveryRuleOn (t: Test, pool: pg.Pool, client: PostgresClient): Promise<void> {
  const onTable = tablesOf(t, pool)
  await keepsEveryRule(t, {
    sessions: async () => (await onTable(sessions)).on(client),
    users: async () => (await onTable(users)).on(client),
    marks: async () => (await onTable(marks)).on(client),
    logins: async () => (await onTable(logins)).on(client)
  }, () => client instanceof pg.Pool)
}

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const poolWith = (t: Test, options: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: url, max: 8, ...timeouts, ...options })
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    return pool
  }
  const pool = poolWith(t)

  await t.test('prepared statements, as pg names them', async t => {
    const prepared: PostgresClient = { query: (text, values) => pool.query({ name: hash('sha1', text), text, ...values && { values } }) }
    await keepsEveryRuleOn(t, pool, prepared)
  })

  for (const { what, types } of valueTypes) {
    await t.test(`a client that gives ${what}`, t => keepsEveryRuleOn(t, pool, poolWith(t, { types })))
  }

  for (const level of ['repeatable read', 'serializable']) {
    await t.test(`a role whose default is ${level}, at several nodes, beside nodes at the usual level`, async t => {
      const isolated = { options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`, max: 4 }
      const strict = [poolWith(t, isolated), poolWith(t, isolated)] as const
      t.match((await strict[0].query('SHOW transaction_isolation')).rows, [{ transaction_isolation: level }])
      const onTable = tablesOf(t, pool)

      await keepsEveryRule(t, {
        sessions: async () => {
          const { on } = await onTable(sessions)
          return spread(strict.map(on))
        },
        users: async () => (await onTable(users)).on(strict[0]),
        marks: async () => (await onTable(marks)).on(strict[0]),
        logins: async () => (await onTable(logins)).on(strict[0])
      })

      await t.test('of 800 logouts of 400 sessions, one for each session sees it active', async t => {
        const { on } = await onTable(sessions)
        const shared = spread(strict.map(on))
        const tokens = Array.from({ length: 400 }, (_, i) => `token ${i}`)
        for (const token of tokens) await shared.create(token, session({ id: token }))
        const before = await Promise.all([...tokens, ...tokens].map(async (token, i) => {
          await sleep(i % 40)
          return shared.logOut(token)
        }))
        t.equal(before.filter(found => found?.status === 'active').length, 400)
        t.equal(before.filter(found => found?.status === 'logged_out').length, 400)
      })

      await t.test('of 400 logouts of 20 users, one for each user sees the user logged in', async t => {
        const { on } = await onTable(users)
        const stores = strict.map(on)
        const loggedIn = Array.from({ length: 20 }, (_, i) => ({ tenant: 'acme', subject: `user ${i}` }))
        for (const user of loggedIn) await stores[0]?.set(user, 'logged_in')
        const before = await Promise.all(Array.from({ length: 400 }, async (_, i) => {
          await sleep(i % 40)
          return stores[i % 2]?.logOut(loggedIn[i % 20] ?? { tenant: 'acme', subject: 'nobody' }, logout)
        }))
        t.equal(before.filter(record => record?.status === 'logged_in').length, 20)
        t.equal(before.filter(record => record?.status === 'logged_out').length, 380)
      })

      await t.test('200 marks of few users are all made, from nodes at both levels', async t => {
        const { on } = await onTable(marks)
        const stores = [on(strict[0]), on(pool)]
        const until = Date.now() + 3_600_000
        const given = Array.from({ length: 200 }, (_, index): Mark => ({ subject: `u${index % 5}`, cutoff: index, until }))
        await t.resolves(Promise.all(given.map((mark, index) => stores[index % 2]?.revoke(mark))))
      })

      await t.test('of 50 logins and logouts at the same time none is lost, at nodes of both levels', async t => {
        const { on } = await onTable(logins)
        const mixed = spreadIndexes([strict[0], ...Array.from({ length: 4 }, () => poolWith(t, { max: 4 }))].map(on))
        const race = providerSessionIndexRules.find(({ name }) => name.startsWith('of 50 logins'))
        for (let round = 0; round < 5; round++) await t.resolves(race?.check(() => mixed) ?? Promise.reject(new Error('no such rule')))
      })
    })
  }
}))
