import type { FastifyRequest } from 'fastify'

/**
 * Changes headers of a request for everything that reads them later, Fastify's body parsing included. Works also when a
 * hook of the host replaces `request.headers`, before or after: each read then returns a new object.
 */
export function overrideHeaders (request: FastifyRequest, changes: Readonly<Record<string, string | undefined>>): void {
  const raw = Object.assign(request.raw.headers, changes)
  const { headers } = request
  if (headers !== raw) request.headers = Object.assign(headers, changes)
}
