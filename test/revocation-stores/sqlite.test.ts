import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { sqliteRevocationStore, sqliteRevocationTable, type SqliteRevocationStore } from '../../lib/revocation-stores/sqlite.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

const hour = 3_600_000

/** Does something while the clock of this process is wrong by so many milliseconds. */
function atAnotherTime (offset: number, work: () => void): void {
  const { now } = Date
  Date.now = () => now() + offset
  try {
    work()
  } finally {
    Date.now = now
  }
}

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const database = open(':memory:')
    t.teardown(() => database.close())
    const store = sqliteRevocationStore(database)
    await store.migrate()
    await store.migrate()

    await t.test('the rules', async t => {
      for (const rule of revocationStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })

    await t.test('it returns plain values', async t => {
      const until = Date.now() + hour
      t.equal(store.revoke({ tokenId: 't', until }), true)
      t.equal(store.check({ tokenId: 't' }), 'revoked')
      t.equal(store.claimOnce('k', until), true)
    })

    await t.test('what ended a minute ago is forgotten with the calls that come, claims included, and nothing else', async t => {
      const until = Date.now() + hour
      const calls = [
        (store: SqliteRevocationStore) => store.revoke({ tokenId: 't', until }),
        (store: SqliteRevocationStore) => store.claimOnce('t', until)
      ]
      for (const [index, call] of calls.entries()) {
        const table = `ended${index}`
        const store = sqliteRevocationStore(database, { table })
        await store.migrate()
        const insert = database.prepare(`INSERT INTO ${table} VALUES (?, '', '', '', 0, ?) RETURNING id`)
        for (const id of ['told', 'cold']) insert.all(id, Date.now() - 61_000)
        for (const id of ['tnew', 'cnew']) insert.all(id, Date.now() - 50_000)
        call(store)
        const ids = database.prepare(`SELECT id FROM ${table} ORDER BY id`).all().map(row => (row as { id: string }).id)
        t.strictSame(ids, index === 0 ? ['cnew', 'tnew', 'tt'] : ['cnew', 'ct', 'tnew'])
      }
    })

    await t.test('a process whose clock is ten minutes ahead makes nobody else\'s marks be forgotten', async t => {
      for (const [index, startsAhead] of [false, true].entries()) {
        const table = `ahead${index}`
        const store = sqliteRevocationStore(database, { table })
        await store.migrate()
        const soon = Date.now() + 300_000
        store.revoke({ tokenId: 'soon', until: soon })
        store.claimOnce('once', soon)
        const early = sqliteRevocationStore(database, { table })
        atAnotherTime(600_000, () => {
          const hasty = startsAhead ? sqliteRevocationStore(database, { table }) : early
          t.equal(hasty.revoke({ tokenId: 'x', until: Date.now() + hour }), true)
          t.equal(hasty.claimOnce('once', Date.now() + hour), false, 'nor does a claim end earlier')
        })
        t.equal(store.check({ tokenId: 'soon' }), 'revoked')
      }
    })

    await t.test('the first call and then one of 65 looks for what has ended', async t => {
      let looked = 0
      const counting: SqliteDatabase = {
        prepare (sql) {
          const statement = database.prepare(sql)
          if (!sql.startsWith('DELETE')) return statement
          return { all: (...values) => { looked++; return statement.all(...values) } }
        },
        exec: sql => database.exec(sql)
      }
      const store = sqliteRevocationStore(counting, { table: 'swept' })
      await store.migrate()
      const seen: number[] = []
      for (let call = 0; call < 131; call++) {
        const before = looked
        if (call % 2 === 0) store.revoke({ tokenId: `${call}`, until: Date.now() + hour })
        else store.claimOnce(`${call}`, Date.now() + hour)
        if (looked > before) seen.push(call)
      }
      t.strictSame(seen, [0, 65, 130])
    })

    await t.test('where the clock of the database is ahead of the process, the earlier one counts', async t => {
      const store = sqliteRevocationStore(database, { table: 'behind' })
      await store.migrate()
      const ended = Date.now() - 300_000
      database.prepare(`INSERT INTO behind VALUES ('told', '', '', '', 0, ${ended}), ('conce', '', '', '', 0, ${ended}) RETURNING id`).all()
      atAnotherTime(-600_000, () => {
        const slow = sqliteRevocationStore(database, { table: 'behind' })
        slow.revoke({ tokenId: 'x', until: Date.now() + hour })
        t.equal(slow.check({ tokenId: 'old' }), 'revoked')
        t.equal(slow.claimOnce('once', Date.now() + hour), false)
      })
    })

    await t.test('a mark that is known and now lasts longer does so', async t => {
      const store = sqliteRevocationStore(database, { table: 'longer' })
      await store.migrate()
      const now = Date.now()
      store.revoke({ tokenId: 't', until: now + hour })
      t.equal(store.revoke({ tokenId: 't', until: now + 2 * hour }, { sessionId: 's', until: now + hour }), true)
      const rows = database.prepare('SELECT id, until FROM longer ORDER BY id').all().map(row => Object.values(row as object))
      t.strictSame(rows, [['ss', now + hour], ['tt', now + 2 * hour]])
    })

    await t.test('instants of any kind are compared, not crashed on', async t => {
      store.revoke({ subject: 'any', cutoff: 1000, until: Date.now() + hour })
      for (const issuedAt of [NaN, -Infinity, 999.5, 1000]) t.equal(store.check({ subject: 'any', issuedAt }), 'revoked', `${issuedAt}`)
      for (const issuedAt of [Infinity, 1000.5, 1e300]) t.equal(store.check({ subject: 'any', issuedAt }), 'live', `${issuedAt}`)
    })

    await t.test('a missing table says what to do', async t => {
      const store = sqliteRevocationStore(database, { table: 'not_there' })
      t.throws(() => store.check({ tokenId: 't' }), /table not_there is missing: run migrate\(\)/)
    })

    await t.test('a schema may stand in front of the table', async t => {
      const store = sqliteRevocationStore(database, { table: 'main.with_schema' })
      await store.migrate()
      store.revoke({ tokenId: 't', until: Date.now() + hour })
      t.equal(store.check({ tokenId: 't' }), 'revoked')
    })
  })
}

t.test('misuse is a TypeError that says what to do', async t => {
  t.throws(() => sqliteRevocationStore({} as SqliteDatabase), { name: 'TypeError', message: /node:sqlite or better-sqlite3/ })
  t.throws(() => sqliteRevocationTable('drop table'), { name: 'TypeError', message: /option "table" must be a name/ })
  t.match(sqliteRevocationTable(), /CREATE TABLE IF NOT EXISTS "logout_revocation"/)
})
