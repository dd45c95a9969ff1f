import type { FastifyRequest } from 'fastify'

const mark = Symbol('fastify-logout.no-activity')

/** The `config` of every logout route: a request to it is no activity of its user. */
export const noActivity: object = { [mark]: true }

/** Whether a request to this route shows that its user is active. */
export function isActivity (request: FastifyRequest): boolean {
  return !(mark in request.routeOptions.config)
}
