import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { BoundSession } from '../../provider-session-index.ts'
import { isLive, type Session } from '../../session-store.ts'
import { inParallel } from '../async/in-parallel.ts'
import type { Ask } from '../plugin/ask.ts'
import { assertOption, lifetimeOf } from '../plugin/options.ts'
import type { Edges } from './edges.ts'
import { endUsers, type EndUsers, type EventSessionsStore } from './end-users.ts'
import { sessionRevoked } from './event-types.ts'
import type { EventEffectsOptions, SecurityEventOptions } from './receiver.ts'
import type { ReceivedEvent } from './security-event-token.ts'
import type { KnownStream, VerifiedEvent } from './streams.ts'
import type { SubjectIdentifier } from './subject-identifier.ts'
import { eachOnce, resolveUsers, type AffectedUser } from './users.ts'

/** What an event has ended something of. */
export interface Ended {
  readonly users: readonly AffectedUser[]
  readonly sessions?: readonly BoundSession[] | undefined
}

/** Where the logouts of an event are reported. */
export interface EventWork<Request> {
  readonly request: Request
  readonly edges: Edges
}

/** An event, and whom it is about. */
export interface AboutEvent {
  readonly subject: SubjectIdentifier
  readonly verified: VerifiedEvent
}

/** Ends what an event is about. */
export type LogOutByEvent<Request> = (about: AboutEvent, work: EventWork<Request>) => Promise<Ended>

const clockTolerance = 60_000
const parallel = 16

/**
 * Makes the function that ends what an event is about: the session that the index knows, otherwise everything of its users.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function endingByEvent<Request extends FastifyRequest | undefined> (
  options: SecurityEventOptions<Request>, caller: string, ask: Ask
): LogOutByEvent<Request> {
  const { resolveSubject } = options
  const end = endUsers(options.end, caller, ask)
  const settings = { caller, ask, resolveSubject, alsoEnd: options.end.alsoEnd, end }
  const index = resolveIndex(options.end, caller)

  return async (about, work) => {
    const { received, stream } = about.verified
    if (index === undefined || received.type !== sessionRevoked) return endAll(settings, about, work)
    const session = sessionOf(about.subject, stream)
    if (session === 'foreign') return nothing
    const ended = session && await endSession({ ...settings, ...index }, { ...about, sid: session.sid }, work)
    return ended ?? endAll(settings, about, work)
  }
}

const nothing: Ended = { users: [] }

interface Settings<Request extends FastifyRequest | undefined> {
  readonly caller: string
  readonly ask: Ask
  readonly resolveSubject: SecurityEventOptions<Request>['resolveSubject']
  readonly alsoEnd: EventEffectsOptions<Request>['alsoEnd']
  readonly end: EndUsers
}

/** The index, and the sessions that it finds. */
interface Index {
  readonly boundTo: (sid: string, verified: VerifiedEvent) => Awaitable<readonly BoundSession[]>
  readonly sessions: Pick<EventSessionsStore, 'logOutById'>
}

/** Ends everything of the users that a subject means. */
async function endAll<Request extends FastifyRequest | undefined> (
  settings: Settings<Request>, { subject, verified }: AboutEvent, { request, edges }: EventWork<Request>
): Promise<Ended> {
  const { at } = verified.received
  const ended = { users: await usersOf(settings, { subject, verified }, request) }
  await settings.end.mark(ended.users, at)
  await endElsewhere(settings, verified.received, { ended, request })
  await settings.end.endSessions(ended.users, at, edges)
  return ended
}

/**
 * Ends the sessions of the host that belong to a session of the issuer. Nothing, if the event names a user to whom they do
 * not belong. `undefined`: the index does not know this id, which may be that of a user too.
 */
async function endSession<Request extends FastifyRequest | undefined> (
  settings: Settings<Request> & Index, { sid, subject, verified }: AboutEvent & { readonly sid: string },
  { request, edges }: EventWork<Request>
): Promise<Ended | undefined> {
  const { ask, sessions, boundTo } = settings
  const hasUser = subject.format === 'complex' && subject.user !== undefined
  const users = hasUser ? await usersOf(settings, { subject, verified }, request) : undefined
  if (users?.length === 0) return nothing
  const bound = await ask('index.logOut', () => boundTo(sid, verified))
  if (users !== undefined && !bound.every(session => users.some(user => user.subject === session.subject))) return nothing
  if (bound.length === 0 && subject.format === 'opaque') return undefined

  const ended = { users: eachOnce(bound.map(({ subject }) => ({ subject }))), sessions: bound }
  await endElsewhere(settings, verified.received, { ended, request })
  await inParallel(bound, parallel, async ({ sessionId: id, subject }) => {
    await ask('sessions.logOutById', () => sessions.logOutById({ id, subject }), before => reportSession(before, edges))
  })
  return ended
}

function reportSession (before: Session | undefined, edges: Edges): Awaitable<void> {
  return before !== undefined && isLive(before, Date.now()) ? edges.add({ scope: 'session', session: before }) : undefined
}

/** Finds the users that a subject means, each name of a user on its own. */
async function usersOf<Request extends FastifyRequest | undefined> (
  { caller, ask, resolveSubject }: Settings<Request>, { subject, verified: { stream } }: AboutEvent, request: Request
): Promise<readonly AffectedUser[]> {
  const names = subject.format === 'aliases' ? subject.identifiers : [subject]
  const { users } = await resolveUsers(names, caller, name => {
    return ask('resolveSubject', () => resolveSubject(name, { ...stream.sender }, request))
  })
  return users
}

async function endElsewhere<Request extends FastifyRequest | undefined> (
  { ask, alsoEnd }: Settings<Request>, received: ReceivedEvent, { ended, request }: { readonly ended: Ended, readonly request: Request }
): Promise<void> {
  if (alsoEnd === undefined || ended.users.length === 0) return
  const users = ended.users.map(user => ({ ...user }))
  await ask('alsoEnd', () => alsoEnd(users, { ...received, ...ended, action: 'log-out' }, request))
}

/** The session at the issuer that an event is about. `foreign`: one of another issuer, of which this one may not speak. */
function sessionOf (subject: SubjectIdentifier, { issuer }: KnownStream): { readonly sid: string } | 'foreign' | undefined {
  const session = subject.format === 'complex' ? subject.session : subject
  if (session?.format === 'opaque') return { sid: session.id }
  if (subject.format !== 'complex' || session?.format !== 'iss_sub') return undefined
  return session.iss === issuer ? { sid: session.sub } : 'foreign'
}

function resolveIndex<Request extends FastifyRequest | undefined> (
  { index, sessions, sessionLifetime }: EventEffectsOptions<Request>, caller: string
): Index | undefined {
  assertOption(sessions === undefined || (typeof sessions.list === 'function' && typeof sessions.logOutById === 'function'), caller,
    'end.sessions', 'must be a session store, for example redisSessionStore(redis), with logOutSubject, list and logOutById')
  if (index === undefined) return undefined
  assertOption(typeof index?.logOut === 'function', caller, 'end.index',
    'must be an index of provider sessions, for example memoryProviderSessionIndex()')
  assertOption(sessions !== undefined, caller, 'end.sessions', 'is missing: pass a session store, which "end.index" needs')
  assertOption(sessionLifetime !== undefined, caller, 'end.sessionLifetime',
    'is missing: pass the longest lifetime of a session, in milliseconds')
  const lifetime = lifetimeOf(sessionLifetime, 0, caller, 'end.sessionLifetime')
  return {
    sessions,
    boundTo: (sid, { received: { at }, stream: { issuer } }) => {
      return index.logOut({ issuer, sid, cutoff: at, until: Math.ceil(Date.now() + lifetime + clockTolerance) })
    }
  }
}
