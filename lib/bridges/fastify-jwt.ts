import type { FastifyRequest } from 'fastify'
import { credentialOf } from '../internal/revocation/logout-marks.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { checkWithin, unknownError, type WhenUnavailable } from '../internal/revocation/check.ts'
import type { Credential, RevocationStore } from '../revocation-store.ts'
import type { Claims } from '../token-verifier.ts'

/** What {@link trustedBy} looks up, and what it does when it cannot. */
export interface TrustedByOptions {
  /** Where the marks live: a revocation store, or a replica of one. */
  readonly revocations: Pick<RevocationStore, 'check'>
  /**
   * The facts of a verified token. Needed for tokens without a `jti` where `jwtVerify` is given an `extractToken` of its own.
   * @default credentialOf, with the digest of the token for one without a `jti`, wherever @fastify/jwt looks for it: in the header, in the cookie, by the `extractToken` it was registered with
   */
  readonly credential?: ((claims: Claims, request: FastifyRequest) => Credential) | undefined
  /** What to do when the store cannot answer: reject with a 503, or trust the token. @default 'refuse' */
  readonly whenUnavailable?: WhenUnavailable | undefined
  /** How long the store may take, in milliseconds. @default 1000 */
  readonly timeout?: number | undefined
}

/**
 * The `trusted` option of @fastify/jwt: `request.jwtVerify()` then rejects a revoked token with the plugin's own 401
 * (`FST_JWT_AUTHORIZATION_TOKEN_UNTRUSTED`), and, when the store fails or is late, with an error of status 503. So it
 * does for a token that has no `jti` and cannot be found in the request: nobody can tell whether that one is revoked.
 *
 * Use this or `revocationGuard`, not both: each is one lookup.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function trustedBy (options: TrustedByOptions): (request: FastifyRequest, claims: Claims) => boolean | Promise<boolean> {
  const plugin = 'trustedBy'
  const { revocations, credential, whenUnavailable = 'refuse' } = options
  assertOption(typeof revocations?.check === 'function', plugin, 'revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertFunctions(options, plugin, ['credential'])
  assertOption(['refuse', 'allow'].includes(whenUnavailable), plugin, 'whenUnavailable', 'must be "refuse" or "allow"')
  const check = checkWithin(revocations, duration(options.timeout, 1000, plugin, 'timeout'), plugin)
  const readings = credential === undefined ? readingsOf : (claims: Claims, request: FastifyRequest) => [credential(claims, request)]

  return async (request, claims) => {
    try {
      for (const facts of readings(claims, request)) {
        if (await check(facts) === 'revoked') return false
      }
      return true
    } catch (cause) {
      const error = unknownError(cause)
      request.log.error({ err: error, event: 'revocation.outage', whenUnavailable }, 'it could not be told whether a credential is revoked')
      if (whenUnavailable === 'allow') return true
      throw error
    }
  }
}

/** One reading, unless a client sent a second token with the same claims: which of them was verified is not known here. */
function readingsOf (claims: Claims, request: FastifyRequest): Credential[] {
  const facts = credentialOf(claims)
  if (facts.tokenId !== undefined) return [facts]
  const tokens = [...tokensIn(request)].filter(token => carries(token, claims))
  if (tokens.length === 0) throw new Error('there is neither a jti nor the token that was verified: pass trustedBy the option "credential"')
  return tokens.map(token => credentialOf(claims, token))
}

interface TokenLookup {
  readonly cookie?: unknown
  lookupToken (request: FastifyRequest, options: { readonly onlyCookie: boolean }): unknown
}

/** Every token that some call of `jwtVerify` could have verified, in whichever namespace. */
function tokensIn (request: FastifyRequest): Set<string> {
  const { jwt } = request.server as { jwt?: object }
  const lookups = [jwt, ...Object.values(jwt ?? {})].filter(isTokenLookup)
  const found = lookups.flatMap(lookup => waysOf(lookup).map(onlyCookie => lookUp(lookup, request, onlyCookie)))
  return new Set(found.filter(token => typeof token === 'string'))
}

function isTokenLookup (value: unknown): value is TokenLookup {
  return typeof (value as Partial<TokenLookup> | undefined)?.lookupToken === 'function'
}

function waysOf (jwt: TokenLookup): boolean[] {
  return 'cookie' in jwt && jwt.cookie === undefined ? [false] : [false, true]
}

function lookUp (jwt: TokenLookup, request: FastifyRequest, onlyCookie: boolean): unknown {
  try {
    return jwt.lookupToken(request, { onlyCookie })
  } catch {
    return undefined
  }
}

/** Hosts add to claims, and a verifier with a cache gives them back: what the token says must be there, not more. */
function carries (token: string, claims: Claims): boolean {
  try {
    const said: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    return Object.entries(Object(said)).every(([name, value]) => typeof value === 'object' || claims[name] === value)
  } catch {
    return false
  }
}
