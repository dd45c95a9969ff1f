import t from 'tap'
import { retryAfterOf } from '../../../lib/internal/http/retry-after.ts'

t.test('seconds and dates are milliseconds from now, at most an hour', async t => {
  t.equal(retryAfterOf('7'), 7000)
  t.equal(retryAfterOf('0'), 0)
  t.equal(retryAfterOf('86400'), 3_600_000)
  t.equal(retryAfterOf('9'.repeat(400)), 3_600_000)
  t.equal(retryAfterOf(new Date(0).toUTCString()), 0)
  const wait = Number(retryAfterOf(new Date(Date.now() + 60_000).toUTCString()))
  t.ok(wait > 30_000 && wait <= 60_000)
})

t.test('no header, and one that says nothing, is undefined', async t => {
  for (const header of [null, undefined, '', 'soon', '-', '1.5.0 s']) t.equal(retryAfterOf(header), undefined, String(header))
})
