import type { KeyObject } from 'node:crypto'
import type { Claims } from '../../token-verifier.ts'
import { isForAudience, isOfType, readMessage, signatureJudge, type JudgeSignature, type MessageIssuer } from '../jose/signed-message.ts'
import type { UncheckedJwt } from '../jose/jwt.ts'
import { assertOption, duration, nonEmptyStrings } from '../plugin/options.ts'
import type { UsableToken } from './used-tokens.ts'
import type { EventSender } from './users.ts'

/** A sender of Global Token Revocation, such as an Okta organization. */
export interface RevocationSender extends Omit<MessageIssuer, 'key'> {
  /** The `sub` of its tokens: the client id of an OpenID app, or the instance id of a SAML app. */
  readonly clientId: string
  /** A public key or certificate in PEM instead of a key set: for SAML apps, the certificate that signs assertions. */
  readonly key?: string | Buffer | KeyObject | undefined
  /** Passed on to `resolveSubject`: the only tenant whose users this sender may log out. */
  readonly tenant?: string | undefined
  /** `subject`: accept a body whose subject is in the member `subject`, as in draft 02. @default [] */
  readonly tolerate?: ReadonlyArray<'subject'> | undefined
}

/** What the tokens of all senders have in common. */
export interface RevocationTokenOptions {
  readonly senders: readonly RevocationSender[]
  readonly endpointUrl: string
  readonly clockTolerance: number
  readonly maxTokenLifetime: number
}

/** A sender whose token is good. */
export interface AdmittedSender {
  readonly sender: EventSender
  readonly tolerate: readonly unknown[]
  /** Without it, the sender was admitted by the host. */
  readonly token?: UsableToken | undefined
}

/** Why a token was refused. */
export interface TokenRefusal {
  readonly problem: 'type' | 'algorithm' | 'signature' | 'issuer' | 'subject' | 'audience' | 'time' | 'jti'
  /** For the log, if it is one of the senders. The token is not to be trusted. */
  readonly issuer?: string | undefined
}

interface KnownSender extends AdmittedSender {
  readonly judge: JudgeSignature
}

const tokenType = 'global-token-revocation+jwt'
const maxTokenLength = 16_384
const longestId = 1024

/**
 * Makes the function that verifies a token of a sender. A token chooses among the senders by `iss` and `sub`; each has its
 * own keys. Rejects when they cannot be had.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @see https://datatracker.ietf.org/doc/draft-parecki-oauth-global-token-revocation/
 */
export function revocationTokenVerifier (
  options: RevocationTokenOptions, caller: string, timeout: number
): (token: string) => Promise<AdmittedSender | TokenRefusal> {
  const senders = resolveSenders(options.senders, caller, timeout)

  return async (token) => {
    const message = readMessage(token, maxTokenLength)
    if (message === undefined || !isOfType(message.header, tokenType)) return { problem: 'type' }
    const ofIssuer = senders.filter(({ sender }) => sender.issuer === message.payload['iss'])
    if (ofIssuer[0] === undefined) return { problem: 'issuer' }
    const known = ofIssuer.find(({ sender }) => sender.clientId === message.payload['sub'])
    return known === undefined ? { problem: 'subject', issuer: ofIssuer[0].sender.issuer } : verify({ token, message }, known, options)
  }
}

type Received = { readonly token: string, readonly message: UncheckedJwt }

async function verify (
  { token, message }: Received, known: KnownSender, options: RevocationTokenOptions
): Promise<AdmittedSender | TokenRefusal> {
  const { judge, ...admitted } = known
  const { issuer } = known.sender
  const claims = await judge(token, message)
  if (typeof claims === 'string') return { problem: claims === 'key' ? 'signature' : claims, issuer }
  if (!isForAudience(claims['aud'], [options.endpointUrl])) return { problem: 'audience', issuer }
  const expires = expiryOf(claims, Date.now(), options)
  if (expires === undefined) return { problem: 'time', issuer }
  const jti = claims['jti']
  if (typeof jti !== 'string' || jti === '' || jti.length > longestId) return { problem: 'jti', issuer }
  return { ...admitted, token: { issuer, jti, until: expires + options.clockTolerance } }
}

/** When the token expires, in epoch milliseconds. `undefined` if its times are wrong. */
function expiryOf (
  { exp, iat, nbf = 0 }: Claims, now: number, { clockTolerance, maxTokenLifetime }: RevocationTokenOptions
): number | undefined {
  const expires = instantOf(exp)
  const issued = instantOf(iat)
  const isNow = now < expires + clockTolerance && issued <= now + clockTolerance && instantOf(nbf) <= now + clockTolerance
  return isNow && expires - issued <= maxTokenLifetime ? expires : undefined
}

/** Claims count seconds. What is not a time compares as false. */
function instantOf (seconds: unknown): number {
  return typeof seconds === 'number' ? seconds * 1000 : NaN
}

function resolveSenders (senders: readonly RevocationSender[], caller: string, timeout: number): readonly KnownSender[] {
  assertOption(Array.isArray(senders) && senders.length > 0, caller, 'authenticate.senders',
    'is missing: pass a list of at least one sender')
  const resolved = senders.map((given, index) => resolveSender(given, { caller, at: `authenticate.senders[${index}]` }, timeout))
  const names = new Set(resolved.map(({ sender: { issuer, clientId } }) => JSON.stringify([issuer, clientId])))
  assertOption(names.size === resolved.length, caller, 'authenticate.senders', 'must name each issuer and clientId once')
  return resolved
}

function resolveSender (given: RevocationSender, option: { readonly caller: string, readonly at: string }, timeout: number): KnownSender {
  const { caller, at } = option
  assertOption(typeof given === 'object' && given !== null, caller, at, 'must be an object such as { issuer, clientId, jwksUri }')
  const { issuer, clientId, tenant, tolerate = [] } = given
  const judge = signatureJudge(given, option, { timeout })
  assertOption(typeof clientId === 'string', caller, `${at}.clientId`, 'must be a string: the sub of its tokens')
  nonEmptyStrings(clientId, caller, `${at}.clientId`)
  assertTenant(tenant, option)
  assertTolerances(tolerate, ['subject'], option)
  return { judge, tolerate, sender: { issuer, clientId, ...(tenant !== undefined && { tenant }) } }
}

/** Checks the option `tenant` of a sender. */
export function assertTenant (tenant: unknown, { caller, at }: { readonly caller: string, readonly at: string }): void {
  assertOption(tenant === undefined || (typeof tenant === 'string' && tenant !== ''), caller, `${at}.tenant`,
    'must be a non-empty string when it is given')
}

/** Checks the option `tolerate` of a sender. */
export function assertTolerances (
  tolerate: unknown, known: readonly string[], { caller, at }: { readonly caller: string, readonly at: string }
): void {
  const isKnown = Array.isArray(tolerate) && tolerate.every(name => known.includes(name))
  assertOption(isKnown, caller, `${at}.tolerate`, `must be a list of ${known.map(name => `"${name}"`).join(' and ')}`)
}

/** Checks the times that are allowed to tokens. */
export function resolveTokenTimes (options: {
  readonly clockTolerance?: number | undefined,
  readonly maxTokenLifetime?: number | undefined
}, caller: string) {
  const { clockTolerance = 60_000 } = options
  const isTolerance = typeof clockTolerance === 'number' && clockTolerance >= 0 && clockTolerance <= 3_600_000
  assertOption(isTolerance, caller, 'authenticate.clockTolerance', 'must be a number of milliseconds, 0 to an hour')
  return { clockTolerance, maxTokenLifetime: duration(options.maxTokenLifetime, 900_000, caller, 'authenticate.maxTokenLifetime') }
}
