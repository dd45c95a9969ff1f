import t from 'tap'
import { literals, withValues } from '../../../lib/internal/databases/mysql-literal.ts'

t.test('values stand in the places of the question marks, texts as the hexadecimal of their bytes', async t => {
  t.equal(withValues('a = ? AND b = ? AND c <=> ?', "x'?", -5, null), "a = X'78273f' AND b = -5 AND c <=> NULL")
  t.equal(withValues('SELECT 1'), 'SELECT 1')
  t.equal(withValues('?', ''), "X''")
  t.equal(withValues('?', '€😀'), "X'e282acf09f9880'")
  t.equal(literals(['a', 1, null]), "X'61', 1, NULL")
})

t.test('a statement with more or fewer places than values is refused', async t => {
  for (const values of [[], [1, 2]]) {
    t.throws(() => withValues('a = ?', ...values), {
      name: 'TypeError', message: `the statement has 1 places for ${values.length} values`
    })
  }
})

t.test('a number that is not a safe integer is refused', async t => {
  for (const number of [NaN, Infinity, 0.5, 2 ** 53]) {
    t.throws(() => literals([number]), { name: 'TypeError', message: /must be a safe integer/ })
  }
})
