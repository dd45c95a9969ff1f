import t from 'tap'
import { userStatusOf } from '../../../lib/internal/records/user-status-row.ts'

t.test('a record is read from a row, whatever types its client makes of numbers', async t => {
  for (const time of ['1000', 1000n, 1000]) {
    t.strictSame(userStatusOf({ status: 'logged_in', version: 7, logged_out_at: null, last_seen_at: time }),
      { status: 'logged_in', version: '7', loggedOutAt: undefined, lastSeenAt: 1000 })
  }
})

t.test('without a row there is no record', async t => {
  t.equal(userStatusOf(undefined), undefined)
})
