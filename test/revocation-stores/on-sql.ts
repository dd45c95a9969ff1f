import type { Test } from 'tap'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { revocationReplica, type RevocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { FollowableRevocationStore, Mark } from '../../lib/revocation-store.ts'
import type { SqlDatabase, SqlPool } from '../servers/sql.ts'
import { eventually, everyMark, follows } from './follow.ts'

const minute = 60_000
const until = Date.now() + 60 * minute
let made = 0

/** A revocation store on a table. */
export interface SqlRevocationStore extends FollowableRevocationStore {
  migrate (): Promise<void>
}

/** A row of the table: a mark by its id, such as `ttoken` for a token and `uuser` for a user. */
export interface MarkRow {
  readonly id: string
  readonly cutoff?: number
  readonly until: number
}

/** A database, and the revocation store on it. */
export interface SqlRevocations<Client> extends SqlDatabase<Client> {
  store (client: Client, options: { readonly table: string, readonly batch?: boolean }): SqlRevocationStore
  /** The statements that delete what a store made. */
  drop (table: string): readonly string[]
  /** The statement that writes rows. */
  insert (table: string, rows: readonly MarkRow[]): string
}

/** What is the same on every SQL database. */
export async function revocationsOnSql<Client> (t: Test, database: SqlRevocations<Client>): Promise<void> {
  const scene = sceneOf(t, database)
  await rules(t, scene)
  await marks(t, scene)
  await endedMarks(t, scene)
  await transactions(t, scene)
  await times(t, scene)
}

interface Scene<Client> {
  readonly database: SqlRevocations<Client>
  readonly pools: ReadonlyArray<SqlPool<Client>>
  readonly pool: SqlPool<Client>
  fresh (batch?: boolean): Promise<{ table: string, store: SqlRevocationStore }>
  /** A replica that follows, until the test ends. */
  following (t: Test, store: SqlRevocationStore): Promise<RevocationReplica>
}

function sceneOf<Client> (t: Test, database: SqlRevocations<Client>): Scene<Client> {
  const pools = Array.from({ length: 4 }, () => database.pool(8))
  const [pool] = pools as [SqlPool<Client>]
  const tables: string[] = []
  t.teardown(async () => {
    for (const table of tables) for (const statement of database.drop(table)) await pool.query(statement)
    await Promise.all(pools.map(each => each.end()))
  })
  return {
    database,
    pools,
    pool,
    async fresh (batch = true) {
      const table = `test_marks_${process.pid}_${Date.now()}_${made++}`
      tables.push(table)
      const store = database.store(pool.client, { table, batch })
      await Promise.all([store.migrate(), store.migrate(), store.migrate()])
      return { table, store }
    },
    async following (t, store) {
      const replica = revocationReplica(store)
      t.teardown(() => replica.close())
      await replica.start()
      return replica
    }
  }
}

async function rules<Client> (t: Test, { fresh, following }: Scene<Client>): Promise<void> {
  for (const batch of [true, false]) {
    await t.test(`the rules, ${batch ? 'with' : 'without'} shared statements`, async t => {
      const { store } = await fresh(batch)
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules of a feed', async t => {
    const { store } = await fresh()
    for (const rule of revocationFeedRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('the rules, through a replica', async t => {
    const replica = await following(t, (await fresh()).store)
    for (const rule of revocationStoreRules) await t.resolves(rule.check(() => replica), rule.name)
  })

  await t.test('a replica follows', async t => follows(t, (await fresh()).store))
}

async function marks<Client> (t: Test, { database, pools, fresh }: Scene<Client>): Promise<void> {
  await t.test('stores added to a third one give the verdicts of one', async t => {
    const [one, two, whole, merged] = [await fresh(), await fresh(), await fresh(), await fresh()] as const
    const marks: Mark[] = [
      { subject: 'u', cutoff: 10, except: 'a', until }, { subject: 'u', cutoff: 8, except: 'b', until },
      { subject: 'u', cutoff: 6, until }, { tokenId: 't', until }
    ]
    for (const [index, mark] of marks.entries()) await (index % 2 === 0 ? one : two).store.revoke(mark)
    await whole.store.revoke(...marks)
    for (const { store } of [two, one]) await merged.store.revoke(...await everyMark(store))
    for (const sessionId of ['a', 'b', 'c']) {
      for (const issuedAt of [5, 6, 7, 8, 9, 10, 11]) {
        const credential = { subject: 'u', sessionId, issuedAt }
        t.equal(await merged.store.check(credential), await whole.store.check(credential))
      }
    }
    t.equal(await merged.store.check({ tokenId: 't' }), 'revoked')
  })

  await t.test('ten thousand marks and one in one call are all made, and resolve true once', async t => {
    const { store } = await fresh()
    const marks = Array.from({ length: 10_001 }, (_, index): Mark => ({ tokenId: `t${index}`, until }))
    t.equal(await store.revoke(...marks), true)
    t.equal(await store.revoke(...marks), false)
    t.equal(await countOf(store), marks.length)
    for (const index of [0, 49, 50, 499, 500, 10_000]) t.equal(await store.check({ tokenId: `t${index}` }), 'revoked')
    t.equal(await store.revoke(...marks, { tokenId: 'one more', until }), true)
  })

  await t.test('of many calls at once with one mark exactly one resolves true, from several pools too', async t => {
    const { table } = await fresh()
    const stores = pools.map(({ client }) => database.store(client, { table }))
    const news = async (act: (store: SqlRevocationStore, index: number) => unknown) => {
      const calls = Array.from({ length: 200 }, (_, index) => act(stores[index % 4] as SqlRevocationStore, index))
      return (await Promise.all(calls)).filter(Boolean).length
    }
    for (const mark of [{ tokenId: 't', until }, { sessionId: 's', until }]) t.equal(await news(store => store.revoke(mark)), 1)
    t.equal(await news((store, index) => store.revoke({ tokenId: `own ${index % 50}`, until })), 50)
    t.equal(await news(store => store.claimOnce('key', until)), 1)
  })
}

async function endedMarks<Client> (t: Test, { database, pool, fresh }: Scene<Client>): Promise<void> {
  await t.test('rows that ended a minute ago are forgotten with the calls that come, claims too', async t => {
    const { table, store } = await fresh()
    const fill = () => pool.query(database.insert(table, ['told', 'cold', 'hold', 'tnew'].map(id => (
      { id, until: Date.now() - (id === 'tnew' ? 50_000 : 61_000) }
    ))))
    const left = async () => {
      const rows = await pool.query(`SELECT id FROM ${table} WHERE id LIKE '_old' OR id = 'tnew' ORDER BY id`)
      return rows.map(({ id }) => String(id))
    }
    await fill()
    for (let call = 0; call < 16; call++) await store.revoke({ tokenId: 'again', until })
    t.same(await left(), ['tnew'])
    await pool.query(`DELETE FROM ${table}`)
    await fill()
    for (let call = 0; call < 16; call++) await store.claimOnce(`k${call}`, until)
    t.same(await left(), ['tnew'])
  })

  await t.test('a mark that has ended takes no part in one that is made later', async t => {
    const { table, store } = await fresh()
    await pool.query(database.insert(table, [{ id: 'uu', cutoff: 1000, until: Date.now() - 1 }, { id: 'tt', cutoff: 1000, until: 5 }]))
    t.equal(await store.revoke({ subject: 'u', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'u', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ subject: 'v', cutoff: 1000, until: 1 }, { subject: 'v', cutoff: 10, until }), true)
    t.equal(await store.check({ subject: 'v', issuedAt: 11 }), 'live')
    t.equal(await store.revoke({ tokenId: 't', until }), true)
    t.equal(await store.revoke({ tokenId: 'ended', until: 1 }), false)
  })
}

async function transactions<Client> (t: Test, { database, pool, fresh, following }: Scene<Client>): Promise<void> {
  await t.test('a transaction that revoked and stays open holds up nobody else, and its marks are followed once it commits', async t => {
    const { table, store } = await fresh()
    const replica = await following(t, store)
    const host = await pool.begin()
    const within = database.store(host.client, { table, batch: false })
    t.equal(await within.revoke({ subject: 'alice', cutoff: 10, until }, { tokenId: 'alices', until }), true)

    let isLockedOver = false
    const locked = Promise.resolve(store.revoke({ subject: 'alice', cutoff: 20, until })).finally(() => { isLockedOver = true })
    // On MySQL, what waits for a lock holds up the calls of the same turn, which share its statement.
    await new Promise(resolve => setTimeout(resolve, 10))
    const bobs = Array.from({ length: 50 }, (_, index): Mark => ({ subject: `bob${index}`, cutoff: 10, until }))
    t.notOk((await Promise.all(bobs.map(mark => store.revoke(mark)))).includes(false))
    t.equal(isLockedOver, false)
    await eventuallyRevoked(replica, { subject: 'bob49', issuedAt: 10 })
    for (const tokenId of ['one', 'two', 'three']) {
      await store.revoke({ tokenId, until })
      const asked = Date.now()
      await eventually(() => Date.now() - asked > replica.staleness(), 'the replica is complete meanwhile')
    }
    t.equal(await replica.check({ tokenId: 'alices' }), 'live')

    await host.commit()
    t.equal(await locked, true)
    await eventuallyRevoked(replica, { tokenId: 'alices' })
    await eventuallyRevoked(replica, { subject: 'alice', issuedAt: 20 })
  })

  await t.test('a transaction that is rolled back has revoked nothing, anywhere', async t => {
    const { table, store } = await fresh()
    const replica = await following(t, store)
    const host = await pool.begin()
    await database.store(host.client, { table, batch: false }).revoke({ tokenId: 't', until })
    await host.rollback()
    await store.revoke({ tokenId: 'later', until })
    await eventuallyRevoked(replica, { tokenId: 'later' })
    t.equal(await replica.check({ tokenId: 't' }), 'live')
    t.equal(await store.check({ tokenId: 't' }), 'live')
  })
}

async function times<Client> (t: Test, { database, pool, fresh }: Scene<Client>): Promise<void> {
  await t.test('a node whose clock is ten minutes ahead or behind ends no mark early and keeps none from working', async t => {
    const { now } = Date
    t.teardown(() => Object.assign(Date, { now }))
    for (const error of [10 * minute, -10 * minute]) {
      const { store } = await fresh()
      await store.revoke({ tokenId: 'short', until: now() + 5 * minute })
      Date.now = () => now() + error
      for (let call = 0; call < 20; call++) await store.revoke({ tokenId: 'own', until: now() + 5 * minute })
      for (const tokenId of ['short', 'own']) t.equal(await store.check({ tokenId }), 'revoked', tokenId)
      t.equal(await store.check({ tokenId: 'other' }), 'live')
      t.equal(await store.claimOnce('k', now() + 5 * minute), true)
      t.equal(await store.claimOnce('k', now() + 5 * minute), false)
      t.equal(await countOf(store), 2)
      Object.assign(Date, { now })
      t.equal(await store.check({ tokenId: 'short' }), 'revoked')
    }
  })

  await t.test('a claim may end at a fraction of a millisecond, and must end at an instant', async t => {
    const { store } = await fresh()
    t.equal(await store.claimOnce('k', until + 0.5), true)
    t.equal(await store.claimOnce('k', until), false)
    await t.rejects(async () => store.claimOnce('x', NaN), { name: 'TypeError', message: /"until" must be an instant/ })
    t.equal(await store.claimOnce('x', until), true)
  })

  await t.test('a missing table says what to do', async t => {
    const missing = database.store(pool.client, { table: 'not_there' })
    const message = /^table not_there is missing(, or another version made it)?: run migrate\(\)$/
    await t.rejects(async () => missing.check({ tokenId: 't' }), { message })
    await t.rejects(async () => missing.revoke({ tokenId: 't', until }), { message })
    await t.rejects(async () => missing.claimOnce('k', until), { message })
    const feed = missing.feed()
    await t.rejects(feed.next(undefined, 1), { message })
    feed.close()
  })
}

/** How many marks a feed loads: some twice, where they get their numbers meanwhile. */
async function countOf (store: FollowableRevocationStore): Promise<number> {
  return new Set((await everyMark(store)).map(mark => JSON.stringify(mark))).size
}

/** Waits until a replica has a mark. */
export async function eventuallyRevoked (replica: { check (credential: object): unknown }, credential: object): Promise<void> {
  for (let attempt = 0; await replica.check(credential) !== 'revoked'; attempt++) {
    if (attempt > 2000) throw new Error(`never revoked: ${JSON.stringify(credential)}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
