import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  inOwnTransaction, inTransaction, migrateSqlite, prepareAll, sqliteStatements, type SqliteDatabase
} from '../../../lib/internal/databases/sqlite.ts'
import { sqliteLibraries, type OpenSqlite } from '../../servers/sqlite-libraries.ts'
import { warningsOf } from './warnings.ts'

function opened (t: Test, open: OpenSqlite, path: string) {
  const database = open(path)
  t.teardown(() => database.close())
  return database
}

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const withNumbers = (t: Test) => {
      const path = join(t.testdir({}), 'numbers.db')
      const [ours, theirs] = [opened(t, open, path), opened(t, open, path)] as const
      ours.exec('PRAGMA journal_mode = DELETE; CREATE TABLE number (n INTEGER PRIMARY KEY)')
      const add = (n: number) => ours.prepare('INSERT INTO number VALUES (?) RETURNING n').all(n)
      const committed = () => (theirs.prepare('SELECT n FROM number ORDER BY n').all() as Array<{ n: number }>).map(({ n }) => n)
      return { ours, theirs, add, committed }
    }

    t.test('writes are committed together, and their result is returned', async t => {
      const { ours, add, committed } = withNumbers(t)
      t.equal(inTransaction(ours, () => {
        add(1)
        t.strictSame(committed(), [])
        add(2)
        return 'done'
      }), 'done')
      t.strictSame(committed(), [1, 2])
    })

    t.test('when one write fails, none is committed', async t => {
      const { ours, add, committed } = withNumbers(t)
      add(1)
      t.throws(() => inTransaction(ours, () => [add(2), add(1)]), /UNIQUE/)
      add(3)
      t.strictSame(committed(), [1, 3])
    })

    t.test('a commit that fails leaves no transaction open: what is written afterwards is committed', async t => {
      const { ours, theirs, add, committed } = withNumbers(t)
      theirs.exec('BEGIN')
      theirs.prepare('SELECT n FROM number').all()
      t.throws(() => inTransaction(ours, () => add(1)), /locked/)
      theirs.exec('COMMIT')
      add(2)
      t.strictSame(committed(), [2])
      inTransaction(ours, () => add(3))
      t.strictSame(committed(), [2, 3])
    })

    t.test('while another process writes, a transaction waits or fails before its first write', async t => {
      const { ours, theirs, add } = withNumbers(t)
      theirs.exec('BEGIN IMMEDIATE')
      let called = false
      t.throws(() => inTransaction(ours, () => { called = true }), /locked/)
      t.notOk(called)
      theirs.exec('COMMIT')
      t.strictSame(inTransaction(ours, () => add(1)).length, 1)
    })

    t.test('within a transaction of the host the writes are part of it, and a failure undoes only them', async t => {
      const { ours, add, committed } = withNumbers(t)
      ours.exec('BEGIN')
      add(1)
      inTransaction(ours, () => add(2))
      t.throws(() => inTransaction(ours, () => [add(3), add(1)]), /UNIQUE/)
      t.strictSame(committed(), [])
      ours.exec('COMMIT')
      t.strictSame(committed(), [1, 2])
      ours.exec('SAVEPOINT of_the_host')
      inTransaction(ours, () => add(4))
      ours.exec('ROLLBACK TO of_the_host; RELEASE of_the_host')
      t.strictSame(committed(), [1, 2])
    })

    t.test('a transaction of its own begins within no transaction of the host', async t => {
      const { ours, theirs, add, committed } = withNumbers(t)
      t.strictSame(inOwnTransaction(ours, () => add(1))?.length, 1)
      t.throws(() => inOwnTransaction(ours, () => [add(2), add(1)]), /UNIQUE/)
      t.strictSame(committed(), [1])
      ours.exec('BEGIN')
      t.equal(inOwnTransaction(ours, () => add(3)), undefined)
      ours.exec('COMMIT')
      theirs.exec('BEGIN IMMEDIATE')
      t.throws(() => inOwnTransaction(ours, () => add(4)), /locked/)
      theirs.exec('COMMIT')
      t.strictSame(committed(), [1])
    })

    t.test('after SQLite rolled back by itself, its own error is thrown and nothing stays open', async t => {
      const { ours, add, committed } = withNumbers(t)
      t.throws(() => inTransaction(ours, () => {
        add(1)
        ours.exec('ROLLBACK')
        throw new Error('database or disk is full')
      }), { message: 'database or disk is full' })
      add(2)
      t.strictSame(committed(), [2])
    })

    t.test('a file without WAL is warned of, once for each database', async t => {
      const path = join(t.testdir({}), 'journal.db')
      const database = opened(t, open, path)
      const warnings = await warningsOf(t, () => {
        sqliteStatements(database, 'sessions', 'sqliteSessionStore')
        sqliteStatements(database, 'main.users', 'sqliteUserStatusStore')
      })
      t.match(warnings, [{
        code: 'FASTIFY_LOGOUT_JOURNAL_MODE',
        message: /^sqliteSessionStore: the database file has journal_mode "delete"\. .*PRAGMA journal_mode = WAL/
      }])
      t.equal(warnings.length, 1)
    })

    t.test('the warning is about the file that the table is in', async t => {
      const directory = t.testdir({})
      const database = opened(t, open, join(directory, 'wal.db'))
      database.exec(`PRAGMA journal_mode = WAL; ATTACH '${join(directory, 'other.db')}' AS other; PRAGMA other.journal_mode = TRUNCATE`)
      t.strictSame(await warningsOf(t, () => sqliteStatements(database, 'sessions', 'caller')), [])
      t.match(await warningsOf(t, () => sqliteStatements(database, 'other.sessions', 'caller')), [{ message: /"truncate"/ }])
    })

    t.test('a file that is attached beside the table is not warned of', async t => {
      const database = opened(t, open, ':memory:')
      database.exec(`ATTACH '${join(t.testdir({}), 'other.db')}' AS other`)
      t.strictSame(await warningsOf(t, () => sqliteStatements(database, 'sessions', 'caller')), [])
    })

    t.test('a database in memory is not warned of, nor one that cannot be read', async t => {
      const memory = opened(t, open, ':memory:')
      const path = join(t.testdir({}), 'locked.db')
      const [locking, locked] = [opened(t, open, path), opened(t, open, path)] as const
      locking.exec('CREATE TABLE a (b); BEGIN EXCLUSIVE')
      t.strictSame(await warningsOf(t, () => {
        sqliteStatements(memory, 'sessions', 'caller')
        sqliteStatements(locked, 'sessions', 'caller')
      }), [])
    })
  })
}

t.test('statements are prepared when they are first needed, and once', async t => {
  const prepared: string[] = []
  const database: SqliteDatabase = {
    exec () {},
    prepare (sql) {
      prepared.push(sql)
      return { all: (...values) => [{ sql, values }] }
    }
  }
  const run = prepareAll(sqliteStatements(database, 'sessions', 'caller'), { find: 'SELECT 1', list: 'SELECT 2' })
  prepared.length = 0
  t.strictSame([run.list(1, 'two', null), run.list()], [[{ sql: 'SELECT 2', values: [1, 'two', null] }], [{ sql: 'SELECT 2', values: [] }]])
  t.strictSame(prepared, ['SELECT 2'])
})

t.test('anything but a database is a TypeError', async t => {
  for (const database of [undefined, null, {}, 'users.db']) {
    t.throws(() => sqliteStatements(database as SqliteDatabase, 'a', 'caller'), {
      name: 'TypeError', message: 'caller: pass a database of node:sqlite or better-sqlite3'
    })
  }
})

t.test('a statement on a missing table throws an error that says what to do', async t => {
  const database: SqliteDatabase = { exec () {}, prepare () { throw new Error('no such table: sessions') } }
  t.throws(() => sqliteStatements(database, 'sessions', 'caller')('SELECT 1')(), { message: 'table sessions is missing: run migrate()' })
})

t.test('a migration gives up at once on a database that cannot be written', async t => {
  let calls = 0
  const database: SqliteDatabase = {
    prepare: () => ({ all: () => [] }),
    exec () {
      calls += 1
      throw new Error('attempt to write a readonly database')
    }
  }
  await t.rejects(migrateSqlite(database, ''), /readonly/)
  t.equal(calls, 1)
})

t.test('a migration waits while a file is locked, and lets other work go on', async t => {
  let isLocked = true
  const database: SqliteDatabase = {
    prepare: () => ({ all: () => [] }),
    exec () { if (isLocked) throw new Error('database is locked') }
  }
  setTimeout(() => { isLocked = false }, 50)
  await t.resolves(migrateSqlite(database, ''))
  t.notOk(isLocked)
})

t.test('a migration gives up on a lock after five seconds', async t => {
  const now = Date.now
  const start = now()
  t.teardown(() => { Date.now = now })
  let calls = 0
  const database: SqliteDatabase = {
    prepare: () => ({ all: () => [] }),
    exec () {
      calls += 1
      Date.now = () => start + calls * 2400
      throw new Error('database is locked')
    }
  }
  Date.now = () => start
  await t.rejects(migrateSqlite(database, ''), /locked/)
  t.equal(calls, 3)
})
