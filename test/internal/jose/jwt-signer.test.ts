import { jwtVerify } from 'jose'
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { jwtSigner } from '../../../lib/internal/jose/jwt-signer.ts'
import type { SignatureAlgorithm } from '../../../lib/internal/jose/signature-algorithm.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const
const pairs = Object.fromEntries([
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map(name => [name, rsa] as const),
  ...Object.entries(curves).map(([name, namedCurve]) => [name, generateKeyPairSync('ec', { namedCurve })] as const),
  ['EdDSA', generateKeyPairSync('ed25519')] as const
])

for (const [algorithm, { publicKey, privateKey }] of Object.entries(pairs)) {
  t.test(`${algorithm}: what is signed is verified by another library`, async t => {
    for (const key of [privateKey, privateKey.export({ format: 'pem', type: 'pkcs8' })]) {
      const sign = jwtSigner({ privateKey: key, algorithm: algorithm as SignatureAlgorithm, keyId: 'k' }, 'caller', 'sign')
      const token = await sign({ sub: 'ålice' }, { typ: 'x' })
      const { payload, protectedHeader } = await jwtVerify(token, publicKey, { algorithms: [algorithm] })
      t.strictSame(payload, { sub: 'ålice' })
      t.strictSame(protectedHeader, { alg: algorithm, kid: 'k', typ: 'x' })
    }
  })
}

t.test('a key that does not go with its algorithm is a TypeError', async t => {
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const [P256] = [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey]
  for (const [algorithm, privateKey] of [['RS256', small], ['ES384', P256], ['RS256', P256], ['EdDSA', rsa.privateKey]] as const) {
    t.throws(() => jwtSigner({ privateKey, algorithm, keyId: 'k' }, 'caller', 'sign'), {
      name: 'TypeError',
      message: `caller: option "sign.privateKey" must be a private key for ${algorithm} (is its environment variable set?)`
    })
  }
})
