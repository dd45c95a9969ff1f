import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import t from 'tap'

import {
  fewestSecretBytes, isKeyFor, isSignatureAlgorithm, type SignatureAlgorithm
} from '../../../lib/internal/jose/signature-algorithm.ts'

const keys = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey,
  rsa2047: generateKeyPairSync('rsa', { modulusLength: 2047 }).publicKey,
  rsaPss: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey,
  secp256k1: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey,
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey,
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey,
  ed25519: generateKeyPairSync('ed25519').publicKey,
  ed448: generateKeyPairSync('ed448').publicKey,
  x25519: createPublicKey(generateKeyPairSync('x25519').privateKey)
}

const fits: Readonly<Record<SignatureAlgorithm, ReadonlyArray<keyof typeof keys>>> = {
  HS256: [],
  HS384: [],
  HS512: [],
  RS256: ['rsa'],
  RS384: ['rsa'],
  RS512: ['rsa'],
  PS256: ['rsa'],
  PS384: ['rsa'],
  PS512: ['rsa'],
  ES256: ['p256'],
  ES384: ['p384'],
  ES512: ['p521'],
  EdDSA: ['ed25519', 'ed448']
}

t.test('each algorithm accepts its own kind of key only', async (t) => {
  for (const [algorithm, names] of Object.entries(fits)) {
    t.ok(isSignatureAlgorithm(algorithm))
    if (!isSignatureAlgorithm(algorithm)) continue
    const fitting = Object.entries(keys).filter(([, key]) => isKeyFor(algorithm, key)).map(([name]) => name)
    t.same(fitting, names, algorithm)
  }
})

t.test('names that are not in the standard, none among them, are not signature algorithms', async t => {
  for (const name of [
    'none', 'rs256', 'RS256 ', 'ES256K', 'Ed25519', 'toString', '', undefined, null, ['RS256'], { toString: () => 'RS256' }
  ]) {
    t.equal(isSignatureAlgorithm(name), false, String(name))
  }
})

t.test('a secret must be as long as the hash of its algorithm', async (t) => {
  t.equal(fewestSecretBytes('HS256'), 32)
  t.equal(fewestSecretBytes('HS384'), 48)
  t.equal(fewestSecretBytes('HS512'), 64)
  t.equal(fewestSecretBytes('RS256'), undefined)
})
