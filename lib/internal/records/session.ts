import type { NewSession, Session } from '../../session-store.ts'
import { assertTime, idText, isWellFormed } from './id.ts'

/** A session as a backend keeps it: fields of their own for what is looked up, one JSON text for the rest. */
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
 * Checks a session before it is stored, so that every backend accepts and refuses the same ones.
 *
 * @throws {TypeError} for an empty token, for an id or subject that some backend cannot keep, and for times that are not
 * whole epoch milliseconds or would forget a session before it expires.
 */
export function sessionRecord (token: string, session: NewSession): SessionRecord {
  const { createdAt, expiresAt, keepUntil, device, data } = session
  if (typeof token !== 'string' || token === '') throw new TypeError('the token of a session must be a non-empty string')
  const id = newId(session.id, longestId, 'the id of a session')
  const subject = newId(session.subject, longestSubject, 'the subject of a session')
  assertTime(createdAt, 'createdAt of a session')
  assertTime(expiresAt, 'expiresAt of a session')
  assertTime(keepUntil, 'keepUntil of a session')
  if (keepUntil < expiresAt) throw new TypeError('keepUntil of a session must not be before its expiresAt')
  const details = device === undefined && data === undefined ? noDetails : JSON.stringify({ device, data })
  return { id, subject, createdAt, expiresAt, keepUntil, details }
}

/** The session of a record. */
export function sessionOf ({ id, subject, createdAt, expiresAt, keepUntil, details }: SessionRecord, active: boolean): Session {
  // Field by field: spreading the rest of a record takes a hundred times as long.
  const session: Session = { id, subject, status: active ? 'active' : 'logged_out', createdAt, expiresAt, keepUntil }
  return details === noDetails ? session : { ...session, ...JSON.parse(details) }
}

/**
 * The text of a session's id for a query, or `undefined` when no session can have this id.
 *
 * @throws {TypeError} when it is neither a string nor a whole number.
 */
export function sessionIdOf (id: unknown): string | undefined {
  return possibleId(id, longestId, 'the id of a session')
}

/**
 * The text of a subject for a query, or `undefined` when no session can have this subject.
 *
 * @throws {TypeError} when it is neither a string nor a whole number.
 */
export function subjectOf (subject: unknown): string | undefined {
  return possibleId(subject, longestSubject, 'the subject of a session')
}

function newId (id: unknown, longest: number, name: string): string {
  const text = possibleId(id, longest, name)
  if (text === undefined) throw new TypeError(`${name} must be a string of 1 to ${longest} characters, well-formed and without NUL`)
  return text
}

function possibleId (id: unknown, longest: number, name: string): string | undefined {
  const text = idText(id, name)
  return isPossible(text, longest) ? text : undefined
}

function isPossible (text: string, longest: number): boolean {
  return text !== '' && text.length <= longest && isWellFormed(text)
}
