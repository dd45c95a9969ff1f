import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { bareIdentity, kratosSession, kratosSessionSchema } from '../../../lib/internal/kratos/session.ts'
import type { Session } from '../../../lib/session-store.ts'

const session: Session = {
  id: 's1', subject: 'alice', status: 'active', createdAt: Date.UTC(2026, 0), expiresAt: Date.UTC(2100, 0), keepUntil: Date.UTC(2200, 0)
}

t.test('a session has the members of Ory, in Ory\'s order, without the data of the host', async t => {
  const device = { ipAddress: '192.0.2.1', userAgent: 'a browser', location: 'London' }
  const shown = kratosSession({ ...session, device, data: { secret: 'x' } }, { id: 'alice' })
  t.equal(JSON.stringify(shown), JSON.stringify({
    id: 's1',
    active: true,
    expires_at: '2100-01-01T00:00:00.000Z',
    authenticated_at: '2026-01-01T00:00:00.000Z',
    issued_at: '2026-01-01T00:00:00.000Z',
    identity: { id: 'alice' },
    devices: [{ id: 's1', ip_address: '192.0.2.1', user_agent: 'a browser', location: 'London' }]
  }))
  t.strictSame(kratosSession(session, null).devices, [])
  t.ok(Value.Check(kratosSessionSchema, JSON.parse(JSON.stringify(shown))))
  t.ok(Value.Check(kratosSessionSchema, JSON.parse(JSON.stringify(kratosSession({ ...session, device: {} }, null)))))
})

t.test('a session that has expired or is logged out is not active', async t => {
  t.equal(kratosSession({ ...session, expiresAt: 1 }, null).active, false)
  t.equal(kratosSession({ ...session, status: 'logged_out' }, null).active, false)
})

t.test('a time beyond RFC 3339 is shown as the last instant of the year 9999', async t => {
  for (const expiresAt of [Number.MAX_SAFE_INTEGER, Infinity, Date.UTC(10_000, 0)]) {
    t.equal(kratosSession({ ...session, expiresAt }, null).expires_at, '9999-12-31T23:59:59.999Z')
  }
})

t.test('the default identity is the subject alone', async t => {
  t.strictSame(bareIdentity('alice'), { id: 'alice', schema_id: 'default', schema_url: '', traits: {} })
})
