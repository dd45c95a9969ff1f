import t from 'tap'
import { credentialOf, logoutMarks } from '../../../lib/internal/revocation/logout-marks.ts'
import type { Credential } from '../../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const at = Math.floor(Date.now() / 1000) * 1000 + 500
const lifetime = 600_000

t.test('the credential of a JWT is read from its registered claims', async t => {
  const claims = { jti: 'j', sid: 's', sub: 'u', tid: 'x', iss: 'https://id.example.com', iat: 12, auth_time: 10, exp: 90.5 }
  t.strictSame(credentialOf(claims, 'secret'), {
    tokenId: 'j',
    sessionId: 's',
    subject: 'u',
    tenant: 'x',
    issuer: 'https://id.example.com',
    issuedAt: 12_000,
    loggedInAt: 10_000,
    expiresAt: 90_500
  })
  t.equal(credentialOf({ sub: 'u' }, 'secret').tokenId, tokenDigest('secret'))
  t.equal(credentialOf({ jti: 7 }).tokenId, '7', 'a number is converted to its text')
  t.equal(credentialOf({ jti: '' }, 'secret').tokenId, tokenDigest('secret'))
  const odd = credentialOf({ jti: 'j', iss: '', iat: '12', auth_time: null, exp: {} })
  t.same([odd.issuer, odd.issuedAt, odd.loggedInAt, odd.expiresAt], Array(4).fill(undefined))
})

t.test('claims that nothing could revoke alone are refused, unless the token comes with them', async t => {
  t.throws(() => credentialOf({ sub: 'alice', iat: 1 }), { name: 'TypeError', message: /neither a jti nor a sid: pass the token too/ })
  t.equal(credentialOf({ sub: 'alice', sid: 's' }).sessionId, 's')
  t.ok(credentialOf({ sub: 'alice' }, 'a token').tokenId)
})

t.test('the scope "current" revokes the token and its session', async t => {
  const credential = { tokenId: 'j', sessionId: 's', subject: 'u', issuedAt: at }
  const until = at + lifetime
  t.strictSame(logoutMarks(credential, { lifetime, at }), [{ tokenId: 'j', until }, { sessionId: 's', until }])
  t.strictSame(logoutMarks({ sessionId: 's' }, { lifetime, at, scope: 'current' }), [{ sessionId: 's', until }])
  t.strictSame(logoutMarks({ tokenId: 'j', issuer: 'i' }, { lifetime, at }), [{ tokenId: 'j', issuer: 'i', until }])
})

t.test('the scope "all" revokes what was issued until now', async t => {
  const credential = { tokenId: 'j', sessionId: 's', subject: 'u', tenant: 'x', issuer: 'i', issuedAt: at - 5000 }
  const until = at + lifetime
  t.strictSame(logoutMarks(credential, { lifetime, at, scope: 'all' }), [{ subject: 'u', tenant: 'x', cutoff: at, issuer: 'i', until }])
  t.ok((logoutMarks(credential, { lifetime, scope: 'all' })[0]?.until ?? 0) >= Date.now() + lifetime - 1000)
})

t.test('the scope "others" leaves the credential\'s own session alone, or the one that is named', async t => {
  const mark = { subject: 'u', cutoff: at, until: at + lifetime }
  const options = { lifetime, at, scope: 'others' } as const
  t.strictSame(logoutMarks({ subject: 'u', sessionId: 's' }, options), [{ ...mark, except: 's' }])
  t.strictSame(logoutMarks({ subject: 'u', sessionId: 's' }, { ...options, except: 'new' }), [{ ...mark, except: 'new' }])
  t.strictSame(logoutMarks({ subject: 'u' }, { ...options, except: 'new' }), [{ ...mark, except: 'new' }])
  t.throws(() => logoutMarks({ subject: 'u', tokenId: 'j' }, { lifetime, scope: 'others' }), {
    name: 'TypeError', message: /"others" needs a credential with a session id, or the option "except"/
  })
})

t.test('a mark lasts until its credential has expired, and everything issued before it', async t => {
  const until = (credential: Credential, options: object = {}) =>
    logoutMarks({ tokenId: 'j', ...credential }, { lifetime, at, ...options })[0]?.until
  t.equal(until({ issuedAt: at - lifetime }), at + lifetime, 'by the lifetime')
  t.equal(until({ expiresAt: at + 5 * lifetime }), at + 5 * lifetime, 'by its own end')
  t.equal(until({ expiresAt: at - 1 }), at + lifetime)
  t.equal(until({ expiresAt: at + 5 * lifetime }, { clockTolerance: 1000 }), at + 5 * lifetime + 1000)
  t.equal(until({ issuedAt: at + 5000 }), at + 5000 + lifetime, 'an issuer whose clock is ahead')
  t.equal(until({}, { clockTolerance: 1000 }), at + lifetime + 2000, 'a token that was issued within the tolerance')
  t.same([NaN, undefined].map(expiresAt => until({ expiresAt })), Array(2).fill(at + lifetime))
  t.equal(until({ expiresAt: at + 0.5 + lifetime }), at + lifetime + 1, 'whole milliseconds')
  const century = 100 * 365.25 * 24 * 3_600_000
  t.same([Infinity, 1e300].map(expiresAt => until({ expiresAt })), Array(2).fill(at + century))
  t.equal(until({}, { lifetime: 30 * 24 * 3_600_000 }), at + 30 * 24 * 3_600_000, 'thirty days, which no timer could hold')
})

t.test('a token of an issuer whose clock is ahead stays revoked for its whole life', async t => {
  const store = memoryRevocationStore()
  const soon = Date.now() + 5000
  const credential = { tokenId: 'j', issuedAt: soon, expiresAt: soon + 10_000 }
  store.revoke(...logoutMarks(credential, { lifetime: 10_000, clockTolerance: 2000 }))
  const { now } = Date
  t.teardown(() => { Date.now = now })
  for (const later of [0, 9000, 14_999, 16_999]) {
    const instant = soon - 5000 + later
    Date.now = () => instant
    t.equal(store.check(credential), 'revoked', `${later}`)
  }
})

t.test('an issuer whose clock is ahead: its token is revoked, also one that it made a moment ago', async t => {
  const store = memoryRevocationStore()
  const presented = { subject: 'u', issuedAt: at + 3000 }
  await store.revoke(...logoutMarks(presented, { lifetime, at, scope: 'all' }))
  t.equal(await store.check(presented), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at + 4000 }), 'live')
  await store.revoke(...logoutMarks(presented, { lifetime, at, scope: 'all', clockTolerance: 2000 }))
  t.equal(await store.check({ subject: 'u', issuedAt: at + 5000 }), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at + 6000 }), 'live')
})

t.test('a token that was refreshed after "log out everywhere" stays revoked, and a later login is live', async t => {
  const store = memoryRevocationStore()
  const seconds = Math.floor(at / 1000)
  const login = { sub: 'alice', auth_time: seconds - 60 }
  store.revoke(...logoutMarks(credentialOf({ ...login, jti: 'a', iat: seconds - 5 }), { lifetime, at, scope: 'all' }))
  t.equal(store.check(credentialOf({ ...login, jti: 'b', iat: seconds + 5 })), 'revoked')
  t.equal(store.check(credentialOf({ sub: 'alice', jti: 'c', iat: seconds + 5, auth_time: seconds + 5 })), 'live')
  const sameSecond = { ...credentialOf({ sub: 'alice', jti: 'd', iat: seconds }), loggedInAt: at + 1 }
  t.equal(store.check(sameSecond), 'live', 'a login time in milliseconds tells apart what happens in one second')
})

t.test('an event that arrives late does not end a later login', async t => {
  const store = memoryRevocationStore()
  await store.revoke(...logoutMarks({ subject: 'u' }, { lifetime, at: at - 60_000, scope: 'all' }))
  t.equal(await store.check({ subject: 'u', issuedAt: at - 60_000 }), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at - 30_000 }), 'live')
})

t.test('ids that are numbers are kept, ids that are null or empty are none', async t => {
  const odd = { tokenId: 7, sessionId: null, subject: '', tenant: 5, issuer: null } as unknown as Credential
  t.same(logoutMarks(odd, { lifetime, at }), [{ tokenId: 7, until: at + lifetime }])
  t.throws(() => logoutMarks(odd, { lifetime, scope: 'all' }), { message: /needs a credential with a subject/ })
  const subject = { subject: 7, tenant: '', sessionId: 9 } as unknown as Credential
  t.same(logoutMarks(subject, { lifetime, at, scope: 'others' }), [{ subject: 7, cutoff: at, except: 9, until: at + lifetime }])
})

t.test('misuse is a TypeError that names what is missing or wrong', async t => {
  const credential: Credential = { tokenId: 'j', sessionId: 's', subject: 'u' }
  const wrong: ReadonlyArray<readonly [credential: unknown, options: unknown, message: RegExp]> = [
    [undefined, { lifetime }, /logoutMarks: pass the credential to revoke/],
    [null, { lifetime }, /pass the credential to revoke/],
    [credential, undefined, /pass options with a "lifetime"/],
    [credential, null, /pass options with a "lifetime"/],
    [credential, {}, /option "lifetime" is missing/],
    [credential, { lifetime: 0 }, /option "lifetime" must be/],
    [credential, { lifetime: Infinity }, /option "lifetime" must be/],
    [credential, { lifetime, scope: 'session' }, /option "scope" must be "current", "others" or "all"/],
    [credential, { lifetime, clockTolerance: -1 }, /option "clockTolerance" must be a number of milliseconds, 0 or more/],
    [credential, { lifetime, clockTolerance: '1' }, /option "clockTolerance"/],
    [credential, { lifetime, clockTolerance: Infinity }, /option "clockTolerance"/],
    [credential, { lifetime, at: NaN }, /option "at" must be an instant in epoch milliseconds/],
    [credential, { lifetime, at: '1' }, /option "at"/],
    [credential, { lifetime, scope: 'all', except: 's' }, /option "except" .* belongs to the scope "others"/],
    [credential, { lifetime, except: 's' }, /option "except"/],
    [credential, { lifetime, scope: 'others', except: '' }, /option "except" must be the id of a session/],
    [{ subject: 'u' }, { lifetime }, /needs a credential with a token id or a session id/],
    [{ tokenId: 'j' }, { lifetime, scope: 'all' }, /the scope "all" needs a credential with a subject/],
    [{ tokenId: 'j' }, { lifetime, scope: 'others', except: 's' }, /the scope "others" needs a credential with a subject/]
  ]
  for (const [credential, options, message] of wrong) {
    t.throws(() => logoutMarks(credential as Credential, options as { lifetime: number }), { name: 'TypeError', message })
  }
})
