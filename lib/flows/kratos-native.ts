import { Type, type Static } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { detachSession } from '../internal/plugin/detach-session.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost } from '../internal/plugin/host-isolation.ts'
import { kratosErrorOf, kratosErrorSchema, sendKratosError, withKratosHeaders, type KratosError } from '../internal/kratos/error.ts'
import type { OnLogout } from '../logout-event.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { isLive, type SessionStore } from '../session-store.ts'

// Options

/** What {@link kratosLogout} asks of the host. `sessions` is required, and one function of it is enough. */
export interface KratosLogoutOptions {
  /** Where the sessions live. */
  readonly sessions: Pick<SessionStore, 'logOut'>
  /** Told of each session that was live and is now logged out. */
  readonly onLogout?: OnLogout | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

// Schema

const bodySchema = Type.Union([
  Type.Object({
    session_token: Type.Optional(Type.Union([Type.String({ description: 'The token of the session to log out' }), Type.Null()]))
  }),
  Type.Null()
])

const routeSchema = (prefix: string) => ({
  operationId: operationId('performNativeLogout', prefix),
  summary: 'Log out the session of a session token',
  tags: ['logout'],
  security: [],
  body: bodySchema,
  response: {
    204: Type.Null({ description: 'The session is logged out, now or since before' }),
    400: { ...kratosErrorSchema, description: 'The body is missing, or no JSON object with a session token' },
    403: { ...kratosErrorSchema, description: 'No session has this token' },
    '4xx': { ...kratosErrorSchema, description: 'The request was refused' },
    '5xx': { ...kratosErrorSchema, description: 'The session may still be active: try again' }
  }
})

// Flow

/**
 * `DELETE /self-service/logout/api` as Ory Kratos answers it, so that Ory's clients work unchanged. With
 * `prefix: '/auth'` it stands at `/auth/self-service/logout/api`.
 *
 * A 204 says that the session store logged the session out: now, or on an earlier call. `onLogout` is told once.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/performNativeLogout
 * @throws {TypeError} while registering, for an option that is missing or wrong
 */
export const kratosLogout: FastifyPluginAsync<KratosLogoutOptions> = fp(routes, {
  name: 'fastify-logout/kratos-native', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosLogoutOptions): Promise<void> {
  const { ask, sessions, notify } = resolveOptions(options)

  noActivity(fastify)
  isolateFromHost(fastify)
  publishRefusals(fastify, plugin)
  // Fastify remembers the parser of a type that it knows by name, and searches the one of '*' anew for each request.
  fastify.addContentTypeParser(['application/json', '*'], { parseAs: 'string' }, parseJson)
  fastify.setErrorHandler(answerFailure)

  fastify.route<{ Body: Static<typeof bodySchema> }>({
    method: 'DELETE',
    url: '/self-service/logout/api',
    bodyLimit: 5 * 1024 * 1024,
    schema: freshSchema(routeSchema(fastify.prefix)),
    onRequest: (request, reply, done) => {
      const error = unreadable(request)
      if (error === undefined) done()
      else sendKratosError(request, reply, error)
    },
    handler: async (request, reply) => {
      const token = request.body?.session_token ?? ''
      detachSession(request, token)
      if (token === '') return sendKratosError(request, reply, errors.unknownToken)
      const before = await ask('sessions.logOut', () => sessions.logOut(token), before => {
        if (before !== undefined && isLive(before, Date.now())) return notify({ scope: 'session', session: before }, reply)
      })
      if (before === undefined) return sendKratosError(request, reply, errors.unknownToken)
      return withKratosHeaders(reply.code(204)).removeHeader('content-type').send()
    }
  })
}

/** What is wrong with the request before its body is read, in Kratos' order. */
function unreadable ({ headers }: FastifyRequest): KratosError | undefined {
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return errors.noBody
  const mediaType = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
  return mediaType === 'application/json' ? undefined : errors.contentType(headers['content-type'])
}

function parseJson (_request: FastifyRequest, body: string, done: (error: Error | null, body?: unknown) => void): void {
  try {
    done(null, JSON.parse(body))
  } catch {
    done(Object.assign(new Error('the body is not JSON'), { code: notJson, reason: body.trim() === '' ? 'EOF' : 'invalid JSON' }))
  }
}

const plugin = 'kratosLogout'

function resolveOptions (options: KratosLogoutOptions) {
  assertOption(typeof options.sessions?.logOut === 'function', plugin, 'sessions', 'is missing: pass a session store, memorySessionStore() for instance, or { logOut: async token => ... }')
  assertFunctions(options, plugin, ['onLogout'])
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin)
  return {
    ask,
    sessions: options.sessions,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary })
  }
}

// Errors

const notJson = 'LOGOUT_NOT_JSON'

const errors = {
  noBody: { status: 400, reason: 'Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.' },
  contentType: (value = '') => ({
    status: 400, reason: `HTTP DELETE Request used unknown HTTP Header "Content-Type: ${value}", only [application/json] are supported.`
  }),
  notRead: (why: string) => ({ status: 400, reason: `Unable to read HTTP POST body: ${why}` }),
  notJson: (why: string) => ({ status: 400, reason: `Unable to decode JSON payload: ${why}` }),
  unknownToken: { status: 403, reason: 'The provided Ory Session Token could not be found, is invalid, or otherwise malformed.' }
}

/** Everything that is thrown: by the host's functions, by Fastify while it reads the body, by hooks of the host. */
function answerFailure (thrown: FastifyError & { reason?: string } | null, request: FastifyRequest, reply: FastifyReply): void {
  sendKratosError(request, reply, errorOf(thrown, request, reply))
}

function errorOf (thrown: FastifyError & { reason?: string } | null, request: FastifyRequest, reply: FastifyReply): KratosError {
  switch (thrown?.code) {
    case notJson: return errors.notJson(String(thrown.reason))
    case 'FST_ERR_VALIDATION': return errors.notJson('session_token must be a string in a JSON object')
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return errors.notRead('http: request body too large')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH': return errors.notRead('unexpected EOF')
  }
  const error = kratosErrorOf(thrown, reply)
  if (error.status === 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a logout could not be completed')
  return error
}
