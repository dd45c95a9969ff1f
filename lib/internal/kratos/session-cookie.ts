import type { FastifyInstance } from 'fastify'
import { cookieReader, type CredentialCookie } from '../http/cookie.ts'

/** The cookie that carries the session token. */
export interface SessionCookie extends Omit<CredentialCookie, 'name'> {
  /** The name of the cookie. @default 'ory_kratos_session' */
  readonly name?: string | undefined
}

/** Reads the session token from a `Cookie` header. */
export type ReadSessionCookie = (header: string | undefined) => string | undefined

/** Returns the cookie with its name. The default is the name that Ory Kratos uses. */
export function namedSessionCookie (cookie: SessionCookie): CredentialCookie {
  return { ...cookie, name: cookie.name ?? 'ory_kratos_session' }
}

/**
 * Makes the function that reads the session token: the first value of the cookie that is not empty. If the cookie is
 * signed, the first value with the host's signature.
 *
 * @throws {TypeError} for signed cookies without `@fastify/cookie`
 */
export function sessionCookieReader (fastify: FastifyInstance, cookie: SessionCookie, caller: string): ReadSessionCookie {
  const read = cookieReader(fastify, namedSessionCookie(cookie), { caller, option: 'cookie' })
  return header => read(header)[0]
}
