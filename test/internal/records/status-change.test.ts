import t from 'tap'
import { checkedChange } from '../../../lib/internal/records/status-change.ts'

t.test('a change has whole milliseconds and the text of its request', async t => {
  t.strictSame(checkedChange({ at: 1000, requestId: 'r-1' }), { at: 1000, requestId: 'r-1' })
  t.strictSame(checkedChange({ at: 1000, requestId: 7 } as never), { at: 1000, requestId: '7' })
})

t.test('a time or a request that some backend cannot keep is refused before it reaches one', async t => {
  for (const at of [1000.5, NaN, '1000', undefined]) {
    t.throws(() => checkedChange({ at, requestId: 'r' } as never), {
      name: 'TypeError', message: 'the time of a status change must be whole epoch milliseconds'
    })
  }
  for (const requestId of ['r\0', '\ud800', undefined]) {
    t.throws(() => checkedChange({ at: 1000, requestId } as never), {
      name: 'TypeError', message: /^the request id of a status change must be/
    })
  }
})
