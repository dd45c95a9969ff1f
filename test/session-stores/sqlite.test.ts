import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { NewSession } from '../../lib/session-store.ts'
import { sqliteSessionStore, sqliteSessionTables } from '../../lib/session-stores/sqlite.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { bigIntegers } from '../servers/big-integers.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

const hour = 3_600_000

function session (given: Partial<NewSession> = {}): NewSession {
  const now = Date.now()
  return { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour, ...given }
}

const past = () => session({ expiresAt: 0, keepUntil: Date.now() - 1 })

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const memory = async () => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const store = sqliteSessionStore(database)
      await store.migrate()
      return { database, store, rows: (sql: string) => database.prepare(sql).all() }
    }

    const { store: shared } = await memory()
    for (const rule of sessionStoreRules) t.test(rule.name, () => rule.check(() => shared))

    t.test('the rules, with integers as BigInt', async t => {
      const { database } = await memory()
      const store = sqliteSessionStore(bigIntegers(database))
      t.strictSame((bigIntegers(database).prepare('SELECT 1 AS n').all()[0] as { n: unknown }).n, 1n)
      for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })

    t.test('it returns plain values, never a promise', async t => {
      const { store } = await memory()
      t.equal(store.create('token', session({ id: 'id' })), undefined)
      t.match([store.find('token'), store.logOutById({ id: 'id' }), store.logOut('token')].map(found => found?.status), [
        'active', 'active', 'logged_out'
      ])
      t.strictSame(store.list({ subject: 'alice', limit: 1 }), [])
      t.equal(store.logOutSubject({ subject: 'alice', count: true }), 0)
    })

    t.test('logging out a subject costs the same for 10 and for 10,000 sessions', async t => {
      const { database, store } = await memory()
      const rounds = [1, 2, 3, 4, 5]
      const subjects = rounds.flatMap(round => [10, 10_000].map(count => ({ subject: `${count} ${round}`, count })))
      for (const { subject, count } of subjects) {
        store.create(subject, session({ id: subject, subject }))
        database.prepare(`WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
          INSERT INTO logout_session SELECT digest || i, id || i, subject, epoch, logged_out, created_at, expires_at, keep_until, details
          FROM logout_session, n WHERE id = ? RETURNING 1`).all(count, subject)
      }
      const fastest = (count: number) => Math.min(...rounds.map(round => {
        const start = process.hrtime.bigint()
        store.logOutSubject({ subject: `${count} ${round}`, except: `${count} ${round}` })
        return Number(process.hrtime.bigint() - start) / 1e6
      }))
      t.equal(store.list({ subject: '10000 1', limit: 20_000 }).length, 10_000)
      t.ok(fastest(10_000) < fastest(10) + 0.5, 'less than half a millisecond longer')
      t.same(store.list({ subject: '10000 1', limit: 2 }).map(({ id }) => id), ['10000 1'])
    })

    t.test('prune deletes what is past its keepUntil, in batches, and keeps the rest', async t => {
      const { database, store, rows } = await memory()
      store.create('kept', session())
      store.logOut('kept')
      store.create('one', past())
      database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
        INSERT INTO logout_session (digest, id, subject, epoch, created_at, expires_at, keep_until, details)
        SELECT i, i, 's' || i, 1, 1, 1, 1, '{}' FROM n`)
      database.exec("INSERT INTO logout_session_subject SELECT subject, 1, 1 FROM logout_session WHERE subject <> 'alice'")
      const deleted: Array<number | string> = []
      const counting: SqliteDatabase = {
        exec: sql => database.exec(sql),
        prepare (sql) {
          const statement = database.prepare(sql)
          return {
            all (...values) {
              const answer = statement.all(...values)
              if (sql.startsWith('DELETE')) deleted.push(answer.length)
              return answer
            }
          }
        }
      }
      setImmediate(() => deleted.push('other work'))
      t.equal(await sqliteSessionStore(counting).prune(), 2500)
      t.strictSame(deleted, [1000, 'other work', 1000, 500, 1000, 1000, 499])
      t.equal(await store.prune(), 0)
      t.equal(store.find('kept')?.status, 'logged_out')
      t.same(rows('SELECT subject FROM logout_session_subject'), [{ subject: 'alice' }])
    })

    t.test('a subject that was pruned starts anew, above what it was', async t => {
      const { store, database } = await memory()
      store.create('token', session())
      store.logOutSubject({ subject: 'alice' })
      database.exec('DELETE FROM logout_session_subject')
      t.equal(store.find('token'), undefined)
      store.create('new', session())
      t.equal(store.find('token')?.status, 'logged_out')
      t.equal(store.find('new')?.status, 'active')
    })

    t.test('a creation that is refused leaves nothing behind', async t => {
      const { store, rows } = await memory()
      store.create('token', session({ id: 'id' }))
      t.throws(() => store.create('other', session({ id: 'id', subject: 'bob' })), /UNIQUE/)
      t.throws(() => store.create('token', session({ subject: 'carol' })), /UNIQUE/)
      t.same(rows('SELECT subject FROM logout_session_subject'), [{ subject: 'alice' }])
      t.equal(rows('SELECT 1 FROM logout_session').length, 1)
    })

    t.test('within a transaction of the host a call is part of it', async t => {
      const { store, database } = await memory()
      store.create('token', session())
      database.exec('BEGIN')
      t.throws(() => store.create('token', session()), /UNIQUE/)
      store.create('inside', session())
      t.equal(store.logOutSubject({ subject: 'alice', count: true }), 2)
      database.exec('ROLLBACK')
      t.equal(store.find('token')?.status, 'active')
      t.equal(store.find('inside'), undefined)
    })

    t.test('after SQLite rolled back by itself, its own error is thrown', async t => {
      const { database } = await memory()
      const full: SqliteDatabase = {
        exec: sql => database.exec(sql),
        prepare (sql) {
          const statement = database.prepare(sql)
          return {
            all (...values) {
              if (!sql.startsWith('DELETE')) return statement.all(...values)
              database.exec('ROLLBACK')
              throw new Error('database or disk is full')
            }
          }
        }
      }
      t.throws(() => sqliteSessionStore(full).create('token', session()), { message: 'database or disk is full' })
    })

    t.test('a logout that another process did first returns the session as logged out', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const [ours, theirs] = [open(path), open(path)]
      t.teardown(() => { ours.close(); theirs.close() })
      const other = sqliteSessionStore(theirs)
      await other.migrate()
      const wins: Record<string, (token: string, id: string) => unknown> = {
        'by its token': token => other.logOut(token),
        'by its id': (_token, id) => other.logOutById({ id }),
        'with its subject': () => other.logOutSubject({ subject: 'alice' })
      }
      for (const [how, win] of Object.entries(wins)) {
        for (const byId of [false, true]) {
          const [token, id] = [randomUUID(), randomUUID()]
          other.create(token, session({ id }))
          const store = sqliteSessionStore({
            exec: sql => ours.exec(sql),
            prepare (sql) {
              if (sql.startsWith('UPDATE')) win(token, id)
              return ours.prepare(sql)
            }
          })
          const found = byId ? store.logOutById({ id }) : store.logOut(token)
          t.equal(found?.status, 'logged_out', `${how}, and by its ${byId ? 'id' : 'token'}`)
        }
      }
    })

    t.test('two tables in one file never see each other', async t => {
      const { store, database } = await memory()
      const other = sqliteSessionStore(database, { table: 'main.other' })
      await other.migrate()
      await other.migrate()
      store.create('token', session({ id: 'id' }))
      t.equal(other.find('token'), undefined)
      t.equal(other.logOutById({ id: 'id' }), undefined)
      other.create('token', session({ id: 'id' }))
      other.logOutSubject({ subject: 'alice' })
      t.equal(other.find('token')?.status, 'logged_out')
      t.equal(store.find('token')?.status, 'active')
    })

    t.test('a missing table says what to do', async t => {
      const { database } = await memory()
      const store = sqliteSessionStore(database, { table: 'nowhere' })
      const verbs = [
        () => store.create('t', session()), () => store.find('t'), () => store.logOut('t'), () => store.logOutById({ id: 'i' }),
        () => store.logOutSubject({ subject: 's' }), () => store.list({ subject: 's', limit: 1 })
      ]
      for (const verb of verbs) t.throws(verb, { message: 'table nowhere is missing: run migrate()' })
      await t.rejects(store.prune(), { message: 'table nowhere is missing: run migrate()' })
    })
  })
}

t.test('a wrong database or table is a TypeError that names it', async t => {
  t.throws(() => sqliteSessionStore({} as SqliteDatabase), { name: 'TypeError', message: /sqliteSessionStore: pass a database/ })
  const database: SqliteDatabase = { prepare: () => ({ all: () => [] }), exec: () => {} }
  for (const table of ['', 'a"b', 'a;b', 'a.b.c', '1a']) {
    t.throws(() => sqliteSessionStore(database, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => sqliteSessionTables(table), { name: 'TypeError', message: /table/ })
  }
  t.match(sqliteSessionTables(), /"logout_session"/)
})
