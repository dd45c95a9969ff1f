import type { FastifyRequest } from 'fastify'
import { hash } from 'node:crypto'
import type { Credential } from '../revocation-store.ts'

/** Where the cookie is, and what its session says of itself. */
export interface SecureSessionCredentialOptions {
  /** The cookie's name. @default 'session' */
  readonly cookieName?: string | undefined
  /**
   * What the session says of itself. Without it, only the one cookie that a request sent can be revoked: @fastify/secure-session
   * makes another cookie whenever the session changes, and those before it stay good. Put an id into the session at login,
   * and give it as the `sessionId`.
   */
  readonly facts?: ((request: FastifyRequest) => Omit<Credential, 'tokenId'> | undefined) | undefined
}

const nonceBytes = 24

/**
 * The credential of a cookie of @fastify/secure-session, for a guard and for a logout. Its token id is the digest of the
 * cookie's nonce, which is new for each cookie and cannot be changed: the same cookie, written differently, is the same.
 */
export function secureSessionCredential (options: SecureSessionCredentialOptions = {}): (request: FastifyRequest) => Credential | undefined {
  const { cookieName = 'session', facts = () => undefined } = options
  return request => {
    const { cookies } = request as FastifyRequest & { cookies?: Readonly<Record<string, string | undefined>> }
    const nonce = Buffer.from(cookies?.[cookieName]?.split(';')[1] ?? '', 'base64').subarray(0, nonceBytes)
    if (nonce.length < nonceBytes) return undefined
    return { ...facts(request), tokenId: hash('sha256', nonce, 'base64url') }
  }
}
