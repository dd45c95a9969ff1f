import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { rejected } from '../../token-verifier.ts'
import { signatureCheck, type CheckSignature } from './jwt.ts'
import { isKeyFor, type SignatureAlgorithm } from './signature-algorithm.ts'

/** The keys that an issuer published. */
export interface JwkSet {
  /**
   * Returns the signature check for tokens that name this key and algorithm, or `undefined` when no key of the set is
   * for them. For a token without a key id, returns the check by the only key that is for its algorithm.
   *
   * @throws TokenRejectedError for a token without a key id when several keys are for its algorithm
   * @see https://openid.net/specs/openid-connect-core-1_0.html#Signing
   */
  find (kid: string | undefined, algorithm: SignatureAlgorithm): CheckSignature | undefined
}

type Jwk = Readonly<Record<string, unknown>>
type Choice = CheckSignature | 'none' | 'several'

/**
 * Reads a JSON Web Key Set. Keys that are not for verifying signatures, or of an unknown kind, are ignored.
 *
 * A key is parsed when a token first needs it. The choice is remembered for each algorithm and each key id of the set, so
 * a token without a key id costs one lookup, and one with an unknown key id costs one and is not remembered.
 *
 * @throws Error when the document is not a key set
 * @see https://www.rfc-editor.org/rfc/rfc7517#section-5
 */
export function jwkSet (document: unknown): JwkSet {
  const keys = keysOf(document).filter(isForSignatures)
  const ids = new Set(keys.map(key => key['kid']))
  const choices = new Map<string, Choice>()

  function choiceFor (kid: string | undefined, algorithm: SignatureAlgorithm): Choice {
    if (kid !== undefined && !ids.has(kid)) return 'none'
    const name = kid === undefined ? algorithm : `${algorithm} ${kid}`
    const choice = choices.get(name) ?? choose(keys, kid, algorithm)
    choices.set(name, choice)
    return choice
  }

  return {
    find (kid, algorithm) {
      const choice = choiceFor(kid, algorithm)
      if (choice === 'several') throw rejected('untrusted', 'the token has no key id, and several keys are for its algorithm')
      return choice === 'none' ? undefined : choice
    }
  }
}

/** Of several keys with one id the first counts, and of several keys for a token without an id none. */
function choose (keys: readonly Jwk[], kid: string | undefined, algorithm: SignatureAlgorithm): Choice {
  let chosen: KeyObject | undefined
  for (const jwk of keys) {
    const key = isNamed(jwk, kid, algorithm) ? publicKeyOf(jwk) : undefined
    if (key === undefined || !isKeyFor(algorithm, key)) continue
    if (chosen !== undefined) return 'several'
    chosen = key
    if (kid !== undefined) break
  }
  if (chosen === undefined) return 'none'
  return signatureCheck(chosen.export({ type: 'spki', format: 'pem' }).toString(), [algorithm])
}

function isNamed (jwk: Jwk, kid: string | undefined, algorithm: SignatureAlgorithm): boolean {
  return (kid === undefined || jwk['kid'] === kid) && (jwk['alg'] === undefined || jwk['alg'] === algorithm)
}

function keysOf (document: unknown): readonly Jwk[] {
  if (!isObject(document) || !Array.isArray(document['keys'])) throw new Error('the response is not a JSON Web Key Set')
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
