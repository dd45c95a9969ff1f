import type { NewSession, Session } from '../../session-store.ts'

/** A session as a backend keeps it: what is looked up in fields of its own, the rest as one JSON text. */
export interface SessionRecord {
  readonly id: string
  readonly subject: string
  readonly createdAt: number
  readonly expiresAt: number
  readonly keepUntil: number
  /** `device` and `data` as JSON. */
  readonly details: string
}

const noDetails = '{}'
const longestId = 255
const longestSubject = 512

/**
 * Checks a session before it is stored, so that every backend takes and refuses the same ones.
 *
 * @throws {TypeError} for an empty token, an id or subject that not every backend can keep, and times that are no
 * whole epoch milliseconds or that forget a session before it expires
 */
export function sessionRecord (token: string, session: NewSession): SessionRecord {
  const { id, subject, createdAt, expiresAt, keepUntil, device, data } = session
  if (typeof token !== 'string' || token === '') throw new TypeError('the token of a session must be a string that is not empty')
  if (!isSessionId(id)) throw new TypeError(`the id of a session must be ${keepable(longestId)}`)
  if (!isSubject(subject)) throw new TypeError(`the subject of a session must be ${keepable(longestSubject)}`)
  for (const [name, time] of Object.entries({ createdAt, expiresAt, keepUntil })) {
    if (!Number.isSafeInteger(time) || time < 0) throw new TypeError(`${name} of a session must be whole epoch milliseconds`)
  }
  if (keepUntil < expiresAt) throw new TypeError('keepUntil of a session must not be before its expiresAt')
  return { id, subject, createdAt, expiresAt, keepUntil, details: JSON.stringify({ device, data }) }
}

/** The session of a record. */
export function sessionOf ({ id, subject, createdAt, expiresAt, keepUntil, details }: SessionRecord, active: boolean): Session {
  // Field by field: to spread the rest of a record costs a hundred times as much.
  const session: Session = { id, subject, status: active ? 'active' : 'logged_out', createdAt, expiresAt, keepUntil }
  return details === noDetails ? session : { ...session, ...JSON.parse(details) }
}

/** Whether a session can have this id: a backend is not asked for others. */
export function isSessionId (id: unknown): id is string {
  return isKeepable(id, longestId)
}

/** Whether a session can have this subject. */
export function isSubject (subject: unknown): subject is string {
  return isKeepable(subject, longestSubject)
}

// PostgreSQL keeps no NUL in a text and no long one in an index; a lone surrogate becomes U+FFFD in UTF-8, where two ids would be one.
function isKeepable (text: unknown, longest: number): text is string {
  return typeof text === 'string' && text !== '' && text.length <= longest && !/\0|\p{Surrogate}/u.test(text)
}

function keepable (longest: number): string {
  return `a string of 1 to ${longest} characters, in well-formed Unicode and without NUL`
}
