import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import { isLive, type Session, type SessionPage, type SessionStore, type SubjectLogout } from '../../session-store.ts'
import { inParallel } from '../async/in-parallel.ts'
import type { Ask } from '../plugin/ask.ts'
import { assertFunction, assertGroup, assertOption } from '../plugin/options.ts'
import { logoutMarks } from '../revocation/logout-marks.ts'
import { resolveRevoke, type LogoutRevocation } from '../revocation/logout-revocation.ts'
import type { Edges } from './edges.ts'
import type { AffectedUser } from './users.ts'

/** Marks for everything of a user: {@link LogoutRevocation} without its `scope`. */
export interface UserRevocation extends Omit<LogoutRevocation, 'scope'> {}

/** Of which user, in hosts with tenants whose session stores need to know. */
export interface OfTenant {
  readonly tenant?: string | undefined
}

/** Ends the sessions of a user: a `SessionStore`, or a function of the host. */
export interface SubjectSessionsStore {
  /** Logs out the sessions of a user. */
  logOutSubject (query: SubjectLogout & OfTenant): Awaitable<number | undefined | void>
}

/** Also finds the sessions of a user, and ends one of them: a `SessionStore`. */
export interface EventSessionsStore extends SubjectSessionsStore, Pick<SessionStore, 'logOutById'> {
  /** The live sessions of a user, newest first. */
  list (page: SessionPage & OfTenant): Awaitable<readonly Session[]>
}

/** What ends when a user is logged out by a message from elsewhere. One of `revoke`, `alsoEnd` and `sessions` is required. */
export interface UserEffects<Event, Request extends FastifyRequest | undefined> {
  /**
   * Revokes what was issued to the user until then, by marks that a `revocationGuard` honours.
   * @default no marks are made: tokens stay valid
   */
  readonly revoke?: UserRevocation | undefined
  /** Ends what else the user has: downstream clients, open connections. It must succeed, and is repeated with the message. */
  readonly alsoEnd?: ((users: readonly AffectedUser[], event: Event, request: Request) => Awaitable<unknown>) | undefined
}

/** Ends everything of users. */
export interface EndUsers {
  /** Marks everything that goes back to a login until this instant, in epoch milliseconds. */
  mark (users: readonly AffectedUser[], cutoff: number): Promise<void>
  /** Ends the sessions that existed at this instant. */
  endSessions (users: readonly AffectedUser[], cutoff: number, edges: Edges): Promise<void>
}

/** What this needs of the option `end` of a flow. */
export interface EndUsersOptions {
  readonly revoke?: UserRevocation | undefined
  readonly alsoEnd?: unknown
  readonly sessions?: (SubjectSessionsStore & Partial<Pick<EventSessionsStore, 'list' | 'logOutById'>>) | undefined
}

/** A message this young ends all sessions of its users: clocks differ. In milliseconds. */
const recent = 60_000
/** Older messages end session by session, up to so many. */
const mostSessions = 1000
const pageLength = 100
const parallel = 16

/**
 * Makes the {@link EndUsers} of a flow.
 *
 * @throws {TypeError} for an option that is wrong, and if nothing is given that could end
 */
export function endUsers (options: EndUsersOptions, caller: string, ask: Ask): EndUsers {
  assertOption(options !== undefined, caller, 'end', 'is missing: pass { sessions }, { revoke } or { alsoEnd } at least')
  assertGroup(options, caller, 'end', '{ sessions, revoke }')
  const { revoke, sessions, alsoEnd } = options
  assertOption([revoke, sessions, alsoEnd].some(given => given !== undefined), caller, 'end',
    'must have "sessions", "revoke" or "alsoEnd" at least')
  assertFunction(alsoEnd, caller, 'end.alsoEnd')
  assertOption(sessions === undefined || typeof sessions?.logOutSubject === 'function', caller, 'end.sessions',
    'must be a session store, for example redisSessionStore(redis), or { logOutSubject }')
  const marking = revoke === undefined ? undefined : resolveRevoke(revoke, caller, 'end.revoke')
  const endOf = sessions === undefined ? undefined : endingSessions(sessions, ask)

  return {
    async mark (users, at) {
      if (marking === undefined || users.length === 0) return
      const { revocations, lifetime, clockTolerance } = marking
      const marks = users.flatMap(user => logoutMarks({ ...user }, { scope: 'all', lifetime, clockTolerance, at }))
      await ask('revocations.revoke', () => revocations.revoke(...marks))
    },

    async endSessions (users, cutoff, edges) {
      await inParallel(users, parallel, async user => {
        if (endOf === undefined) await edges.add(logoutOf(user))
        else await endOf(user, cutoff, edges)
      })
    }
  }
}

/** Ends the sessions of one user that existed at an instant. */
type EndSessionsOf = (user: AffectedUser, cutoff: number, edges: Edges) => Promise<void>

function endingSessions (sessions: NonNullable<EndUsersOptions['sessions']>, ask: Ask): EndSessionsOf {
  const { list, logOutById } = sessions
  const endAll: EndSessionsOf = async (user, _cutoff, edges) => {
    await ask('sessions.logOutSubject', () => sessions.logOutSubject({ ...user, count: true }), ended => {
      return ended === 0 ? undefined : edges.add(logoutOf(user, typeof ended === 'number' ? ended : undefined))
    })
  }
  if (list === undefined || logOutById === undefined) return endAll

  const store = sessions as EventSessionsStore
  return async (user, cutoff, edges) => {
    const old = Date.now() - cutoff <= recent ? undefined : await sessionsUntil(cutoff, user, { store, ask })
    if (old === undefined) return endAll(user, cutoff, edges)
    await endEach(old, user, { store, ask, edges })
  }
}

interface Asking {
  readonly store: EventSessionsStore
  readonly ask: Ask
}

/** The live sessions that were created at this instant or before. `undefined` if the user has too many. */
async function sessionsUntil (cutoff: number, user: AffectedUser, { store, ask }: Asking): Promise<Session[] | undefined> {
  const found: Session[] = []
  let page: readonly Session[] = []
  do {
    const last = page.at(-1)
    const after = last && { id: last.id, createdAt: last.createdAt }
    page = await ask('sessions.list', () => store.list({ ...user, ...(after && { after }), limit: pageLength }))
    found.push(...page)
  } while (page.length >= pageLength && found.length <= mostSessions)
  return found.length > mostSessions ? undefined : found.filter(({ createdAt }) => createdAt <= cutoff)
}

/** Ends sessions one by one, and reports how many were live. */
async function endEach (
  sessions: readonly Session[], user: AffectedUser, { store, ask, edges }: Asking & { readonly edges: Edges }
): Promise<void> {
  let ended = 0
  let isCounting = true
  const count = async (before: Session | undefined): Promise<void> => {
    if (before === undefined || !isLive(before, Date.now())) return
    if (isCounting) ended++
    else await edges.add(logoutOf(user, 1))
  }
  try {
    await inParallel(sessions, parallel,
      async ({ id, subject }) => ask('sessions.logOutById', () => store.logOutById({ id, subject }), count))
  } finally {
    isCounting = false
    if (ended > 0) await edges.add(logoutOf(user, ended))
  }
}

function logoutOf ({ subject, tenant }: AffectedUser, count?: number): LogoutEvent {
  return { scope: 'all', subject, ...(tenant !== undefined && { tenant }), ...(count !== undefined && { count }) }
}
