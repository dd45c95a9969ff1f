import t from 'tap'
import { assertShort, missingTable, objectRows, quotedTable } from '../../../lib/internal/databases/sql-table.ts'

t.test('the name of a table is quoted, part by part', async t => {
  t.equal(quotedTable('Sessions_2', 'caller'), '"Sessions_2"')
  t.equal(quotedTable('app.sessions', 'caller'), '"app"."sessions"')
})

t.test('a name with other characters, more parts or more than 63 characters is refused', async t => {
  for (const name of ['', 'a"b', 'a;b', 'a b', 'a.b.c', '.a', 'a.', '1a', 'ä', 'a\n', 'a'.repeat(64), 1, undefined]) {
    t.throws(() => quotedTable(name as string, 'caller'), {
      name: 'TypeError', message: /^caller: option "table" must be a name of letters/
    })
  }
})

t.test('the error for a table, a schema or a function that is missing says what to do', async t => {
  const error = (message: string, code?: string) => Object.assign(new Error(message), code && { code })
  for (const cause of [error('relation', '42P01'), error('schema', '3F000'), error('no such table: logout_session')]) {
    t.match(missingTable(cause, 'members'), { message: 'table members is missing: run migrate()', cause })
  }
  const cause = error('function', '42883')
  t.match(missingTable(cause, 'members'), { message: 'table members is missing, or another version made it: run migrate()', cause })
})

t.test('every other error is returned unchanged, also a value that is not an Error', async t => {
  for (const error of [new Error('connection terminated'), Object.assign(new Error('locked'), { code: '55P03' }), 'gone', undefined]) {
    t.equal(missingTable(error, 'members'), error)
  }
})

t.test('a table name may have at most 40 characters', async t => {
  t.doesNotThrow(() => assertShort('a'.repeat(40), 'caller'))
  t.throws(() => assertShort('a'.repeat(41), 'caller'), {
    name: 'TypeError', message: 'caller: option "table" must have at most 40 characters, without its schema'
  })
})

t.test('rows as arrays are refused: a session would be read as logged out', async t => {
  t.strictSame(objectRows([]), [])
  t.strictSame(objectRows([{ id: 1 }]), [{ id: 1 }])
  t.throws(() => objectRows([[1]]), { name: 'TypeError', message: 'the database client returns rows as arrays: have it return objects' })
})
