import type { FastifyRequest } from 'fastify'

/** Returns the query of a request, parsed without the host's `querystringParser`. */
export function queryOf ({ url }: Pick<FastifyRequest, 'url'>): URLSearchParams {
  const start = url.indexOf('?')
  return new URLSearchParams(start === -1 ? '' : url.slice(start + 1))
}

/** Returns the path of a request as it was sent, without the query. */
export function pathOf ({ url }: Pick<FastifyRequest, 'url'>): string {
  return url.replace(/\?.*$/s, '')
}
