import type { FastifyReply, FastifyRequest } from 'fastify'
import { assertOption } from '../internal/plugin/options.ts'
import {
  logOutage, resolveCheckOptions, revokedError, usableCredential, type RevocationCheckOptions
} from '../internal/revocation/check.ts'
import type { Credential, Verdict } from '../revocation-store.ts'

/** What {@link notRevoked} looks up, and what it does when it cannot. `revocations` and `credential` are required. */
export interface NotRevokedOptions extends RevocationCheckOptions {
  /** Returns the credential that a function before this one verified. If it returns none, the request is refused. Not async. */
  readonly credential: (request: FastifyRequest) => Credential | undefined | null
}

/**
 * Makes a function for @fastify/auth that fails for a revoked credential. It verifies nothing: put it behind the function
 * that does, with the relation `and`. Like @fastify/auth itself, it fails with 401 if there is no credential.
 *
 * It sets the status of the reply itself, because @fastify/auth answers 401 to every failure without one.
 *
 * @throws {TypeError} for an option that is missing or wrong
 *
 * @example
 * ```ts
 * import fastifyAuth from '@fastify/auth'
 * import fastify from 'fastify'
 * import { credentialOf, type Claims } from 'fastify-logout'
 * import { notRevoked } from 'fastify-logout/bridges/fastify-auth'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const app = fastify()
 * await app.register(fastifyAuth)
 * const verifyToken = async () => {} // yours: verifies the token, and puts its claims into request.user
 * const live = notRevoked({
 *   revocations: memoryRevocationStore(),
 *   credential: request => credentialOf((request as unknown as { user: Claims }).user)
 * })
 * app.get('/me', { preHandler: app.auth([verifyToken, live], { relation: 'and' }) }, async () => 'hello')
 * ```
 */
export function notRevoked (options: NotRevokedOptions): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const { check, whenUnavailable } = resolveCheckOptions(options, caller)
  const { credential } = options
  assertOption(typeof credential === 'function', caller, 'credential', 'is missing: pass request => credentialOf(request.user)')

  return async (request, reply) => {
    const found = readCredential(credential, request, reply)
    if (found === undefined) {
      reply.code(401)
      throw Object.assign(new Error('there is no verified credential'), { statusCode: 401 })
    }
    let verdict: Verdict
    try {
      verdict = await check(found)
    } catch (cause) {
      const error = logOutage(request, cause, whenUnavailable)
      if (whenUnavailable === 'allow') return
      reply.code(error.statusCode)
      throw error
    }
    if (verdict === 'live') return
    reply.code(401).header('www-authenticate', 'Bearer error="invalid_token"')
    throw revokedError()
  }
}

const caller = 'notRevoked'

/** A mistake of the host is not a 401. */
function readCredential (
  credential: NotRevokedOptions['credential'],
  request: FastifyRequest,
  reply: FastifyReply
): Credential | undefined {
  try {
    return usableCredential(credential(request), caller)
  } catch (error) {
    reply.code(500)
    throw error
  }
}
