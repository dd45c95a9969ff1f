import t from 'tap'

import { expectedClaims, type ClaimOptions, type ExpectedClaims } from '../../../lib/internal/jose/expected-claims.ts'
import { TokenRejectedError, type Claims } from '../../../lib/token-verifier.ts'

const expected: ExpectedClaims = {
  issuers: ['https://a.example', 'https://b.example'],
  audiences: ['api', 'app'],
  required: ['exp', 'iss', 'aud']
}
const now = 1_800_000_000_000
const good: Claims = { iss: 'https://a.example', aud: 'api', exp: now / 1000 + 60 }

/** Why claims are refused, with the sentence for the log; `accepted` otherwise. */
function judged (claims: Claims, options: ClaimOptions = {}, others: Partial<ExpectedClaims> = {}): string {
  try {
    expectedClaims('caller', { ...expected, ...others }, options)({ ...good, ...claims })
    return 'accepted'
  } catch (error) {
    if (!(error instanceof TokenRejectedError) || !(error.cause instanceof Error)) throw error
    return `${error.reason}: ${error.cause.message}`
  }
}

t.beforeEach(t => { t.intercept(Date, 'now', { value: () => now }) })

t.test('iss must be one of the issuers, letter for letter', async t => {
  for (const iss of expected.issuers ?? []) t.equal(judged({ iss }), 'accepted')
  for (const iss of ['https://a.example/', 'https://A.example', '', 'https://c.example']) {
    t.equal(judged({ iss }), 'untrusted: the token is of another issuer', iss)
  }
  t.equal(judged({ iss: ['https://a.example'] }), 'malformed: the iss claim is not a string')
  t.equal(judged({ iss: 'https://c.example' }, {}, { issuers: undefined }), 'accepted', 'unless no issuer is expected')
})

t.test('aud must contain one of the audiences', async t => {
  for (const aud of ['api', 'app', ['x', 'app'], ['api', 'app']]) t.equal(judged({ aud }), 'accepted')
  for (const aud of ['x', '', [], ['x']]) t.equal(judged({ aud }), 'untrusted: the token is for another audience', JSON.stringify(aud))
  for (const aud of [7, {}, ['api', 7], [['api']], [null]]) {
    t.equal(judged({ aud }), 'malformed: the aud claim is neither a string nor a list of strings', JSON.stringify(aud))
  }
  for (const aud of ['x', undefined, null]) t.equal(judged({ aud }, {}, { audiences: undefined, required: [] }), 'accepted')
  t.equal(judged({ aud: undefined }, {}, { required: [] }), 'untrusted: the token is for another audience')
})

t.test('required claims must be present, and neither null nor inherited', async t => {
  for (const name of ['exp', 'iss', 'aud']) {
    t.equal(judged({ [name]: null }), `untrusted: the token has no ${name} claim`)
    const { [name]: _, ...others } = good
    const check = expectedClaims('caller', expected, {})
    t.throws(() => check(others), { name: 'TokenRejectedError', reason: 'untrusted', cause: { message: `the token has no ${name} claim` } })
  }
  t.equal(judged({}, { required: ['jti', 'toString'] }), 'untrusted: the token has no jti claim')
  t.equal(judged({ jti: 'a' }, { required: ['jti', 'toString'] }), 'untrusted: the token has no toString claim')
  t.equal(judged({ jti: 'a', toString: 1 }, { required: ['jti', 'toString'] }), 'accepted')
  t.equal(judged({}, { required: [] }), 'accepted')
})

t.test('claims that are strings by the standard must be strings', async t => {
  for (const name of ['sub', 'jti', 'sid', 'client_id', 'azp']) {
    for (const value of [7, true, {}, ['alice']]) t.equal(judged({ [name]: value }), `malformed: the ${name} claim is not a string`)
    for (const value of ['', 'alice', null, undefined]) t.equal(judged({ [name]: value }), 'accepted', name)
  }
})

t.test('exp and nbf are judged to the millisecond, and tolerance is applied to both', async t => {
  const at = (milliseconds: number) => (now + milliseconds) / 1000
  t.equal(judged({ exp: at(1) }), 'accepted')
  t.equal(judged({ exp: at(0) }), 'expired: the token has expired')
  t.equal(judged({ nbf: at(0) }), 'accepted')
  t.equal(judged({ nbf: at(1) }), 'untrusted: the token is not valid yet')
  const tolerant = { clockTolerance: 5000 }
  t.equal(judged({ exp: at(-4999) }, tolerant), 'accepted')
  t.equal(judged({ exp: at(-5000) }, tolerant), 'expired: the token has expired')
  t.equal(judged({ nbf: at(5000) }, tolerant), 'accepted')
  t.equal(judged({ nbf: at(5001) }, tolerant), 'untrusted: the token is not valid yet')
})

t.test('acceptExpiredFor is added to the tolerance of exp, and not to that of nbf', async t => {
  const options = { clockTolerance: 5000, acceptExpiredFor: 60_000 }
  t.equal(judged({ exp: now / 1000 - 64.999 }, options), 'accepted')
  t.equal(judged({ exp: now / 1000 - 65 }, options), 'expired: the token has expired')
  t.equal(judged({ nbf: now / 1000 + 5.001 }, options), 'untrusted: the token is not valid yet')
})

t.test('times must be numbers that a date can hold', async t => {
  for (const name of ['exp', 'nbf', 'iat', 'auth_time']) {
    for (const value of ['1', NaN, Infinity, -Infinity, 8.64e12 + 1, -8.64e12 - 1, [], {}, true]) {
      t.equal(judged({ [name]: value }), `malformed: the ${name} claim is not a date`, `${name} ${String(value)}`)
    }
  }
  for (const name of ['nbf', 'iat', 'auth_time']) {
    for (const value of [null, undefined, 0, -8.64e12]) t.equal(judged({ [name]: value }), 'accepted', name)
  }
  for (const name of ['exp', 'iat', 'auth_time']) t.equal(judged({ [name]: 8.64e12 }), 'accepted', name)
})

t.test('misuse is a TypeError that names the option', async t => {
  const rows: ReadonlyArray<[object, RegExp]> = [
    [{ required: 'sub' }, /"claims.required" must be a list/],
    [{ required: [''] }, /"claims.required" must/],
    [{ required: ['sub', undefined] }, /"claims.required" must/],
    [{ clockTolerance: -1 }, /"claims.clockTolerance" must/],
    [{ clockTolerance: '1s' }, /"claims.clockTolerance" must/],
    [{ acceptExpiredFor: Infinity }, /"claims.acceptExpiredFor" must/]
  ]
  for (const [options, message] of rows) t.throws(() => expectedClaims('caller', expected, options), { name: 'TypeError', message })
})
