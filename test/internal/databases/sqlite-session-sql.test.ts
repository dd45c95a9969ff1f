import t from 'tap'
import { sessionNames, sessionStatements, sessionTables } from '../../../lib/internal/databases/sqlite-session-sql.ts'
import { sqliteLibraries } from '../../servers/sqlite-libraries.ts'

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    const database = open(':memory:')
    t.teardown(() => database.close())
    database.exec("ATTACH ':memory:' AS app")

    for (const table of ['logout_session', 'app.sessions']) {
      await t.test(`no statement on ${table} reads a whole table`, async t => {
        const names = sessionNames(table, 'caller')
        database.exec(sessionTables(names))
        for (const [statement, sql] of Object.entries(sessionStatements(names))) {
          const values = Array.from(sql.matchAll(/\?/g), () => 1)
          const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values) as Array<{ detail: string }>
          const scans = plan.map(({ detail }) => detail).filter(detail => detail.startsWith('SCAN') && !/CONSTANT|SUBQUERY/.test(detail))
          t.strictSame(scans, [], statement)
        }
      })
    }

    await t.test('the tables and indexes of a schema are in that schema', async t => {
      const sql = "SELECT name FROM app.sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
      const found = database.prepare(sql).all() as Array<{ name: string }>
      t.strictSame(found.map(({ name }) => name), [
        'sessions', 'sessions_keep_index', 'sessions_list_index', 'sessions_subject', 'sessions_subject_keep_index'
      ])
    })
  })
}

t.test('a wrong name of a table is a TypeError', async t => {
  t.throws(() => sessionNames('a b', 'caller'), { name: 'TypeError', message: /^caller: option "table" must be a name/ })
})
