import type { Credential, Mark } from '../../revocation-store.ts'
import { principalOf } from '../../principal.ts'
import { tokenDigest } from '../../token-digest.ts'
import type { Claims } from '../../token-verifier.ts'

/** What {@link logoutMarks} needs to know besides the credential. */
export interface LogoutMarksOptions {
  /** `current`: this credential and its session. `all`: everything of its subject that was issued until now. @default 'current' */
  readonly scope?: 'current' | 'all' | undefined
  /** The longest lifetime of any credential of this kind, in milliseconds: a mark must outlive what it kills. Refresh tokens count if they carry the same ids. */
  readonly lifetime: number
  /** How far the clocks of issuer, verifier and store may differ, in milliseconds. @default 0 */
  readonly clockTolerance?: number | undefined
  /** With the scope `all`: a session to leave alone, "log out everywhere else". */
  readonly except?: string | undefined
  /** The instant of the logout, in epoch milliseconds. For an event that arrives late, the event's, so that it does not end a later login. @default now */
  readonly at?: number | undefined
}

/**
 * The facts of a verified JWT: `jti`, `sid`, `sub`, `tenant` or `tid`, `iat`. A token without a `jti` is known by its
 * digest, if the token is given: of what is signed, for many a signature has a second spelling that verifies too.
 */
export function credentialOf (claims: Claims, token?: string): Credential {
  const { subject, tenant, sessionId, issuedAt } = principalOf(claims)
  const jti = claims['jti']
  const tokenId = typeof jti === 'string' && jti !== '' ? jti : token === undefined ? undefined : tokenDigest(signedPart(token))
  return { tokenId, sessionId, subject, tenant, issuedAt }
}

/** The header and the payload of a JWT; any other token as a whole. */
function signedPart (token: string): string {
  return /^(eyJ[\w-]+\.[\w-]+)\.[\w-]+=*$/.exec(token)?.[1] ?? token
}

/**
 * The marks that log a credential out.
 *
 * With the scope `all`, the cutoff is the later of the logout and the credential's own `issuedAt`, plus the tolerance:
 * an issuer's clock that is ahead of ours does not let the credential slip through. The price: as long as the tolerance,
 * and within the same second, because `iat` counts seconds, a new login is refused too.
 *
 * @throws {TypeError} when the facts hold nothing to mark by
 */
export function logoutMarks (facts: Credential, options: LogoutMarksOptions): Mark[] {
  const { scope = 'current', lifetime, clockTolerance = 0, except, at = Date.now() } = options
  if (!(lifetime > 0) || !(clockTolerance >= 0)) throw new TypeError('logoutMarks: option "lifetime" must be a positive number of milliseconds, and "clockTolerance" none below 0')
  const cutoff = Math.ceil(Math.max(at, scope === 'all' ? facts.issuedAt ?? at : at) + clockTolerance)
  const until = Math.ceil(cutoff + lifetime + clockTolerance)

  const marks: Mark[] = []
  const { tokenId, sessionId, subject, tenant } = facts
  if (scope === 'all') {
    if (subject === undefined) throw new TypeError('logoutMarks: the scope "all" needs a credential with a subject')
    marks.push({ subject, ...(tenant !== undefined && { tenant }), cutoff, ...(except !== undefined && { except }), until })
    return marks
  }
  if (tokenId !== undefined) marks.push({ tokenId, until })
  if (sessionId !== undefined) marks.push({ sessionId, until })
  if (marks.length === 0) throw new TypeError('logoutMarks: the scope "current" needs a credential with a token id or a session id')
  return marks
}
