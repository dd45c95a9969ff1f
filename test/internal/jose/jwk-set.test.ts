import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'

import { jwkSet } from '../../../lib/internal/jose/jwk-set.ts'
import type { SignatureAlgorithm } from '../../../lib/internal/jose/signature-algorithm.ts'
import { signJwt } from '../../sign-jwt.ts'

const ec = [1, 2].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })

function jwk (pair: { readonly publicKey: KeyObject } | undefined, others: object = {}): Record<string, unknown> {
  return { ...pair?.publicKey.export({ format: 'jwk' }), ...others }
}

/** Which of the key pairs verify a token by what was found: their numbers. */
function verifying (check: ((token: string) => unknown) | undefined, algorithm: SignatureAlgorithm = 'ES256'): number[] {
  const pairs = algorithm === 'ES256' ? ec : [rsa]
  return pairs.flatMap(({ privateKey }, index) => {
    try {
      check?.(signJwt(privateKey, algorithm, { sub: 'alice' }))
      return check === undefined ? [] : [index]
    } catch {
      return []
    }
  })
}

t.test('a key is found by its id and algorithm', async t => {
  const set = jwkSet({ keys: [jwk(ec[0], { kid: 'a' }), jwk(ec[1], { kid: 'b' }), jwk(rsa, { kid: 'r' })] })
  t.same(verifying(set.find('a', 'ES256')), [0])
  t.same(verifying(set.find('b', 'ES256')), [1])
  t.same(verifying(set.find('r', 'PS256'), 'PS256'), [0])
  for (const kid of ['c', '', '__proto__', 'r']) t.equal(set.find(kid, 'ES256'), undefined, kid)
  t.same(verifying(set.find('r', 'RS256'), 'PS256'), [], 'with that algorithm only')
  t.equal(set.find('a', 'RS256'), undefined)
  t.equal(set.find('a', 'HS256'), undefined)
})

t.test('a token without a key id is checked by the only key that is for its algorithm, and refused where there are several', async t => {
  const one = jwkSet({ keys: [jwk(rsa, { kid: 'r' }), jwk(ec[0], { kid: 'a' }), jwk(ec[1], { kid: 'b', use: 'enc' })] })
  t.same(verifying(one.find(undefined, 'ES256')), [0])
  t.equal(one.find(undefined, 'EdDSA'), undefined)
  const several = jwkSet({ keys: ec.map(pair => jwk(pair)) })
  for (let time = 0; time < 2; time++) {
    const refusal = { name: 'TokenRejectedError', reason: 'untrusted', cause: { message: /has no key id/ } }
    t.throws(() => several.find(undefined, 'ES256'), refusal)
  }
  t.equal(several.find('a', 'ES256'), undefined, 'keys without an id have no name')
  const named = jwkSet({ keys: [jwk(ec[0], { kid: 'undefined' }), jwk(ec[1], { kid: 'b' })] })
  t.same(verifying(named.find('undefined', 'ES256')), [0])
  t.throws(() => named.find(undefined, 'ES256'), { name: 'TokenRejectedError', reason: 'untrusted' })
})

t.test('of several keys with one id the first that is for the algorithm counts', async t => {
  const kid = 'a'
  const others = [jwk(rsa, { kid }), jwk(ec[0], { kid, alg: 'ES384' })]
  const set = jwkSet({ keys: [...others, jwk(ec[1], { kid, alg: 'ES256' }), jwk(ec[0], { kid })] })
  t.same(verifying(set.find('a', 'ES256')), [1])
  t.same(verifying(set.find('a', 'RS256'), 'RS256'), [0])
})

/** A JWK that counts how often it is parsed. */
function countingJwk (others: object) {
  const parsed = { count: 0 }
  const crv = () => {
    parsed.count++
    return 'P-256'
  }
  return { key: Object.defineProperty(jwk(ec[0], others), 'crv', { enumerable: true, get: crv }), parsed }
}

t.test('of 300 keys two are parsed for all tokens without a key id, and one for all tokens that name it', async t => {
  const counted = Array.from({ length: 300 }, (_, index) => countingJwk({ kid: String(index) }))
  const set = jwkSet({ keys: counted.map(({ key }) => key) })
  const parsed = () => counted.filter(({ parsed }) => parsed.count > 0).length
  for (let i = 0; i < 1000; i++) t.throws(() => set.find(undefined, 'ES256'), { name: 'TokenRejectedError', reason: 'untrusted' })
  t.equal(parsed(), 2)
  const reads = () => counted.reduce((sum, { parsed }) => sum + parsed.count, 0)
  const before = reads()
  for (let i = 0; i < 1000; i++) set.find(`unknown ${i}`, 'ES256')
  t.equal(reads(), before, 'an unknown key id parses nothing')
  set.find('7', 'ES256')
  const after = reads()
  for (let i = 0; i < 1000; i++) set.find('7', 'ES256')
  for (let i = 0; i < 1000; i++) set.find('7', 'EdDSA')
  t.ok(after > before && reads() <= after + (after - before), 'a key is parsed once for each algorithm')
})

t.test('an unknown key id is not looked for in each key, and not remembered', async t => {
  let reads = 0
  const kid = () => {
    reads++
    return 'a'
  }
  const set = jwkSet({ keys: [Object.defineProperty(jwk(ec[0]), 'kid', { enumerable: true, get: kid })] })
  const before = reads
  for (let i = 0; i < 1000; i++) t.equal(set.find(`unknown ${i}`, 'ES256'), undefined)
  t.equal(reads, before)
})

t.test('keys that cannot be parsed are tried once for each algorithm', async t => {
  const counted = Array.from({ length: 300 }, () => countingJwk({ x: 'AAAA' }))
  const set = jwkSet({ keys: counted.map(({ key }) => key) })
  t.equal(set.find(undefined, 'ES256'), undefined)
  const reads = () => counted.reduce((sum, { parsed }) => sum + parsed.count, 0)
  const once = reads()
  t.ok(once > 0)
  for (let i = 0; i < 100; i++) t.equal(set.find(undefined, 'ES256'), undefined)
  t.equal(reads(), once)
})

t.test('keys for other uses, of other kinds, or unreadable are ignored', async t => {
  const odd = [{ use: 'enc' }, { key_ops: ['sign'] }, { key_ops: 'verify' }, { kty: 'oct', k: 'AAAA' }, { crv: 'P-512' }, { x: 'AAAA' }]
  const ignored = [null, 'text', 7, [], {}, ...odd.map(members => jwk(ec[1], { kid: 'b', ...members }))]
  const set = jwkSet({ keys: [...ignored, jwk(ec[0], { kid: 'a', key_ops: ['verify'], use: 'sig' })] })
  t.equal(set.find('b', 'ES256'), undefined)
  t.same(verifying(set.find(undefined, 'ES256')), [0])
})

t.test('a document that is not a key set is an error', async t => {
  for (const document of [null, undefined, [], 'text', 7, {}, { keys: {} }, { keys: null }]) {
    t.throws(() => jwkSet(document), { message: 'the response is not a JSON Web Key Set' }, JSON.stringify(document))
  }
  t.equal(jwkSet({ keys: [] }).find('a', 'ES256'), undefined)
})
