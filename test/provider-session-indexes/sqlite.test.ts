import { join } from 'node:path'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { sqliteProviderSessionIndex, sqliteProviderSessionTables } from '../../lib/provider-session-indexes/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'
import { spread } from './spread.ts'
import { checkTimes } from './times.ts'

const hour = 3_600_000
const issuer = 'https://login.example'
const session = (sessionId: string) => ({ sessionId, subject: 'alice' })
const login = (sid?: string) => ({ issuer, subject: 'alice-there', sid, issuedAt: 1000 })
const logoutOf = (sid: string) => ({ issuer, sid, cutoff: 1000, until: Date.now() + hour })

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const memory = async () => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const index = sqliteProviderSessionIndex(database)
      await index.migrate()
      return { database, index, rows: (sql: string) => database.prepare(sql).all() }
    }

    const { index: shared } = await memory()
    for (const rule of providerSessionIndexRules) t.test(rule.name, () => rule.check(() => shared))

    t.test('the rules, on two connections to one file', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const databases = [open(path), open(path)]
      t.teardown(() => { for (const database of databases) database.close() })
      databases[0]?.exec('PRAGMA journal_mode = WAL')
      const indexes = databases.map(database => sqliteProviderSessionIndex(database))
      await indexes[0]?.migrate()
      for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => spread(indexes)), rule.name)
    })

    t.test('of two times of a login or a logout the later one counts, and what is over is not found', t => checkTimes(t, shared))

    t.test('it returns plain values, not promises', async t => {
      const { index } = await memory()
      t.equal(index.bind(login('phone'), session('1'), Date.now() + hour), 'live')
      t.strictSame(index.logOut(logoutOf('phone')), [session('1')])
    })

    t.test('what the provider said stands nowhere in clear', async t => {
      const { index, rows } = await memory()
      index.bind(login('the-phone'), session('1'), Date.now() + hour)
      index.logOut(logoutOf('the-phone'))
      const dump = JSON.stringify([rows('SELECT * FROM logout_provider_session'), rows('SELECT * FROM logout_provider_session_cutoff')])
      t.match(dump, /alice/)
      t.notMatch(dump, /the-phone|alice-there|login\.example/)
    })

    t.test('prune deletes what is past its time, in batches, and keeps the rest', async t => {
      const { database, index, rows } = await memory()
      index.bind(login('phone'), session('1'), Date.now() + hour)
      index.logOut(logoutOf('laptop'))
      index.bind(login('tablet'), session('2'), 1)
      index.logOut({ ...logoutOf('tablet'), until: 1 })
      database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        INSERT INTO logout_provider_session SELECT i, i, '', '[]', 1, 1 FROM n`)
      const deleted: Array<number | string> = []
      const counting: SqliteDatabase = {
        exec: sql => database.exec(sql),
        prepare (sql) {
          const statement = database.prepare(sql)
          return {
            all (...values) {
              const found = statement.all(...values)
              if (sql.startsWith('DELETE')) deleted.push(found.length)
              return found
            }
          }
        }
      }
      setImmediate(() => deleted.push('other work'))
      t.equal(await sqliteProviderSessionIndex(counting).prune(), 2500)
      t.strictSame(deleted, [1000, 'other work', 1000, 500, 1])
      t.equal(rows('SELECT 1 FROM logout_provider_session').length, 1)
      t.equal(rows('SELECT 1 FROM logout_provider_session_cutoff').length, 1)
      t.equal(await index.prune(), 0)
      t.strictSame(index.logOut(logoutOf('phone')), [session('1')])
    })

    t.test('within a transaction of the host it is part of that', async t => {
      const { index, database } = await memory()
      database.exec('BEGIN')
      index.bind(login('phone'), session('1'), Date.now() + hour)
      index.logOut(logoutOf('laptop'))
      database.exec('ROLLBACK')
      t.strictSame(index.logOut(logoutOf('phone')), [])
      t.equal(index.bind(login('laptop'), session('2'), Date.now() + hour), 'live')
    })

    t.test('a logout waits for a login of another process that is not committed yet, and then finds it', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const [ours, theirs] = [open(path), open(path)]
      t.teardown(() => { ours.close(); theirs.close() })
      ours.exec('PRAGMA journal_mode = WAL')
      const [host, receiver] = [sqliteProviderSessionIndex(ours), sqliteProviderSessionIndex(theirs)]
      await host.migrate()
      ours.exec('BEGIN')
      host.bind(login('phone'), session('1'), Date.now() + hour)
      t.throws(() => receiver.logOut(logoutOf('phone')), /locked/, 'it cannot tell')
      ours.exec('COMMIT')
      t.strictSame(receiver.logOut(logoutOf('phone')), [session('1')])
    })

    t.test('two tables in one file never see each other', async t => {
      const { index, database } = await memory()
      const other = sqliteProviderSessionIndex(database, { table: 'main.other' })
      await other.migrate()
      await other.migrate()
      index.bind(login('phone'), session('1'), Date.now() + hour)
      t.strictSame(other.logOut(logoutOf('phone')), [])
      t.equal(index.bind(login('phone'), session('1'), Date.now() + hour), 'live')
    })

    t.test('a missing table says what to do', async t => {
      const { database } = await memory()
      const index = sqliteProviderSessionIndex(database, { table: 'nowhere' })
      const message = 'table nowhere is missing: run migrate()'
      t.throws(() => index.bind(login(), session('1'), Date.now() + hour), { message })
      t.throws(() => index.logOut(logoutOf('phone')), { message })
      await t.rejects(index.prune(), { message })
    })
  })
}

t.test('a wrong database or table is a TypeError that names it', async t => {
  t.throws(() => sqliteProviderSessionIndex({} as SqliteDatabase), {
    name: 'TypeError', message: /sqliteProviderSessionIndex: pass a database/
  })
  const database: SqliteDatabase = { prepare: () => ({ all: () => [] }), exec: () => {} }
  for (const table of ['', 'a"b', 'a;b', 'a.b.c', '1a']) {
    t.throws(() => sqliteProviderSessionIndex(database, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => sqliteProviderSessionTables(table), { name: 'TypeError', message: /table/ })
  }
  t.match(sqliteProviderSessionTables(), /"logout_provider_session"/)
})
