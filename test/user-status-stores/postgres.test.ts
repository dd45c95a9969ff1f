import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { PostgresClient } from '../../lib/internal/databases/postgres.ts'
import { postgresUserStatusStore, postgresUserStatusTable, type PostgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { valueTypes } from '../servers/postgres-types.ts'
import { withPostgres, withPrivatePostgres } from '../servers/postgres.ts'
import { keepsUserRecords } from './user-records.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const login = { status: 'logged_in', at: 1000, requestId: 'r-1' } as const
const logout = { at: 2000, requestId: 'r-2' }
let made = 0
const freshTable = () => `test_${process.pid}_${Date.now()}_${made++}`

t.test('on a server that others use too', t => withPostgres(t, async ({ url }) => {
  const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: url, max: 4 }))
  const [pool] = pools as [pg.Pool]
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) await pool.query(`DROP TABLE IF EXISTS ${table}; DROP FUNCTION IF EXISTS ${table}_log_out`)
    await Promise.all(pools.map(each => each.end()))
  })

  async function fresh () {
    const table = freshTable()
    tables.push(table)
    const stores = pools.map(each => postgresUserStatusStore(each, { table }))
    const [store] = stores as [typeof stores[number]]
    await store.migrate()
    return { table, stores, store }
  }

  await t.test('the rules', async t => {
    for (const rule of userStatusStoreRules) {
      await t.resolves(rule.check(async () => {
        const { store } = await fresh()
        return { store, set: store.set }
      }), rule.name)
    }
  })

  for (const { what, types } of valueTypes) {
    await t.test(`the rules, with a client that gives ${what}`, async t => {
      const typed = new pg.Pool({ connectionString: url, max: 4, types })
      t.teardown(() => typed.end())
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const store = postgresUserStatusStore(typed, { table: (await fresh()).table })
          return { store, set: store.set }
        }), rule.name)
      }
    })
  }

  await t.test('200 parallel logOut from several pools: one saw the user logged in', async t => {
    const { stores, store } = await fresh()
    await store.set(alice, 'logged_in')
    const before = await Promise.all(Array.from({ length: 200 }, (_, i) => stores[i % 4]?.logOut(alice, { at: 1000 + i, requestId: 'r' })))
    t.equal(before.filter(record => record?.status === 'logged_in').length, 1)
    t.equal((await store.get(alice))?.loggedOutAt, 1199)
    t.equal(new Set(before.map(record => record?.version)).size, 200, 'each saw what the one before it wrote')
  })

  await t.test('logouts of one turn are each their own, whoever else is in it', async t => {
    const { store } = await fresh()
    const user = (subject: string, tenant = 'acme') => ({ tenant, subject })
    await store.set(user('alice'), 'logged_in')
    await store.set(user('alice', 'other'), 'logged_in')
    await store.set(user('bob'), 'suspended')
    const before = await Promise.allSettled([
      store.logOut(user('alice'), { at: 1, requestId: 'a' }), store.logOut(user('nobody'), logout), store.logOut(user('bob'), logout),
      store.logOut(user('a\0b'), logout), store.logOut(user('\ud800'), logout), store.logOut(user('alice'), { at: 3, requestId: 'r\0' }),
      store.logOut(user('alice', 'other'), { at: 4, requestId: 'b' }), store.logOut(user('alice'), { at: 2, requestId: 'c' }),
      store.logOut(user('alice'), { at: 5, requestId: 'd' })
    ])
    t.match(before.map(answer => answer.status === 'fulfilled' ? answer.value?.status : 'refused'), [
      'logged_in', undefined, 'suspended', 'refused', 'refused', 'refused', 'logged_in', 'logged_out', 'logged_out'
    ])
    t.match(before.slice(-2), [{ value: { loggedOutAt: 1 } }, { value: { loggedOutAt: 2 } }])
    t.match([await store.get(user('alice')), await store.get(user('alice', 'other'))], [{ status: 'logged_out', loggedOutAt: 5 }, {
      status: 'logged_out', loggedOutAt: 4
    }])
  })

  await t.test('nodes that log out the same users in other orders never lock each other out', async t => {
    const { stores, store } = await fresh()
    const users = Array.from({ length: 60 }, (_, i) => ({ tenant: `tenant ${i % 3}`, subject: `user ${i}` }))
    for (const user of users) await store.set(user, 'logged_in')
    const orders = [users, [...users].reverse(), [...users.slice(30), ...users.slice(0, 30)], users]
    const before = await Promise.all(orders.flatMap((order, i) => order.map(user => stores[i]?.logOut(user, logout))))
    t.equal(before.filter(record => record?.status === 'logged_in').length, 60)
  })

  await t.test('a user whose row is locked delays only their own logout, on a single connection too', async t => {
    const { table, store } = await fresh()
    const single = new pg.Pool({ connectionString: url, max: 1 })
    t.teardown(() => single.end())
    const node = postgresUserStatusStore(single, { table })
    const users = Array.from({ length: 50 }, (_, i) => ({ tenant: 'acme', subject: `user ${i}` }))
    for (const user of users) await store.set(user, 'logged_in')
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query(`SELECT FROM ${table} WHERE subject = 'user 7' FOR UPDATE`)
    let ended: unknown
    const locked = node.logOut({ tenant: 'acme', subject: 'user 7' }, logout).then(before => { ended = before })
    const others = await Promise.all(users.filter(({ subject }) => subject !== 'user 7').map(user => node.logOut(user, logout)))
    t.ok(others.every(before => before?.status === 'logged_in'))
    t.equal((await node.logOut({ tenant: 'acme', subject: 'user 0' }, logout))?.status, 'logged_out', 'and no later one')
    t.equal(ended, undefined)
    await client.query('COMMIT')
    client.release()
    await locked
    t.match(ended, { status: 'logged_in' })
  })

  await t.test('a logout whose statement takes too long fails alone', async t => {
    const { table, store } = await fresh()
    const users = ['alice', 'slow', 'bob'].map(subject => ({ tenant: 'acme', subject }))
    for (const user of users) await store.set(user, 'logged_in')
    await pool.query(`CREATE FUNCTION ${table}_slow () RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN new; END'`)
    await pool.query(
      `CREATE TRIGGER slow BEFORE UPDATE ON ${table} FOR EACH ROW WHEN (old.subject = 'slow') EXECUTE FUNCTION ${table}_slow()`
    )
    t.teardown(() => pool.query(`DROP FUNCTION ${table}_slow CASCADE`))
    const impatient = new pg.Pool({ connectionString: url, max: 4, statement_timeout: 500 })
    t.teardown(() => impatient.end())
    const node = postgresUserStatusStore(impatient, { table })
    const outcomes = await Promise.allSettled(users.map(user => node.logOut(user, logout)))
    t.match(outcomes, [{ value: { status: 'logged_in' } }, { reason: { code: '57014' } }, { value: { status: 'logged_in' } }])
  })

  await t.test('many logouts of one user in one turn are one statement, and hold up nobody', async t => {
    const { table, store } = await fresh()
    await store.set(alice, 'logged_in')
    await store.set({ tenant: 'acme', subject: 'bob' }, 'logged_in')
    let statements = 0
    const counting: PostgresClient = {
      query (text, values) {
        statements += 1
        return pool.query(text, values)
      }
    }
    const node = postgresUserStatusStore(counting, { table, batch: true })
    const [bob, ...before] = await Promise.all([
      node.logOut({ tenant: 'acme', subject: 'bob' }, logout), ...Array.from({ length: 99 }, (_, i) => node.logOut(alice, {
        at: 1000 + i, requestId: 'r'
      }))
    ])
    t.equal(statements, 1)
    t.equal(bob?.status, 'logged_in')
    t.strictSame(before.map(record => record?.status), ['logged_in', ...Array.from({ length: 98 }, () => 'logged_out')])
    t.equal(new Set(before.map(record => record?.version)).size, 99, 'each saw what the one before it wrote')
    t.equal(before.at(-1)?.loggedOutAt, 1097)
  })

  await t.test('a logout is in the transaction of its own request, and in no other one', async t => {
    const { table, store } = await fresh()
    const bob = { tenant: 'acme', subject: 'bob' }
    for (const user of [alice, bob]) await store.set(user, 'logged_in')
    const transactions = new AsyncLocalStorage<pg.PoolClient>()
    const ofRequest: PostgresClient = { query: (text, values) => (transactions.getStore() ?? pool).query(text, values) }
    const node = postgresUserStatusStore(ofRequest, { table })
    const client = await pool.connect()
    await client.query('BEGIN')
    await Promise.all([transactions.run(client, () => node.logOut(alice, logout)), node.logOut(bob, logout)])
    await client.query('ROLLBACK')
    client.release()
    t.strictSame([(await store.get(alice))?.status, (await store.get(bob))?.status], ['logged_in', 'logged_out'])
  })

  for (const level of ['repeatable read', 'serializable']) {
    await t.test(`the rules, and 400 logouts, for a role whose default is ${level}`, async t => {
      const strict = Array.from({ length: 2 }, () => new pg.Pool({
        connectionString: url, max: 4, options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`
      }))
      t.teardown(() => Promise.all(strict.map(each => each.end())))
      t.match((await strict[0]?.query('SHOW transaction_isolation'))?.rows, [{ transaction_isolation: level }])
      const onBoth = async () => {
        const { table } = await fresh()
        return strict.map(each => postgresUserStatusStore(each, { table })) as [PostgresUserStatusStore, PostgresUserStatusStore]
      }
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const [store] = await onBoth()
          return { store, set: store.set }
        }), rule.name)
      }
      const stores = await onBoth()
      const users = Array.from({ length: 20 }, (_, i) => ({ tenant: 'acme', subject: `user ${i}` }))
      for (const user of users) await stores[0].set(user, 'logged_in')
      const before = await Promise.all(Array.from({ length: 400 }, async (_, i) => {
        await sleep(i % 40)
        return stores[i % 2]?.logOut(users[i % 20] ?? alice, logout)
      }))
      t.equal(before.filter(record => record?.status === 'logged_in').length, 20)
      t.equal(before.filter(record => record?.status === 'logged_out').length, 380)
    })
  }

  for (const others of [[], ['bob', 'nobody']]) {
    await t.test(`a logOut that waits for a suspension leaves it alone, with ${others.length} others`, async t => {
      const { table, store } = await fresh()
      await store.set(alice, 'logged_in')
      await store.set({ tenant: 'acme', subject: 'bob' }, 'logged_in')
      const client = await pool.connect()
      await client.query('BEGIN')
      await client.query(`UPDATE ${table} SET status = 'suspended', version = gen_random_uuid() WHERE subject = 'alice'`)
      const { version } = await store.get(alice) ?? {}
      const waiting = Promise.all([store.logOut(alice, logout), ...others.map(subject => store.logOut(
        { tenant: 'acme', subject }, logout
      ))])
      const writing = store.compareAndSet(alice, version, login)
      await sleep(50)
      await client.query('COMMIT')
      client.release()
      t.match((await waiting).map(before => before?.status), ['suspended', 'logged_in', undefined].slice(0, 1 + others.length))
      t.equal(await writing, false)
      t.equal((await store.get(alice))?.status, 'suspended')
    })
  }

  await t.test('migrate is safe twice, and from many nodes at once', async t => {
    const table = freshTable()
    tables.push(table)
    const stores = pools.map(each => postgresUserStatusStore(each, { table }))
    await Promise.all([...stores, ...stores, ...stores].map(store => store.migrate()))
    await stores[0]?.set(alice, 'suspended')
    await stores[1]?.migrate()
    t.equal((await stores[2]?.get(alice))?.status, 'suspended')
  })

  await t.test('a missing table or schema says what to do, with the cause', async t => {
    for (const table of ['no_such_table', 'no_such_schema.logout_user_status']) {
      const store = postgresUserStatusStore(pool, { table })
      const verbs: Array<() => Promise<unknown>> = [
        () => store.get(alice), () => store.compareAndSet(alice, undefined, login), () => store.logOut(alice, logout)
      ]
      for (const verb of verbs) {
        await t.rejects(verb(), {
          message: /^table \S+ is missing(, or another version made it)?: run migrate\(\)$/, cause: { severity: 'ERROR' }
        })
      }
    }
  })

  await t.test('the host may write to the table by itself', async t => {
    const { table, store } = await fresh()
    await pool.query(`INSERT INTO ${table} (tenant, subject, status) VALUES ('acme', 'alice', 'logged_in')`)
    const version = (await store.get(alice))?.version
    t.equal((await store.get(alice))?.status, 'logged_in')
    await pool.query(`UPDATE ${table} SET status = 'logged_out', version = gen_random_uuid()`)
    t.equal(await store.compareAndSet(alice, version, login), false)
    await store.logOut(alice, logout)
    t.match((await pool.query(`SELECT request_id FROM ${table}`)).rows, [{ request_id: 'r-2' }])
  })

  await t.test('set keeps the times, remove forgets only its user, and an old version never fits a new record', async t => {
    await keepsUserRecords(t, (await fresh()).store)
  })

  await t.test('two tables never see each other', async t => {
    const [one, other] = [await fresh(), await fresh()]
    await one.store.set(alice, 'suspended')
    t.equal(await other.store.get(alice), undefined)
  })
}))

t.test('each call is one statement, as the server saw it', t => withPrivatePostgres(t, async ({ url, log }) => {
  const pool = new pg.Pool({ connectionString: url })
  t.teardown(() => pool.end())
  const store = postgresUserStatusStore(pool, { table: 'public.logout_user_status' })
  await store.migrate()
  await pool.query('SELECT \'from here\'')
  await store.set(alice, 'logged_in')
  await store.get(alice)
  await store.compareAndSet(alice, 'past', login)
  await Promise.all(['alice', 'bob', 'nobody'].map(subject => store.logOut({ tenant: 'acme', subject }, logout)))
  await store.remove(alice)
  await store.compareAndSet(alice, undefined, login)
  await pool.query('SELECT \'to here\'')
  await sleep(50)
  const [, seen = ''] = log().split('from here')
  t.equal(seen.split('to here')[0]?.match(/LOG: +execute <unnamed>/g)?.length, 6)
  t.notMatch(seen, /BEGIN/)
}, { config: { log_statement: 'all' } }))

t.test('a wrong client or table is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'postgres://127.0.0.1']) {
    t.throws(() => postgresUserStatusStore(client as PostgresClient), {
      name: 'TypeError', message: /postgresUserStatusStore: pass a Pool/
    })
  }
  const client = { query: async () => ({ rows: [] }) }
  for (const table of ['', 'a"b', 'a;b', 'a b', 'a.b.c', '1a', 'a'.repeat(41), `public.${'a'.repeat(41)}`, 'ä', 'a\n', 1]) {
    t.throws(() => postgresUserStatusStore(client, { table: table as string }), { name: 'TypeError', message: /table/ })
    t.throws(() => postgresUserStatusTable(table as string), { name: 'TypeError', message: /table/ })
  }
  t.match(postgresUserStatusTable(), /"logout_user_status"/)
})

t.test('an error of the client is passed on unchanged, also one that is not an Error', async t => {
  const refusing = (reason: unknown) => postgresUserStatusStore({ query: async () => { throw reason } })
  const error = Object.assign(new Error('connection terminated'), { code: '57P01' })
  await t.rejects(refusing(error).get(alice), error)
  t.equal(await refusing('gone').get(alice).catch(reason => reason), 'gone')
})
