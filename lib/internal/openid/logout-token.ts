import type { Claims } from '../../token-verifier.ts'
import type { UncheckedJwt } from '../jose/jwt.ts'
import { isForAudience, isOfType, readMessage } from '../jose/signed-message.ts'
import type { Ask } from '../plugin/ask.ts'
import type { LogoutTokenTolerance, ResolvedIssuer } from './logout-issuer.ts'

/** What a logout token asks for, once everything about it was verified. */
export interface LogoutTokenContent {
  readonly issuer: string
  /** What the token names. At least one of them is there. */
  readonly ids: { readonly subject?: string, readonly sid?: string }
  /** What ends. */
  readonly target: { readonly sid: string, readonly subject?: string } | { readonly subject: string }
  /** The logout covers ID Tokens that were issued at or before this instant, by the clock of the provider. */
  readonly cutoff: number
  /** Whether Keycloak also revokes offline access. */
  readonly offline: boolean
}

/** Why a logout token is refused. These words go to the sender. */
export type LogoutTokenFault =
  | 'missing' | 'repeated' | 'malformed' | 'not a signed token' | 'encrypted' | 'not encrypted' | 'unknown issuer' | 'algorithm' | 'type'
  | 'signature' | 'audience' | 'expiry' | 'expired' | 'issued' | 'subject' | 'events' | 'nonce' | 'jti'

/** A logout token that is refused. */
export interface LogoutTokenRefusal {
  readonly fault: LogoutTokenFault
  /** The configured issuer that the token names. */
  readonly issuer?: string
  /** The tolerance for this issuer that would have accepted this part of the token. */
  readonly tolerance?: LogoutTokenTolerance
}

/** What {@link logoutTokenVerifier} needs. Times are milliseconds. */
export interface LogoutTokenOptions {
  readonly issuers: ReadonlyMap<unknown, ResolvedIssuer>
  readonly ask: Ask
  readonly maxAge: number
  readonly clockTolerance: number
  readonly maxTokenLength: number
  /** What ends if the token has both `sub` and `sid`. */
  readonly sidEnds: 'session' | 'subject'
}

/** Verifies a logout token. Rejects with an `Outage` if it cannot be told whether the token is good. */
export type VerifyLogoutToken = (token: string) => Promise<LogoutTokenContent | LogoutTokenRefusal>

/**
 * Makes the verifier of logout tokens: a signed token of one of these issuers for one of our clients, of the right type and
 * age, that is a logout token and nothing else.
 *
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation
 */
export function logoutTokenVerifier (options: LogoutTokenOptions): VerifyLogoutToken {
  const verifyPlain = async (token: string, decryptedFor: ResolvedIssuer | undefined) => {
    const message = readMessage(token, options.maxTokenLength)
    if (message === undefined) return { fault: 'not a signed token' } as const
    const named = options.issuers.get(message.payload['iss'])
    if (named === undefined || (decryptedFor !== undefined && decryptedFor !== named)) return { fault: 'unknown issuer' } as const
    if (named.decrypt !== decryptedFor?.decrypt) return { fault: 'not encrypted', issuer: named.name } as const
    return verifySigned({ token, message, issuer: named }, options)
  }

  return async (token) => {
    const isEncrypted = token.length <= options.maxTokenLength && token.split('.').length === 5
    if (!isEncrypted) return verifyPlain(token, undefined)
    for (const issuer of options.issuers.values()) {
      const decrypted = await decryptedBy(issuer, token, options.ask)
      if (decrypted !== undefined) return verifyPlain(decrypted, issuer)
    }
    return { fault: 'encrypted' }
  }
}

/** The signed token; `undefined` for an issuer that cannot decrypt it. */
async function decryptedBy ({ decrypt }: ResolvedIssuer, jwe: string, ask: Ask): Promise<string | undefined> {
  if (decrypt === undefined) return undefined
  const decrypted: unknown = await ask('decrypt', () => decrypt(jwe))
  return decrypted === undefined || decrypted === null ? undefined : String(decrypted)
}

interface SignedToken {
  readonly token: string
  readonly message: UncheckedJwt
  readonly issuer: ResolvedIssuer
}

async function verifySigned (signed: SignedToken, options: LogoutTokenOptions): Promise<LogoutTokenContent | LogoutTokenRefusal> {
  const { token, message, issuer } = signed
  const refuse = (fault: LogoutTokenFault, tolerance?: LogoutTokenTolerance): LogoutTokenRefusal => {
    return { fault, issuer: issuer.name, ...(tolerance !== undefined && { tolerance }) }
  }
  if (!issuer.accepts(message.header['alg'])) return refuse('algorithm')
  const type = typeOf(message.header)
  if (type === 'other') return refuse('type')
  if (type === 'untyped' && !issuer.tolerates('untyped')) return refuse('type', 'untyped')

  const claims = await options.ask('issuers.keys', () => issuer.judgeSignature(token, message))
  if (typeof claims === 'string') return refuse('signature')
  const fault = faultIn(claims, issuer, options)
  if (fault !== undefined) return refuse(fault, fault === 'expiry' ? 'unexpiring' : undefined)
  return contentOf(claims, issuer.name, options.sidEnds)
}

function typeOf (header: UncheckedJwt['header']): 'logout' | 'untyped' | 'other' {
  if (isOfType(header, 'logout+jwt')) return 'logout'
  return header['typ'] === undefined || isOfType(header, 'jwt') ? 'untyped' : 'other'
}

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/** The first thing that is wrong with the claims of a token whose signature is good. */
function faultIn (claims: Claims, issuer: ResolvedIssuer, options: LogoutTokenOptions): LogoutTokenFault | undefined {
  if (!isForAudience(claims['aud'], issuer.clientIds)) return 'audience'
  const fault = faultInTimes(claims, issuer, options)
  if (fault !== undefined) return fault
  const { sub, sid, jti } = claims
  if (sub === undefined && sid === undefined) return 'subject'
  if (![sub, sid].every(id => id === undefined || isId(id))) return 'subject'
  if (!isObject(claims['events']) || !isObject(claims['events'][logoutEvent])) return 'events'
  if (Object.hasOwn(claims, 'nonce')) return 'nonce'
  return isId(jti) ? undefined : 'jti'
}

function faultInTimes (claims: Claims, issuer: ResolvedIssuer, options: LogoutTokenOptions): LogoutTokenFault | undefined {
  const { maxAge, clockTolerance } = options
  const { exp, nbf, iat } = claims
  const now = Date.now()
  if (exp === undefined && !issuer.tolerates('unexpiring')) return 'expiry'
  if (![exp, nbf].every(time => time === undefined || Number.isFinite(time))) return 'malformed'
  if (typeof exp === 'number' && exp * 1000 + clockTolerance <= now) return 'expired'
  if (typeof nbf === 'number' && nbf * 1000 - clockTolerance > now) return 'expired'
  const age = typeof iat === 'number' ? now - iat * 1000 : NaN
  return age >= -clockTolerance && age <= maxAge + clockTolerance ? undefined : 'issued'
}

const longestId = 1024

function isId (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= longestId
}

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** How far the clocks of a provider's nodes may differ. A `sid` alone is never used again, so it can be generous. */
const clocksOfSid = 60_000
const clocksOfSubject = 5_000

function contentOf (claims: Claims, issuer: string, sidEnds: 'session' | 'subject'): LogoutTokenContent {
  const { sub, sid, iat, toe, events } = claims
  const ids = { ...(isId(sub) && { subject: sub }), ...(isId(sid) && { sid }) }
  const target = isId(sid) && (sidEnds === 'session' || !isId(sub)) ? { ...ids, sid } : { subject: String(sub) }
  const [issued, happened] = [Number(iat), typeof toe === 'number' ? toe : NaN]
  const at = happened >= 0 && happened <= issued ? happened : issued
  return {
    issuer,
    ids,
    target,
    cutoff: Math.ceil(at * 1000) + ('sid' in target ? clocksOfSid : clocksOfSubject),
    offline: isObject(events) && events['revoke_offline_access'] === true
  }
}
