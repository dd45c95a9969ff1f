import type { FastifyRequest } from 'fastify'
import { bearerToken } from '../bearer-token.ts'
import { credentialOf } from '../logout-marks.ts'
import { assertFunctions, assertOption, duration } from '../option-check.ts'
import { checkWithin, unknownError, type WhenUnknown } from '../revocation-check.ts'
import type { CredentialFacts, RevocationStore } from '../revocation-store.ts'
import type { Claims } from '../token-verifier.ts'

/** What {@link trustedBy} looks up, and what it does when it cannot. */
export interface TrustedByOptions {
  /** Where the marks live: a revocation store, or a replica of one. */
  readonly revocations: Pick<RevocationStore, 'check'>
  /** The facts of a verified token. @default credentialOf, with the digest of the bearer token for one without a `jti` */
  readonly credential?: ((claims: Claims, request: FastifyRequest) => CredentialFacts) | undefined
  /** What to do when the store cannot tell: reject with a 503, or trust the token. @default 'refuse' */
  readonly whenUnknown?: WhenUnknown | undefined
  /** How long the store may take, in milliseconds. @default 1000 */
  readonly deadline?: number | undefined
}

/**
 * The `trusted` option of @fastify/jwt: `request.jwtVerify()` then rejects a revoked token with the plugin's own 401
 * (`FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED`), and, when the store fails or is late, with an error of status 503.
 *
 * Use this or `revocationGuard`, not both: each is one lookup.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function trustedBy (options: TrustedByOptions): (request: FastifyRequest, claims: Claims) => boolean | Promise<boolean> {
  const plugin = 'trustedBy'
  const { revocations, credential = (claims, request) => credentialOf(claims, bearerToken(request.headers.authorization)), whenUnknown = 'refuse' } = options
  assertOption(typeof revocations?.check === 'function', plugin, 'revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertFunctions(options, plugin, ['credential'])
  assertOption(['refuse', 'allow'].includes(whenUnknown), plugin, 'whenUnknown', 'must be "refuse" or "allow"')
  const check = checkWithin(revocations, duration(options.deadline, 1000, plugin, 'deadline'), plugin)

  return async (request, claims) => {
    try {
      return await check(credential(claims, request)) === 'live'
    } catch (cause) {
      const error = unknownError(cause)
      request.log.error({ err: error, event: 'revocation.outage', whenUnknown }, 'it could not be told whether a credential is revoked')
      if (whenUnknown === 'allow') return true
      throw error
    }
  }
}
