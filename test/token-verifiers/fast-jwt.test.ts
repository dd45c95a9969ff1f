import { createHmac, createSecretKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import t from 'tap'

import { tokenVerifierRules, type TokenVerifierHarness } from '../../lib/conformance/token-verifier.ts'
import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import { TokenRejectedError, type Claims, type TokenRejectionReason } from '../../lib/token-verifier.ts'
import { fastJwtVerifier, type FastJwtVerifierOptions } from '../../lib/token-verifiers/fast-jwt.ts'
import { signJwt } from '../sign-jwt.ts'
import {
  algorithmsOfPairs, algorithmsOfSecrets, forgeriesOf, mismatchesOf, pairs, secret as commonSecret, tokenOfEach
} from './every-algorithm.ts'

const issuer = 'https://issuer.example'
const audience = 'https://api.example'
const secret = randomBytes(64)
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed = generateKeyPairSync('ed25519')

const publicPem = (pair: { publicKey: KeyObject }) => pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const privatePem = (pair: { privateKey: KeyObject }) => pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const seconds = () => Math.floor(Date.now() / 1000)

const keys: ReadonlyArray<[SignatureAlgorithm, string | Buffer, KeyObject | Buffer]> = [
  ['HS256', secret, secret],
  ['HS512', secret, secret],
  ['RS256', publicPem(rsa), rsa.privateKey],
  ['PS384', publicPem(rsa), rsa.privateKey],
  ['ES256', publicPem(ec), ec.privateKey],
  ['EdDSA', publicPem(ed), ed.privateKey]
]

for (const [algorithm, key, signingKey] of keys) {
  t.test(`with ${algorithm} it follows the rules of verifiers`, async (t) => {
    const harness = (): TokenVerifierHarness => ({
      issuer,
      audience,
      verifyToken: fastJwtVerifier({ key, algorithms: [algorithm], issuer, audience }),
      mint: (claims, header) => signJwt(signingKey, algorithm, claims, { kid: 'one', ...header }),
      ...(typeof key === 'string' && { publicKey: key })
    })
    for (const rule of tokenVerifierRules) await t.resolves(rule.check(harness), rule.name)
  })
}

const options: FastJwtVerifierOptions = { key: secret, algorithms: ['HS256'], issuer, audience }

const good = () => ({ iss: issuer, aud: audience, exp: seconds() + 60 })

function mint (claims: Claims = {}): string {
  return signJwt(secret, 'HS256', { ...good(), sub: 'alice', ...claims })
}

function reasonOf (verify: (token: string) => unknown, token: string): TokenRejectionReason | 'accepted' {
  try {
    verify(token)
    return 'accepted'
  } catch (error) {
    if (error instanceof TokenRejectedError) return error.reason
    throw error
  }
}

t.test('of the tokens of every algorithm, only those of a pinned one are accepted', async t => {
  const claims = { ...good(), sub: 'alice' }
  const [tokens, bad] = [tokenOfEach(claims), [...forgeriesOf(claims), ...mismatchesOf(claims)]]
  const accepted = (pinned: SignatureAlgorithm[], given = tokens) => {
    const key = pairs[pinned[0] as SignatureAlgorithm]?.publicKey ?? commonSecret
    const verify = fastJwtVerifier({ ...options, key, algorithms: pinned })
    return given.filter(({ token }) => reasonOf(verify, token) === 'accepted').map(({ name }) => name)
  }
  for (const algorithm of [...algorithmsOfSecrets, ...algorithmsOfPairs]) {
    t.strictSame(accepted([algorithm]), [algorithm])
    t.strictSame(accepted([algorithm], bad), [])
  }
  const all = [algorithmsOfSecrets, ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']] as const
  for (const algorithms of all) t.strictSame(accepted([...algorithms]), algorithms)
})

t.test('a key of the curve Ed448 verifies EdDSA too', async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ed448')
  const verify = fastJwtVerifier({ ...options, key: publicKey, algorithms: ['EdDSA'] })
  t.match(verify(signJwt(privateKey, 'EdDSA', { ...good(), sub: 'alice' })), { sub: 'alice' })
  t.equal(reasonOf(verify, signJwt(ed.privateKey, 'EdDSA', good())), 'untrusted')
})

t.test('it returns the claims without a promise', async (t) => {
  const claims = fastJwtVerifier(options)(mint())
  t.match(claims, { sub: 'alice', iss: issuer, aud: audience })
})

t.test('the reason of a refusal is malformed, untrusted or expired', async (t) => {
  const verify = fastJwtVerifier(options)
  t.equal(reasonOf(verify, ''), 'malformed')
  t.equal(reasonOf(verify, 'garbage'), 'malformed')
  t.equal(reasonOf(verify, 'bnVsbA.bnVsbA.bnVsbA'), 'malformed')
  t.equal(reasonOf(verify, mint({ sub: 7 })), 'malformed')
  t.equal(reasonOf(verify, mint({ exp: '7' })), 'malformed')
  t.equal(reasonOf(verify, mint({ aud: [audience, 7] })), 'malformed')
  t.equal(reasonOf(verify, mint({ iss: 'https://mallory.example' })), 'untrusted')
  t.equal(reasonOf(verify, signJwt(randomBytes(32), 'HS256', good())), 'untrusted')
  t.equal(reasonOf(verify, mint({ nbf: seconds() + 60 })), 'untrusted')
  t.equal(reasonOf(verify, mint({ exp: seconds() - 1 })), 'expired')
})

t.test('neither the message nor the cause of a refusal contains any part of the token', async (t) => {
  const verify = fastJwtVerifier(options)
  const unreadable = ['c2VjcmV0.c2VjcmV0.c2VjcmV0', `${mint().split('.')[0]}.InNlY3JldCI.c2VjcmV0`]
  for (const token of [...unreadable, mint({ iss: 'secret' }), mint({ sub: ['secret'] })]) {
    try {
      verify(token)
      t.fail('it was accepted')
    } catch (error) {
      const told = error instanceof TokenRejectedError ? [error.message, error.cause, JSON.stringify(error.cause)].join() : 'secret'
      t.notMatch(told, /secret|c2VjcmV0/)
    }
  }
})

/** A token with this text as its payload, after the claims that every token needs. */
function withMembers (members: string): string {
  return signJwt(secret, 'HS256', `{"iss":"${issuer}","aud":"${audience}","exp":${seconds() + 60},${members}}`)
}

t.test('times that no date can hold make a token malformed: it would never expire, or be younger than every logout', async (t) => {
  const verify = fastJwtVerifier(options)
  for (const name of ['exp', 'nbf', 'iat', 'auth_time']) {
    const beyond = ['1e999', '-1e999', '1e308', '9223372036854775807', '8640000000001', '-8640000000001']
    for (const time of [...beyond, '"1800000000"', '[1]', 'true']) {
      t.equal(reasonOf(verify, withMembers(`"${name}":${time}`)), 'malformed', `${name} ${time}`)
    }
  }
  for (const time of ['8640000000000', '253402300799', `${seconds() + 60}.5`]) {
    t.equal(reasonOf(verify, withMembers(`"exp":${time}`)), 'accepted', `exp ${time}`)
    t.equal(reasonOf(verify, withMembers(`"iat":${time}`)), 'accepted', `iat ${time}`)
  }
  t.equal(reasonOf(verify, withMembers('"iat":null,"auth_time":null,"nbf":null')), 'accepted', 'null counts as missing')
  t.equal(reasonOf(verify, withMembers('"nbf":8640000000000')), 'untrusted')
  t.equal(reasonOf(verify, withMembers('"exp":-8640000000000')), 'expired')
})

t.test('a number beyond the safe integers is refused as a subject, and rounded in other claims', async (t) => {
  const verify = fastJwtVerifier(options)
  t.equal(reasonOf(verify, withMembers('"sub":12345678901234567890')), 'malformed')
  t.equal(verify(withMembers('"sub":"12345678901234567890"'))['sub'], '12345678901234567890')
  t.equal(verify(withMembers('"account":9007199254740993'))['account'], 9007199254740992)
})

t.test('the last one of duplicate JSON members counts, in the header and in the payload', async (t) => {
  const verify = fastJwtVerifier(options)
  t.equal(verify(withMembers('"sub":"mallory","sub":"alice"'))['sub'], 'alice')
  t.equal(reasonOf(verify, withMembers('"iss":"https://mallory.example"')), 'untrusted')
  t.equal(reasonOf(verify, withMembers('"exp":1')), 'expired')
  const withHeader = (header: string) => {
    const input = [header, JSON.stringify(good())].map(part => Buffer.from(part).toString('base64url')).join('.')
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
  }
  t.equal(reasonOf(verify, withHeader('{"alg":"none","alg":"HS256"}')), 'accepted')
  t.equal(reasonOf(verify, withHeader('{"alg":"HS256","alg":"none"}')), 'untrusted')
  t.equal(reasonOf(verify, withHeader('{"alg":"HS256","crit":["exp"],"crit":null}')), 'untrusted')
})

t.test('a token with a critical extension is refused, and so is any other crit', async (t) => {
  const verify = fastJwtVerifier(options)
  for (const crit of [['b64'], ['exp'], ['urn:example'], ['alg'], [], [7], 'b64', '', 0, false, null, {}]) {
    const token = signJwt(secret, 'HS256', good(), { crit, b64: false, exp: 1, 'urn:example': true })
    t.equal(reasonOf(verify, token), 'untrusted', JSON.stringify(crit))
  }
  t.equal(reasonOf(verify, signJwt(secret, 'HS256', good(), { b64: false })), 'accepted', 'what is not critical is ignored')
})

t.test('a nested or encrypted JWT is malformed', async (t) => {
  const verify = fastJwtVerifier(options)
  t.equal(reasonOf(verify, signJwt(secret, 'HS256', mint(), { cty: 'JWT' })), 'malformed')
  t.equal(reasonOf(verify, signJwt(secret, 'HS256', JSON.stringify(mint()), { cty: 'JWT' })), 'malformed')
  t.equal(reasonOf(verify, `${Buffer.from('{"alg":"dir","enc":"A256GCM"}').toString('base64url')}..AAAA.AAAA.AAAA`), 'malformed')
  t.equal(verify(mint({ act: { token: mint() } }))['sub'], 'alice', 'one within a claim is nothing but text')
})

t.test('claims may be as many, as long and as deeply nested as maxTokenLength allows', async (t) => {
  const verify = fastJwtVerifier(options)
  const many = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`claim ${i}`, i]))
  const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`
  for (const token of [mint(many), mint({ long: 'x'.repeat(11_000) }), withMembers(`"deep":${deep}`)]) {
    t.ok(token.length < 16_384 && token.length > 9000)
    t.equal(reasonOf(verify, token), 'accepted')
  }
  const longest = Math.floor((16_384 - mint({ long: '' }).length) * 3 / 4)
  const around = Array.from({ length: 9 }, (_, more) => mint({ long: 'x'.repeat(longest - 4 + more) }))
  const outcomes = around.map(token => [token.length <= 16_384, reasonOf(verify, token)] as const)
  t.ok(outcomes.some(([isShort]) => isShort) && outcomes.some(([isShort]) => !isShort))
  for (const [isShort, outcome] of outcomes) t.equal(outcome, isShort ? 'accepted' : 'malformed')
})

t.test('claims named __proto__ or constructor are claims like others, and change no prototype', async (t) => {
  const verify = fastJwtVerifier(options)
  const claims = verify(withMembers('"__proto__":{"sub":"mallory"},"constructor":1,"toString":2'))
  t.equal(claims['sub'], undefined)
  t.equal(Object.getPrototypeOf(claims), Object.prototype)
  t.equal(({} as Record<string, unknown>)['sub'], undefined)
})

t.test('other spellings of one token are refused', async (t) => {
  for (const [algorithm, key, signingKey] of keys) {
    const verify = fastJwtVerifier({ ...options, key, algorithms: [algorithm] })
    const token = signJwt(signingKey, algorithm, good())
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const accepted = [...alphabet].filter(letter => reasonOf(verify, token.slice(0, -1) + letter) === 'accepted')
    t.same(accepted, [token.at(-1)], algorithm)
    t.not(reasonOf(verify, `${token}=`), 'accepted')
    t.equal(reasonOf(verify, ` ${token}`), 'malformed')
  }
})

t.test('acceptExpiredFor accepts a token that expired less than that time ago, and nbf stays strict', async (t) => {
  const verify = fastJwtVerifier({ ...options, claims: { acceptExpiredFor: 60_000 } })
  t.equal(reasonOf(verify, mint({ exp: seconds() - 50 })), 'accepted')
  t.equal(reasonOf(verify, mint({ exp: seconds() - 61 })), 'expired')
  t.equal(reasonOf(verify, mint({ exp: seconds() - 50, nbf: seconds() + 10 })), 'untrusted')
  t.equal(reasonOf(fastJwtVerifier(options), mint({ exp: seconds() })), 'expired', 'off by default, and exp itself is over')
})

t.test('clockTolerance is applied to exp and nbf', async (t) => {
  const verify = fastJwtVerifier({ ...options, claims: { clockTolerance: 10_000 } })
  t.equal(reasonOf(verify, mint({ exp: seconds() - 8 })), 'accepted')
  t.equal(reasonOf(verify, mint({ exp: seconds() - 11 })), 'expired')
  t.equal(reasonOf(verify, mint({ nbf: seconds() + 8 })), 'accepted')
  t.equal(reasonOf(verify, mint({ nbf: seconds() + 12 })), 'untrusted')
})

t.test('required claims must be present, and neither null nor inherited', async (t) => {
  const verify = fastJwtVerifier({ ...options, claims: { required: ['jti'] } })
  t.equal(reasonOf(verify, mint({ jti: 'one' })), 'accepted')
  t.equal(reasonOf(verify, mint()), 'untrusted')
  t.equal(reasonOf(verify, mint({ jti: null })), 'untrusted')
  t.equal(reasonOf(fastJwtVerifier({ ...options, claims: { required: ['constructor'] } }), mint()), 'untrusted')
  t.equal(reasonOf(fastJwtVerifier({ ...options, claims: { required: [] } }), mint()), 'accepted')
})

t.test('several issuers and audiences are accepted, and changing the lists afterwards has no effect', async (t) => {
  const issuers = [issuer, 'https://second.example']
  const algorithms: SignatureAlgorithm[] = ['HS256']
  const verify = fastJwtVerifier({ ...options, algorithms, issuer: issuers, audience: [audience, 'second'] })
  t.equal(reasonOf(verify, mint({ iss: 'https://second.example', aud: 'second' })), 'accepted')
  issuers.push('https://mallory.example')
  algorithms.push('HS384')
  t.equal(reasonOf(verify, mint({ iss: 'https://mallory.example' })), 'untrusted')
  const other = signJwt(secret, 'HS384', good())
  t.equal(reasonOf(verify, other), 'untrusted')
})

t.test('tokens above maxTokenLength are refused unread', async (t) => {
  const token = mint()
  t.equal(reasonOf(fastJwtVerifier({ ...options, maxTokenLength: token.length }), token), 'accepted')
  t.equal(reasonOf(fastJwtVerifier({ ...options, maxTokenLength: token.length - 1 }), token), 'malformed')
})

t.test('a key may be a string, a Buffer or a key object', async (t) => {
  t.equal(reasonOf(fastJwtVerifier({ ...options, key: createSecretKey(secret) }), mint()), 'accepted')
  const pkcs1 = rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()
  for (const key of [rsa.publicKey, publicPem(rsa), Buffer.from(publicPem(rsa)), pkcs1, `\n${publicPem(rsa)}`]) {
    const verify = fastJwtVerifier({ ...options, key, algorithms: ['RS256', 'PS256'] })
    for (const algorithm of ['RS256', 'PS256'] as const) {
      t.equal(reasonOf(verify, signJwt(rsa.privateKey, algorithm, good())), 'accepted')
    }
  }
})

t.test('misconfiguration is a TypeError that names the option and holds no secret', async (t) => {
  const tiny = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const koblitz = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
  const rows: ReadonlyArray<[string, Record<string, unknown>, RegExp]> = [
    ['an unset issuer', { issuer: undefined }, /"issuer" must/],
    ['an empty issuer', { issuer: '' }, /"issuer" must/],
    ['a blank issuer', { issuer: ' ' }, /"issuer" must/],
    ['no issuers', { issuer: [] }, /"issuer" must/],
    ['an unset issuer among others', { issuer: [issuer, undefined] }, /"issuer" must/],
    ['a pattern for an issuer', { issuer: /./ }, /"issuer" must/],
    ['an unset audience', { audience: undefined }, /"audience" must/],
    ['an empty audience', { audience: '' }, /"audience" must/],
    ['no audiences', { audience: [] }, /"audience" must/],
    ['no algorithms', { algorithms: undefined }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['an empty list of algorithms', { algorithms: [] }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['none', { algorithms: ['none'] }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['none among others', { algorithms: ['HS256', 'none'] }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['an unknown algorithm', { algorithms: ['hs256'] }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['an inherited name', { algorithms: ['toString'] }, /"algorithms" must be a list of signature algorithms, such as \['RS256'\]/],
    ['a mixture of secrets and pairs', { algorithms: ['HS256', 'RS256'] }, /"algorithms" must not mix those for secrets/],
    ['an unset secret', { key: undefined }, /"key" must be a secret/],
    ['an empty secret', { key: '' }, /"key" must be a secret of at least 32 bytes/],
    ['a short secret', { key: 'hunter2' }, /"key" must be a secret of at least 32 bytes/],
    ['a secret one byte short', { key: randomBytes(31) }, /"key" must be a secret of at least 32 bytes/],
    [
      'a secret short for one of the algorithms', { key: randomBytes(63), algorithms: ['HS256', 'HS512'] },
      /"key" must be a secret of at least 64 bytes/
    ],
    ['a function for a key', { key: () => secret }, /"key" must be a secret/],
    ['a public key object as a secret', { key: rsa.publicKey }, /"key" must be a secret/],
    ['a public key as a secret', { key: publicPem(rsa) }, /"key" must be a secret, and not a key of a pair/],
    ['a private key as a secret', { key: privatePem(rsa) }, /"key" must be a secret, and not a key of a pair/],
    [
      'a JWK as a secret', { key: JSON.stringify(rsa.publicKey.export({ format: 'jwk' })) },
      /"key" must be a secret, and not a key of a pair/
    ],
    ['an unset public key', { key: undefined, algorithms: ['RS256'] }, /"key" must be a public key/],
    ['an empty public key', { key: '', algorithms: ['RS256'] }, /"key" must be a public key/],
    ['a secret for a public key', { key: secret, algorithms: ['RS256'] }, /"key" must be a public key/],
    ['a secret object for a public key', { key: createSecretKey(secret), algorithms: ['RS256'] }, /"key" must be a public key/],
    ['a broken PEM', { key: publicPem(rsa).slice(0, 200), algorithms: ['RS256'] }, /"key" must be a public key/],
    ['a PEM that lost its line breaks', { key: publicPem(rsa).replaceAll('\n', ' '), algorithms: ['RS256'] }, /"key" must be a public key/],
    ['a private key', { key: privatePem(rsa), algorithms: ['RS256'] }, /"key" must be the public key/],
    ['a private key object', { key: rsa.privateKey, algorithms: ['RS256'] }, /"key" must be a public key/],
    ['an RSA key for ES256', { key: publicPem(rsa), algorithms: ['ES256'] }, /"algorithms" must not contain ES256/],
    ['an RSA key for RS256 and ES256', { key: publicPem(rsa), algorithms: ['RS256', 'ES256'] }, /"algorithms" must not contain ES256/],
    ['an EC key for RS256', { key: publicPem(ec), algorithms: ['RS256'] }, /"algorithms" must not contain RS256/],
    ['another curve', { key: publicPem(p384), algorithms: ['ES256'] }, /"algorithms" must not contain ES256/],
    ['a curve of the same length', { key: publicPem(koblitz), algorithms: ['ES256'] }, /"algorithms" must not contain ES256/],
    ['an Edwards key for ES256', { key: publicPem(ed), algorithms: ['ES256'] }, /"algorithms" must not contain ES256/],
    ['an EC key for EdDSA', { key: publicPem(ec), algorithms: ['EdDSA'] }, /"algorithms" must not contain EdDSA/],
    ['an RSA key of 1024 bits', { key: publicPem(tiny), algorithms: ['RS256'] }, /"algorithms" must not contain RS256/],
    ['an RSA key that is for PSS only', { key: publicPem(pss), algorithms: ['PS256'] }, /"algorithms" must not contain PS256/],
    ['required claims that are no list', { claims: { required: 'sub' } }, /"claims.required" must/],
    ['an unset required claim', { claims: { required: [undefined] } }, /"claims.required" must/],
    ['a tolerance in words', { claims: { clockTolerance: '10s' } }, /"claims.clockTolerance" must/],
    ['a negative tolerance', { claims: { clockTolerance: -1 } }, /"claims.clockTolerance" must/],
    ['an endless grace period', { claims: { acceptExpiredFor: Infinity } }, /"claims.acceptExpiredFor" must/],
    ['a grace period of NaN', { claims: { acceptExpiredFor: NaN } }, /"claims.acceptExpiredFor" must/],
    ['no length at all', { maxTokenLength: 0 }, /"maxTokenLength" must/]
  ]
  for (const [what, wrong, says] of rows) {
    const make = () => fastJwtVerifier({ ...options, ...wrong } as FastJwtVerifierOptions)
    t.throws(make, { name: 'TypeError', message: says }, what)
    t.throws(make, { message: /^fastJwtVerifier: option "/ }, what)
    try { make() } catch (error) { t.notMatch(String(error) + JSON.stringify(error), /hunter2|BEGIN [A-Z ]*KEY-----\n/) }
  }
})
