import { TokenError } from 'fast-jwt'
import t from 'tap'

import { readUnchecked, rejectionOf } from '../../../lib/internal/jose/jwt.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'

t.test('an error of fast-jwt is a refusal only where the token is at fault', async (t) => {
  for (const code of [TokenError.codes.malformed, TokenError.codes.invalidSignature, TokenError.codes.verifyError]) {
    t.ok(rejectionOf(new TokenError(code, 'message')) instanceof TokenRejectedError, code)
  }
  for (const error of [
    new TokenError(TokenError.codes.keyFetchingError), new TokenError(TokenError.codes.invalidKey),
    Object.assign(new Error('odd'), { code: 'constructor' }), new RangeError('out of memory'), 'thrown text', undefined
  ]) {
    t.equal(rejectionOf(error), error, 'anything else stays what it is')
  }
})

t.test('reading without checking refuses what cannot be read', async (t) => {
  t.same(readUnchecked('eyJhbGciOiJub25lIn0.e30.'), { header: { alg: 'none' }, payload: {}, signature: '', input: 'eyJhbGciOiJub25lIn0.e30' })
  t.throws(() => readUnchecked('garbage'), { name: 'TokenRejectedError', reason: 'malformed' })
})
