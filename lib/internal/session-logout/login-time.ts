import type { FastifyRequest } from 'fastify'
import type { Credential } from '../../revocation-store.ts'

/**
 * Makes a check that logs a warning for the first session without a login time, once for each source. Such a session is
 * covered by every mark of its user, also if the user logs in again after "log out everywhere".
 *
 * @param hint what the host can do about it
 */
export function loginTimeCheck (caller: string, hint: string): (credential: Credential, request: FastifyRequest) => void {
  let isWarned = false
  return ({ loggedInAt, issuedAt }, request) => {
    if (isWarned || Number.isFinite(loggedInAt ?? issuedAt)) return
    isWarned = true
    request.log.warn({ event: 'logout.no-login-time' },
      `${caller}: a session has no login time. Once its user logs out of other or all sessions, later logins are refused as well. ${hint}`)
  }
}
