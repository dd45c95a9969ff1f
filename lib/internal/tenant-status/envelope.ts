import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { verbatim } from '../plugin/host-isolation.ts'

/** The error in an envelope. */
export interface TenantError {
  readonly status: number
  readonly code: string
  readonly message: string
  /** The problems by the name of the header. */
  readonly validation?: Readonly<Record<string, readonly string[]>>
}

const metaSchema = Type.Object({
  requestId: Type.String(),
  timestamp: Type.String({ description: 'When the response was built: UTC, ISO 8601 with milliseconds' })
}, { additionalProperties: false })

/** The envelope of a success, for route schemas. */
export const tenantSuccessSchema = Type.Object({
  meta: metaSchema,
  data: Type.Object({ success: Type.Literal(true) }, { additionalProperties: false })
}, { additionalProperties: false })

/** The envelope of a failure, for route schemas. */
export const tenantErrorSchema = Type.Object({
  meta: metaSchema,
  error: Type.Object({
    message: Type.String(),
    code: Type.String({ description: 'A code for programs' }),
    status: Type.Integer({ description: 'The HTTP status' }),
    validation: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String())))
  }, { additionalProperties: false })
}, { additionalProperties: false })

/** Sends the success envelope. */
export function sendTenantSuccess (request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return send(reply.code(200), `{"meta":${meta(request)},"data":{"success":true}}`)
}

/** Sends the failure envelope. */
export function sendTenantError (request: FastifyRequest, reply: FastifyReply, error: TenantError): FastifyReply {
  const { message, code, status, validation } = error
  return send(reply.code(status), `{"meta":${meta(request)},"error":${JSON.stringify({ message, code, status, validation })}}`)
}

function meta (request: FastifyRequest): string {
  return `{"requestId":${JSON.stringify(String(request.id))},"timestamp":"${timestamp()}"}`
}

let latest = { at: NaN, text: '' }

/** The present time as text. It is built once for all responses of a millisecond. */
function timestamp (): string {
  const at = Date.now()
  if (latest.at !== at) latest = { at, text: new Date(at).toISOString() }
  return latest.text
}

function send (reply: FastifyReply, body: string): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .header('content-type', 'application/json; charset=utf-8')
    .serializer(verbatim)
    .send(body)
}

const generic: Readonly<Record<number, readonly [code: string, message: string]>> = {
  400: ['BAD_REQUEST', 'Bad Request'],
  401: ['UNAUTHORIZED', 'Unauthorized'],
  403: ['FORBIDDEN', 'Forbidden'],
  404: ['NOT_FOUND', 'Not Found'],
  408: ['REQUEST_TIMEOUT', 'Request Timeout'],
  409: ['CONFLICT', 'Conflict'],
  422: ['UNPROCESSABLE_ENTITY', 'Unprocessable Entity'],
  429: ['TOO_MANY_REQUESTS', 'Too many requests'],
  500: ['INTERNAL_SERVER', 'Something went wrong on our side.'],
  503: ['SERVICE_UNAVAILABLE', 'Service Unavailable']
}

/** Returns the error for a status, from the vendor's table or else from the reason phrase. Anything but an error status is a 500. */
export function tenantErrorOfStatus (status: number): TenantError {
  if (!(Number.isInteger(status) && status >= 400 && status <= 599)) return tenantErrorOfStatus(500)
  const phrase = STATUS_CODES[status]
  if (phrase === undefined) return { ...tenantErrorOfStatus(status < 500 ? 400 : 500), status }
  const [code, message] = generic[status] ?? [phrase.replace(/'/g, '').replace(/[^a-z0-9]+/gi, '_').toUpperCase(), phrase]
  return { status, code, message }
}
