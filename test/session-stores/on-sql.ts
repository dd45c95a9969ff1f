import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { NewSession, SessionStore } from '../../lib/session-store.ts'
import { sqlScene, type SqlScene, type SqlStores, type SqlTransaction } from '../servers/sql.ts'
import { spread } from './spread.ts'

const hour = 3_600_000

/** A session store on a table. */
export interface SqlSessionStore extends SessionStore {
  migrate (): Promise<void>
  prune (): Promise<number>
}

/** A database, and the session store on it. */
export interface SqlSessions<Client> extends SqlStores<Client, SqlSessionStore> {
  /** What locks rows of the table, of which `WHERE` is given. */
  lock (table: string, where: string): string
}

export function session (given: Partial<NewSession> = {}): NewSession {
  const now = Date.now()
  return { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour, ...given }
}

type Scene<Client> = SqlScene<Client, SqlSessionStore, SqlSessions<Client>>

/** What is the same on every SQL database. */
export async function sessionsOnSql<Client> (t: Test, database: SqlSessions<Client>): Promise<void> {
  const scene = sqlScene<Client, SqlSessionStore, SqlSessions<Client>>(t, database)
  await t.test('the rules, on several pools at once', async t => {
    const shared = spread((await scene.fresh()).stores)
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => shared), rule.name)
  })
  await t.test('the rules, when each call is a statement of its own', async t => {
    const { table } = await scene.fresh()
    const store = database.store(scene.pool.client, { table, batch: false })
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })
  await concurrentLogouts(t, scene)
  await lockedSessions(t, scene)
  await transactions(t, scene)
  await tables(t, scene)
}

async function concurrentLogouts<Client> (t: Test, { fresh }: Scene<Client>) {
  await t.test('200 parallel logOut from several pools: one saw the session active', async t => {
    const { stores, store } = await fresh()
    await store.create('token', session())
    const before = await Promise.all(Array.from({ length: 200 }, (_, i) => stores[i % 4]?.logOut('token')))
    t.equal(before.filter(found => found?.status === 'active').length, 1)
    t.equal(before.filter(found => found?.status === 'logged_out').length, 199)
  })

  await t.test('of several logouts in one turn, one for each token sees it active', async t => {
    const { store } = await fresh()
    await store.create('expired', session({ id: 'expired', subject: 'bob', expiresAt: Date.now() - 1 }))
    await store.create('gone', session({ id: 'gone' }))
    await store.logOutSubject({ subject: 'alice' })
    for (const id of ['first', 'second']) await store.create(id, session({ id }))
    const tokens = ['second', 'unknown', 'first', 'second', 'gone', 'expired', 'first', 'first']
    const before = await Promise.all(tokens.map(token => store.logOut(token)))
    t.strictSame(before.map(found => found && [found.id, found.status]), [
      ['second', 'active'], undefined, ['first', 'active'], ['second', 'logged_out'], ['gone', 'logged_out'], ['expired', 'active'],
      ['first', 'logged_out'], ['first', 'logged_out']
    ])
    const after = await Promise.all(tokens.map(token => store.find(token)))
    t.strictSame(after.map(found => found?.status), tokens.map(token => token === 'unknown' ? undefined : 'logged_out'))
  })

  await t.test('nodes that log out the same sessions in other orders never lock each other out', async t => {
    const { stores, store } = await fresh()
    const tokens = Array.from({ length: 60 }, (_, i) => `token ${i}`)
    for (const [i, token] of tokens.entries()) await store.create(token, session({ id: token, subject: `user ${i % 7}` }))
    const orders = [tokens, tokens.toReversed(), tokens.toSorted(), [...tokens.slice(30), ...tokens.slice(0, 30)]]
    const before = await Promise.all(orders.flatMap((order, i) => order.map(token => stores[i]?.logOut(token))))
    t.equal(before.filter(found => found?.status === 'active').length, 60)
  })

  await t.test('of logouts of sessions and counted logouts of their subject, each session is ended by one', async t => {
    const { stores, store } = await fresh()
    const tokens = Array.from({ length: 40 }, (_, i) => `token ${i}`)
    for (const token of tokens) await store.create(token, session({ id: token }))
    const singly = tokens.map(async (token, i) => {
      await sleep(i % 10)
      return (await stores[i % 4]?.logOut(token))?.status === 'active' ? 1 : 0
    })
    const counted = Array.from({ length: 8 }, async (_, i) => {
      await sleep(i)
      return await stores[i % 4]?.logOutSubject({ subject: 'alice', count: true }) ?? 0
    })
    const ended = await Promise.all([...singly, ...counted])
    t.equal(ended.reduce((sum: number, count) => sum + count, 0), 40)
  })
}

async function lockedSessions<Client> (t: Test, { fresh, pool, database }: Scene<Client>) {
  await t.test('a session that another transaction has locked delays only its own logout, on a single connection too', async t => {
    const { table, store } = await fresh()
    const single = database.pool(1)
    t.teardown(() => single.end())
    const node = database.store(single.client, { table })
    const tokens = Array.from({ length: 50 }, (_, i) => `token ${i}`)
    for (const token of tokens) await store.create(token, session({ id: token }))
    const transaction = await pool.begin()
    await transaction.query(database.lock(table, "id IN ('token 7', 'token 8')"))
    let ended: unknown
    const locked = Promise.all([node.logOut('token 7'), node.logOutById({ id: 'token 8' })]).then(before => { ended = before })
    const free = tokens.filter(token => !['token 7', 'token 8'].includes(token))
    const others = await Promise.all(free.map(token => node.logOut(token)))
    t.ok(others.every(before => before?.status === 'active'))
    t.equal((await node.logOut('token 0'))?.status, 'logged_out', 'and no later one')
    t.equal(ended, undefined)
    await transaction.commit()
    await locked
    t.match(ended, [{ status: 'active' }, { status: 'active' }])
  })

  await t.test('a logout of the subject ends a login that it waited for', async t => {
    const { table, store } = await fresh()
    await store.create('first', session())
    const transaction = await pool.begin()
    await database.store(transaction.client, { table }).create('token', session())
    const waiting = store.logOutSubject({ subject: 'alice' })
    await sleep(50)
    await transaction.commit()
    await waiting
    t.equal((await store.find('token'))?.status, 'logged_out')
  })

  await t.test('a logout of the subject does not count what a logout that it waited for has ended', async t => {
    const { table, store } = await fresh()
    await store.create('token', session())
    await store.create('other', session())
    const transaction = await pool.begin()
    t.equal((await database.store(transaction.client, { table }).logOut('token'))?.status, 'active')
    const waiting = store.logOutSubject({ subject: 'alice', count: true })
    await sleep(50)
    await transaction.commit()
    t.equal(await waiting, 1)
  })

  await t.test('a logout does not wait for a logout of its subject that is not committed yet', async t => {
    const { table, store } = await fresh()
    await store.create('token', session({ id: 'id' }))
    await store.create('excepted', session({ id: 'excepted' }))
    const transaction = await pool.begin()
    await database.store(transaction.client, { table }).logOutSubject({ subject: 'alice', except: 'excepted' })
    t.equal((await store.logOut('token'))?.status, 'active')
    const waiting = Promise.all([store.logOutById({ id: 'excepted' }), store.create('late', session())] as const)
    await sleep(50)
    await transaction.commit()
    t.equal((await waiting)[0]?.status, 'active', 'it is seen as that logout left it')
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.equal((await store.find('excepted'))?.status, 'logged_out')
    t.equal((await store.find('late'))?.status, 'active')
  })
}

async function transactions<Client> (t: Test, { fresh, pool, database }: Scene<Client>) {
  await t.test('a logout is in the transaction of its own request, and in no other one', async t => {
    const { table, store } = await fresh()
    for (const token of ['one', 'other', 'third']) await store.create(token, session({ id: token }))
    const current = new AsyncLocalStorage<SqlTransaction<Client>>()
    const node = database.store(database.routed(() => current.getStore()?.client ?? pool.client), { table })
    const transaction = await pool.begin()
    const before = await Promise.all([current.run(transaction, () => node.logOut('one')), node.logOut('other'), node.logOut('third')])
    t.match(before, [{ status: 'active' }, { status: 'active' }, { status: 'active' }])
    await transaction.rollback()
    const after = await Promise.all(['one', 'other', 'third'].map(token => store.find(token)))
    t.strictSame(after.map(found => found?.status), ['active', 'logged_out', 'logged_out'])
  })

  await t.test('a logout that is rolled back has ended nothing', async t => {
    const { table, store } = await fresh()
    for (const token of ['one', 'other']) await store.create(token, session({ id: token }))
    const transaction = await pool.begin()
    const within = database.store(transaction.client, { table })
    t.equal((await within.logOut('one'))?.status, 'active')
    t.equal((await within.logOut('one'))?.status, 'logged_out')
    t.equal(await within.logOutSubject({ subject: 'alice', count: true }), 1)
    t.equal((await within.find('other'))?.status, 'logged_out')
    await transaction.rollback()
    t.equal((await store.logOut('one'))?.status, 'active')
    t.equal((await store.find('other'))?.status, 'active')
  })
}

async function tables<Client> (t: Test, { fresh, freshTable, pool, pools, database }: Scene<Client>) {
  await t.test('migrate is safe twice, and from many nodes at once', async t => {
    const table = freshTable()
    const stores = pools.map(each => database.store(each.client, { table }))
    await Promise.all([...stores, ...stores, ...stores].map(store => store.migrate()))
    await stores[0]?.create('token', session())
    await stores[1]?.migrate()
    t.equal((await stores[2]?.find('token'))?.status, 'active')
  })

  await t.test('two tables never see each other', async t => {
    const [one, other] = [await fresh(), await fresh()]
    await one.store.create('token', session({ id: 'id' }))
    t.equal(await other.store.find('token'), undefined)
    t.equal(await other.store.logOut('token'), undefined)
    t.equal(await other.store.logOutById({ id: 'id' }), undefined)
    t.equal(await other.store.logOutSubject({ subject: 'alice', count: true }), 0)
    t.equal((await one.store.find('token'))?.status, 'active')
  })

  await t.test('a missing table or schema says what to do, with the cause', async t => {
    for (const table of ['nowhere', 'no_such_schema.logout_session']) {
      const store = database.store(pool.client, { table })
      const verbs: Array<() => unknown> = [
        () => store.create('t', session()), () => store.find('t'), () => store.prune(),
        () => store.logOut('t'), () => store.logOutById({ id: 'i' }),
        () => store.logOutSubject({ subject: 's' }), () => store.logOutSubject({ subject: 's', count: true }),
        () => store.list({ subject: 's', limit: 1 })
      ]
      for (const verb of verbs) {
        await t.rejects(async () => verb(), {
          message: /^table \S+ is missing(, or another version made it)?: run migrate\(\)$/, cause: { code: String }
        })
      }
    }
  })
}
