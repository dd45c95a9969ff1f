import type { FastifyRequest } from 'fastify'

/**
 * Changes headers of a request for everything that reads them later, Fastify's body parsing included. Works also when a
 * hook of the host has replaced `request.headers`: each read returns a new object then.
 */
export function overrideHeaders (request: FastifyRequest, changes: Readonly<Record<string, string | undefined>>): void {
  const headers = Object.assign(request.headers, changes)
  if (request.headers !== headers) request.headers = headers
}
