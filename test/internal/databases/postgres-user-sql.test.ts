import t from 'tap'
import { userNames } from '../../../lib/internal/databases/postgres-user-sql.ts'

t.test('what is made from the name of a table is quoted, in its schema, and not cut', async t => {
  const longest = 'a'.repeat(40)
  t.strictSame(userNames(`app.${longest}`, 'caller'), { users: `"app"."${longest}"`, logOut: `"app"."${longest}_log_out"` })
  t.throws(() => userNames(`${longest}a`, 'caller'), {
    name: 'TypeError', message: /^caller: option "table" must have at most 40 characters/
  })
  t.throws(() => userNames('a b', 'caller'), { name: 'TypeError', message: /^caller: option "table" must be a name/ })
})
