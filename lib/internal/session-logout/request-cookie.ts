import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { cookieReader, cookieRemover, type CredentialCookie, type ReadCookie } from '../http/cookie.ts'
import { logoutError } from './error.ts'

/** A cookie that carries a credential: how to read it from a request, and how to remove it. */
export interface RequestCookie {
  /** The values that the request has for the cookie. */
  read (request: FastifyRequest): string[]
  remove (reply: FastifyReply): void
}

/**
 * Reads and removes a cookie for a session source, which is made before its server: what `@fastify/cookie` decorates is
 * looked up at the first request.
 *
 * @throws {TypeError} for a cookie that browsers would reject
 */
export function requestCookie (cookie: CredentialCookie, caller: string, option: string): RequestCookie {
  const readers = new WeakMap<FastifyInstance, ReadCookie>()
  const readerFor = (server: FastifyInstance): ReadCookie => {
    const reader = readers.get(server) ?? misconfiguredUnless(() => cookieReader(server, cookie, { caller, option }))
    readers.set(server, reader)
    return reader
  }
  return {
    read: ({ server, headers }) => readerFor(server)(headers.cookie),
    remove: cookieRemover(cookie, caller, option)
  }
}

function misconfiguredUnless<T> (make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw logoutError('LOGOUT_MISCONFIGURED', error)
  }
}
