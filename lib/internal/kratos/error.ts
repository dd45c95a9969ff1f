import { Type } from '@sinclair/typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { addVary } from '../http/vary.ts'
import { verbatim } from '../plugin/host-isolation.ts'
import { failureStatus } from '../plugin/failure-status.ts'

/** One of Kratos' errors: its status, and the members that distinguish it from others of that status. */
export interface KratosError {
  readonly status: number
  readonly id?: string
  readonly reason?: string
  readonly message?: string
  /** The text for a browser's error page, where `reason` repeats what the request said: a link could make the page say anything. */
  readonly description?: string
}

/** The JSON error envelope of Ory, for route schemas. */
export const kratosErrorSchema = Type.Object({
  error: Type.Object({
    id: Type.Optional(Type.String({ description: 'Names the error for programs' })),
    code: Type.Integer({ description: 'The HTTP status' }),
    status: Type.String({ description: 'The reason phrase of the status' }),
    request: Type.Optional(Type.String({ description: 'The X-Request-ID of the request' })),
    reason: Type.Optional(Type.String()),
    message: Type.String()
  }, { additionalProperties: false })
}, { additionalProperties: false })

const messages: Readonly<Record<number, string>> = {
  400: 'The request was malformed or contained invalid parameters',
  401: 'The request could not be authorized',
  403: 'The requested action was forbidden',
  404: 'The requested resource could not be found',
  500: 'An internal server error occurred, please contact the system administrator'
}

/** Returns the responses for these statuses, for route schemas, each with its description, and those for every other failure. */
export function kratosFailures (descriptions: Readonly<Record<number, string>>): Readonly<Record<string, typeof kratosErrorSchema>> {
  const described = { ...descriptions, '4xx': 'The request was refused', '5xx': 'The outcome is unknown: retry' }
  const failures = Object.entries(described).map(([status, description]) => [status, { ...kratosErrorSchema, description }])
  return Object.fromEntries(failures)
}

/** Returns the error as JSON, with the members in Ory's order. `request` repeats the `X-Request-ID` if that is harmless. */
function kratosErrorBody (error: KratosError, request: FastifyRequest): string {
  const phrase = STATUS_CODES[error.status] ?? 'Unknown'
  return JSON.stringify({
    error: {
      id: error.id,
      code: error.status,
      status: phrase,
      request: saneRequestId(request.headers['x-request-id']),
      reason: error.reason,
      message: kratosMessage(error)
    }
  })
}

/** The message of an error: its own, or the one that all errors of its status have. */
export function kratosMessage ({ status, message }: KratosError): string {
  return message ?? messages[status] ?? STATUS_CODES[status] ?? 'Unknown'
}

/** Sends the error envelope. */
export function sendKratosError (request: FastifyRequest, reply: FastifyReply, error: KratosError): FastifyReply {
  return withKratosHeaders(reply.code(error.status))
    .header('ory-error-id', error.id ?? '')
    .header('content-type', 'application/json')
    .serializer(verbatim)
    .send(kratosErrorBody(error, request))
}

/** Sends JSON with the headers of a success. */
export function sendKratosJson (reply: FastifyReply, body: unknown): FastifyReply {
  return withKratosHeaders(reply.code(200))
    .header('content-type', 'application/json; charset=utf-8')
    .serializer(verbatim)
    .send(JSON.stringify(body))
}

/** Sends an empty response, without a media type that the host may have set. */
export function sendKratosEmpty (reply: FastifyReply, status: 204 | 303): FastifyReply {
  return withKratosHeaders(reply.code(status)).removeHeader('content-type').send()
}

/** The error handler of routes whose responses are always JSON. A 500 is logged, and its cause is not sent. */
export function answerKratosFailure (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  sendKratosError(request, reply, loggedKratosError(thrown, request, reply))
}

/** Returns the response for an error that was thrown, and logs the cause of a 500. */
export function loggedKratosError (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): KratosError {
  const error = kratosErrorOf(thrown, reply)
  if (error.status === 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a request to a logout route failed')
  return error
}

/** Sets the headers of every response: not cached, and `Cookie` added to the host's `Vary`. */
function withKratosHeaders (reply: FastifyReply): FastifyReply {
  addVary(reply, 'Cookie')
  return reply.header('cache-control', 'no-store')
}

/**
 * Returns the response for an error that was thrown. A 4xx of the host's hooks, or of Fastify while it reads the body, keeps
 * its status. Every other error becomes a 500 that does not name the cause.
 */
export function kratosErrorOf (thrown: FastifyError | null, reply: FastifyReply): KratosError {
  const status = failureStatus(thrown, reply)
  return { status: status < 500 ? status : 500 }
}

function saneRequestId (header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\w.:-]{1,128}$/.test(header) ? header : undefined
}
