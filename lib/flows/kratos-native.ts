import { Type, type Static } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Http2ServerRequest } from 'node:http2'
import { kratosFailures, loggedKratosError, sendKratosEmpty, sendKratosError, type KratosError } from '../internal/kratos/error.ts'
import { logOutByToken } from '../internal/kratos/log-out.ts'
import { assertSessionStore } from '../internal/kratos/options.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { detachSession } from '../internal/plugin/detach-session.ts'
import { publishRefusals } from '../internal/plugin/diagnostics.ts'
import { isolateFromHost, validateBodies } from '../internal/plugin/host-isolation.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { noActivity } from '../internal/plugin/no-activity.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertFunctions, duration } from '../internal/plugin/options.ts'
import type { OnLogout } from '../logout-event.ts'
import type { SessionStore } from '../session-store.ts'

// Options

/** The options of {@link kratosLogout}. `sessions` is required. */
export interface KratosLogoutOptions {
  /** The session store. Its method `logOut` is enough. */
  readonly sessions: Pick<SessionStore, 'logOut'>
  /** Called for each session that was live and is now logged out. */
  readonly onLogout?: OnLogout | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

const plugin = 'kratosLogout'

function resolveOptions (options: KratosLogoutOptions, fastify: FastifyInstance) {
  assertSessionStore(options.sessions, ['logOut'], plugin)
  assertFunctions(options, plugin, ['onLogout'])
  const ask = askWithin(duration(options.timeout, 5000, plugin, 'timeout'), plugin, fastify.log)
  return {
    ask,
    sessions: options.sessions,
    notify: logoutNotice(plugin, ask, { onLogout: options.onLogout, summaryOf: sessionSummary })
  }
}

type Settings = ReturnType<typeof resolveOptions>

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
    204: Type.Null({ description: 'The session is logged out (also if it was before)' }),
    ...kratosFailures({ 400: 'The body is missing, or not a JSON object with a session token', 403: 'No session has this token' })
  }
})

// Flow

/**
 * `DELETE /self-service/logout/api` as Ory Kratos serves it, so that Ory's clients work unchanged. With `prefix: '/auth'`
 * the path is `/auth/self-service/logout/api`.
 *
 * A 204 says that the session store logged the session out, now or on an earlier call. `onLogout` is called once.
 *
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/performNativeLogout
 * @throws {TypeError} while registering, for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { kratosLogout } from 'fastify-logout'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * await app.register(kratosLogout, {
 *   sessions: memorySessionStore(),
 *   onLogout: event => app.log.info({ scope: event.scope }, 'logged out')
 * })
 * ```
 */
export const kratosLogout: FastifyPluginAsync<KratosLogoutOptions> = fp(routes, {
  name: 'fastify-logout/kratos-native', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: KratosLogoutOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  noActivity(fastify)
  isolateFromHost(fastify)
  await validateBodies(fastify)
  publishRefusals(fastify, plugin)
  // Fastify caches the parser of a type that is named. For '*' it would search on each request.
  fastify.addContentTypeParser(['application/json', '*'], { parseAs: 'string' }, parseJson)
  fastify.setErrorHandler(answerFailure)
  fastify.route<{ Body: Body }>({
    method: 'DELETE',
    url: '/self-service/logout/api',
    bodyLimit: 5 * 1024 * 1024,
    schema: freshSchema(routeSchema(fastify.prefix)),
    onRequest: refuseUnreadable,
    handler: logOut(settings)
  })
}

type Body = Static<typeof bodySchema>

function logOut (settings: Settings) {
  return async (request: FastifyRequest<{ Body: Body }>, reply: FastifyReply): Promise<FastifyReply> => {
    const token = request.body?.session_token ?? ''
    if (token === '') return sendKratosError(request, reply, errors.unknownToken)
    detachSession(request, token)
    const isKnown = await logOutByToken(settings, token, reply)
    return isKnown ? sendKratosEmpty(reply, 204) : sendKratosError(request, reply, errors.unknownToken)
  }
}

/** Refuses requests without a body and with another content type before the body is read, in the order of Kratos. */
function refuseUnreadable (request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const { 'content-type': type } = request.headers
  if (hasNoBody(request)) sendKratosError(request, reply, errors.noBody)
  else if (type?.split(';', 1)[0]?.trim().toLowerCase() !== 'application/json') sendKratosError(request, reply, errors.contentType(type))
  else done()
}

/** Over HTTP/2 a length is optional. A request without a length has no body only if the stream ended with the headers. */
function hasNoBody ({ headers, raw }: FastifyRequest): boolean {
  const length = headers['content-length']
  if (length !== undefined) return Number(length) === 0
  if (raw.httpVersionMajor === 2) return (raw as unknown as Http2ServerRequest).stream.endAfterHeaders
  return headers['transfer-encoding'] === undefined
}

function parseJson (_request: FastifyRequest, body: string, done: (error: Error | null, body?: unknown) => void): void {
  try {
    done(null, JSON.parse(body))
  } catch {
    done(Object.assign(new Error('the body is not JSON'), { code: notJson, reason: body.trim() === '' ? 'EOF' : 'invalid JSON' }))
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

type Thrown = FastifyError & { readonly reason?: string } | null

/** Responds to every error: of the host's functions, of Fastify while it reads the body, and of hooks of the host. */
function answerFailure (thrown: Thrown, request: FastifyRequest, reply: FastifyReply): void {
  sendKratosError(request, reply, bodyErrorOf(thrown) ?? loggedKratosError(thrown, request, reply))
}

function bodyErrorOf (thrown: Thrown): KratosError | undefined {
  switch (thrown?.code) {
    case notJson: return errors.notJson(String(thrown.reason))
    case 'FST_ERR_VALIDATION': return errors.notJson('session_token must be a string in a JSON object')
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return errors.notRead('http: request body too large')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH': return errors.notRead('unexpected EOF')
    default: return undefined
  }
}
