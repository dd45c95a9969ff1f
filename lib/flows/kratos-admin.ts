import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { detachEndedSession } from '../internal/plugin/detach-session.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost, takeNoBodies, validateNothing } from '../internal/plugin/host-isolation.ts'
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
import { pageOf, pageQuery, sessionsToList } from '../internal/kratos/page.ts'
import { isLive, type SessionStore } from '../session-store.ts'

// Options

/** What {@link kratosAdmin} asks of the host. `sessions` and `authorize` are required. */
export interface KratosAdminOptions {
  /** Where the sessions live. */
  readonly sessions: Pick<SessionStore, 'list' | 'logOutById' | 'logOutSubject'>
  /** May this request end sessions of anybody? Only `true` lets it in. Asked before anything else, on every route. */
  readonly authorize: (request: FastifyRequest) => Awaitable<boolean>
  /** The identity to show with a session. @default its id alone */
  readonly identity?: KratosIdentity | undefined
  /** What the ids of sessions and subjects are: UUIDs in any of the forms that Kratos reads, or `any` text. @default 'uuid' */
  readonly ids?: 'uuid' | 'any' | undefined
  /** Told of each session that was live and is now logged out, and once of logging out a subject. */
  readonly onLogout?: OnLogout | undefined
  /** Security of the routes in the host's OpenAPI document. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

const failures = {
  400: { ...kratosErrorSchema, description: 'The id is no id, or the query cannot be read' },
  403: { ...kratosErrorSchema, description: 'The request is not authorized' },
  '4xx': { ...kratosErrorSchema, description: 'The request was refused' },
  '5xx': { ...kratosErrorSchema, description: 'It is not known whether this was done: try again' }
}
const described = (name: string, summary: string, prefix: string, security: readonly SecurityRequirement[] | undefined) => ({
  operationId: operationId(name, prefix), summary, tags: ['logout'], ...(security !== undefined && { security })
})
const params = Type.Object({ id: Type.String() })
const querystring = Type.Object({
  active: Type.Optional(Type.Boolean({ description: 'Only live sessions are kept: false lists none' })),
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 250 })),
  page_token: Type.Optional(Type.String({ description: 'From the Link header of the page before' }))
})
const responses = {
  logOutOne: {
    204: Type.Null({ description: 'The session is logged out, now or since before' }),
    404: { ...kratosErrorSchema, description: 'No session has this id' },
    ...failures
  },
  logOutAll: {
    204: Type.Null({ description: 'Every session that the subject had is logged out' }),
    404: { ...kratosErrorSchema, description: 'The subject had no live session' },
    ...failures
  },
  list: { 200: Type.Array(kratosSessionSchema, { description: 'The live sessions of the subject, newest first' }), ...failures }
}

// Flow

/**
 * `DELETE /admin/sessions/{id}`, `DELETE /admin/identities/{id}/sessions` and `GET /admin/identities/{id}/sessions` as
 * Ory Kratos answers them, behind an authorization that Kratos does not have: nobody is let in unless the host's
 * function says `true`.
 *
 * A 204 says that the session store logged the sessions out.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/identity/operation/deleteIdentitySessions
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const kratosAdmin: FastifyPluginAsync<KratosAdminOptions> = fp(routes, {
  name: 'fastify-logout/kratos-admin', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosAdminOptions): Promise<void> {
  const { ask, sessions, authorize, identity, readId, notify, security } = resolveOptions(options)
  const { prefix } = fastify

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  validateNothing(fastify)
  takeNoBodies(fastify)
  fastify.setErrorHandler(answerKratosFailure)
  fastify.addHook('preHandler', async (request, reply) => {
    if (await ask('authorize', () => authorize(request)) !== true) return sendKratosError(request, reply, errors.forbidden)
  })

  fastify.delete<{ Params: { id: string } }>('/admin/sessions/:id', {
    schema: freshSchema({
      ...described('disableSession', 'Log out a session', prefix, security),
      params,
      response: responses.logOutOne
    })
  }, async (request, reply) => {
    const read = readId(request.params.id)
    if ('problem' in read) return sendKratosError(request, reply, errors.notAnId(read.problem))
    const before = await ask('sessions.logOutById', () => sessions.logOutById(read), before => {
      if (before !== undefined && isLive(before, Date.now())) return notify({ scope: 'session', session: before }, reply)
    })
    await detachEndedSession(request, ask)
    if (before === undefined) return sendKratosError(request, reply, errors.notFound)
    return sendKratosEmpty(reply, 204)
  })

  fastify.delete<{ Params: { id: string } }>('/admin/identities/:id/sessions', {
    schema: freshSchema({
      ...described('deleteIdentitySessions', 'Log out every session of a subject', prefix, security),
      params,
      response: responses.logOutAll
    })
  }, async (request, reply) => {
    const read = readId(request.params.id)
    if ('problem' in read) return sendKratosError(request, reply, errors.notAnId(read.problem))
    const { id: subject } = read
    const count = await ask('sessions.logOutSubject', () => sessions.logOutSubject({ subject, count: true }), count => {
      if (count !== 0) return notify({ scope: 'all', subject, count }, reply)
    })
    await detachEndedSession(request, ask)
    if (count === 0) return sendKratosError(request, reply, errors.notFound)
    return sendKratosEmpty(reply, 204)
  })

  fastify.get<{ Params: { id: string } }>('/admin/identities/:id/sessions', {
    exposeHeadRoute: false,
    schema: freshSchema({
      ...described('listIdentitySessions', 'List the live sessions of a subject', prefix, security),
      params,
      querystring,
      response: responses.list
    })
  }, async (request, reply) => {
    const read = readId(request.params.id)
    if ('problem' in read) return sendKratosError(request, reply, errors.notAnId(read.problem))
    const query = queryOf(request)
    const page = pageQuery(query)
    if (page === undefined) return sendKratosError(request, reply, errors.page)
    const active = query.get('active') ?? ''
    if (!/^(|1|t|true|0|f|false)$/i.test(active)) return sendKratosError(request, reply, errors.active)

    const { id: subject } = read
    const listed = /^(0|f|false)$/i.test(active)
      ? []
      : await ask('sessions.list', () => sessions.list({ subject, after: page.after, limit: sessionsToList(page) }))
    const { sessions: shown, link } = pageOf(listed, page, pathOf(request))
    const owner = shown.length === 0 ? null : await ask('identity', () => identity(subject))
    return sendKratosJson(reply.header('link', link), shown.map(session => kratosSession(session, owner)))
  })
}

const plugin = 'kratosAdmin'

function resolveOptions (options: KratosAdminOptions) {
  const { sessions, authorize, ids = 'uuid' } = options
  const verbs = ['list', 'logOutById', 'logOutSubject'] as const
  assertOption(verbs.every(verb => typeof sessions?.[verb] === 'function'), plugin, 'sessions', `is missing: pass a session store, memorySessionStore() for instance, or { ${verbs.join(', ')} }`)
  assertOption(typeof authorize === 'function', plugin, 'authorize', 'is missing: pass request => true for those who may end anybody\'s sessions')
  assertFunctions(options, plugin, ['identity', 'onLogout'])
  assertOption(['uuid', 'any'].includes(ids), plugin, 'ids', 'must be "uuid" or "any"')
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)
  return {
    ask,
    sessions,
    authorize,
    identity: options.identity ?? bareIdentity,
    readId: ids === 'uuid' ? uuid : anyId,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary }),
    security: options.security
  }
}

// Errors

const errors = {
  forbidden: { status: 403 },
  notFound: { status: 404, message: 'Unable to locate the resource' },
  notAnId: (problem: string) => ({ status: 400, message: problem }),
  page: { status: 400, reason: 'The page cannot be read: follow the Link header of the page before.' },
  active: { status: 400, message: 'could not parse parameter active' }
}
