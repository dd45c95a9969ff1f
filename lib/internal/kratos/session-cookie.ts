import type { FastifyInstance } from 'fastify'
import { cookieReader, type CredentialCookie } from '../http/cookie.ts'

/** The cookie that carries the session token. */
export interface SessionCookie extends Omit<CredentialCookie, 'name'> {
  /** @default 'ory_kratos_session' */
  readonly name?: string | undefined
}

/** Reads the session token from a `Cookie` header. */
export type ReadSessionCookie = (header: string | undefined) => string | undefined

/** The cookie with the name that Ory Kratos gives it, if the host gave it none. */
export function namedSessionCookie (cookie: SessionCookie): CredentialCookie {
  return { ...cookie, name: cookie.name ?? 'ory_kratos_session' }
}

/**
 * Reads the session token from the first cookie of the name that has one; of signed cookies, from the first with the
 * host's signature.
 *
 * @throws {TypeError} for signed cookies without `@fastify/cookie`
 */
export function sessionCookieReader (fastify: FastifyInstance, cookie: SessionCookie, caller: string): ReadSessionCookie {
  const read = cookieReader(fastify, namedSessionCookie(cookie), { caller, option: 'cookie' })
  return header => read(header)[0]
}
