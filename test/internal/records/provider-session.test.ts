import t from 'tap'
import { boundSessions, loginRecord, logoutRecord, wholeGroup, withoutSid } from '../../../lib/internal/records/provider-session.ts'
import type { BoundSession, ProviderLogin } from '../../../lib/provider-session-index.ts'

const issuer = 'https://login.example'
const login = { issuer, subject: 'alice', sid: 'phone', issuedAt: 1000 }
const session = { sessionId: '1', subject: 'alice' }
const record = (given: Partial<ProviderLogin> = {}, bound: BoundSession = session) => loginRecord({ ...login, ...given }, bound, 2000)

t.test('a record holds digests in place of what the provider said, and the session as JSON', async t => {
  const { id, subjectKey, sidKey, ...rest } = record()
  t.strictSame(rest, { issuedAt: 1000, session: '["1","alice"]', until: 2000 })
  for (const key of [id, subjectKey, sidKey]) t.match(key, /^[\w-]{43}$/)
  t.equal(new Set([id, subjectKey, sidKey]).size, 3)
  t.equal(record({ sid: undefined }).sidKey, withoutSid)
})

t.test('the id of a record names login and session, and not the time until which it is kept', async t => {
  const others = [
    record({ subject: 'bob' }), record({ sid: 'laptop' }), record({ sid: undefined }), record({ issuer: `${issuer}/` }),
    record({ issuedAt: 1001 }), record({}, { ...session, sessionId: '2' }), record({}, { ...session, subject: 'bob' })
  ]
  t.equal(new Set([record(), ...others].map(({ id }) => id)).size, 8)
  t.equal(loginRecord(login, session, 9000).id, record().id)
})

t.test('a logout looks in one group, with the scopes of the logins that it covers', async t => {
  const times = { cutoff: 1000, until: 2000 }
  const { subjectKey, sidKey } = record()
  t.strictSame(logoutRecord({ issuer, sid: 'phone', ...times }), { group: sidKey, scopes: [wholeGroup], ...times })
  t.strictSame(logoutRecord({ issuer, subject: 'alice', ...times }), { group: subjectKey, scopes: [wholeGroup], ...times })
  t.strictSame(logoutRecord({ issuer, subject: 'alice', sid: 'phone', ...times }), {
    group: subjectKey, scopes: [sidKey, withoutSid], ...times
  })
})

t.test('sid and subject of the same text have different keys', async t => {
  const { subjectKey, sidKey } = record({ sid: 'alice' })
  t.not(subjectKey, sidKey)
})

t.test('host ids of up to 1024 characters are kept, whatever is in them', async t => {
  for (const id of ['\0', '\ud800', '"', '\\', 'a'.repeat(1024), '\u{1f600}']) {
    const bound = { sessionId: id, subject: id }
    const { session: text } = record({}, bound)
    t.notMatch(text, /\0|\p{Surrogate}/u, 'every database can keep the text')
    t.strictSame(boundSessions([text, text]), [bound], 'each session once')
  }
  t.throws(() => record({}, { ...session, sessionId: 'a'.repeat(1025) }), {
    name: 'TypeError', message: 'the id of a bound session must be a string of 1 to 1024 characters'
  })
})

t.test('what is wrong is a TypeError that names it, without the ids', async t => {
  const wrong = (call: () => unknown, message: string) => t.throws(call, { name: 'TypeError', message })
  wrong(() => record({ issuer: '' }), 'issuer of a login or logout must be a non-empty string')
  wrong(() => record({ subject: 7 as never }), 'subject of a login or logout must be a non-empty string')
  wrong(() => record({ sid: null as never }), 'sid of a login or logout must be a non-empty string')
  wrong(() => record({ issuedAt: 1.5 }), 'issuedAt of a login must be whole epoch milliseconds')
  wrong(() => loginRecord(login, session, -1), 'until of a login must be whole epoch milliseconds')
  wrong(() => record({}, { ...session, subject: '' }), 'the subject of a bound session must be a string of 1 to 1024 characters')
  wrong(() => logoutRecord({ issuer, sid: 'phone', cutoff: NaN, until: 1 }), 'cutoff of a logout must be whole epoch milliseconds')
  wrong(() => logoutRecord({ issuer, sid: 'phone', cutoff: 1, until: NaN }), 'until of a logout must be whole epoch milliseconds')
  wrong(() => logoutRecord({ issuer, cutoff: 1, until: 2 } as never), 'subject of a login or logout must be a non-empty string')
})
