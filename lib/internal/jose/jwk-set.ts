import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { signatureCheck, type CheckSignature } from './jwt.ts'
import { isKeyFor, type SignatureAlgorithm } from './signature-algorithm.ts'

/** The keys that an issuer published. */
export interface JwkSet {
  /**
   * The check for tokens that name this key and algorithm, or `undefined` when no key of the set is for them. A token
   * without a key id may only be checked where exactly one key is for its algorithm.
   */
  find (kid: string | undefined, algorithm: SignatureAlgorithm): CheckSignature | undefined
}

type Jwk = Readonly<Record<string, unknown>>

/**
 * Reads a JSON Web Key Set. Keys that are not for checking signatures, or that we do not understand, are passed over.
 * A key becomes a check once, for the one algorithm that it is used with.
 *
 * @throws Error when the document is no key set.
 * @see https://www.rfc-editor.org/rfc/rfc7517#section-5
 */
export function jwkSet (document: unknown): JwkSet {
  const keys = keysOf(document).filter(isForSignatures)
  const checks = new Map<string, CheckSignature>()

  function makeCheck (kid: string | undefined, algorithm: SignatureAlgorithm): CheckSignature | undefined {
    const fitting = keys
      .filter(key => (kid === undefined || key['kid'] === kid) && (key['alg'] === undefined || key['alg'] === algorithm))
      .map(publicKeyOf)
      .filter(key => key !== undefined && isKeyFor(algorithm, key))
    const [key] = fitting
    if (key === undefined || (kid === undefined && fitting.length > 1)) return undefined
    return signatureCheck(key.export({ type: 'spki', format: 'pem' }).toString(), [algorithm])
  }

  return {
    find (kid, algorithm) {
      const name = kid === undefined ? algorithm : `${algorithm} ${kid}`
      const known = checks.get(name)
      if (known !== undefined) return known
      const made = makeCheck(kid, algorithm)
      if (made !== undefined) checks.set(name, made)
      return made
    }
  }
}

function keysOf (document: unknown): readonly Jwk[] {
  if (!isObject(document) || !Array.isArray(document['keys'])) throw new Error('the answer is no JSON Web Key Set')
  return document['keys'].filter(isObject)
}

function isForSignatures (key: Jwk): boolean {
  const { use, key_ops: operations } = key
  return (use === undefined || use === 'sig') && (operations === undefined || (Array.isArray(operations) && operations.includes('verify')))
}

function publicKeyOf (key: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: key as JsonWebKey, format: 'jwk' })
  } catch {
    return undefined
  }
}

function isObject (value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null
}
