import t from 'tap'
import { verdictOf } from '../../../lib/internal/plugin/verdict.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'

t.test('a TokenRejectedError is returned as a value, synchronously or as a promise', async t => {
  const refusal = new TokenRejectedError('expired')
  t.equal(verdictOf(() => { throw refusal }), refusal)
  t.equal(await verdictOf(async () => { throw refusal }), refusal)
  const ofAnotherCopy = Object.assign(new Error('refused'), { code: 'LOGOUT_TOKEN_REJECTED', reason: 'expired' })
  t.equal(verdictOf(() => { throw ofAnotherCopy }), ofAnotherCopy)
})

t.test('other values are returned unchanged', async t => {
  const claims = { sub: 'alice' }
  t.equal(verdictOf(() => claims), claims)
  t.equal(await verdictOf(async () => claims), claims)
})

t.test('every other error is thrown', async t => {
  for (const error of [new Error('down'), null, 'down', { code: 'OTHER' }]) {
    t.throws(() => verdictOf(() => { throw error }), error as Error)
    await t.rejects(async () => verdictOf(async () => { throw error }), error as Error)
  }
})
