import type { Awaitable } from '../../awaitable.ts'
import { optionalId } from '../../principal.ts'
import type { SubjectIdentifier } from './subject-identifier.ts'

/** Who sends a command or an event. It may only speak of users of its own tenant. */
export interface EventSender {
  /** The `iss` of its tokens. */
  readonly issuer: string
  /** The client that it sends as, for senders of Global Token Revocation. */
  readonly clientId?: string | undefined
  /** The tenant that the host gave this sender in its options. */
  readonly tenant?: string | undefined
  /** The stream, for transmitters of Shared Signals. */
  readonly streamId?: string | undefined
}

/** A user of the host. */
export interface AffectedUser {
  readonly subject: string
  readonly tenant?: string | undefined
}

/**
 * Returns the users whom a subject means, and of whom this sender may speak. `[]`: nobody. `forbidden`: the sender may not
 * log this user out. `unable`: the user is known, and cannot be logged out.
 */
export type ResolveSubject<Subject extends SubjectIdentifier, Request> =
  (subject: Subject, sender: EventSender, request: Request) => Awaitable<readonly AffectedUser[] | 'forbidden' | 'unable'>

/** The users of a subject, each once, and why users of some of its names cannot be logged out. */
export interface ResolvedUsers {
  readonly users: readonly AffectedUser[]
  readonly refused: ReadonlySet<'forbidden' | 'unable'>
}

/**
 * Calls `resolve`, which calls the host's `resolveSubject`, with each name of a subject.
 *
 * @throws {TypeError} if it resolves to neither a list of users nor `forbidden` nor `unable`
 */
export async function resolveUsers<Name> (
  names: readonly Name[], caller: string, resolve: (name: Name) => unknown
): Promise<ResolvedUsers> {
  const found: AffectedUser[] = []
  const refused = new Set<'forbidden' | 'unable'>()
  for (const name of names) {
    const users = checkedUsers(await resolve(name), caller)
    if (typeof users === 'string') refused.add(users)
    else found.push(...users)
  }
  return { users: eachOnce(found), refused }
}

function checkedUsers (returned: unknown, caller: string): readonly AffectedUser[] | 'forbidden' | 'unable' {
  if (returned === 'forbidden' || returned === 'unable') return returned
  const hint = `${caller}: option "resolveSubject" must return a list of users, each { subject, tenant? }, or "forbidden", or "unable"`
  if (!Array.isArray(returned)) throw new TypeError(hint)
  return returned.map(user => {
    const { subject, tenant } = Object(user)
    const known = { subject: optionalId(subject), tenant: optionalId(tenant) }
    if (known.subject === undefined || (tenant !== undefined && tenant !== null && known.tenant === undefined)) throw new TypeError(hint)
    return { subject: known.subject, ...(known.tenant !== undefined && { tenant: known.tenant }) }
  })
}

/** The same users, each once. */
export function eachOnce (users: readonly AffectedUser[]): readonly AffectedUser[] {
  return [...new Map(users.map(user => [JSON.stringify([user.subject, user.tenant]), user])).values()]
}
