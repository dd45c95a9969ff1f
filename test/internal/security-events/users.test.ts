import t from 'tap'
import { checkedUsers } from '../../../lib/internal/security-events/users.ts'

t.test('users are returned each once, with ids as text', async t => {
  t.strictSame(checkedUsers([]), [])
  t.strictSame(checkedUsers([
    { subject: 'alice', tenant: 'acme', more: 1 }, { subject: 'alice', tenant: 'acme' }, { subject: 'alice', tenant: 'umbrella' },
    { subject: 'alice' },
    { subject: 'alice', tenant: null }, { subject: 7 }, { subject: 7n, tenant: undefined }
  ]), [
    { subject: 'alice', tenant: 'acme' }, { subject: 'alice', tenant: 'umbrella' }, { subject: 'alice' }, { subject: '7' }
  ])
  t.equal(checkedUsers('forbidden'), 'forbidden')
  t.equal(checkedUsers('unable'), 'unable')
})

t.test('anything else is an error of the host', async t => {
  for (const wrong of [undefined, null, 'alice', {}, [null], ['alice'], [{}], [{ subject: '' }], [{ subject: 'alice', tenant: '' }],
    [{ subject: {} }]]) {
    t.throws(() => checkedUsers(wrong), { name: 'TypeError', message: /^option "resolveSubject" must return a list of users/ })
  }
})
