import { constants, createHmac, sign, type KeyObject } from 'node:crypto'

import type { SignatureAlgorithm } from '../lib/internal/jose/signature-algorithm.ts'

/** Signs whatever it is given, also what no honest issuer would sign: claims as they are, or the text of a payload. */
export function signJwt (key: KeyObject | Buffer, algorithm: SignatureAlgorithm, claims: object | string, header: object = {}): string {
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims)
  const parts = [JSON.stringify({ alg: algorithm, typ: 'JWT', ...header }), payload]
  const input = parts.map(part => Buffer.from(part).toString('base64url')).join('.')
  const hash = `sha${algorithm.slice(2)}`
  if (algorithm.startsWith('HS')) return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
  if (Buffer.isBuffer(key)) throw new TypeError('a key pair is needed')
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
  const padding = algorithm.startsWith('PS') ? pss : {}
  const signature = sign(algorithm === 'EdDSA' ? null : hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding })
  return `${input}.${signature.toString('base64url')}`
}
