import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { SqliteDatabase } from '../../lib/internal/databases/sqlite.ts'
import { sqliteUserStatusStore, sqliteUserStatusTable } from '../../lib/user-status-stores/sqlite.ts'
import { bigIntegers } from '../servers/big-integers.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'
import { keepsUserRecords } from './user-records.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const login = { status: 'logged_in', at: 1000, requestId: 'r-1' } as const
const logout = { at: 2000, requestId: 'r-2' }

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    await t.test('the rules', async t => {
      let made = 0
      const database = open(':memory:')
      t.teardown(() => database.close())
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const store = sqliteUserStatusStore(database, { table: `users_${made++}` })
          await store.migrate()
          return { store, set: store.set }
        }), rule.name)
      }
    })

    await t.test('the rules, with integers as BigInt', async t => {
      let made = 0
      const database = open(':memory:')
      t.teardown(() => database.close())
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(async () => {
          const store = sqliteUserStatusStore(bigIntegers(database), { table: `users_${made++}` })
          await store.migrate()
          return { store, set: store.set }
        }), rule.name)
      }
    })

    await t.test('a logout begins again when the record has changed since it was read', async t => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      let between: (() => void) | undefined
      const store = sqliteUserStatusStore({
        exec: sql => database.exec(sql),
        prepare (sql) {
          const statement = database.prepare(sql)
          return {
            all (...values) {
              const write = between
              if (/^UPDATE/.test(sql)) between = undefined
              if (between !== write) write?.()
              return statement.all(...values)
            }
          }
        }
      })
      await store.migrate()
      const other = sqliteUserStatusStore(database)
      store.set(alice, 'logged_in')
      between = () => other.logOut(alice, { at: 5000, requestId: 'r-5' })
      t.match(store.logOut(alice, logout), { status: 'logged_out', loggedOutAt: 5000 }, 'the other logout came first')
      t.match(store.get(alice), { status: 'logged_out', loggedOutAt: 5000 }, 'the later time stays')
      between = () => other.set(alice, 'suspended')
      t.match(store.logOut(alice, logout), { status: 'suspended' })
      between = () => database.exec("UPDATE logout_user_status SET status = 'banned'")
      other.set(alice, 'logged_in')
      t.match(store.logOut(alice, logout), { status: 'banned' }, 'also when the host changed the status and not the version')
      t.match(store.get(alice), { status: 'banned' })
      between = () => other.remove(alice)
      other.set(alice, 'logged_in')
      t.equal(store.logOut(alice, logout), undefined)
      t.equal(between, undefined, 'each of them came in between')
    })

    await t.test('it returns plain values, never a promise', async t => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      t.equal(store.compareAndSet(alice, undefined, login), true)
      t.match(store.logOut(alice, logout), { status: 'logged_in', lastSeenAt: 1000, loggedOutAt: undefined })
      t.match(store.logOut(alice, { at: 3000, requestId: 'r-3' }), { status: 'logged_out', loggedOutAt: 2000 })
      t.equal(store.set(alice, 'suspended'), undefined)
      t.match(store.logOut(alice, { at: 4000, requestId: 'r-4' }), { status: 'suspended', loggedOutAt: 3000 })
      t.match(database.prepare('SELECT * FROM logout_user_status').all(), [{
        status: 'suspended', logged_out_at: 3000, last_seen_at: 1000, request_id: 'r-3'
      }])
      t.match(database.prepare('SELECT typeof(logged_out_at) AS t FROM logout_user_status').all(), [{ t: 'integer' }])
      t.equal(store.remove(alice), undefined)
    })

    await t.test('set keeps the times, remove forgets only its user, and an old version never fits a new record', async t => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      await keepsUserRecords(t, store)
    })

    await t.test('a commit that fails after the statement is an error', async t => {
      const path = join(t.testdir({}), 'users.db')
      const [writer, reader] = [open(path), open(path)]
      t.teardown(() => { writer.close(); reader.close() })
      writer.exec('PRAGMA journal_mode = DELETE')
      const store = sqliteUserStatusStore(writer)
      await store.migrate()
      store.set(alice, 'logged_in')
      reader.exec('BEGIN')
      reader.prepare('SELECT * FROM logout_user_status').all()
      t.throws(() => store.logOut(alice, logout), /locked/)
      t.throws(() => store.compareAndSet(alice, store.get(alice)?.version, login), /locked/)
      t.throws(() => store.set(alice, 'suspended'), /locked/)
      t.throws(() => store.remove(alice), /locked/)
      reader.exec('ROLLBACK')
      t.match(store.logOut(alice, logout), { status: 'logged_in', lastSeenAt: undefined })
    })

    await t.test('migrate is safe twice, and waits for another process that is at it', async t => {
      const path = join(t.testdir({}), 'users.db')
      const [one, other] = [open(path), open(path)]
      t.teardown(() => { one.close(); other.close() })
      one.exec('BEGIN IMMEDIATE')
      const migrated = sqliteUserStatusStore(other).migrate()
      setTimeout(() => {
        one.exec(sqliteUserStatusTable())
        one.exec('COMMIT')
      }, 60)
      await migrated
      sqliteUserStatusStore(other).set(alice, 'suspended')
      await sqliteUserStatusStore(one).migrate()
      t.equal(sqliteUserStatusStore(one).get(alice)?.status, 'suspended')
    })

    await t.test('a missing table says what to do, and is found once it is there', async t => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const store = sqliteUserStatusStore(database, { table: 'members' })
      t.throws(() => store.get(alice), { message: 'table members is missing: run migrate()', cause: Error })
      t.throws(() => store.logOut(alice, logout), /run migrate\(\)/)
      await store.migrate()
      t.equal(store.logOut(alice, logout), undefined)
      database.exec('DROP TABLE members')
      t.throws(() => store.logOut(alice, logout), /run migrate\(\)/)
    })

    await t.test('what the host writes itself counts, also inside its own transaction', async t => {
      const database = open(':memory:')
      t.teardown(() => database.close())
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      database.exec('INSERT INTO logout_user_status (tenant, subject, status) VALUES (\'acme\', \'alice\', \'logged_in\')')
      const { version } = store.get(alice) ?? {}
      t.match(version, /^[0-9A-F]{32}$/)
      database.exec('BEGIN')
      t.equal(store.compareAndSet(alice, version, login), true)
      database.exec('ROLLBACK')
      t.equal(store.get(alice)?.version, version)
    })

    await t.test('the request of the last change is kept for the host', async t => {
      const path = join(t.testdir({}), 'users.db')
      const database = open(path)
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      store.compareAndSet(alice, undefined, login)
      database.close()
      t.match(readFileSync(path, 'latin1'), /r-1/)
    })
  })
}

t.test('a wrong database or table is a TypeError that names it', async t => {
  for (const database of [undefined, null, {}, 'users.db']) {
    t.throws(() => sqliteUserStatusStore(database as SqliteDatabase), {
      name: 'TypeError', message: /sqliteUserStatusStore: pass a database/
    })
  }
  const database = { prepare: () => ({ all: () => [] }), exec () {} }
  for (const table of ['', 'a"b', 'a;b', 'a b', '1a']) {
    t.throws(() => sqliteUserStatusStore(database, { table }), { name: 'TypeError', message: /table/ })
    t.throws(() => sqliteUserStatusTable(table), { name: 'TypeError', message: /table/ })
  }
})
