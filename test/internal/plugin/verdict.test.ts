import t from 'tap'
import { verdictOf } from '../../../lib/internal/plugin/verdict.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'

t.test('a refusal is a value, sooner or later', async t => {
  const refusal = new TokenRejectedError('expired')
  t.equal(verdictOf(() => { throw refusal }), refusal)
  t.equal(await verdictOf(async () => { throw refusal }), refusal)
  const ofAnotherCopy = Object.assign(new Error('refused'), { code: 'LOGOUT_TOKEN_REJECTED', reason: 'expired' })
  t.equal(verdictOf(() => { throw ofAnotherCopy }), ofAnotherCopy)
})

t.test('a value stays what it is', async t => {
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
