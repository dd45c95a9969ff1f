import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { sqliteRevocationStore, sqliteRevocationTable } from '../../lib/revocation-stores/sqlite.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

const hour = 3_600_000

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

    await t.test('it answers with plain values', async t => {
      const until = Date.now() + hour
      t.equal(store.revoke({ tokenId: 't', until }), undefined)
      t.equal(store.check({ tokenId: 't' }), 'revoked')
      t.equal(store.claimOnce('k', until), true)
    })

    await t.test('what has ended is forgotten, claims included, and nothing else', async t => {
      const store = sqliteRevocationStore(database, { table: 'ended' })
      await store.migrate()
      const until = Date.now() + hour
      database.prepare(`INSERT INTO ended VALUES ('told', '', 0, ${Date.now() - 1}), ('cold', '', 0, ${Date.now() - 1}) RETURNING id`).all()
      store.claimOnce('k', until)
      store.revoke({ tokenId: 't', until }, { tokenId: 'past', until: Date.now() - 1 })
      t.match(database.prepare('SELECT id FROM ended ORDER BY id').all(), [{ id: 'ck' }, { id: 'tt' }])
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
  t.throws(() => sqliteRevocationTable('drop table'), { name: 'TypeError', message: /table must be a name/ })
  t.match(sqliteRevocationTable(), /CREATE TABLE IF NOT EXISTS "logout_revocation"/)
})
