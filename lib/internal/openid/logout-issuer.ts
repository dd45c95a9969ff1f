import type { Awaitable } from '../../awaitable.ts'
import { signatureJudge, type JudgeSignature, type MessageIssuer } from '../jose/signed-message.ts'
import { assertFunction, assertOption, nonEmptyStrings } from '../plugin/options.ts'

/**
 * What providers leave out of their logout tokens, although the standard wants it:
 *
 * - `untyped`: the header has no `typ`, or `JWT`. Any other type than `logout+jwt` is refused nevertheless.
 * - `unexpiring`: there is no `exp`. The age of the token is bounded by its `iat` and `maxAge`.
 */
export type LogoutTokenTolerance = 'untyped' | 'unexpiring'

/** An OpenID Provider whose logout tokens are accepted. */
export interface LogoutTokenIssuer extends MessageIssuer {
  /** Our names at this provider: `aud` contains at least one of these. */
  readonly clientId: string | readonly string[]
  /** What this provider leaves out of its tokens. The log line of a refusal names the tolerance that would help. @default [] */
  readonly tolerate?: readonly LogoutTokenTolerance[] | undefined
  /**
   * Decrypts a token (JWE) of this provider, which then has to encrypt all of them. Resolves the signed token; `undefined` if
   * the token is not for this key. A rejection is an outage.
   */
  readonly decrypt?: ((jwe: string) => Awaitable<string | undefined>) | undefined
  /** Not used here. `rpInitiatedLogout` takes the same list of issuers. */
  readonly endSessionEndpoint?: string | undefined
}

/** An issuer with checked options. */
export interface ResolvedIssuer {
  readonly name: string
  readonly clientIds: readonly string[]
  readonly accepts: (algorithm: unknown) => boolean
  readonly tolerates: (tolerance: LogoutTokenTolerance) => boolean
  readonly judgeSignature: JudgeSignature
  readonly decrypt: LogoutTokenIssuer['decrypt']
}

/** What all issuers have in common. */
export interface IssuerSettings {
  readonly caller: string
  /** For each request to an issuer, in milliseconds. */
  readonly timeout: number
}

/**
 * Checks the option `issuers`.
 *
 * @throws {TypeError} for a member that is missing or unsafe
 */
export function resolveIssuers (issuers: readonly LogoutTokenIssuer[], settings: IssuerSettings): ReadonlyMap<unknown, ResolvedIssuer> {
  const { caller } = settings
  assertOption(Array.isArray(issuers) && issuers.length > 0, caller, 'issuers',
    'must be a list of at least one issuer, such as { issuer, clientId }')
  const resolved = issuers.map((issuer, index) => resolveIssuer(issuer, `issuers[${index}]`, settings))
  const byName = new Map(resolved.map(issuer => [issuer.name, issuer]))
  assertOption(byName.size === resolved.length, caller, 'issuers', 'must name each issuer once')
  return byName
}

const tolerances: readonly LogoutTokenTolerance[] = ['untyped', 'unexpiring']

function resolveIssuer (given: LogoutTokenIssuer, at: string, { caller, timeout }: IssuerSettings): ResolvedIssuer {
  assertOption(typeof given === 'object' && given !== null, caller, at, 'must be an object such as { issuer, clientId }')
  const { issuer, tolerate = [], decrypt } = given
  assertOption(Array.isArray(tolerate) && tolerate.every(tolerance => tolerances.includes(tolerance)), caller, `${at}.tolerate`,
    'must be a list of "untyped" and "unexpiring"')
  assertFunction(decrypt, caller, `${at}.decrypt`)
  const judgeSignature = signatureJudge(given, { caller, at }, { timeout, allowedInARow: 1 })
  const algorithms: readonly unknown[] = [...given.algorithms ?? ['RS256']]
  const tolerated = [...tolerate]
  return {
    name: issuer,
    clientIds: nonEmptyStrings(given.clientId, caller, `${at}.clientId`),
    accepts: algorithm => algorithms.includes(algorithm),
    tolerates: tolerance => tolerated.includes(tolerance),
    judgeSignature,
    decrypt
  }
}
