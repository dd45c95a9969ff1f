import { copyFileSync, mkdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { sqliteLibraries, type OpenSqlite } from '../servers/sqlite-libraries.ts'
import { create, failed, host, tokenOf } from './session-survival.ts'

type Database = ReturnType<OpenSqlite>

/** Opens sessions until the database refuses one, and returns their ids. */
async function fill (sessions: ReturnType<typeof sqliteSessionStore>): Promise<string[]> {
  const made: string[] = []
  try {
    for (;;) {
      await create(sessions, `fill-${made.length}`)
      made.push(`fill-${made.length}`)
    }
  } catch (error) {
    if (!/is full/.test(String(error))) throw error
    return made
  }
}

function numberIn (database: Database, pragma: string): number {
  const [row] = database.prepare(`PRAGMA ${pragma}`).all()
  return Number(Object.values(Object(row))[0])
}

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const openIn = (directory: string) => {
      const database = open(join(directory, 'sessions.db'))
      t.teardown(() => database.close())
      return database
    }

    await t.test('a full disk: what was answered is the truth, reading goes on, and it heals', async t => {
      const database = openIn(t.testdir({}))
      database.exec('PRAGMA journal_mode = WAL')
      const sessions = sqliteSessionStore(database)
      await sessions.migrate()
      database.exec(`PRAGMA max_page_count = ${numberIn(database, 'page_count') + 40}`)
      const made = await fill(sessions)
      t.ok(made.length > 20, `${made.length} sessions fit`)
      t.equal(sessions.find(tokenOf(`fill-${made.length}`)), undefined, 'the login that was refused is not there')

      const node = await host(sessions)
      for (const id of made) {
        const { status, body } = await node.logOut(id)
        const after = sessions.find(tokenOf(id))?.status
        if (status === 204) t.equal(after, 'logged_out')
        else t.match({ status, body, after }, { status: 500, body: failed, after: 'active' })
      }
      database.exec(`PRAGMA max_page_count = ${numberIn(database, 'page_count') + 1000}`)
      await create(sessions, 'later')
      t.equal((await node.logOut('later')).status, 204)
    })

    await t.test('a database that only reads: 500, and nothing changes; a session can still be found', async t => {
      const database = openIn(t.testdir({}))
      const sessions = sqliteSessionStore(database)
      await sessions.migrate()
      await create(sessions, 'reader')
      const node = await host(sessions)
      database.exec('PRAGMA query_only = ON')
      t.match(await node.logOut('reader'), { status: 500, body: failed })
      t.equal(sessions.find(tokenOf('reader'))?.status, 'active')
      database.exec('PRAGMA query_only = OFF')
      t.equal((await node.logOut('reader')).status, 204)
      t.strictSame(node.ended, ['reader'])
    })

    await t.test('a power cut that loses the end of the log: the store is as it was earlier, and logging out again holds', async t => {
      const directory = t.testdir({})
      const database = openIn(directory)
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
      const sessions = sqliteSessionStore(database)
      await sessions.migrate()
      for (const id of ['early', 'late', 'kept']) await create(sessions, id)
      sessions.logOut(tokenOf('early'))
      const written = statSync(join(directory, 'sessions.db-wal')).size
      sessions.logOut(tokenOf('late'))
      await create(sessions, 'opened-late')

      const afterwards = join(directory, 'afterwards')
      mkdirSync(afterwards)
      for (const file of ['sessions.db', 'sessions.db-wal']) copyFileSync(join(directory, file), join(afterwards, file))
      t.ok(statSync(join(afterwards, 'sessions.db-wal')).size > written)
      truncateSync(join(afterwards, 'sessions.db-wal'), written + 100)

      const node = sqliteSessionStore(openIn(afterwards))
      const statuses = ['early', 'late', 'kept', 'opened-late'].map(id => node.find(tokenOf(id))?.status)
      t.strictSame(statuses, ['logged_out', 'active', 'active', undefined])
      t.equal(node.logOut(tokenOf('late'))?.status, 'active')
      t.equal(node.find(tokenOf('late'))?.status, 'logged_out')
    })
  })
}
