import type { FastifyRequest } from 'fastify'

/** The query of a request, read in the one way that no setting of the host changes. */
export function queryOf ({ url }: Pick<FastifyRequest, 'url'>): URLSearchParams {
  const start = url.indexOf('?')
  return new URLSearchParams(start === -1 ? '' : url.slice(start + 1))
}

/** The path of a request as its caller wrote it, without the query. */
export function pathOf ({ url }: Pick<FastifyRequest, 'url'>): string {
  return url.replace(/\?.*$/s, '')
}
