import t from 'tap'
import { sessionIdOf, sessionOf, sessionRecord, subjectOf } from '../../../lib/internal/records/session.ts'

const session = { id: 'id', subject: 'alice', createdAt: 1, expiresAt: 2, keepUntil: 3 }

t.test('a session comes back from its record as it was', t => {
  const whole = { ...session, device: { ipAddress: '192.0.2.1' }, data: { role: 'reader' } }
  t.strictSame(sessionOf(sessionRecord('token', whole), true), { ...whole, status: 'active' })
  for (const given of [session, { ...session, device: { ipAddress: '192.0.2.1' } }, { ...session, data: { role: 'reader' } }]) {
    t.strictSame(sessionOf(sessionRecord('token', given), false), { ...given, status: 'logged_out' })
  }
  t.equal(sessionRecord('token', session).details, '{}')
  t.end()
})

t.test('a session that some backend cannot keep is refused, and the token is in no message', t => {
  const refused = (given: object, message: RegExp, token = 'secret') => {
    t.throws(() => sessionRecord(token, { ...session, ...given }), { name: 'TypeError', message })
  }
  for (const token of ['', null, 7]) refused({}, /token of a session must be a non-empty string/, token as never)
  for (const id of [7.5, NaN, undefined, null, {}]) {
    refused({ id }, /^the id of a session must be a string$/)
    refused({ subject: id }, /^the subject of a session must be a string$/)
  }
  for (const text of ['', 'a\0', '\ud800', 'a'.repeat(513)]) {
    refused({ id: text }, /id of a session must be a string of 1 to 255 characters/)
    refused({ subject: text }, /subject of a session must be a string of 1 to 512 characters/)
  }
  refused({ id: 'a'.repeat(256) }, /id of a session/)
  for (const time of [NaN, Infinity, -1, 1.5, '1', undefined]) {
    refused({ createdAt: time }, /createdAt of a session must be whole epoch milliseconds/)
    refused({ expiresAt: time }, /expiresAt of a session/)
    refused({ keepUntil: time }, /keepUntil of a session/)
  }
  refused({ keepUntil: 1 }, /keepUntil of a session must not be before its expiresAt/)
  t.ok(sessionRecord('token', { ...session, id: '€'.repeat(255), subject: '😀'.repeat(256), keepUntil: 2 }))
  t.end()
})

t.test('the id and the subject that a host has as numbers are stored as text', t => {
  t.match(sessionRecord('token', { ...session, id: 7, subject: 12n } as never), { id: '7', subject: '12' })
  t.end()
})

t.test('an id or a subject that no session can have is known without asking a backend', t => {
  for (const id of [null, {}]) {
    t.throws(() => sessionIdOf(id), { name: 'TypeError', message: 'the id of a session must be a string' })
    t.throws(() => subjectOf(id), { name: 'TypeError', message: 'the subject of a session must be a string' })
  }
  t.same(['id', '😀', 'a'.repeat(255), 7].map(sessionIdOf), ['id', '😀', 'a'.repeat(255), '7'])
  t.same(['a'.repeat(256), '', '\0', '\udc00'].map(sessionIdOf), [undefined, undefined, undefined, undefined])
  t.same(['alice', 'a'.repeat(512), 'a'.repeat(513), '', 12].map(subjectOf), ['alice', 'a'.repeat(512), undefined, undefined, '12'])
  t.end()
})
