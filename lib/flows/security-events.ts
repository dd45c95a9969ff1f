import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { oauthErrorHandler, oauthFailures, sendEmpty, sendJson } from '../internal/oauth/error.ts'
import { prepareLimitedScope, limitedRouteMembers, type LimitedRouteOptions } from '../internal/oauth/limited-route.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import { resolveRoute } from '../internal/plugin/route.ts'
import { eventReceiver, type SecurityEventOptions } from '../internal/security-events/receiver.ts'
import { errorCodes, type EventRefusal } from '../internal/security-events/security-event-token.ts'
import { resolveStream, type SecurityEventStream } from '../internal/security-events/streams.ts'

const plugin = 'securityEvents'

// Options

/** The options of {@link securityEvents}. `streams`, `revocations`, `resolveSubject` and `end` are required. */
export interface SecurityEventsOptions extends SecurityEventOptions<FastifyRequest> {
  /** Who may send events, and by which keys. */
  readonly streams: readonly SecurityEventStream[]
  /** Where the route is (by default at `/security-events`), how often it may be called, and how it is documented. */
  readonly route?: LimitedRouteOptions | undefined
  /** How long each call to the host's functions may take, in milliseconds. A request takes at most five times as long. @default 2000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: SecurityEventsOptions, { log }: FastifyInstance) {
  assertGrouped(options, plugin, { route: limitedRouteMembers })
  const { streams } = options
  assertOption(Array.isArray(streams) && streams.length > 0, plugin, 'streams', 'is missing: pass a list of at least one stream')
  const timeout = duration(options.timeout, 2000, plugin, 'timeout')
  const known = streams.map((stream, index) => resolveStream(stream, { caller: plugin, at: `streams[${index}]` }, timeout))
  return {
    route: resolveRoute(options.route, '/security-events', plugin),
    streams: known,
    ask: askWithin(timeout, plugin, log),
    receive: eventReceiver(options, known, { caller: plugin, timeout, log })
  }
}

// Schema

const eventErrorSchema = Type.Object({
  err: Type.Union(errorCodes.map(code => Type.Literal(code))),
  description: Type.Optional(Type.String())
}, { additionalProperties: false })

function routeSchema (path: string, security: readonly SecurityRequirement[] | undefined) {
  return freshSchema({
    operationId: operationId('securityEvents', path),
    summary: 'Receive a security event token',
    tags: ['logout'],
    ...(security !== undefined && { security }),
    consumes: [mediaType],
    body: Type.String({ maxLength: 16_384, description: 'A security event token (RFC 8417)' }),
    response: {
      202: Type.Null({ description: 'The event is accepted, and what it asks for is done' }),
      400: { ...eventErrorSchema, description: 'The token is refused' },
      401: { ...eventErrorSchema, description: 'The Authorization header is not that of the stream' },
      ...oauthFailures({ 413: 'The body is too large' })
    }
  })
}

// Flow

/**
 * `POST /security-events`: receives security events by push (RFC 8935), as transmitters of Shared Signals, CAEP and RISC
 * send them. An event that a user's sessions were revoked ends them at the host too.
 *
 * A 202 means that the marks, `alsoEnd` and the sessions have succeeded. If one of them could not tell, the response is a
 * 503, and the transmitter sends the event again. An event ends what existed when it happened: a login after it lives, to
 * the minute.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @see https://www.rfc-editor.org/rfc/rfc8935
 * @see https://openid.net/specs/openid-sharedsignals-framework-1_0.html
 * @see https://openid.net/specs/openid-caep-1_0.html
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { securityEvents } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * await app.register(securityEvents, {
 *   streams: [{
 *     issuer: 'https://transmitter.example',
 *     audience: 'https://app.example',
 *     jwksUri: 'https://transmitter.example/keys',
 *     authorization: `Bearer ${process.env['STREAM_SECRET']}`
 *   }],
 *   revocations: memoryRevocationStore(),
 *   resolveSubject: (subject, { issuer }) => {
 *     return subject.format === 'iss_sub' && subject.iss === issuer ? [{ subject: subject.sub }] : []
 *   },
 *   end: { sessions: memorySessionStore() },
 *   onEvent: ({ type, users, at }) => { app.log.info({ type, users, at }, 'a security event') }
 * })
 * ```
 */
export const securityEvents: FastifyPluginAsync<SecurityEventsOptions> = fp(routes, {
  name: 'fastify-logout/security-events', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: SecurityEventsOptions): Promise<void> {
  const { route, streams, ask, receive } = resolveOptions(options, fastify)
  const isAlwaysAuthorized = streams.every(({ hasAuthorization }) => hasAuthorization)

  await prepareLimitedScope(fastify, { caller: plugin, ask, route, answerFailure })
  fastify.addContentTypeParser([mediaType, '*'], { parseAs: 'string' }, (request, token, done) => {
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    done(null, type === mediaType ? token : undefined)
  })

  fastify.route<{ Body: string | undefined }>({
    method: 'POST',
    url: route.path,
    bodyLimit: 65_536,
    schema: routeSchema(fastify.prefix + route.path, route.security),
    onRequest: async (request, reply) => {
      const { authorization } = request.headers
      if (isAlwaysAuthorized && !streams.some(stream => stream.isAuthorized(authorization))) return refuseSender(request, reply)
    },
    handler: async (request, reply) => {
      const { body: token, headers: { authorization }, log } = request
      if (typeof token !== 'string') return refuse(request, reply, badMediaType)
      const refusal = await receive({ token, pushed: { authorization } }, { request, log })
      if (refusal === 'unauthorized') return refuseSender(request, reply)
      if (refusal !== undefined) return refuse(request, reply, refusal)
      return sendEmpty(reply, 202)
    }
  })
}

const mediaType = 'application/secevent+jwt'

// Errors

const badMediaType: EventRefusal = { err: 'invalid_request', description: 'media type' }

function refuse (request: FastifyRequest, reply: FastifyReply, { err, description, issuer = 'unknown', jti }: EventRefusal): FastifyReply {
  request.log.warn({ event: 'security-event.refused', sender: issuer, code: err, description, jti }, 'a security event was refused')
  reply.header('content-language', 'en')
  return sendJson(reply, 400, { err, description })
}

function refuseSender (request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = { err: 'authentication_failed', description: 'authorization' }
  request.log.warn({ event: 'security-event.refused', sender: 'unknown', code: refusal.err, description: refusal.description },
    'a security event was refused')
  reply.headers({ 'www-authenticate': 'Bearer', 'content-language': 'en' })
  return sendJson(reply, 401, refusal)
}

const answerOtherFailure = oauthErrorHandler('a security event could not be carried out')

function answerFailure (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (Object(thrown).code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') refuse(request, reply, badMediaType)
  else answerOtherFailure(thrown, request, reply)
}
