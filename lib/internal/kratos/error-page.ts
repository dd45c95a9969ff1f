import type { FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { wantsJson } from '../http/wants-json.ts'
import { noteRedirectedRefusal } from '../plugin/diagnostics.ts'
import { kratosMessage, sendKratosEmpty, sendKratosError, type KratosError } from './error.ts'

/** Responds to a request with an error. */
export type RefuseRequest = (request: FastifyRequest, reply: FastifyReply, error: KratosError) => FastifyReply

/**
 * Makes the function that sends the error as JSON, or redirects a browser to the error page. Without a page, every caller
 * gets JSON. The query of the page has the name of the error as `error`, and a sentence about it as `error_description`.
 */
export function errorResponder (page: URL | undefined): RefuseRequest {
  return (request, reply, error) => {
    if (page === undefined || wantsJson(request.headers)) return sendKratosError(request, reply, error)
    const target = new URL(page)
    target.searchParams.set('error', error.id ?? nameOf(error.status))
    target.searchParams.set('error_description', error.description ?? error.reason ?? kratosMessage(error))
    noteRedirectedRefusal(reply, error.status)
    return sendKratosEmpty(reply.header('location', target.href), 303)
  }
}

/** The reason phrase as a name: `bad_request`. */
function nameOf (status: number): string {
  return String(STATUS_CODES[status] ?? status).toLowerCase().replace(/[^a-z\d]+/g, '_')
}
