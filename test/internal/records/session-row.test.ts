import t from 'tap'
import { firstSession, sessionOfRow } from '../../../lib/internal/records/session-row.ts'

const row = {
  id: 'id', subject: 'alice', created_at: '1', expires_at: 2n, keep_until: 3, details: '{"data":{"role":"reader"}}', active: true
}

t.test('a session is read from a row, whatever types its client makes of numbers and booleans', async t => {
  const session = { id: 'id', subject: 'alice', createdAt: 1, expiresAt: 2, keepUntil: 3, data: { role: 'reader' } }
  t.strictSame(sessionOfRow(row), { ...session, status: 'active' })
  for (const active of [1, 1n]) t.equal(sessionOfRow({ ...row, active }).status, 'active')
  for (const active of [0, 0n, false, null]) t.equal(sessionOfRow({ ...row, active }).status, 'logged_out')
})

t.test('without a row there is no session', async t => {
  t.equal(firstSession([]), undefined)
  t.strictSame(firstSession([row, { ...row, id: 'other' }]), sessionOfRow(row))
})
