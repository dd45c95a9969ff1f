import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { LogoutEvent, SubjectLogoutEvent } from '../../logout-event.ts'
import type { HostSession, SessionSource, SubjectSessions } from '../../session-source.ts'
import { recovered } from '../async/awaitable.ts'
import { absoluteUrl } from '../http/absolute-url.ts'
import { clearing, clearMembers, type ClearOptions } from '../http/clear.ts'
import { isId } from '../marks/id.ts'
import { askWithin } from '../plugin/ask.ts'
import { logoutNotice, sessionSummary } from '../plugin/logout-notice.ts'
import { assertFunctions, assertGrouped, assertOption, duration } from '../plugin/options.ts'
import { callsWithin, type CallHost } from './calls.ts'
import { misconfigured } from './error.ts'

/** The options of `logoutActions`. `sessions` is required. */
export interface LogoutActionsOptions<S extends HostSession = HostSession> {
  /** The host's sessions: a source of this package, or plain functions. */
  readonly sessions: SessionSource<S>
  /** What the browser deletes besides the credential. */
  readonly clear?: ClearOptions | undefined
  /** Where browsers find the host, such as `https://app.example`. @default the request's protocol and host (`trustProxy`) */
  readonly publicUrl?: string | undefined
  /**
   * Called once for each logout that happened, after the source said yes. Awaited. Its failure is logged and does not
   * change the outcome. There is no request if `logOutSubject` was called without one.
   */
  onLogout?: ((event: LogoutEvent<S>, request: FastifyRequest | undefined) => Awaitable<unknown>) | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

/** The steps of a logout. Every method rejects with `LOGOUT_UNAVAILABLE` if the source could not tell. */
export interface LogoutSteps<S extends HostSession> {
  /** Calls another function of the host, with the same timeout. */
  readonly call: CallHost
  /** Resolves the live session of a request. */
  find (request: FastifyRequest): Promise<S | undefined>
  /** Ends the session of a request and removes its credential. Resolves the session if this call ended it. */
  logOut (request: FastifyRequest, reply: FastifyReply): Promise<S | undefined>
  /** Ends the other sessions of this session's subject. Resolves their number if the source counts them. */
  logOutOthers (session: S, request: FastifyRequest): Promise<number | undefined>
  /** Ends the other sessions, then this one, and removes its credential. */
  logOutAll (session: S, request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Ends the sessions of a subject. Resolves their number if the source counts them. */
  logOutSubject (query: SubjectSessions<S>, request: FastifyRequest | undefined): Promise<number | undefined>
}

/**
 * Makes the steps of a logout, in the name of a plugin or function.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function logoutSteps<S extends HostSession> (options: LogoutActionsOptions<S>, caller: string): LogoutSteps<S> {
  const settings = resolveOptions(options, caller)
  const { sessions, call, notify, asSession } = settings
  const end = endingCurrent(settings)
  const endMany = endingMany(settings)
  const logOutSubject: LogoutSteps<S>['logOutSubject'] = (query, request) => {
    return endMany(query, request, count => notify(subjectEvent(query, count), { request }))
  }

  return {
    call,
    find: async request => {
      if (sessions.find === undefined) throw misconfigured(caller, 'option "sessions" needs the method "find" for this logout')
      return asSession(await call('sessions.find', () => sessions.find?.(request)), 'find')
    },
    logOut: (request, reply) => end(request, reply, session => ({ scope: 'session', session })),
    logOutOthers: (session, request) => logOutSubject(othersOf(session), request),
    logOutAll: async (session, request, reply) => {
      const others = await endMany(othersOf(session), request)
      const { except, ...everything } = othersOf(session)
      await end(request, reply, () => subjectEvent(everything, others === undefined ? undefined : others + 1))
    },
    logOutSubject
  }
}

/** Ends the session of a request. The event is told once, also if the source says yes after the timeout. */
function endingCurrent<S extends HostSession> ({ sessions, call, notify, clear, asSession }: Settings<S>) {
  return async (request: FastifyRequest, reply: FastifyReply, eventOf: (session: S) => LogoutEvent<S>): Promise<S | undefined> => {
    let mayClear = true
    const finish = async (ended: S | undefined | null) => {
      const session = asSession(ended, 'logOut')
      if (mayClear) clear(request, reply)
      if (session !== undefined) await notify(eventOf(session), { request })
    }
    try {
      return asSession(await call('sessions.logOut', () => sessions.logOut(request), finish), 'logOut')
    } catch (error) {
      mayClear = false
      throw error
    }
  }
}

type EndMany<S extends HostSession> = (
  query: SubjectSessions<S>, request: FastifyRequest | undefined, finish?: (count: number | undefined) => Awaitable<unknown>
) => Promise<number | undefined>

/** Ends many sessions of a subject. */
function endingMany<S extends HostSession> ({ caller, sessions, call }: Settings<S>): EndMany<S> {
  return async (query, request, finish) => {
    if (sessions.logOutSubject === undefined) {
      throw misconfigured(caller, 'option "sessions" needs the method "logOutSubject" for this logout')
    }
    return call('sessions.logOutSubject', async () => countOf(await sessions.logOutSubject?.(query, request)), finish)
  }
}

function othersOf<S extends HostSession> ({ id, subject, tenant }: S): SubjectSessions<S> {
  return { subject, ...(tenant !== undefined && { tenant }), except: id }
}

function subjectEvent ({ subject, tenant, except }: SubjectSessions, count: number | undefined): SubjectLogoutEvent {
  return {
    scope: except === undefined ? 'all' : 'others',
    subject: String(subject),
    ...(tenant !== undefined && { tenant }),
    ...(except !== undefined && { except: String(except) }),
    ...(count !== undefined && { count })
  }
}

function countOf (answer: unknown): number | undefined {
  return typeof answer === 'number' && Number.isSafeInteger(answer) && answer >= 0 ? answer : undefined
}

// Options

interface Settings<S extends HostSession> extends ReturnType<typeof resolveOptions<S>> {}

function resolveOptions<S extends HostSession> (options: LogoutActionsOptions<S>, caller: string) {
  assertOption(typeof options?.sessions?.logOut === 'function', caller, 'sessions',
    'is missing: pass a session source, such as fastifySessionSource(store), or plain functions, { find, logOut, logOutSubject }')
  const { sessions, publicUrl } = options
  for (const method of ['find', 'logOutSubject', 'forget'] as const) {
    const isUsable = sessions[method] === undefined || typeof sessions[method] === 'function'
    assertOption(isUsable, caller, 'sessions', `must have a function as "${method}", or nothing`)
  }
  assertFunctions(options, caller, ['onLogout'])
  assertGrouped(options, caller, { clear: clearMembers })
  const timeout = duration(options.timeout, 5000, caller, 'timeout')
  const base = publicUrl === undefined
    ? undefined
    : absoluteUrl(publicUrl, { caller, option: 'publicUrl', meaning: 'where browsers find the host' })
  const clear = clearing(options.clear, caller)
  const isHttps = (request: FastifyRequest) => (base?.protocol ?? `${request.protocol}:`) === 'https:'

  return {
    caller,
    sessions,
    call: callsWithin(timeout, caller),
    notify: logoutNotice<LogoutEvent<S>, FastifyRequest | undefined>(caller, askWithin(timeout, caller), {
      onLogout: options.onLogout, summaryOf: sessionSummary
    }),
    asSession: (answer: S | undefined | null, method: string) => checkedSession(answer, caller, method),
    clear: (request: FastifyRequest, reply: FastifyReply) => {
      forget(sessions, request, reply)
      clear.cookies(reply)
      if (isHttps(request)) clear.siteData(reply)
    }
  }
}

/** The session is over: a host that fails to remove its credential does not change that. */
function forget (sessions: SessionSource, request: FastifyRequest, reply: FastifyReply): void {
  const report = (error: unknown) => {
    request.log.error({ err: error, event: 'logout.cleanup-failed' }, 'the credential of a logged-out session could not be removed')
  }
  // Of a host in JavaScript it may be async all the same.
  recovered<unknown, void>(() => sessions.forget?.(request, reply), report)
}

function checkedSession<S extends HostSession> (answer: S | undefined | null, caller: string, method: string): S | undefined {
  if (answer === undefined || answer === null) return undefined
  if (typeof answer === 'object' && isId(answer.id) && isId(answer.subject)) return answer
  throw misconfigured(caller, `option "sessions": "${method}" must resolve a session, { id, subject }, or undefined`)
}
