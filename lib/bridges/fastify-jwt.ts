import type { FastifyRequest } from 'fastify'
import { isId } from '../internal/marks/id.ts'
import { assertFunctions } from '../internal/plugin/options.ts'
import { logOutage, resolveCheckOptions, usableCredential, type RevocationCheckOptions } from '../internal/revocation/check.ts'
import { credentialOf } from '../internal/revocation/logout-marks.ts'
import { claimsIdOf } from '../internal/revocation/token-id.ts'
import type { Credential } from '../revocation-store.ts'
import type { Claims } from '../token-verifier.ts'

/** What {@link trustedBy} looks up, and what it does when it cannot. `revocations` is required. */
export interface TrustedByOptions extends RevocationCheckOptions {
  /**
   * Returns the credential of a verified token. Not async.
   *
   * @default credentialOf; a token without a `jti` is known by what it says, as `credentialOf(claims, token)` has it
   */
  readonly credential?: ((claims: Claims, request: FastifyRequest) => Credential) | undefined
}

/**
 * Makes the `trusted` option of @fastify/jwt: `request.jwtVerify()` then rejects a revoked token with the plugin's own 401
 * (`FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED`) and, if the store fails or is late, with an error of status 503.
 *
 * With `verify.cache`, @fastify/jwt hands out claims that the host may have changed. Tokens without a `jti` then need
 * `verify: { cache: true, complete: true }` and `formatUser: ({ payload }) => payload`, or the option `credential`.
 *
 * Use this or `revocationGuard`, not both: each is one lookup.
 *
 * @throws {TypeError} for an option that is missing or wrong. The function that it returns rejects with a `TypeError` for
 * a token that no mark could cover.
 *
 * @example
 * ```ts
 * import fastifyJwt from '@fastify/jwt'
 * import fastify from 'fastify'
 * import { trustedBy } from 'fastify-logout/bridges/fastify-jwt'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const revocations = memoryRevocationStore()
 * const app = fastify()
 * await app.register(fastifyJwt, { secret: 'a long secret of your own', trusted: trustedBy({ revocations }) })
 * ```
 */
export function trustedBy (options: TrustedByOptions): (request: FastifyRequest, claims: Claims) => Promise<boolean> {
  const { check, whenUnavailable } = resolveCheckOptions(options, caller)
  assertFunctions(options, caller, ['credential'])
  const { credential = credentialOfVerified } = options

  return async (request, claims) => {
    const found = usableCredential(credential(claims, request), caller)
    if (found === undefined) throw new TypeError(`${caller}: option "credential" must return a credential`)
    try {
      return await check(found) === 'live'
    } catch (cause) {
      const error = logOutage(request, cause, whenUnavailable)
      if (whenUnavailable === 'allow') return true
      throw error
    }
  }
}

const caller = 'trustedBy'

/** The claims are what was verified, wherever in the request the token was: no other token of the request counts. */
function credentialOfVerified (verified: Claims, request: FastifyRequest): Credential {
  if (isComplete(verified)) {
    const [header, payload = ''] = verified.input.split('.')
    return credentialOf(JSON.parse(Buffer.from(payload, 'base64url').toString()), `${header}.${payload}.`)
  }
  if (isId(verified['jti'])) return credentialOf(verified)
  if (cachesClaims(request)) {
    throw new TypeError(`${caller}: a token without a jti and "verify.cache" need "verify.complete" too, or the option "credential"`)
  }
  return credentialOf({ ...verified, jti: claimsIdOf(verified) })
}

/** What @fastify/jwt verifies with the option `verify.complete`. */
function isComplete (verified: Claims): verified is { readonly input: string } {
  const { header, payload, signature, input } = verified
  return Object.keys(verified).length === 4 && [header, payload].every(part => typeof part === 'object') &&
    [signature, input].every(part => typeof part === 'string')
}

/** Whether @fastify/jwt, in any namespace, may have handed out the same claims before. */
function cachesClaims (request: FastifyRequest): boolean {
  const { jwt } = request.server as { jwt?: object }
  return [jwt, ...Object.values({ ...jwt })].some(one => {
    const cache = (one as { options?: { verify?: { cache?: unknown } } } | undefined)?.options?.verify?.cache
    return cache !== undefined && cache !== false && cache !== 0
  })
}
