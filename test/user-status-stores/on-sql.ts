import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { UserRecords, UserStatusStore } from '../../lib/user-status-store.ts'
import { sqlScene, type SqlScene, type SqlStores, type SqlTransaction } from '../servers/sql.ts'
import { keepsUserRecords } from './user-records.ts'

export const alice = { tenant: 'acme', subject: 'alice' }
const bob = { tenant: 'acme', subject: 'bob' }
export const login = { status: 'logged_in', at: 1000, requestId: 'r-1' } as const
export const logout = { at: 2000, requestId: 'r-2' }

/** A user-status store on a table. */
export interface SqlUserStore extends Required<UserStatusStore>, UserRecords {
  migrate (): Promise<void>
}

/** A database, and the user-status store on it. */
export interface SqlUsers<Client> extends SqlStores<Client, SqlUserStore> {
  /** An expression that makes a version. */
  readonly newVersion: string
}

type Scene<Client> = SqlScene<Client, SqlUserStore, SqlUsers<Client>>

/** What is the same on every SQL database. */
export async function usersOnSql<Client> (t: Test, database: SqlUsers<Client>): Promise<void> {
  const scene = sqlScene<Client, SqlUserStore, SqlUsers<Client>>(t, database)
  for (const batch of [true, false]) {
    await t.test(`the rules, ${batch ? 'with' : 'without'} shared statements`, async t => {
      const { table } = await scene.fresh()
      const store = database.store(scene.pool.client, { table, batch })
      await usersFollowTheRules(t, store, () => scene.pool.query(`DELETE FROM ${table}`))
    })
  }
  await concurrentLogouts(t, scene)
  await lockedUsers(t, scene)
  await tables(t, scene)
}

/** Checks the rules, each on an empty table. */
export async function usersFollowTheRules (t: Test, store: SqlUserStore, empty: () => Promise<unknown>): Promise<void> {
  for (const rule of userStatusStoreRules) {
    await t.resolves(rule.check(async () => {
      await empty()
      return { store, set: store.set }
    }), rule.name)
  }
}

async function concurrentLogouts<Client> (t: Test, { fresh, pool, database }: Scene<Client>) {
  await t.test('200 parallel logOut from several pools: one saw the user logged in', async t => {
    const { stores, store } = await fresh()
    await store.set(alice, 'logged_in')
    const before = await Promise.all(Array.from({ length: 200 }, (_, i) => stores[i % 4]?.logOut(alice, { at: 1000 + i, requestId: 'r' })))
    t.equal(before.filter(record => record?.status === 'logged_in').length, 1)
    t.equal((await store.get(alice))?.loggedOutAt, 1199)
    t.equal(new Set(before.map(record => record?.version)).size, 200, 'each saw what the one before it wrote')
  })

  await t.test('each of several logouts in one turn has its own outcome', async t => {
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
    t.match(await store.get(user('alice')), { status: 'logged_out', loggedOutAt: 5 })
    t.match(await store.get(user('alice', 'other')), { status: 'logged_out', loggedOutAt: 4 })
  })

  await t.test('nodes that log out the same users in other orders never lock each other out', async t => {
    const { stores, store } = await fresh()
    const users = Array.from({ length: 60 }, (_, i) => ({ tenant: `tenant ${i % 3}`, subject: `user ${i}` }))
    for (const user of users) await store.set(user, 'logged_in')
    const orders = [users, users.toReversed(), [...users.slice(30), ...users.slice(0, 30)], users]
    const before = await Promise.all(orders.flatMap((order, i) => order.map(user => stores[i]?.logOut(user, logout))))
    t.equal(before.filter(record => record?.status === 'logged_in').length, 60)
  })

  await t.test('many logouts of one user in one turn share their statements, and hold up nobody', async t => {
    const { table, store } = await fresh()
    await store.set(alice, 'logged_in')
    await store.set(bob, 'logged_in')
    let statements = 0
    const node = database.store(database.watched(pool.client, () => { statements += 1 }), { table, batch: true })
    const manyOfAlice = Array.from({ length: 99 }, (_, i) => node.logOut(alice, { at: 1000 + i, requestId: 'r' }))
    const [before, ...others] = await Promise.all([node.logOut(bob, logout), ...manyOfAlice])
    t.ok(statements <= 2, `${statements} statements`)
    t.equal(before?.status, 'logged_in')
    t.strictSame(others.map(record => record?.status), ['logged_in', ...Array.from({ length: 98 }, () => 'logged_out')])
    t.equal(new Set(others.map(record => record?.version)).size, 99, 'each saw what the one before it wrote')
    t.equal(others.at(-1)?.loggedOutAt, 1097)
  })
}

async function lockedUsers<Client> (t: Test, { fresh, pool, database }: Scene<Client>) {
  await t.test('a user whose row is locked delays only their own logout, on a single connection too', async t => {
    const { table, store } = await fresh()
    const single = database.pool(1)
    t.teardown(() => single.end())
    const node = database.store(single.client, { table })
    const users = Array.from({ length: 50 }, (_, i) => ({ tenant: 'acme', subject: `user ${i}` }))
    for (const user of users) await store.set(user, 'logged_in')
    const transaction = await pool.begin()
    await transaction.query(`SELECT 1 FROM ${table} WHERE tenant = 'acme' AND subject = 'user 7' FOR UPDATE`)
    let ended: unknown
    const locked = Promise.resolve(node.logOut({ tenant: 'acme', subject: 'user 7' }, logout)).then(before => { ended = before })
    const others = await Promise.all(users.filter(({ subject }) => subject !== 'user 7').map(user => node.logOut(user, logout)))
    t.ok(others.every(before => before?.status === 'logged_in'))
    t.equal((await node.logOut({ tenant: 'acme', subject: 'user 0' }, logout))?.status, 'logged_out', 'and no later one')
    t.equal(ended, undefined)
    await transaction.commit()
    await locked
    t.match(ended, { status: 'logged_in' })
  })

  await t.test('a logout is in the transaction of its own request, and in no other one', async t => {
    const { table, store } = await fresh()
    for (const user of [alice, bob]) await store.set(user, 'logged_in')
    const current = new AsyncLocalStorage<SqlTransaction<Client>>()
    const node = database.store(database.routed(() => current.getStore()?.client ?? pool.client), { table })
    const transaction = await pool.begin()
    await Promise.all([current.run(transaction, () => node.logOut(alice, logout)), node.logOut(bob, logout)])
    await transaction.rollback()
    t.strictSame([(await store.get(alice))?.status, (await store.get(bob))?.status], ['logged_in', 'logged_out'])
  })

  for (const others of [[], ['bob', 'nobody']]) {
    await t.test(`a logOut that waits for a suspension leaves it alone, with ${others.length} others`, async t => {
      const { table, store } = await fresh()
      await store.set(alice, 'logged_in')
      await store.set(bob, 'logged_in')
      const transaction = await pool.begin()
      await transaction.query(`UPDATE ${table} SET status = 'suspended', version = ${database.newVersion}
        WHERE tenant = 'acme' AND subject = 'alice'`)
      const { version } = await store.get(alice) ?? {}
      const waiting = Promise.all([alice, ...others.map(subject => ({ tenant: 'acme', subject }))].map(user => store.logOut(user, logout)))
      const writing = store.compareAndSet(alice, version, login)
      await sleep(50)
      await transaction.commit()
      t.match((await waiting).map(before => before?.status), ['suspended', 'logged_in', undefined].slice(0, 1 + others.length))
      t.equal(await writing, false)
      t.equal((await store.get(alice))?.status, 'suspended')
    })
  }
}

async function tables<Client> (t: Test, { fresh, freshTable, pool, pools, database }: Scene<Client>) {
  await t.test('migrate is safe twice, and from many nodes at once', async t => {
    const table = freshTable()
    const stores = pools.map(each => database.store(each.client, { table }))
    await Promise.all([...stores, ...stores, ...stores].map(store => store.migrate()))
    await stores[0]?.set(alice, 'suspended')
    await stores[1]?.migrate()
    t.equal((await stores[2]?.get(alice))?.status, 'suspended')
  })

  await t.test('a missing table or schema says what to do, with the cause', async t => {
    for (const table of ['no_such_table', 'no_such_schema.logout_user_status']) {
      const store = database.store(pool.client, { table })
      const verbs: Array<() => unknown> = [
        () => store.get(alice), () => store.compareAndSet(alice, undefined, login), () => store.logOut(alice, logout)
      ]
      for (const verb of verbs) {
        await t.rejects(async () => verb(), {
          message: /^table \S+ is missing(, or another version made it)?: run migrate\(\)$/, cause: { code: String }
        })
      }
    }
  })

  await t.test('the host may write to the table by itself', async t => {
    const { table, store } = await fresh()
    await pool.query(`INSERT INTO ${table} (tenant, subject, status) VALUES ('acme', 'alice', 'logged_in')`)
    const version = (await store.get(alice))?.version
    t.equal((await store.get(alice))?.status, 'logged_in')
    await pool.query(`UPDATE ${table} SET status = 'logged_out', version = ${database.newVersion}`)
    t.equal(await store.compareAndSet(alice, version, login), false)
    await store.logOut(alice, logout)
    t.match((await pool.query(`SELECT request_id FROM ${table}`)).map(row => String(row['request_id'])), ['r-2'])
  })

  await t.test('the records that a host writes are one user\'s only', async t => {
    await keepsUserRecords(t, (await fresh()).store)
  })

  await t.test('two tables never see each other', async t => {
    const [one, other] = [await fresh(), await fresh()]
    await one.store.set(alice, 'suspended')
    t.equal(await other.store.get(alice), undefined)
  })
}
