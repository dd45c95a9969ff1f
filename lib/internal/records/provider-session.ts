import type { BoundSession, ProviderLogin, ProviderLogout } from '../../provider-session-index.ts'
import { tokenDigest } from '../../token-digest.ts'
import { assertTime, idText } from './id.ts'

/*
 * A backend keeps logins in groups: that of their subject, and that of their provider session if they have a `sid`. A logout
 * looks in one group, so that group alone decides whether a login or a logout comes first.
 *
 * Within a group, cutoffs have scopes. A logout of the whole group has the scope `wholeGroup`. One with a subject and a `sid`
 * looks in the group of the subject, and has two scopes: the key of the `sid`, and `withoutSid`.
 *
 * Keys are digests: no two ids share one, whatever is in them, and every backend can keep them.
 */

/** The scope of a logout that covers every login of a group. */
export const wholeGroup = '*'

/** In place of the key of a `sid`: the login has none. Also the scope of logouts that cover such logins. */
export const withoutSid = ''

/** A login as a backend keeps it. */
export interface LoginRecord {
  /** One for each login and session. */
  readonly id: string
  /** The group of the subject. */
  readonly subjectKey: string
  /** The group of the provider session, and its scope in the group of the subject; {@link withoutSid} if there is none. */
  readonly sidKey: string
  readonly issuedAt: number
  /** The host's session, see {@link boundSessions}. */
  readonly session: string
  readonly until: number
}

/** A logout as a backend keeps it. */
export interface LogoutRecord {
  readonly group: string
  /** The scopes of its cutoff. It covers the logins of the group that have one of them as their `sidKey`, or all of them. */
  readonly scopes: readonly string[]
  readonly cutoff: number
  readonly until: number
}

/**
 * Checks a login before it is stored.
 *
 * @throws {TypeError} for ids that are not non-empty strings, and for times that are not whole epoch milliseconds
 */
export function loginRecord (login: ProviderLogin, session: BoundSession, until: number): LoginRecord {
  const { issuer, subject, sid, issuedAt } = login
  const subjectKey = subjectKeyOf(issuer, subject)
  const sidKey = sid === undefined ? withoutSid : sidKeyOf(issuer, sid)
  const hostIds = [hostId(session.sessionId, 'the id of a bound session'), hostId(session.subject, 'the subject of a bound session')]
  assertTime(issuedAt, 'issuedAt of a login')
  assertTime(until, 'until of a login')
  const text = JSON.stringify(hostIds)
  return { id: tokenDigest(JSON.stringify([subjectKey, sidKey, issuedAt, text])), subjectKey, sidKey, issuedAt, session: text, until }
}

/**
 * Checks a logout before it is stored.
 *
 * @throws {TypeError} for ids that are not non-empty strings, and for times that are not whole epoch milliseconds
 */
export function logoutRecord ({ issuer, sid, subject, cutoff, until }: ProviderLogout): LogoutRecord {
  assertTime(cutoff, 'cutoff of a logout')
  assertTime(until, 'until of a logout')
  const sidKey = sid === undefined ? undefined : sidKeyOf(issuer, sid)
  if (sidKey !== undefined && subject === undefined) return { group: sidKey, scopes: [wholeGroup], cutoff, until }
  const scopes = sidKey === undefined ? [wholeGroup] : [sidKey, withoutSid]
  return { group: subjectKeyOf(issuer, subject), scopes, cutoff, until }
}

/** The sessions of records, each once. */
export function boundSessions (texts: Iterable<string>): BoundSession[] {
  return Array.from(new Set(texts), text => {
    const [sessionId, subject] = JSON.parse(text)
    return { sessionId, subject }
  })
}

function subjectKeyOf (issuer: unknown, subject: unknown): string {
  return key('sub', providerId(issuer, 'issuer'), providerId(subject, 'subject'))
}

function sidKeyOf (issuer: unknown, sid: unknown): string {
  return key('sid', providerId(issuer, 'issuer'), providerId(sid, 'sid'))
}

/** JSON keeps lone surrogates apart, which UTF-8 does not. */
function key (...ids: readonly string[]): string {
  return tokenDigest(JSON.stringify(ids))
}

function providerId (id: unknown, name: string): string {
  if (typeof id !== 'string' || id === '') throw new TypeError(`${name} of a login or logout must be a non-empty string`)
  return id
}

const longestHostId = 1024

function hostId (id: unknown, name: string): string {
  const text = idText(id, name)
  if (text === '' || text.length > longestHostId) throw new TypeError(`${name} must be a string of 1 to ${longestHostId} characters`)
  return text
}
