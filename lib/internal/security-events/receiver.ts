import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent } from '../../logout-event.ts'
import type { BoundSession, ProviderSessionIndex } from '../../provider-session-index.ts'
import { allWithin } from '../plugin/all-within.ts'
import { askWithin } from '../plugin/ask.ts'
import { logoutNotice, sessionSummary } from '../plugin/logout-notice.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, lifetimeOf } from '../plugin/options.ts'
import { collectEdges } from './edges.ts'
import type { EventSessionsStore, UserEffects } from './end-users.ts'
import { isAboutStream, isVerification, standardAction, streamUpdated, type EventAction } from './event-types.ts'
import { endingByEvent, type AboutEvent, type Ended } from './log-out-by-event.ts'
import type { EventRefusal, ReceivedEvent } from './security-event-token.ts'
import { verifyEvent, type KnownStream, type ReceivedToken, type VerifiedEvent } from './streams.ts'
import type { SubjectIdentifier, UnknownSubject } from './subject-identifier.ts'
import { usedTokens, type UsedTokenStore } from './used-tokens.ts'
import type { AffectedUser, ResolveSubject } from './users.ts'

/** A security event, as the host is told of it. */
export interface SecurityEvent {
  /** The URI of its type. */
  readonly type: string
  /** The event as it came: `reason_admin` and `change_type` for example. */
  readonly event: Readonly<Record<string, unknown>>
  /** Whom it is about. `undefined` for events about the stream of a transmitter that names no subject there. */
  readonly subject: SubjectIdentifier | UnknownSubject | undefined
  /** The users that it ended something of. Empty where the action is `ignore`: nobody was asked. */
  readonly users: readonly AffectedUser[]
  readonly issuer: string
  readonly jti: string
  /** When it happened, in epoch milliseconds: `event_timestamp`, otherwise `iat`, and never later than now. */
  readonly at: number
  readonly action: EventAction
  /** The sessions that it ended, if it was about a session and the index knew it. Then nothing else of the user ends. */
  readonly sessions?: readonly BoundSession[] | undefined
}

/** What an event ends. One of `revoke`, `alsoEnd` and `sessions` is required. */
export interface EventEffectsOptions<Request extends FastifyRequest | undefined> extends UserEffects<SecurityEvent, Request> {
  /** Ends the sessions of users. An event that is older than a minute leaves newer sessions alone. @default no sessions are ended */
  readonly sessions?: EventSessionsStore | undefined
  /**
   * Finds the session that an event about one session means. Needs `sessions` and `sessionLifetime`.
   * @default all sessions of its user end
   */
  readonly index?: Pick<ProviderSessionIndex, 'logOut'> | undefined
  /** The longest lifetime of a session, in milliseconds. */
  readonly sessionLifetime?: number | undefined
}

/** What {@link securityEvents} and {@link securityEventPoller} have in common. */
export interface SecurityEventOptions<Request extends FastifyRequest | undefined> {
  /** Remembers which events were received. Every node must use the same store, and no replica of it. */
  readonly revocations: UsedTokenStore
  /**
   * Finds the users that a subject means. It must only find users of whom this transmitter may speak: those of its tenant.
   * Nobody, `forbidden` and `unable` are the same: the event is accepted and ends nothing.
   */
  readonly resolveSubject: ResolveSubject<SubjectIdentifier, Request>
  /** What ends. */
  readonly end: EventEffectsOptions<Request>
  /** What events do, and how long they are remembered. */
  readonly events?: {
    /**
     * What happens on events, by the URIs of their types.
     * @default those of revoked sessions and accounts log out, all others are ignored
     */
    readonly actions?: Readonly<Record<string, EventAction>> | undefined
    /** How long received events are remembered, in milliseconds. A transmitter must not repeat them later. @default 604800000 */
    readonly remember?: number | undefined
  } | undefined
  /**
   * Called for every event, ignored ones included, after it had its effect and not for repeats. Awaited. Its failure is
   * logged and does not change the response.
   */
  readonly onEvent?: ((event: SecurityEvent, request: Request) => Awaitable<unknown>) | undefined
  /**
   * Called once for each user, on the edge as far as the store can tell: with `end.sessions` if at least one of them ended,
   * without them each time. Awaited. Its failure is logged and does not change the response.
   */
  readonly onLogout?: ((event: LogoutEvent, request: Request) => Awaitable<unknown>) | undefined
}

/** Where an event came from, and where the log goes. */
export interface EventContext<Request> {
  readonly request: Request
  readonly log: Pick<FastifyBaseLogger, 'info' | 'warn' | 'error'>
  /** The `jti` that the transmitter announced. */
  readonly jti?: string | undefined
}

/**
 * Receives one token. `undefined`: it is accepted, and everything that it asks for is done. Rejects when that is unknown.
 */
export type ReceiveEvent<Request> = (token: ReceivedToken,
  context: EventContext<Request>) => Promise<EventRefusal | 'unauthorized' | undefined>

const week = 7 * 24 * 3_600_000

/** In whose name events are received, and how long each call may take, in milliseconds. */
export interface ReceiverContext {
  readonly caller: string
  readonly timeout: number
  readonly log?: Pick<FastifyBaseLogger, 'error'> | undefined
}

/**
 * Makes the receiver of a plugin or function.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function eventReceiver<Request extends FastifyRequest | undefined> (
  options: SecurityEventOptions<Request>, streams: readonly KnownStream[], context: ReceiverContext
): ReceiveEvent<Request> {
  const settings = resolveOptions(options, context)
  const { ask } = settings

  return async (token, context) => allWithin(5 * settings.timeout, async () => {
    const verified = await ask('keys', () => verifyEvent(token, streams))
    if (verified === 'unauthorized' || 'err' in verified) return verified
    const { issuer, jti } = verified.received
    const isAnnounced = context.jti === undefined || context.jti === jti
    return isAnnounced ? carryOut(settings, verified, context) : { err: 'invalid_request', description: 'jti', issuer, jti }
  })
}

/** Does what an event asks for, once. */
async function carryOut<Request extends FastifyRequest | undefined> (
  settings: Settings<Request>, verified: VerifiedEvent, context: EventContext<Request>
): Promise<EventRefusal | undefined> {
  const { used, remember } = settings
  const { received, stream } = verified
  const { issuer, jti } = received
  const token = { issuer, jti, until: Date.now() + remember }
  if (await used.stateOf(token) !== 'new' || isDiscarded(received, stream, context)) return undefined
  if (!await isStateExpected(settings, verified)) return { err: 'invalid_state', description: 'state', issuer, jti }
  const about = aboutOf(verified)
  const action = actionOf(settings, received)
  if (action === 'log-out' && about === undefined) return { err: 'invalid_request', description: 'sub_id', issuer, jti }

  const edges = collectEdges(settings.notify, context.request)
  let ended: Ended = { users: [] }
  try {
    if (action === 'log-out' && about !== undefined) ended = await settings.logOut(about, { request: context.request, edges })
    await used.remember(token)
  } finally {
    await edges.notify()
  }
  await reportEvent(settings, { ...received, ...ended, action }, context)
  return undefined
}

/** `undefined` if nobody could tell whom the event is about. */
function aboutOf (verified: VerifiedEvent): AboutEvent | undefined {
  const { subject } = verified.received
  return subject === undefined || subject.format === 'unknown' ? undefined : { subject, verified }
}

function actionOf ({ actions }: Pick<Settings<undefined>, 'actions'>, { type }: ReceivedEvent): EventAction {
  return isAboutStream(type) ? 'ignore' : actions.get(type) ?? standardAction(type)
}

/** A verification that the host has asked for names a state. */
async function isStateExpected<Request extends FastifyRequest | undefined> (
  { ask }: Settings<Request>, { received: { type, event }, stream: { isExpectedState } }: VerifiedEvent
): Promise<boolean> {
  if (!isVerification(type) || !Object.hasOwn(event, 'state')) return true
  const { state } = event
  if (isExpectedState === undefined || typeof state !== 'string') return false
  return await ask('isExpectedState', () => isExpectedState(state)) === true
}

async function reportEvent<Request extends FastifyRequest | undefined> (
  { ask, onEvent }: Settings<Request>, event: SecurityEvent, { request, log }: EventContext<Request>
): Promise<void> {
  logEvent(event, log)
  try {
    await ask('onEvent', () => onEvent?.(event, request))
  } catch (error) {
    log.error({ err: error, event: 'logout.hook-failed' }, 'onEvent failed after a security event')
  }
}

/** An event with a critical member that we do not understand must have no effect. */
function isDiscarded <Request> (
  { subject, type, jti }: ReceivedEvent, { criticalMembers, issuer }: KnownStream, { log }: EventContext<Request>
): boolean {
  if (subject?.format !== 'complex' || !criticalMembers.some(name => Object.hasOwn(subject, name))) return false
  log.warn({ event: 'security-event.discarded', sender: issuer, type, jti },
    'a security event has a critical member that is not understood')
  return true
}

function logEvent ({ type, event, action, issuer, jti }: SecurityEvent, log: EventContext<unknown>['log']): void {
  if (type === streamUpdated && (event['status'] === 'paused' || event['status'] === 'disabled')) {
    log.warn({ event: 'security-event.stream-updated', sender: issuer, status: event['status'], jti },
      'the transmitter has stopped a stream of security events')
  } else if (action === 'ignore' && !isAboutStream(type)) {
    log.info({ event: 'security-event.ignored', sender: issuer, type, jti }, 'a security event was ignored')
  }
}

interface Settings<Request extends FastifyRequest | undefined> extends ReturnType<typeof resolveOptions<Request>> {}

function resolveOptions<Request extends FastifyRequest | undefined> (
  options: SecurityEventOptions<Request>, { caller, timeout, log }: ReceiverContext
) {
  const { revocations, resolveSubject, events = {}, onEvent, onLogout } = options
  assertOption(typeof revocations?.check === 'function' && typeof revocations.revoke === 'function', caller, 'revocations',
    'is missing: pass a revocation store, for example redisRevocationStore(redis)')
  assertOption(typeof resolveSubject === 'function', caller, 'resolveSubject',
    'is missing: pass a function (subject, sender, request) => users')
  assertFunctions(options, caller, ['onEvent', 'onLogout'])
  assertGroup(events, caller, 'events', '{ actions, remember }')
  assertGrouped(options, caller, {
    end: ['sessions', 'revoke', 'alsoEnd', 'index', 'sessionLifetime'], events: ['actions', 'remember']
  })
  const { actions = {}, remember } = events
  const isKnown = typeof actions === 'object' && actions !== null && Object.values(actions).every(isAction)
  assertOption(isKnown, caller, 'events.actions', 'must be an object of "log-out" or "ignore" by the URIs of event types')
  const ask = askWithin(timeout, caller, log)
  return {
    ask,
    timeout,
    onEvent,
    used: usedTokens(revocations, ask),
    notify: logoutNotice<LogoutEvent, Request>(caller, ask, { onLogout, summaryOf: sessionSummary }),
    logOut: endingByEvent(options, caller, ask),
    actions: new Map(Object.entries(actions)),
    remember: lifetimeOf(remember, week, caller, 'events.remember')
  }
}

function isAction (action: unknown): action is EventAction {
  return action === 'log-out' || action === 'ignore'
}
