import t from 'tap'
import { resolveUsers } from '../../../lib/internal/security-events/users.ts'

function resolved (...returned: readonly unknown[]) {
  return resolveUsers(returned, 'aPlugin', async answer => answer)
}

t.test('users are returned each once, with ids as text', async t => {
  t.strictSame(await resolved(), { users: [], refused: new Set() })
  t.strictSame((await resolved([], [
    { subject: 'alice', tenant: 'acme', more: 1 }, { subject: 'alice', tenant: 'acme' }, { subject: 'alice', tenant: 'umbrella' },
    { subject: 'alice' }
  ], [{ subject: 'alice', tenant: null }, { subject: 7 }, { subject: 7n, tenant: undefined }])).users, [
    { subject: 'alice', tenant: 'acme' }, { subject: 'alice', tenant: 'umbrella' }, { subject: 'alice' }, { subject: '7' }
  ])
})

t.test('each name of a subject is resolved, also after one that is refused', async t => {
  t.strictSame(await resolved('forbidden', [{ subject: 'alice' }], 'unable', 'forbidden'), {
    users: [{ subject: 'alice' }], refused: new Set(['forbidden', 'unable'])
  })
})

t.test('anything else is an error of the host, which names the plugin and the option', async t => {
  for (const wrong of [undefined, null, 'alice', {}, [null], ['alice'], [{}], [{ subject: '' }], [{ subject: 'alice', tenant: '' }],
    [{ subject: {} }]]) {
    await t.rejects(resolved(wrong), { name: 'TypeError', message: /^aPlugin: option "resolveSubject" must return a list of users/ })
  }
})
