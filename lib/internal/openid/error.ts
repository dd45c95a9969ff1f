import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { Outage } from '../plugin/ask.ts'
import { failureStatus } from '../plugin/failure-status.ts'
import { verbatim } from '../plugin/host-isolation.ts'

/** An error of an OpenID Connect flow: its status, its name and, from a closed list, what is wrong. */
export interface OpenidError {
  readonly status: number
  readonly error: string
  /** Never a text of the request, of a token or of another error. */
  readonly description?: string
}

/**
 * The JSON of an error, for route schemas.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export const openidErrorSchema = Type.Object({
  error: Type.String({ description: 'Names the error for programs' }),
  error_description: Type.Optional(Type.String())
}, { additionalProperties: false })

/** Returns the responses for these statuses, for route schemas, each with its description, and those for every other failure. */
export function openidFailures (descriptions: Readonly<Record<string, string>>): Readonly<Record<string, typeof openidErrorSchema>> {
  const described = { ...descriptions, '4xx': 'The request was refused', '5xx': 'The outcome is unknown: retry' }
  return Object.fromEntries(Object.entries(described).map(([status, description]) => [status, { ...openidErrorSchema, description }]))
}

/** Sends an error. A 503 says when to retry. */
export function sendOpenidError (reply: FastifyReply, { status, error, description }: OpenidError): FastifyReply {
  if (status === 503) reply.header('retry-after', '5')
  return sendOpenidJson(reply.code(status), { error, error_description: description })
}

/** Sends JSON, whatever serializers and hooks the host has. */
export function sendOpenidJson (reply: FastifyReply, body: object): FastifyReply {
  return reply
    .header('content-type', 'application/json; charset=utf-8')
    .serializer(verbatim)
    .send(JSON.stringify(body))
}

const names: Readonly<Record<number, string>> = {
  413: 'payload_too_large',
  500: 'server_error',
  503: 'temporarily_unavailable'
}

/**
 * Returns the error for whatever was thrown. An {@link Outage} is a 503. Errors of the host's hooks, and those of Fastify when
 * it reads the body, keep their status, and have its reason phrase as their name. Everything else is a 500.
 */
export function openidErrorOf (thrown: unknown, reply: FastifyReply): OpenidError {
  const status = thrown instanceof Outage ? 503 : failureStatus(thrown, reply)
  return { status, error: names[status] ?? snakeCase(STATUS_CODES[status] ?? 'error') }
}

function snakeCase (phrase: string): string {
  return phrase.toLowerCase().replace(/[^a-z\d]+/g, '_')
}
