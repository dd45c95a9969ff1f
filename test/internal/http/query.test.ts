import t from 'tap'
import { pathOf, queryOf } from '../../../lib/internal/http/query.ts'

t.test('the query begins at the first question mark', async t => {
  for (const [url, entries] of [
    ['/', []], ['/?', []], ['/?a=b&c', [['a', 'b'], ['c', '']]], ['/a?b?c=d', [['b?c', 'd']]], ['/?a=1&a=2', [['a', '1'], ['a', '2']]],
    ['/?a=%20+%C3%BC', [['a', '  \u00fc']]], ['/?a=%zz', [['a', '%zz']]], ['/?a[]=1', [['a[]', '1']]],
    ['/?__proto__=x', [['__proto__', 'x']]]
  ] as const) t.strictSame([...queryOf({ url })], entries, url)
})

t.test('the path ends at the first question mark, and is not decoded', async t => {
  for (const [url, path] of [['/', '/'], ['/?', '/'], ['/a%2Fb?c', '/a%2Fb'], ['/a?b?c', '/a'], ['/a?b\nc', '/a']] as const) {
    t.equal(pathOf({ url }), path)
  }
})
