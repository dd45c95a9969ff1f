import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { randomBytes } from 'node:crypto'
import { cookieReader, cookieRemover, type CookieIdentity } from '../http/cookie.ts'
import { queryOf } from '../http/query.ts'

/** Where browsers go once the provider has sent them back, for as long as they are away. */
export interface LogoutStates {
  /** Remembers the target in a cookie of the browser, and returns the `state` for the provider. */
  begin (reply: FastifyReply, target: string): string
  /**
   * Removes the cookie. Returns the target if the `state` of the request is that of the cookie. Whatever a browser stored may
   * have been written by others: judge the target again.
   */
  end (request: FastifyRequest, reply: FastifyReply): string | undefined
}

/** The longest target that fits into the cookie: browsers drop cookies of more than 4096 characters. */
export const longestTarget = 2000

const maxAge = 600

/** Makes the states of a plugin. Browsers keep one for ten minutes. */
export function logoutStates (fastify: FastifyInstance, caller: string, isHttps: boolean): LogoutStates {
  const cookie: CookieIdentity = { name: isHttps ? '__Host-logout-state' : 'logout-state', secure: isHttps }
  const read = cookieReader(fastify, cookie, { caller, option: 'publicUrl' })
  const remove = cookieRemover(cookie, caller, 'publicUrl')
  const attributes = `Path=/; Max-Age=${maxAge}; HttpOnly; ${isHttps ? 'Secure; ' : ''}SameSite=Lax`

  return {
    begin: (reply, target) => {
      const state = randomBytes(16).toString('base64url')
      reply.header('set-cookie', `${cookie.name}=${state}.${Buffer.from(target).toString('base64url')}; ${attributes}`)
      return state
    },
    end: (request, reply) => {
      remove(reply)
      const [state, ...others] = queryOf(request).getAll('state')
      if (state === undefined || others.length > 0) return undefined
      const value = read(request.headers.cookie).find(value => value.startsWith(`${state}.`))
      return value === undefined ? undefined : Buffer.from(value.slice(state.length + 1), 'base64url').toString()
    }
  }
}
