import { TokenError } from 'fast-jwt'
import { randomBytes } from 'node:crypto'
import t from 'tap'

import { readUnchecked, refuseMalformed, refuseOtherSpellings, rejectionOf, signatureCheck } from '../../../lib/internal/jose/jwt.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'
import { signJwt } from '../../sign-jwt.ts'

t.test('an error of fast-jwt is a refusal only where the token is at fault', async (t) => {
  const { codes } = TokenError
  const malformed = [codes.invalidType, codes.malformed, codes.invalidPayload]
  const untrusted = [codes.invalidAlgorithm, codes.invalidSignature, codes.missingSignature, codes.verifyError, codes.invalidCritHeader]
  for (const [reason, group] of Object.entries({ malformed, untrusted })) {
    for (const code of group) {
      const refusal = rejectionOf(new TokenError(code, 'a fragment of the token'))
      t.ok(refusal instanceof TokenRejectedError, code)
      t.match(refusal, { reason, cause: { message: code } })
      t.notMatch(String((refusal as Error).cause), /fragment/)
    }
  }
  for (const error of [
    new TokenError(TokenError.codes.keyFetchingError), new TokenError(TokenError.codes.invalidKey),
    Object.assign(new Error('odd'), { code: 'constructor' }), new RangeError('out of memory'), { code: codes.malformed }, 'thrown text',
    undefined
  ]) {
    t.equal(rejectionOf(error), error, 'anything else stays what it is')
  }
})

t.test('reading without checking refuses what cannot be read', async (t) => {
  t.match(readUnchecked('eyJhbGciOiJub25lIn0.e30.'), { header: { alg: 'none' }, payload: {} })
  t.throws(() => readUnchecked('garbage'), { name: 'TokenRejectedError', reason: 'malformed' })
})

t.test('a value that is not a string, is empty or is too long is refused before it is parsed', async (t) => {
  for (const token of ['', undefined, null, 7, {}, ['a'], 'a'.repeat(11)]) {
    t.throws(() => refuseMalformed(token, 10), { name: 'TokenRejectedError', reason: 'malformed' }, String(token))
  }
  refuseMalformed('a'.repeat(10), 10)
})

t.test('a signature has one spelling: base64url without padding, and zeros in the bits that belong to no byte', async (t) => {
  for (const bytes of [0, 1, 2, 3, 31, 32, 64, 256]) {
    refuseOtherSpellings(`e30.e30.${Buffer.alloc(bytes, 0xfb).toString('base64url')}`)
  }
  const padded = ['AA=', 'AA==', 'AAA=', 'AAAA====']
  const spaced = ['AA\n', 'AAA\n', 'AAAA\n', 'A A', ' AAA']
  for (const signature of ['A', 'AB', 'AAB', 'AAAAA', ...padded, ...spaced, 'A+AA', 'A/AA', 'AA!A', '!A', '!AA', 'ÄAAA']) {
    const refusal = { name: 'TokenRejectedError', reason: 'malformed' }
    t.throws(() => refuseOtherSpellings(`e30.e30.${signature}`), refusal, JSON.stringify(signature))
  }
})

t.test('the check of a signature returns a fresh object each time, and takes no critical extension', async (t) => {
  const key = randomBytes(32)
  const check = signatureCheck(key, ['HS256'])
  const token = signJwt(key, 'HS256', { sub: 'alice', exp: 1, nbf: 9e9 })
  t.same(check(token), { sub: 'alice', exp: 1, nbf: 9e9 }, 'it looks at no claim')
  t.not(check(token), check(token))
  for (const crit of [['exp'], null]) {
    t.throws(() => check(signJwt(key, 'HS256', {}, { crit, exp: 1 })), { name: 'TokenRejectedError', reason: 'untrusted' })
  }
  t.throws(() => check(signJwt(randomBytes(32), 'HS256', {})), { name: 'TokenRejectedError', reason: 'untrusted' })
})
