import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { queryOf } from '../internal/http/query.ts'
import { kratosFailures, sendKratosEmpty, sendKratosError } from '../internal/kratos/error.ts'
import { kratosIds, type KratosIdKind } from '../internal/kratos/id.ts'
import { sessionLister } from '../internal/kratos/list-sessions.ts'
import { logOutById } from '../internal/kratos/log-out.ts'
import { assertIdKind, assertSessionStore } from '../internal/kratos/options.ts'
import { pageSchema } from '../internal/kratos/page.ts'
import { addKratosRoutes, type KratosCall, type KratosHandler, type KratosOperation, type KratosRoute } from '../internal/kratos/routes.ts'
import { bareIdentity, kratosSessionSchema, type KratosIdentity } from '../internal/kratos/session.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { detachEndedSession } from '../internal/plugin/detach-session.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import type { SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import type { OnLogout } from '../logout-event.ts'
import type { SessionStore } from '../session-store.ts'

// Options

/** The options of {@link kratosAdmin}. `sessions` and `authorize` are required. */
export interface KratosAdminOptions {
  /** The session store. */
  readonly sessions: Pick<SessionStore, 'list' | 'logOutById' | 'logOutSubject'>
  /** Whether this request may end the sessions of every user: only `true` allows it. Called first, on every route. */
  readonly authorize: (request: FastifyRequest) => Awaitable<boolean>
  /** Returns the identity to show with a session. @default its id alone */
  readonly identity?: KratosIdentity | undefined
  /** The ids of sessions and subjects: UUIDs in every form that Kratos accepts, or `any` text. @default 'uuid' */
  readonly ids?: KratosIdKind | undefined
  /** Called when a live session is logged out, and once when a subject is logged out. */
  readonly onLogout?: OnLogout | undefined
  /** How the routes are documented. */
  readonly route?: {
    /** Security of the routes in the host's OpenAPI document, such as `[{ admin: [] }]`. @default none is stated */
    readonly security?: readonly SecurityRequirement[] | undefined
  } | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

const plugin = 'kratosAdmin'

function resolveOptions (options: KratosAdminOptions, fastify: FastifyInstance) {
  const { sessions, authorize, identity = bareIdentity, ids = 'uuid', route = {} } = options
  assertSessionStore(sessions, ['list', 'logOutById', 'logOutSubject'], plugin)
  assertOption(typeof authorize === 'function', plugin, 'authorize',
    'is missing: pass a function that returns true for requests that may end the sessions of every user')
  assertFunctions(options, plugin, ['identity', 'onLogout'])
  assertIdKind(ids, plugin)
  assertGroup(route, plugin, 'route', '{ security }')
  assertGrouped(options, plugin, { route: ['security'] })
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, fastify.log)
  return {
    ask,
    sessions,
    authorize,
    identity,
    ids,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    security: route.security
  }
}

type Settings = ReturnType<typeof resolveOptions>

// Schema

const failures = kratosFailures({ 400: 'The id or the query is malformed', 403: 'The request is not authorized' })
const params = Type.Object({ id: Type.String() })

const operations = {
  logOutSession: {
    operationId: 'disableSession',
    summary: 'Log out a session',
    params,
    response: {
      204: Type.Null({ description: 'The session is logged out (also if it was before)' }),
      ...kratosFailures({ 404: 'No session has this id' }),
      ...failures
    }
  },
  logOutSubject: {
    operationId: 'deleteIdentitySessions',
    summary: 'Log out every session of a subject',
    params,
    response: {
      204: Type.Null({ description: 'Every session of the subject is logged out' }),
      ...kratosFailures({ 404: 'The subject had no live session' }),
      ...failures
    }
  },
  listSessions: {
    operationId: 'listIdentitySessions',
    summary: 'List the live sessions of a subject',
    params,
    querystring: Type.Object({
      active: Type.Optional(Type.Boolean({ description: 'Only live sessions are stored: false returns an empty list' })),
      ...pageSchema.properties
    }),
    response: { 200: Type.Array(kratosSessionSchema, { description: 'The live sessions of the subject, newest first' }), ...failures }
  }
} as const satisfies Record<string, KratosOperation>

// Flow

/**
 * `DELETE /admin/sessions/{id}`, `DELETE /admin/identities/{id}/sessions` and `GET /admin/identities/{id}/sessions` as Ory
 * Kratos serves them. Kratos has no authorization here. This plugin has: requests are refused unless `authorize` returns
 * `true`.
 *
 * A 204 means that the session store logged the sessions out.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/identity/operation/deleteIdentitySessions
 * @throws {TypeError} while registering, for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import Fastify, { type FastifyRequest } from 'fastify'
 * import { kratosAdmin } from 'fastify-logout'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * // Your own: who sent this request?
 * declare function roleOf (request: FastifyRequest): Promise<'admin' | 'user' | undefined>
 *
 * const app = Fastify()
 * await app.register(kratosAdmin, {
 *   sessions: memorySessionStore(),
 *   authorize: async request => await roleOf(request) === 'admin'
 * })
 * ```
 */
export const kratosAdmin: FastifyPluginAsync<KratosAdminOptions> = fp(routes, {
  name: 'fastify-logout/kratos-admin', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosAdminOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { security, ids } = settings
  const authorized = authorization(settings)
  const served: KratosRoute[] = [
    {
      methods: ['DELETE'],
      url: '/admin/sessions/:id',
      operation: operations.logOutSession,
      handler: authorized(logOutSession(settings))
    },
    {
      methods: ['DELETE'],
      url: '/admin/identities/:id/sessions',
      operation: operations.logOutSubject,
      handler: authorized(logOutSubject(settings))
    },
    {
      methods: ['GET'],
      url: '/admin/identities/:id/sessions',
      operation: operations.listSessions,
      handler: authorized(listSessions(settings))
    }
  ]
  addKratosRoutes(fastify, served, { plugin, security, ids })
}

/** A handler that is called with the spellings of the id in the URL. */
type IdHandler = (call: KratosCall, spellings: readonly string[]) => ReturnType<KratosHandler>

/** Makes a handler that refuses requests without authorization and malformed ids, and calls another one for all others. */
function authorization ({ ask, authorize, ids }: Settings): (handler: IdHandler) => KratosHandler {
  const { read } = kratosIds(ids)
  return handler => async call => {
    const { request, reply } = call
    if (await ask('authorize', () => authorize(request)) !== true) return sendKratosError(request, reply, errors.forbidden)
    const id = read(call.id)
    return 'problem' in id ? sendKratosError(request, reply, errors.notAnId(id.problem)) : handler(call, id.spellings)
  }
}

function logOutSession (settings: Settings): IdHandler {
  return async ({ request, reply }, spellings) => {
    const isKnown = await logOutById(settings, { spellings }, reply)
    await detachEndedSession(request, settings.ask)
    return isKnown ? sendKratosEmpty(reply, 204) : sendKratosError(request, reply, errors.notFound)
  }
}

function logOutSubject ({ ask, sessions, notify }: Settings): IdHandler {
  return async ({ request, reply }, spellings) => {
    let isKnown = false
    for (const subject of spellings) {
      const count = await ask('sessions.logOutSubject', () => sessions.logOutSubject({ subject, count: true }), count => {
        if (count !== 0) return notify({ scope: 'all', subject, count }, reply)
      })
      isKnown ||= count !== 0
      if (count !== undefined && count > 0) break // A store without a count may have the subject in the next spelling.
    }
    await detachEndedSession(request, ask)
    return isKnown ? sendKratosEmpty(reply, 204) : sendKratosError(request, reply, errors.notFound)
  }
}

function listSessions (settings: Settings): IdHandler {
  const sendSessions = sessionLister(settings)
  return async (call, spellings) => {
    const active = queryOf(call.request).get('active') ?? ''
    if (!/^(|1|t|true|0|f|false)$/i.test(active)) return sendKratosError(call.request, call.reply, errors.active)
    return sendSessions(call, { subjects: /^(0|f|false)$/i.test(active) ? [] : spellings })
  }
}

// Errors

const errors = {
  forbidden: { status: 403 },
  notFound: { status: 404, message: 'Unable to locate the resource' },
  notAnId: (problem: string) => ({ status: 400, message: problem }),
  active: { status: 400, message: 'could not parse parameter active' }
}
