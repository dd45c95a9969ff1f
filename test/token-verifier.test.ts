import t from 'tap'

import { TokenRejectedError, type TokenRejectionReason } from '../lib/token-verifier.ts'

t.test('a refusal says why, and keeps what caused it for the log', async (t) => {
  const reasons: readonly TokenRejectionReason[] = ['malformed', 'untrusted', 'expired', 'revoked']
  for (const reason of reasons) {
    const cause = new Error('details')
    t.match(new TokenRejectedError(reason, { cause }), { name: 'TokenRejectedError', reason, message: `the token was rejected: ${reason}`, cause })
  }
  t.ok(new TokenRejectedError('expired') instanceof Error)
})
