import { assertGroup, assertOption, nonEmptyStrings, wholeNumber } from '../plugin/options.ts'
import { rejected, type Claims } from '../../token-verifier.ts'

/** What a verifier demands of the claims of a token. Times are milliseconds. */
export interface ClaimOptions {
  /**
   * Claims that must be present besides those that the verifier requires anyway. `null` counts as missing.
   * @default []
   */
  readonly required?: readonly string[] | undefined
  /**
   * Tolerance applied to `exp` and `nbf`: how far the issuer's clock may differ from ours.
   * @default 0
   */
  readonly clockTolerance?: number | undefined
  /**
   * Also accepts a token that expired less than this time ago. Only for verifiers of logout: a user who logs out with a
   * token that has just expired means it. `nbf` stays strict.
   * @default 0
   */
  readonly acceptExpiredFor?: number | undefined
}

/** The members of {@link ClaimOptions}: beside the option `claims` they would have no effect. */
export const claimMembers: ReadonlyArray<keyof ClaimOptions> = ['required', 'clockTolerance', 'acceptExpiredFor']

/** What a verifier expects. `undefined` leaves `iss` or `aud` unchecked. `required` is complete. */
export interface ExpectedClaims {
  readonly issuers: readonly string[] | undefined
  readonly audiences: readonly string[] | undefined
  readonly required: readonly string[]
}

/** Throws a `TokenRejectedError` for claims that are not for us, or not now. */
export type CheckClaims = (claims: Claims) => void

/**
 * Makes the check of registered claims that all verifiers share: `iss` is one of the expected issuers, `aud` contains one of
 * the expected audiences, `exp` is in the future and `nbf` is not, each required claim is present, and each claim has the type
 * that the standard gives it. Times must be instants that a `Date` can hold.
 *
 * @throws {TypeError} for an option that is wrong
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-4.1
 */
export function expectedClaims (caller: string, expected: ExpectedClaims, options: ClaimOptions = {}): CheckClaims {
  assertGroup(options, caller, 'claims', '{ clockTolerance: 5000 }')
  const tolerance = wholeNumber(options.clockTolerance, caller, 'claims.clockTolerance', { standard: 0, least: 0 })
  const acceptExpiredFor = wholeNumber(options.acceptExpiredFor, caller, 'claims.acceptExpiredFor', { standard: 0, least: 0 })
  const tolerances = { tolerance, grace: tolerance + acceptExpiredFor }
  const required = [...new Set([...expected.required, ...claimNames(options.required, caller)])]

  return (claims) => {
    for (const name of required) {
      if (!Object.hasOwn(claims, name) || claims[name] === null) {
        throw rejected('untrusted', `the token has no ${name} claim`)
      }
    }
    checkStrings(claims)
    checkIssuer(claims['iss'], expected.issuers)
    checkAudience(claims['aud'], expected.audiences)
    checkTimes(claims, Date.now(), tolerances)
  }
}

function claimNames (names: unknown, caller: string): readonly string[] {
  if (names === undefined) return []
  assertOption(Array.isArray(names), caller, 'claims.required', 'must be a list of claim names')
  return names.length === 0 ? [] : nonEmptyStrings(names, caller, 'claims.required')
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

interface Tolerances {
  readonly tolerance: number
  /** For `exp`: the tolerance, and how long an expired token is accepted. */
  readonly grace: number
}

function checkTimes ({ exp, nbf, iat, auth_time: authTime }: Claims, now: number, { tolerance, grace }: Tolerances): void {
  const expires = instant(exp, 'exp')
  const begins = instant(nbf, 'nbf')
  instant(iat, 'iat')
  instant(authTime, 'auth_time')
  if (expires !== undefined && now >= expires + grace) {
    throw rejected('expired', 'the token has expired')
  }
  if (begins !== undefined && now < begins - tolerance) {
    throw rejected('untrusted', 'the token is not valid yet')
  }
}

const latestDate = 8.64e15

/** JSON has numbers beyond every date, such as `1e999`: a token with such an `exp` would never expire. */
function instant (value: unknown, name: string): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !(Math.abs(value) <= latestDate / 1000)) {
    throw rejected('malformed', `the ${name} claim is not a date`)
  }
  return value * 1000
}
