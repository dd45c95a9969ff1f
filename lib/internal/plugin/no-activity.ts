import type { FastifyInstance, FastifyRequest } from 'fastify'

/** The same in every copy of this package, so that the guard of one copy knows the logout routes of another. */
const mark = Symbol.for('fastify-logout.no-activity')

/**
 * Makes the routes of an encapsulated scope logout routes: a request to one of them is not activity of its user, and
 * `revocationGuard` leaves them alone.
 *
 * The mark is on the scope. What a host's `onRoute` hook writes into a route's `config`, or leaves out of it, changes nothing.
 */
export function noActivity (scope: FastifyInstance): void {
  scope.decorate(mark, true)
}

/** Whether the routes of this scope are logout routes. */
export function isLogoutScope (scope: FastifyInstance): boolean {
  return scope.hasDecorator(mark)
}

/** Whether a request to this route shows that its user is active. */
export function isActivity (request: FastifyRequest): boolean {
  return !isLogoutScope(request.server)
}
