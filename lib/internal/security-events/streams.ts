import { timingSafeEqual } from 'node:crypto'
import type { Awaitable } from '../../awaitable.ts'
import { tokenDigest } from '../../token-digest.ts'
import { isForAudience, isOfType, readMessage, signatureJudge, type JudgeSignature, type MessageIssuer } from '../jose/signed-message.ts'
import { assertOption, nonEmptyStrings } from '../plugin/options.ts'
import type { SubjectTolerance } from './event-subject.ts'
import { assertTenant, assertTolerances } from './revocation-token.ts'
import { readEvent, type EventRefusal, type ExpectedEvents, type ReceivedEvent } from './security-event-token.ts'
import type { EventSender } from './users.ts'

/** A stream of security events: who sends them, and to whom. */
export interface SecurityEventStream extends MessageIssuer {
  /** Our name in this stream: `aud` is this, or contains it. */
  readonly audience: string | readonly string[]
  /** Passed on to `resolveSubject`: the only tenant whose users this transmitter may log out. */
  readonly tenant?: string | undefined
  /** The id that the transmitter gave the stream. With it, a verification of another stream is refused. */
  readonly streamId?: string | undefined
  /** The whole `Authorization` header that the transmitter was told to send, such as `Bearer <secret>`. @default any is accepted */
  readonly authorization?: string | undefined
  /**
   * The `critical_subject_members` of the transmitter: an event with one of them is discarded, unless it is `user`,
   * `session` or `tenant`.
   * @default []
   */
  readonly criticalMembers?: readonly string[] | undefined
  /** Whether the host has asked for a verification with this state. Only `true` accepts it. @default none is expected */
  readonly isExpectedState?: ((state: string) => Awaitable<boolean>) | undefined
  /**
   * `risc-draft`: the subject is in the event, with a `subject_type`, as Google sends it. `event-subject`: the subject is in
   * the event, as Okta's transmitter sends it.
   * @default []
   */
  readonly tolerate?: readonly SubjectTolerance[] | undefined
}

/** A stream whose options were checked. */
export interface KnownStream extends ExpectedEvents {
  readonly issuer: string
  readonly sender: EventSender
  readonly judge: JudgeSignature
  readonly criticalMembers: readonly string[]
  readonly isExpectedState: ((state: string) => Awaitable<boolean>) | undefined
  /** Whether a request with this `Authorization` header may be of this stream. */
  isAuthorized (header: string | undefined): boolean
  readonly hasAuthorization: boolean
}

/** A verified event, and the stream that it came by. */
export interface VerifiedEvent {
  readonly received: ReceivedEvent
  readonly stream: KnownStream
}

/** @throws {TypeError} for what is missing or wrong in the options of a stream */
export function resolveStream (
  given: SecurityEventStream, option: { readonly caller: string, readonly at: string }, timeout: number
): KnownStream {
  const { caller, at } = option
  assertOption(typeof given === 'object' && given !== null, caller, at, 'must be an object such as { issuer, audience, jwksUri }')
  const { issuer, tenant, streamId, authorization, criticalMembers = [], isExpectedState, tolerate = [] } = given
  const judge = signatureJudge(given, option, { timeout })
  const audiences = nonEmptyStrings(given.audience, caller, `${at}.audience`)
  for (const [name, text] of Object.entries({ streamId, authorization })) {
    assertOption(text === undefined || (typeof text === 'string' && text !== ''), caller, `${at}.${name}`,
      'must be a non-empty string when it is given')
  }
  assertTenant(tenant, option)
  assertTolerances(tolerate, ['risc-draft', 'event-subject'], option)
  assertOption(Array.isArray(criticalMembers), caller, `${at}.criticalMembers`, 'must be a list of names of subject members')
  assertOption(isExpectedState === undefined || typeof isExpectedState === 'function', caller, `${at}.isExpectedState`,
    'must be a function when it is given')
  return {
    issuer,
    judge,
    audiences,
    streamId,
    tolerate,
    isExpectedState,
    criticalMembers: criticalMembers.filter(name => !['user', 'session', 'tenant'].includes(name)),
    sender: { issuer, ...(tenant !== undefined && { tenant }), ...(streamId !== undefined && { streamId }) },
    hasAuthorization: authorization !== undefined,
    isAuthorized: header => authorization === undefined || (header !== undefined && isSame(header, authorization))
  }
}

/** In constant time. */
function isSame (one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(tokenDigest(one)), Buffer.from(tokenDigest(other)))
}

const maxLength = 16_384

/** A token as it was received. */
export interface ReceivedToken {
  readonly token: string
  /** The `Authorization` header that it came with. Absent where the receiver has asked for the token. */
  readonly pushed?: { readonly authorization: string | undefined } | undefined
}

/**
 * Verifies a security event token by the streams of its issuer. Rejects when the keys of the issuer cannot be had.
 * `unauthorized`: it came without the `Authorization` of its stream.
 */
export async function verifyEvent (
  { token, pushed }: ReceivedToken, streams: readonly KnownStream[]
): Promise<VerifiedEvent | EventRefusal | 'unauthorized'> {
  const message = readMessage(token, maxLength)
  if (message === undefined) return { err: 'invalid_request', description: 'not a SET' }
  if (!isOfType(message.header, 'secevent+jwt')) return { err: 'invalid_request', description: 'typ' }
  const ofIssuer = streams.filter(({ issuer }) => issuer === message.payload['iss'])
  const stream = ofIssuer.find(({ audiences }) => isForAudience(message.payload['aud'], audiences)) ?? ofIssuer[0]
  if (stream === undefined) return { err: 'invalid_issuer', description: 'issuer' }
  if (pushed !== undefined && !stream.isAuthorized(pushed.authorization)) return 'unauthorized'

  const { issuer } = stream
  const claims = await stream.judge(token, message)
  if (claims === 'signature') return { err: 'authentication_failed', description: 'signature', issuer }
  if (typeof claims === 'string') return { err: 'invalid_key', description: claims, issuer }
  const received = readEvent(claims, stream)
  return 'err' in received ? received : { received, stream }
}
