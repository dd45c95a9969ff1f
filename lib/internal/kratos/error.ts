import { Type } from '@sinclair/typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { verbatim } from '../plugin/host-isolation.ts'
import { failureStatus } from '../plugin/failure-status.ts'

/** One of Kratos' errors: its status, and the members that tell it from others of that status. */
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

/**
 * The error as JSON, its members in Ory's order, the absent ones left out. `request` echoes `X-Request-ID` when it is
 * harmless.
 */
export function kratosErrorBody (error: KratosError, request: FastifyRequest): string {
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

/** Answers with the error envelope. */
export function sendKratosError (request: FastifyRequest, reply: FastifyReply, error: KratosError): FastifyReply {
  return withKratosHeaders(reply.code(error.status))
    .header('ory-error-id', error.id ?? '')
    .header('content-type', 'application/json')
    .serializer(verbatim)
    .send(kratosErrorBody(error, request))
}

/** Answers with JSON, as Ory writes it where all went well. */
export function sendKratosJson (reply: FastifyReply, body: unknown): FastifyReply {
  return withKratosHeaders(reply.code(200)).header('content-type', 'application/json; charset=utf-8').serializer(verbatim).send(JSON.stringify(body))
}

/** Answers without a body, and without the media type that the host may have set for one. */
export function sendKratosEmpty (reply: FastifyReply, status: 204 | 303): FastifyReply {
  return withKratosHeaders(reply.code(status)).removeHeader('content-type').send()
}

/** An error handler for routes that always answer with JSON: what is not the caller's fault is logged, and told nobody. */
export function answerKratosFailure (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): void {
  sendKratosError(request, reply, loggedKratosError(thrown, request, reply))
}

/** What to answer when something was thrown, which is logged if it is not the caller's fault. */
export function loggedKratosError (thrown: FastifyError | null, request: FastifyRequest, reply: FastifyReply): KratosError {
  const error = kratosErrorOf(thrown, reply)
  if (error.status === 500) request.log.error({ err: thrown, event: 'logout.outage' }, 'a request to a logout route could not be answered')
  return error
}

/** Sets what stands on every response: never cached, and varying with the cookie beside what the host varies it with. */
export function withKratosHeaders (reply: FastifyReply): FastifyReply {
  const vary = String(reply.getHeader('vary') ?? '')
  if (!/(?:^|,)\s*(?:cookie|\*)\s*(?:,|$)/i.test(vary)) reply.header('vary', vary === '' ? 'Cookie' : `${vary}, Cookie`)
  return reply.header('cache-control', 'no-store')
}

/**
 * What to answer when something was thrown: the status of the host's own hooks and of Fastify while it reads the body
 * is kept where it is the caller's fault; everything else is a 500 without a word about the cause.
 */
export function kratosErrorOf (thrown: FastifyError | null, reply: FastifyReply): KratosError {
  const status = failureStatus(thrown, reply)
  return { status: status < 500 ? status : 500 }
}

function saneRequestId (header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\w.:-]{1,128}$/.test(header) ? header : undefined
}
