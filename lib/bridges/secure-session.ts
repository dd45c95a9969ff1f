import type { FastifyRequest } from 'fastify'
import { hash } from 'node:crypto'
import { assertFunctions, assertOption } from '../internal/plugin/options.ts'
import { assertNotAsync } from '../internal/revocation/check.ts'
import type { Credential } from '../revocation-store.ts'

/** Which cookie is read, and what its session says of itself. */
export interface SecureSessionCredentialOptions {
  /** The cookie's name, as `cookieName` of `@fastify/secure-session` has it. @default 'session' */
  readonly cookieName?: string | undefined
  /**
   * Returns what the session says of itself. Without it, only the one cookie that a request sent can be revoked:
   * `@fastify/secure-session` makes another cookie whenever the session changes, and the earlier ones stay valid. Put an id
   * into the session at login, and return it as the `sessionId`. Not async.
   */
  readonly credential?: ((request: FastifyRequest) => Omit<Credential, 'tokenId'> | undefined) | undefined
}

const nonceBytes = 24

/**
 * Makes a function that reads the credential of a cookie of @fastify/secure-session, for a guard and for a logout. Its
 * token id is the digest of the cookie's nonce, which is new for each cookie and cannot be changed: the same cookie,
 * spelled differently, is the same.
 *
 * The `lifetime` of marks must be at least the plugin's `expiry`, which is a day by default.
 *
 * @throws {TypeError} for a wrong option. The function that it returns throws one if @fastify/secure-session has not yet
 * read the request, and for an async `credential`.
 *
 * @example
 * ```ts
 * import fastify, { type FastifyRequest } from 'fastify'
 * import { revocationGuard } from 'fastify-logout'
 * import { secureSessionCredential } from 'fastify-logout/bridges/secure-session'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const app = fastify() // with @fastify/secure-session registered
 * const sessionOf = (request: FastifyRequest) => (request as unknown as { session: { get (key: string): string | undefined } }).session
 * await app.register(revocationGuard, {
 *   revocations: memoryRevocationStore(),
 *   credential: secureSessionCredential({ credential: request => ({ sessionId: sessionOf(request).get('id') }) })
 * })
 * ```
 */
export function secureSessionCredential (
  options: SecureSessionCredentialOptions = {}
): (request: FastifyRequest) => Credential | undefined {
  const { cookieName = 'session', credential = () => undefined } = options
  assertOption(typeof cookieName === 'string' && cookieName !== '', caller, 'cookieName', 'must be a non-empty string')
  assertFunctions(options, caller, ['credential'])

  return request => {
    const own = credential(request)
    assertNotAsync(own, caller)
    const tokenId = cookieIdOf(request, cookieName)
    return tokenId === undefined ? own : { ...own, tokenId }
  }
}

const caller = 'secureSessionCredential'

function cookieIdOf (request: FastifyRequest, cookieName: string): string | undefined {
  const { cookies } = request as FastifyRequest & { cookies?: Readonly<Record<string, string | undefined>> | null }
  if (typeof cookies !== 'object' || cookies === null) throw new TypeError(`${caller}: register @fastify/secure-session before the guard`)
  const nonce = Buffer.from(cookies[cookieName]?.split(';')[1] ?? '', 'base64').subarray(0, nonceBytes)
  return nonce.length < nonceBytes ? undefined : hash('sha256', nonce, 'base64url')
}
