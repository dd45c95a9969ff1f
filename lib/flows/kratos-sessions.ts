import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { detachEndedSession } from '../internal/plugin/detach-session.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost, takeNoBodies, validateNothing } from '../internal/plugin/host-isolation.ts'
import { kratosCallers } from '../internal/kratos/caller.ts'
import { answerKratosFailure, kratosErrorSchema, sendKratosEmpty, sendKratosError, sendKratosJson } from '../internal/kratos/error.ts'
import { anyId, uuid } from '../internal/kratos/id.ts'
import { bareIdentity, kratosSession, kratosSessionSchema, type KratosIdentity } from '../internal/kratos/session.ts'
import type { OnLogout } from '../logout-event.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { pathOf, queryOf } from '../internal/http/query.ts'
import { sessionCookieReader, type SessionCookie } from '../internal/kratos/session-cookie.ts'
import { pageOf, pageQuery, sessionsToList } from '../internal/kratos/page.ts'
import { isLive, type Session, type SessionStore } from '../session-store.ts'

// Options

/** What {@link kratosSessions} asks of the host. `sessions` is required. */
export interface KratosSessionsOptions {
  /** Where the sessions live. */
  readonly sessions: Pick<SessionStore, 'find' | 'list' | 'logOutById' | 'logOutSubject'>
  /** The cookie with the session token. Only its name, and whether it is signed, matter here. */
  readonly cookie?: SessionCookie | undefined
  /** May this session be used? Asked by whoami only, so that a disabled user can still log out. @default every live session may */
  readonly isActive?: ((session: Session) => Awaitable<boolean>) | undefined
  /** The identity to show with a session. @default its id alone */
  readonly identity?: KratosIdentity | undefined
  /** What the ids of sessions are: UUIDs in any of the forms that Kratos reads, or `any` text. @default 'uuid' */
  readonly ids?: 'uuid' | 'any' | undefined
  /** Told of each session that was live and is now logged out, and once of logging out the others. */
  readonly onLogout?: OnLogout | undefined
  /** Security of the routes in the host's OpenAPI document. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

const failures = {
  401: { ...kratosErrorSchema, description: 'There is no live session' },
  '4xx': { ...kratosErrorSchema, description: 'The request was refused' },
  '5xx': { ...kratosErrorSchema, description: 'It is not known whether this was done: try again' }
}
const described = (name: string, summary: string, prefix: string, security: readonly SecurityRequirement[] | undefined) => ({
  operationId: operationId(name, prefix), summary, tags: ['logout'], ...(security !== undefined && { security })
})
const pageSchema = Type.Object({
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 250 })),
  page_token: Type.Optional(Type.String({ description: 'From the Link header of the page before' }))
})
const responses = {
  whoami: { 200: { ...kratosSessionSchema, description: 'The session' }, ...failures },
  list: {
    200: Type.Array(kratosSessionSchema, { description: 'The other live sessions of the user, newest first' }),
    400: { ...kratosErrorSchema, description: 'The page token cannot be read' },
    ...failures
  },
  logOutOthers: { 200: Type.Object({ count: Type.Integer() }, { additionalProperties: false, description: 'How many sessions are logged out now and were not before' }), ...failures },
  logOutOne: {
    204: Type.Null({ description: 'The user has no such live session, now or since before' }),
    400: { ...kratosErrorSchema, description: 'The id is no id, or that of the session that asks' },
    ...failures
  }
}

// Flow

/**
 * `/sessions/whoami`, `GET /sessions`, `DELETE /sessions` and `DELETE /sessions/{id}` as Ory Kratos answers them: whose
 * session this is, what other sessions its user has, and logging those out.
 *
 * A 200 or 204 to a `DELETE` says that the session store logged out what was asked for. Sessions are shown by their
 * public ids only, and the ids of other users' sessions are treated as ids that nobody has.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/disableMyOtherSessions
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const kratosSessions: FastifyPluginAsync<KratosSessionsOptions> = fp(routes, {
  name: 'fastify-logout/kratos-sessions', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosSessionsOptions): Promise<void> {
  const { ask, sessions, findCaller, isActive, identityOf, readId, notify, security } = resolveOptions(options, fastify)
  const { prefix } = fastify

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  validateNothing(fastify)
  takeNoBodies(fastify)
  fastify.setErrorHandler(answerKratosFailure)

  const whoami = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
  for (const method of whoami) {
    fastify.route({
      method,
      url: '/sessions/whoami',
      exposeHeadRoute: false,
      schema: freshSchema(method === 'GET'
        ? { ...described('toSession', 'Get the session of this request', prefix, security), response: responses.whoami }
        : { hide: true, tags: ['logout'], response: responses.whoami }),
      handler: async (request, reply) => {
        const caller = await findCaller(request)
        if (caller === undefined || !await ask('isActive', () => isActive(caller.session))) return sendKratosError(request, reply, errors.nobody)
        const { session } = caller
        const identity = await identityOf(session.subject)
        if (printable.test(session.subject)) reply.header('x-kratos-authenticated-identity-id', session.subject)
        return sendKratosJson(reply, kratosSession(session, identity))
      }
    })
  }

  fastify.get('/sessions', {
    exposeHeadRoute: false,
    schema: freshSchema({
      ...described('listMySessions', 'List the other sessions of the user', prefix, security),
      querystring: pageSchema,
      response: responses.list
    })
  }, async (request, reply) => {
    const caller = await findCaller(request)
    if (caller === undefined) return sendKratosError(request, reply, errors.noSession)
    const page = pageQuery(queryOf(request))
    if (page === undefined) return sendKratosError(request, reply, errors.page)
    const { id, subject } = caller.session
    const listed = await ask('sessions.list', () => sessions.list({ subject, except: id, after: page.after, limit: sessionsToList(page) }))
    const { sessions: shown, link } = pageOf(listed, page, pathOf(request))
    const identity = shown.length === 0 ? null : await identityOf(subject)
    return sendKratosJson(reply.header('link', link), shown.map(session => kratosSession(session, identity)))
  })

  fastify.delete('/sessions', {
    schema: freshSchema({
      ...described('disableMyOtherSessions', 'Log out the other sessions of the user', prefix, security),
      response: responses.logOutOthers
    })
  }, async (request, reply) => {
    const caller = await findCaller(request)
    if (caller === undefined) return sendKratosError(request, reply, errors.noSession)
    const { id, subject } = caller.session
    const count = await ask('sessions.logOutSubject', () => sessions.logOutSubject({ subject, except: id, count: true }), (count = 0) => {
      if (count > 0) return notify({ scope: 'others', subject, except: id, count }, reply)
    }) ?? 0
    await detachEndedSession(request, ask)
    return sendKratosJson(reply, { count })
  })

  fastify.delete<{ Params: { id: string } }>('/sessions/:id', {
    schema: freshSchema({
      ...described('disableMySession', 'Log out one of the other sessions of the user', prefix, security),
      params: Type.Object({ id: Type.String({ description: 'The public id of the session' }) }),
      response: responses.logOutOne
    })
  }, async (request, reply) => {
    const caller = await findCaller(request)
    if (caller === undefined) return sendKratosError(request, reply, errors.noSession)
    const read = readId(request.params.id)
    if ('problem' in read) return sendKratosError(request, reply, errors.notAnId(read.problem))
    const { id } = read
    if (id === caller.session.id) return sendKratosError(request, reply, errors.own)
    await ask('sessions.logOutById', () => sessions.logOutById({ id, subject: caller.session.subject }), before => {
      if (before !== undefined && isLive(before, Date.now())) return notify({ scope: 'session', session: before }, reply)
    })
    await detachEndedSession(request, ask)
    return sendKratosEmpty(reply, 204)
  })
}

/** What a header can carry. */
const printable = /^[\u0020-\u007e]+$/

const plugin = 'kratosSessions'

function resolveOptions (options: KratosSessionsOptions, fastify: FastifyInstance) {
  const { sessions, identity = bareIdentity, ids = 'uuid' } = options
  const verbs = ['find', 'list', 'logOutById', 'logOutSubject'] as const
  assertOption(verbs.every(verb => typeof sessions?.[verb] === 'function'), plugin, 'sessions', `is missing: pass a session store, memorySessionStore() for instance, or { ${verbs.join(', ')} }`)
  assertFunctions(options, plugin, ['isActive', 'identity', 'onLogout'])
  assertOption(['uuid', 'any'].includes(ids), plugin, 'ids', 'must be "uuid" or "any"')
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)
  const readCookie = sessionCookieReader(fastify, options.cookie ?? {}, plugin)
  return {
    ask,
    sessions,
    findCaller: kratosCallers({ ask, sessions, readCookie }),
    isActive: options.isActive ?? (() => true),
    identityOf: (subject: string) => ask('identity', () => identity(subject)),
    readId: ids === 'uuid' ? uuid : anyId,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    security: options.security
  }
}

// Errors

const errors = {
  nobody: { status: 401, reason: 'No valid session credentials found in the request.' },
  noSession: { status: 401, reason: 'No valid session cookie found.' },
  page: { status: 400, reason: 'The page cannot be read: follow the Link header of the page before.' },
  notAnId: (problem: string) => ({ status: 400, message: problem }),
  own: { status: 400, message: 'cannot revoke current session' }
}
