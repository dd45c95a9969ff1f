import type { Claims } from '../../token-verifier.ts'
import { isForAudience } from '../jose/signed-message.ts'
import { subjectOfEvent, type SubjectTolerance } from './event-subject.ts'
import { changeTypes, credentialChange, draftVerification, verification } from './event-types.ts'
import { isProblem, type SubjectIdentifier, type UnknownSubject } from './subject-identifier.ts'

/** Error codes of RFC 8935, section 2.4, and of Shared Signals. */
export const errorCodes = [
  'invalid_request', 'invalid_key', 'invalid_issuer', 'invalid_audience', 'authentication_failed', 'invalid_state'
] as const

/** Why a security event token was refused. */
export interface EventRefusal {
  readonly err: typeof errorCodes[number]
  /** One of a closed list. */
  readonly description: string
  /** For the log: the `iss`, if it is that of a stream. */
  readonly issuer?: string | undefined
  /** For the log, once the signature is right. */
  readonly jti?: string | undefined
}

/** What a security event token says. */
export interface ReceivedEvent {
  readonly type: string
  /** The event as it came. */
  readonly event: Readonly<Record<string, unknown>>
  readonly subject: SubjectIdentifier | UnknownSubject | undefined
  readonly issuer: string
  readonly jti: string
  /** When it happened, in epoch milliseconds; never later than now. */
  readonly at: number
}

/** What a stream expects of its tokens. */
export interface ExpectedEvents {
  readonly audiences: readonly string[]
  readonly streamId: string | undefined
  readonly tolerate: readonly SubjectTolerance[]
}

const clockTolerance = 60_000
const longestId = 1024

/**
 * Reads the claims of a security event token whose signature is right.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8417#section-2.2
 * @see https://openid.net/specs/openid-sharedsignals-framework-1_0.html#name-security-event-token-profil
 */
export function readEvent (claims: Claims, expected: ExpectedEvents): ReceivedEvent | EventRefusal {
  const { iss, jti, iat } = claims
  const about = typeof jti === 'string' && jti !== '' && jti.length <= longestId ? { issuer: String(iss), jti } : undefined
  const refuse = (err: EventRefusal['err'],
    description: string): EventRefusal => ({ err, description, issuer: String(iss), jti: about?.jti })
  if (!isForAudience(claims['aud'], expected.audiences)) return refuse('invalid_audience', 'audience')
  if (about === undefined) return refuse('invalid_request', 'jti')
  if (typeof iat !== 'number' || iat * 1000 > Date.now() + clockTolerance) return refuse('invalid_request', 'iat')
  for (const name of ['exp', 'sub']) if (Object.hasOwn(claims, name)) return refuse('invalid_request', name)

  const only = onlyEvent(claims['events'])
  if (only === undefined) return refuse('invalid_request', 'events')
  const subject = subjectOfEvent(claims, only.event, expected.tolerate)
  if (isProblem(subject) || (subject === undefined && !expected.tolerate.includes('risc-draft'))) return refuse('invalid_request', 'sub_id')
  const at = instantOf(only.event, iat)
  if (at === undefined) return refuse('invalid_request', 'event_timestamp')
  const received = { ...about, ...only, subject, at }
  const wrong = wrongMember(received, expected)
  return wrong === undefined ? received : refuse('invalid_request', wrong)
}

type Only = Pick<ReceivedEvent, 'type' | 'event'>

function onlyEvent (events: unknown): Only | undefined {
  if (!isObject(events)) return undefined
  const [entry, ...others] = Object.entries(events)
  if (entry === undefined || others.length > 0) return undefined
  const [type, event] = entry
  return isObject(event) ? { type, event } : undefined
}

/** From here on, a number is of milliseconds: as seconds it would be in the year 5138. */
const milliseconds = 1e11

function instantOf (event: Readonly<Record<string, unknown>>, iat: number): number | undefined {
  const time = Object.hasOwn(event, 'event_timestamp') ? event['event_timestamp'] : iat
  if (typeof time !== 'number' || !Number.isFinite(time)) return undefined
  return Math.ceil(Math.max(0, Math.min(time > milliseconds ? time : time * 1000, Date.now())))
}

/** What is wrong with the events that have rules of their own. */
function wrongMember (
  { type, event, subject }: Pick<ReceivedEvent, 'type' | 'event' | 'subject'>, expected: ExpectedEvents
): string | undefined {
  if (type === credentialChange && !changeTypes.includes(event['change_type'])) return 'change_type'
  const isNamed = type === verification || (type === draftVerification && subject !== undefined)
  return isNamed && !isThisStream(subject, expected.streamId) ? 'stream' : undefined
}

function isThisStream (subject: ReceivedEvent['subject'], streamId: string | undefined): boolean {
  return subject?.format === 'opaque' && (streamId === undefined || subject.id === streamId)
}

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
