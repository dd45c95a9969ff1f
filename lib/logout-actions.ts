import type { FastifyReply, FastifyRequest } from 'fastify'
import type { HostSession, SubjectSessions } from './session-source.ts'
import { logoutSteps, type LogoutActionsOptions } from './internal/session-logout/steps.ts'
import { logoutError } from './internal/session-logout/error.ts'

/**
 * Logouts for the host's own handlers: a password change, an admin page, the deletion of an account.
 *
 * Every function rejects with `LOGOUT_UNAVAILABLE` (503) if the source could not tell what happened. Then nothing is
 * cleared, and the call can be repeated. There is no cross-site check and no `return_to`: the host's route decides.
 *
 * @example
 * ```ts
 * import type { LogoutActions } from 'fastify-logout'
 *
 * export async function deleteAccount (subject: string, { logOutSubject }: LogoutActions): Promise<void> {
 *   // delete the account, then:
 *   await logOutSubject({ subject })
 * }
 * ```
 */
export interface LogoutActions<S extends HostSession = HostSession> {
  /** Ends the session of this request and removes its credential. Resolves the session if it was live and this call ended it. */
  logOut (request: FastifyRequest, reply: FastifyReply): Promise<S | undefined>

  /**
   * Ends the other sessions of this request's user. Resolves their number if the source counts them. Rejects with
   * `LOGOUT_NOT_LOGGED_IN` (401) without a live session.
   */
  logOutOthers (request: FastifyRequest, reply: FastifyReply): Promise<number | undefined>

  /**
   * Ends all sessions of this request's user, this one last, and removes its credential. Rejects with
   * `LOGOUT_NOT_LOGGED_IN` (401) without a live session. The credential is then removed, too.
   */
  logOutAll (request: FastifyRequest, reply: FastifyReply): Promise<void>

  /**
   * Ends the sessions of any user that exist now, except one. Resolves their number if the source counts them. Pass the
   * request, if there is one, for the log and for `onLogout`.
   */
  logOutSubject (query: SubjectSessions<S>, request?: FastifyRequest): Promise<number | undefined>
}

/**
 * Makes the logouts that `sessionLogout` does available to other handlers. The type of the session is inferred from
 * `sessions`.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { logoutActions } from 'fastify-logout'
 * import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const sessions = sessionStoreSource(memorySessionStore(), { cookie: { name: 'sid' } })
 * const { logOutOthers, logOutSubject } = logoutActions({ sessions })
 *
 * app.post('/password', async (request, reply) => {
 *   // change the password, then:
 *   await logOutOthers(request, reply)
 *   return { changed: true }
 * })
 * app.delete<{ Params: { id: string } }>('/users/:id', async (request) => {
 *   await logOutSubject({ subject: request.params.id }, request)
 *   return { deleted: true }
 * })
 * ```
 */
export function logoutActions<S extends HostSession> (options: LogoutActionsOptions<S>): LogoutActions<S> {
  const { find, logOut, logOutOthers, logOutAll, logOutSubject } = logoutSteps(options, 'logoutActions')

  return {
    logOut,
    logOutOthers: async request => {
      const session = await find(request)
      if (session === undefined) throw logoutError('LOGOUT_NOT_LOGGED_IN')
      return logOutOthers(session, request)
    },
    logOutAll: async (request, reply) => {
      const session = await find(request)
      if (session === undefined) {
        await logOut(request, reply)
        throw logoutError('LOGOUT_NOT_LOGGED_IN')
      }
      await logOutAll(session, request, reply)
    },
    logOutSubject
  }
}
