import type { FastifyReply, FastifyRequest } from 'fastify'
import { assertOption, duration } from '../internal/plugin/options.ts'
import { checkWithin, revokedError, unknownError, type WhenUnavailable } from '../internal/revocation/check.ts'
import type { Credential, RevocationStore } from '../revocation-store.ts'

/** What {@link notRevoked} looks up, and what it does when it cannot. */
export interface NotRevokedOptions {
  /** Where the marks live: a revocation store, or a replica of one. */
  readonly revocations: Pick<RevocationStore, 'check'>
  /** The facts of the credential that a function before this one verified. Without any, the request is refused. */
  readonly credential: (request: FastifyRequest) => Credential | undefined | null
  /** What to do when the store cannot answer: fail with 503, or pass. @default 'refuse' */
  readonly whenUnavailable?: WhenUnavailable | undefined
  /** How long the store may take, in milliseconds. @default 1000 */
  readonly timeout?: number | undefined
}

/**
 * A function for @fastify/auth that fails for a revoked credential. It verifies nothing: put it behind the function that
 * does, with the relation `and`: `app.auth([verifyToken, notRevoked({ ... })], { relation: 'and' })`.
 *
 * It sets the status itself, because @fastify/auth makes a 401 of every failure that has none.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function notRevoked (options: NotRevokedOptions): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const plugin = 'notRevoked'
  const { revocations, credential, whenUnavailable = 'refuse' } = options
  assertOption(typeof revocations?.check === 'function', plugin, 'revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertOption(typeof credential === 'function', plugin, 'credential', 'is missing: pass request => credentialOf(request.user)')
  assertOption(['refuse', 'allow'].includes(whenUnavailable), plugin, 'whenUnavailable', 'must be "refuse" or "allow"')
  const check = checkWithin(revocations, duration(options.timeout, 1000, plugin, 'timeout'), plugin)

  return async (request, reply) => {
    const facts = credential(request)
    if (facts === undefined || facts === null) {
      reply.code(401)
      throw Object.assign(new Error('there is no verified credential'), { statusCode: 401 })
    }
    let verdict
    try {
      verdict = await check(facts)
    } catch (cause) {
      const error = unknownError(cause)
      request.log.error({ err: error, event: 'revocation.outage', whenUnavailable }, 'it could not be told whether a credential is revoked')
      if (whenUnavailable === 'allow') return
      reply.code(error.statusCode)
      throw error
    }
    if (verdict === 'live') return
    reply.code(401).header('www-authenticate', 'Bearer error="invalid_token"')
    throw revokedError()
  }
}
