import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { Outage } from '../plugin/ask.ts'
import { failureStatus } from '../plugin/failure-status.ts'
import { verbatim } from '../plugin/host-isolation.ts'

/** An error as OAuth writes it. The description is one of a closed list: never a word of a token, or of a host's error. */
export interface OAuthError {
  readonly status: number
  readonly error: string
  readonly description?: string | undefined
  /** The `WWW-Authenticate` header. */
  readonly challenge?: string | undefined
}

/** @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2 */
export const oauthErrorSchema = Type.Object({ error: Type.String(), error_description: Type.Optional(Type.String()) },
  { additionalProperties: false })

/** In seconds. */
const retryAfter = '5'

/** Sends an error as JSON, past the serializers of the host. A 503 asks the client to retry. */
export function sendOAuthError (reply: FastifyReply, { status, error, description, challenge }: OAuthError): FastifyReply {
  if (challenge !== undefined) reply.header('www-authenticate', challenge)
  return sendJsonError(reply, status, { error, ...(description !== undefined && { error_description: description }) })
}

/** Sends an error body of another shape in the same way. */
export function sendJsonError (reply: FastifyReply, status: number, body: object): FastifyReply {
  if (status === 503) reply.header('retry-after', retryAfter)
  return reply.code(status).headers({ 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' })
    .serializer(verbatim).send(JSON.stringify(body))
}

/**
 * The error for whatever was thrown on the way to a response. An outage is a 503. Errors of the host's hooks keep their
 * status, and are named by its reason phrase.
 */
export function oauthErrorOf (thrown: unknown, reply: FastifyReply): OAuthError {
  return oauthErrorOfStatus(thrown instanceof Outage ? 503 : failureStatus(thrown, reply))
}

const names: Readonly<Record<number, string>> = { 500: 'server_error', 503: 'temporarily_unavailable' }

/** The error of a status that says nothing more. */
export function oauthErrorOfStatus (status: number): OAuthError {
  const phrase = STATUS_CODES[status] ?? 'error'
  return { status, error: names[status] ?? phrase.toLowerCase().replace(/[^a-z]+/g, '_') }
}
