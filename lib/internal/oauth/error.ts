import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { Outage } from '../plugin/ask.ts'
import { failureStatus } from '../plugin/failure-status.ts'
import { verbatim } from '../plugin/host-isolation.ts'

/**
 * An error of a flow of OAuth or OpenID Connect. The description is one of a closed list: never a word of a request, of a
 * token, or of another error.
 */
export interface OAuthError {
  readonly status: number
  readonly error: string
  readonly description?: string | undefined
  /** The `WWW-Authenticate` header. */
  readonly challenge?: string | undefined
}

/**
 * The JSON of an error, for route schemas.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export const oauthErrorSchema = Type.Object({
  error: Type.String({ description: 'Names the error for programs' }),
  error_description: Type.Optional(Type.String())
}, { additionalProperties: false })

/** Returns the responses for these statuses, for route schemas, each with its description, and those for every other failure. */
export function oauthFailures (descriptions: Readonly<Record<string, string>>): Readonly<Record<string, typeof oauthErrorSchema>> {
  const described = { ...descriptions, '4xx': 'The request was refused', '5xx': 'The outcome is unknown: retry' }
  return Object.fromEntries(Object.entries(described).map(([status, description]) => [status, { ...oauthErrorSchema, description }]))
}

/** In seconds. */
const retryAfter = '5'

/** Sends an error as JSON. A 503 says when to retry. */
export function sendOAuthError (reply: FastifyReply, { status, error, description, challenge }: OAuthError): FastifyReply {
  if (challenge !== undefined) reply.header('www-authenticate', challenge)
  return sendJson(reply, status, { error, ...(description !== undefined && { error_description: description }) })
}

/** Sends JSON, whatever serializers and hooks the host has. A 503 says when to retry. */
export function sendJson (reply: FastifyReply, status: number, body: object): FastifyReply {
  if (status === 503) reply.header('retry-after', retryAfter)
  return reply.code(status).headers({ 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' })
    .serializer(verbatim).send(JSON.stringify(body))
}

/** Sends a response without a body. */
export function sendEmpty (reply: FastifyReply, status: number): FastifyReply {
  return reply.code(status).removeHeader('content-type').header('cache-control', 'no-store').send()
}

/**
 * Returns the error for whatever was thrown. An {@link Outage} is a 503. Errors of the host's hooks, and those of Fastify when
 * it reads the body, keep their status, and have its reason phrase as their name. Everything else is a 500.
 */
export function oauthErrorOf (thrown: unknown, reply: FastifyReply): OAuthError {
  const status = thrown instanceof Outage ? 503 : failureStatus(thrown, reply)
  return { status, error: names[status] ?? snakeCase(STATUS_CODES[status] ?? 'error') }
}

/**
 * Returns an error handler for everything that is thrown: by the host's functions, by Fastify while it reads the body, by hooks of
 * the host. What is not the caller's fault is logged with this message.
 */
export function oauthErrorHandler (message: string): (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => void {
  return (thrown, request, reply) => {
    const error = oauthErrorOf(thrown, reply)
    if (error.status >= 500) request.log.error({ err: thrown, event: 'logout.outage' }, message)
    sendOAuthError(reply, error)
  }
}

const names: Readonly<Record<number, string>> = {
  413: 'payload_too_large',
  500: 'server_error',
  503: 'temporarily_unavailable'
}

function snakeCase (phrase: string): string {
  return phrase.toLowerCase().replace(/[^a-z]+/g, '_')
}
