import t from 'tap'

import { isTokenRejected, TokenRejectedError, type TokenRejectionReason } from '../lib/token-verifier.ts'

t.test('a refusal has a reason, and a cause for the log', async (t) => {
  const reasons: readonly TokenRejectionReason[] = ['malformed', 'untrusted', 'expired', 'revoked']
  for (const reason of reasons) {
    const cause = new Error('details')
    const message = `the token was rejected: ${reason}`
    t.match(new TokenRejectedError(reason, { cause }), { name: 'TokenRejectedError', reason, message, cause })
  }
  t.ok(new TokenRejectedError('expired') instanceof Error)
})

t.test('a rejection is recognised by its code, also if another copy of the package made it', async t => {
  const copy = await t.mockImport<typeof import('../lib/token-verifier.ts')>('../lib/token-verifier.ts')
  const foreign = new copy.TokenRejectedError('revoked')
  t.notOk(foreign instanceof TokenRejectedError)
  t.equal(foreign.code, 'LOGOUT_TOKEN_REJECTED')
  t.ok(isTokenRejected(foreign))
  const others = [undefined, null, 'LOGOUT_TOKEN_REJECTED', new Error('no code'), { code: 'FAST_JWT_EXPIRED' }]
  for (const other of others) t.notOk(isTokenRejected(other))
})
