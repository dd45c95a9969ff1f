import { assertOption, nonEmptyStrings, wholeNumber } from '../plugin/options.ts'
import { rejected, type Claims } from '../../token-verifier.ts'

/** What a token has to say for itself, whoever vouches for it. */
export interface ClaimOptions {
  /**
   * Claims that must be there besides those the verifier demands anyway. `null` counts as missing.
   * @default []
   */
  readonly requiredClaims?: readonly string[] | undefined
  /**
   * How far the issuer's clock may be from ours, in milliseconds: both `exp` and `nbf` give way by so much.
   * @default 0
   */
  readonly clockTolerance?: number | undefined
  /**
   * Also accepts a token that expired less than so many milliseconds ago. For verifiers of logout only: whoever logs
   * out with a token that has just run out means it. `nbf` stays strict.
   * @default 0
   */
  readonly acceptExpiredFor?: number | undefined
}

/** What the verifier is made for. `undefined` leaves `iss` or `aud` unchecked; `required` is complete. */
export interface ExpectedClaims {
  readonly issuers: readonly string[] | undefined
  readonly audiences: readonly string[] | undefined
  readonly required: readonly string[]
}

/** Refuses claims that are not meant for us, or not now. */
export type CheckClaims = (claims: Claims) => void

/**
 * Makes the check of registered claims that all verifiers share: `iss` is one of ours, `aud` names one of ours, `exp`
 * lies ahead and `nbf` does not, whatever is required is there, and no claim has a type that the standard does not give it.
 *
 * @throws TypeError when an option is not what it should be.
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-4.1
 */
export function expectedClaims (caller: string, expected: ExpectedClaims, times: ClaimOptions): CheckClaims {
  const tolerance = wholeNumber(times.clockTolerance, caller, 'clockTolerance', { standard: 0, least: 0 })
  const bob = tolerance + wholeNumber(times.acceptExpiredFor, caller, 'acceptExpiredFor', { standard: 0, least: 0 })
  const required = [...new Set([...expected.required, ...claimNames(times.requiredClaims, caller)])]

  return (claims) => {
    for (const name of required) {
      if (!Object.hasOwn(claims, name) || claims[name] === null) {
        throw rejected('untrusted', `the token has no ${name} claim`)
      }
    }
    checkStrings(claims)
    checkIssuer(claims['iss'], expected.issuers)
    checkAudience(claims['aud'], expected.audiences)
    checkTimes(claims, Date.now(), tolerance, bob)
  }
}

function claimNames (names: unknown, caller: string): readonly string[] {
  if (names === undefined) return []
  assertOption(Array.isArray(names), caller, 'requiredClaims', 'must be a list of claim names')
  return names.length === 0 ? [] : nonEmptyStrings(names, caller, 'requiredClaims')
}

const stringClaims = ['iss', 'sub', 'jti', 'sid', 'client_id', 'azp'] as const

// V8 is several times as fast at members that are named in the code as at those that a loop asks for.
function checkStrings ({ iss, sub, jti, sid, client_id: client, azp }: Claims): void {
  const wrong = [iss, sub, jti, sid, client, azp].findIndex(value => value !== undefined && value !== null && typeof value !== 'string')
  if (wrong >= 0) throw rejected('malformed', `the ${stringClaims[wrong]} claim is not a string`)
}

function checkIssuer (issuer: unknown, issuers: readonly string[] | undefined): void {
  if (issuers !== undefined && !(typeof issuer === 'string' && issuers.includes(issuer))) {
    throw rejected('untrusted', 'the token is of another issuer')
  }
}

function checkAudience (audience: unknown, audiences: readonly string[] | undefined): void {
  const named: readonly unknown[] = Array.isArray(audience) ? audience : [audience]
  if (audience !== undefined && audience !== null && !named.every(name => typeof name === 'string')) {
    throw rejected('malformed', 'the aud claim is neither a string nor a list of strings')
  }
  if (audiences !== undefined && !named.some(name => typeof name === 'string' && audiences.includes(name))) {
    throw rejected('untrusted', 'the token is for another audience')
  }
}

function checkTimes (claims: Claims, now: number, tolerance: number, bob: number): void {
  const expires = instant(claims, 'exp')
  const begins = instant(claims, 'nbf')
  if (expires !== undefined && now >= expires + bob) {
    throw rejected('expired', 'the token has expired')
  }
  if (begins !== undefined && now < begins - tolerance) {
    throw rejected('untrusted', 'the token is not valid yet')
  }
}

/** JSON writes no Infinity, but `1e999` is read as one: such a token would never expire. */
function instant (claims: Claims, name: string): number | undefined {
  const value = claims[name]
  if (value === undefined || value === null) {
    return undefined
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw rejected('malformed', `the ${name} claim is not a number`)
  }
  return value * 1000
}
