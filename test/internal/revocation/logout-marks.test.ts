import t from 'tap'
import { credentialOf, logoutMarks } from '../../../lib/internal/revocation/logout-marks.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const at = Math.floor(Date.now() / 1000) * 1000 + 500
const lifetime = 600_000

t.test('the facts of a JWT are its registered claims', async t => {
  t.strictSame(credentialOf({ jti: 'j', sid: 's', sub: 'u', tid: 'x', iat: 12 }, 'secret'), {
    tokenId: 'j', sessionId: 's', subject: 'u', tenant: 'x', issuedAt: 12_000
  })
  t.equal(credentialOf({ sub: 'u' }, 'secret').tokenId, tokenDigest('secret'))
  t.equal(credentialOf({ jti: 7 }).tokenId, undefined)
  t.equal(credentialOf({ jti: '' }, 'secret').tokenId, tokenDigest('secret'))
})

t.test('the scope "current" kills the token and its session, and outlives the longest of them', async t => {
  const facts = { tokenId: 'j', sessionId: 's', subject: 'u', issuedAt: at }
  t.strictSame(logoutMarks(facts, { lifetime, at }), [{ tokenId: 'j', until: at + lifetime }, { sessionId: 's', until: at + lifetime }])
  t.strictSame(logoutMarks({ tokenId: 'j' }, { lifetime, at, clockTolerance: 1000 }), [{ tokenId: 'j', until: at + lifetime + 2000 }])
  t.strictSame(logoutMarks({ sessionId: 's' }, { lifetime, at, scope: 'current' }), [{ sessionId: 's', until: at + lifetime }])
})

t.test('the scope "all" kills what was issued until now, and spares the session it is told to', async t => {
  const facts = { tokenId: 'j', sessionId: 's', subject: 'u', tenant: 'x', issuedAt: at - 5000 }
  t.strictSame(logoutMarks(facts, { lifetime, at, scope: 'all' }), [{ subject: 'u', tenant: 'x', cutoff: at, until: at + lifetime }])
  t.strictSame(logoutMarks({ subject: 'u' }, { lifetime, at, scope: 'all', except: 's' }), [{ subject: 'u', cutoff: at, except: 's', until: at + lifetime }])
  t.ok((logoutMarks(facts, { lifetime, scope: 'all' })[0]?.until ?? 0) >= Date.now() + lifetime - 1000)
})

t.test('an issuer whose clock is ahead of ours: its token is dead, also one that it made a moment ago', async t => {
  const store = memoryRevocationStore()
  const presented = { subject: 'u', issuedAt: at + 3000 }
  await store.revoke(...logoutMarks(presented, { lifetime, at, scope: 'all' }))
  t.equal(await store.check(presented), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at + 4000 }), 'live')
  await store.revoke(...logoutMarks(presented, { lifetime, at, scope: 'all', clockTolerance: 2000 }))
  t.equal(await store.check({ subject: 'u', issuedAt: at + 5000 }), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at + 6000 }), 'live')
})

t.test('an event that arrives late does not end a later login', async t => {
  const store = memoryRevocationStore()
  await store.revoke(...logoutMarks({ subject: 'u' }, { lifetime, at: at - 60_000, scope: 'all' }))
  t.equal(await store.check({ subject: 'u', issuedAt: at - 60_000 }), 'revoked')
  t.equal(await store.check({ subject: 'u', issuedAt: at - 30_000 }), 'live')
})

t.test('a credential with nothing to mark by, and a wrong duration, are misuse', async t => {
  t.throws(() => logoutMarks({ subject: 'u' }, { lifetime }), { name: 'TypeError', message: /token id or a session id/ })
  t.throws(() => logoutMarks({ tokenId: 'j' }, { lifetime, scope: 'all' }), { name: 'TypeError', message: /needs a credential with a subject/ })
  t.throws(() => logoutMarks({ tokenId: 'j' }, { lifetime: 0 }), { name: 'TypeError', message: /"lifetime"/ })
  t.throws(() => logoutMarks({ tokenId: 'j' }, { lifetime: 1, clockTolerance: -1 }), { name: 'TypeError', message: /"clockTolerance"/ })
})

t.test('a token without a jti is known by what is signed: a second spelling of its signature is the same token', t => {
  const [signed, signature] = ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ', 'c2lnbmF0dXJl']
  const { tokenId } = credentialOf({ sub: 'alice' }, `${signed}.${signature}`)
  t.equal(credentialOf({ sub: 'alice' }, `${signed}.${signature.slice(0, -1)}m`).tokenId, tokenId)
  t.equal(credentialOf({ sub: 'alice' }, `${signed}.${signature}==`).tokenId, tokenId)
  t.not(credentialOf({ sub: 'alice' }, `${signed}A.${signature}`).tokenId, tokenId)
  t.not(credentialOf({}, 'opaque.token.one').tokenId, credentialOf({}, 'opaque.token.two').tokenId, 'an opaque token is known as a whole')
  t.end()
})
