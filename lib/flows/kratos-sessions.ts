import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { kratosCallers } from '../internal/kratos/caller.ts'
import { kratosFailures, sendKratosEmpty, sendKratosError, sendKratosJson } from '../internal/kratos/error.ts'
import { kratosIds, type KratosIdKind } from '../internal/kratos/id.ts'
import { sessionLister } from '../internal/kratos/list-sessions.ts'
import { logOutById } from '../internal/kratos/log-out.ts'
import { assertIdKind, assertSessionStore } from '../internal/kratos/options.ts'
import { pageSchema } from '../internal/kratos/page.ts'
import { addKratosRoutes, type KratosHandler, type KratosOperation, type KratosRoute } from '../internal/kratos/routes.ts'
import { bareIdentity, kratosSession, kratosSessionSchema, type KratosIdentity } from '../internal/kratos/session.ts'
import { sessionCookieReader, type SessionCookie } from '../internal/kratos/session-cookie.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { detachEndedSession } from '../internal/plugin/detach-session.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import type { SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, duration } from '../internal/plugin/options.ts'
import type { OnLogout } from '../logout-event.ts'
import type { Session, SessionStore } from '../session-store.ts'

// Options

/** The options of {@link kratosSessions}. `sessions` is required. */
export interface KratosSessionsOptions {
  /** The session store. */
  readonly sessions: Pick<SessionStore, 'find' | 'list' | 'logOutById' | 'logOutSubject'>
  /** The cookie with the session token. Only `name` and `signed` are used here. */
  readonly cookie?: SessionCookie | undefined
  /**
   * Whether this session can be used. Only whoami calls it, so that a disabled user can still log out.
   * @default every live session can be used
   */
  readonly isActive?: ((session: Session) => Awaitable<boolean>) | undefined
  /** Returns the identity to show with a session. @default its id alone */
  readonly identity?: KratosIdentity | undefined
  /** The ids of sessions: UUIDs in every form that Kratos accepts, or `any` text. @default 'uuid' */
  readonly ids?: KratosIdKind | undefined
  /** Called when a live session is logged out, and once when the other sessions are logged out. */
  readonly onLogout?: OnLogout | undefined
  /** How the routes are documented. */
  readonly route?: {
    /** Security of the routes in the host's OpenAPI document, such as `[{ sessionCookie: [] }]`. @default none is stated */
    readonly security?: readonly SecurityRequirement[] | undefined
  } | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

const plugin = 'kratosSessions'

function resolveOptions (options: KratosSessionsOptions, fastify: FastifyInstance) {
  const { sessions, cookie = {}, isActive = () => true, identity = bareIdentity, ids = 'uuid', route = {} } = options
  assertSessionStore(sessions, ['find', 'list', 'logOutById', 'logOutSubject'], plugin)
  assertFunctions(options, plugin, ['isActive', 'identity', 'onLogout'])
  assertIdKind(ids, plugin)
  assertGroup(route, plugin, 'route', '{ security }')
  assertGrouped(options, plugin, { route: ['security'] })
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, fastify.log)
  return {
    ask,
    sessions,
    isActive,
    identity,
    ids,
    findCaller: kratosCallers({ ask, sessions, readCookie: sessionCookieReader(fastify, cookie, plugin) }),
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    security: route.security
  }
}

type Settings = ReturnType<typeof resolveOptions>

// Schema

const failures = kratosFailures({ 401: 'There is no live session' })

const operations = {
  whoami: {
    operationId: 'toSession',
    summary: 'Get the session of this request',
    response: { 200: { ...kratosSessionSchema, description: 'The session' }, ...failures }
  },
  listOthers: {
    operationId: 'listMySessions',
    summary: 'List the other sessions of the user',
    querystring: pageSchema,
    response: {
      200: Type.Array(kratosSessionSchema, { description: 'The other live sessions of the user, newest first' }),
      ...failures,
      ...kratosFailures({ 400: 'The page parameters are invalid' })
    }
  },
  logOutOthers: {
    operationId: 'disableMyOtherSessions',
    summary: 'Log out the other sessions of the user',
    response: {
      200: Type.Object({ count: Type.Integer() }, {
        additionalProperties: false, description: 'How many sessions were live and are now logged out'
      }),
      ...failures
    }
  },
  logOutOne: {
    operationId: 'disableMySession',
    summary: 'Log out one of the other sessions of the user',
    params: Type.Object({ id: Type.String({ description: 'The public id of the session' }) }),
    response: {
      204: Type.Null({ description: 'The user has no live session with this id (anymore)' }),
      ...failures,
      ...kratosFailures({ 400: 'The id is malformed, or it is the current session' })
    }
  }
} as const satisfies Record<string, KratosOperation>

// Flow

/**
 * `/sessions/whoami`, `GET /sessions`, `DELETE /sessions` and `DELETE /sessions/{id}` as Ory Kratos serves them: the
 * session of the request, the other sessions of its user, and logging those out.
 *
 * A 200 or 204 to a `DELETE` means that the session store logged the sessions out. Responses contain public ids only. The id
 * of another user's session gets the response of an unknown id.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/disableMyOtherSessions
 * @throws {TypeError} while registering, for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { kratosSessions } from 'fastify-logout'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * await app.register(kratosSessions, {
 *   sessions: memorySessionStore(),
 *   identity: subject => ({ id: subject, schema_id: 'default', schema_url: '', traits: {} }),
 *   onLogout: event => app.log.info({ scope: event.scope }, 'logged out')
 * })
 * ```
 */
export const kratosSessions: FastifyPluginAsync<KratosSessionsOptions> = fp(routes, {
  name: 'fastify-logout/kratos-sessions', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosSessionsOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { security, ids } = settings
  const served: KratosRoute[] = [
    { methods: anyMethod, url: '/sessions/whoami', operation: operations.whoami, handler: whoami(settings) },
    { methods: ['GET'], url: '/sessions', operation: operations.listOthers, handler: listOthers(settings) },
    { methods: ['DELETE'], url: '/sessions', operation: operations.logOutOthers, handler: logOutOthers(settings) },
    { methods: ['DELETE'], url: '/sessions/:id', operation: operations.logOutOne, handler: logOutOne(settings) }
  ]
  addKratosRoutes(fastify, served, { plugin, security, ids })
}

/** Ory Oathkeeper calls whoami with the method of the request that it checks. */
const anyMethod = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** The characters that a header can contain. */
const printable = /^[\u0020-\u007e]+$/

function whoami ({ ask, findCaller, isActive, identity }: Settings): KratosHandler {
  return async ({ request, reply }) => {
    const caller = await findCaller(request)
    if (caller === undefined || !await ask('isActive', () => isActive(caller.session))) {
      return sendKratosError(request, reply, errors.nobody)
    }
    const { session } = caller
    const owner = await ask('identity', () => identity(session.subject))
    if (printable.test(session.subject)) reply.header('x-kratos-authenticated-identity-id', session.subject)
    return sendKratosJson(reply, kratosSession(session, owner))
  }
}

function listOthers (settings: Settings): KratosHandler {
  const sendSessions = sessionLister(settings)
  return async call => {
    const caller = await settings.findCaller(call.request)
    if (caller === undefined) return sendKratosError(call.request, call.reply, errors.noSession)
    const { id, subject } = caller.session
    return sendSessions(call, { subjects: [subject], except: id })
  }
}

function logOutOthers ({ ask, sessions, findCaller, notify }: Settings): KratosHandler {
  return async ({ request, reply }) => {
    const caller = await findCaller(request)
    if (caller === undefined) return sendKratosError(request, reply, errors.noSession)
    const { id, subject } = caller.session
    const query = { subject, except: id, count: true }
    const count = await ask('sessions.logOutSubject', () => sessions.logOutSubject(query), (count = 0) => {
      if (count > 0) return notify({ scope: 'others', subject, except: id, count }, reply)
    }) ?? 0
    await detachEndedSession(request, ask)
    return sendKratosJson(reply, { count })
  }
}

function logOutOne (settings: Settings): KratosHandler {
  const { ask, findCaller } = settings
  const { read, isSame } = kratosIds(settings.ids)
  return async ({ request, reply, id: given }) => {
    const caller = await findCaller(request)
    if (caller === undefined) return sendKratosError(request, reply, errors.noSession)
    const ids = read(given)
    if ('problem' in ids) return sendKratosError(request, reply, errors.notAnId(ids.problem))
    if (isSame(given, caller.session.id)) return sendKratosError(request, reply, errors.own)
    await logOutById(settings, { spellings: ids.spellings, subject: caller.session.subject }, reply)
    await detachEndedSession(request, ask)
    return sendKratosEmpty(reply, 204)
  }
}

// Errors

const errors = {
  nobody: { status: 401, reason: 'No valid session credentials found in the request.' },
  noSession: { status: 401, reason: 'No valid session cookie found.' },
  notAnId: (problem: string) => ({ status: 400, message: problem }),
  own: { status: 400, message: 'cannot revoke current session' }
}
