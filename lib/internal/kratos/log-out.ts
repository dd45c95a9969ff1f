import type { FastifyReply } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import { isLive, type Session, type SessionStore } from '../../session-store.ts'
import type { Ask } from '../plugin/ask.ts'
import type { NotifyLogout } from '../plugin/logout-notice.ts'

/** What logging out a session takes. */
export interface KratosLogout<Method extends keyof SessionStore> {
  readonly ask: Ask
  readonly sessions: Pick<SessionStore, Method>
  readonly notify: NotifyLogout<LogoutEvent>
}

/** Logs out the session with this token. Resolves to whether the store has such a session. */
export async function logOutByToken (
  { ask, sessions, notify }: KratosLogout<'logOut'>, token: string, reply: FastifyReply
): Promise<boolean> {
  const before = await ask('sessions.logOut', () => sessions.logOut(token), before => notifyOnce(notify, before, reply))
  return before !== undefined
}

/** A session by the spellings of its public id, of this subject or of any. */
export interface SessionById {
  readonly spellings: readonly string[]
  readonly subject?: string
}

/** Logs out the session with the first spelling that the store has. Resolves to whether it has one. */
export async function logOutById (
  { ask, sessions, notify }: KratosLogout<'logOutById'>, { spellings, subject }: SessionById, reply: FastifyReply
): Promise<boolean> {
  for (const id of spellings) {
    const query = { id, ...(subject !== undefined && { subject }) }
    const before = await ask('sessions.logOutById', () => sessions.logOutById(query), before => notifyOnce(notify, before, reply))
    if (before !== undefined) return true
  }
  return false
}

/** Notifies of a session that was live before the logout. */
function notifyOnce (notify: NotifyLogout<LogoutEvent>, before: Session | undefined, reply: FastifyReply): Awaitable<void> {
  if (before !== undefined && isLive(before, Date.now())) return notify({ scope: 'session', session: before }, reply)
}
