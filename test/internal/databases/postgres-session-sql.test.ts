import pg from 'pg'
import t from 'tap'
import { sessionNames, sessionStatements, sessionTables } from '../../../lib/internal/databases/postgres-session-sql.ts'
import { withPostgres } from '../../servers/postgres.ts'

t.test('no statement reads a whole table', t => withPostgres(t, async ({ url }) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  const schema = `test_sql_${process.pid}_${Date.now()}`
  await client.query(`CREATE SCHEMA ${schema}`)
  t.teardown(() => client.query(`DROP SCHEMA ${schema} CASCADE`))
  const names = sessionNames(`${schema}.sessions`, 'caller')
  await client.query(sessionTables(names))
  await client.query('SET enable_seqscan = off')
  for (const [name, statement] of Object.entries(sessionStatements(names))) {
    const places = Math.max(...Array.from(statement.matchAll(/\$(\d)/g), ([, place]) => Number(place)))
    const values = Array.from({ length: places }, (_, place) => name === 'logOut' && place === 0 ? [] : '1')
    const { rows } = await client.query({ text: `EXPLAIN ${statement}`, values, rowMode: 'array' })
    t.notMatch(rows.flat().join('\n'), /Seq Scan/, name)
  }
}))

t.test('what is made from the name of a table is quoted, in its schema, and not cut', async t => {
  const longest = 'a'.repeat(40)
  const { sessions, subjects, logOut, index } = sessionNames(`app.${longest}`, 'caller')
  t.strictSame([sessions, subjects, logOut], ['', '_subject', '_log_out'].map(end => `"app"."${longest}${end}"`))
  t.equal(index('subject_keep'), `"${longest}_subject_keep_index"`)
  t.throws(() => sessionNames(`${longest}a`, 'caller'), {
    name: 'TypeError', message: /^caller: option "table" must have at most 40 characters/
  })
  t.throws(() => sessionNames('a b', 'caller'), { name: 'TypeError', message: /^caller: option "table" must be a name/ })
})
