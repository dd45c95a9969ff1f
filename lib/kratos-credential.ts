import type { IncomingHttpHeaders } from 'node:http'
import { bearerToken } from './bearer-token.ts'
import type { ReadSessionCookie } from './session-cookie.ts'

/** The session token of a request. */
export interface KratosCredential {
  readonly token: string
  /** Whether the session cookie carries this very token: when its session ends, the cookie has to go. */
  readonly inCookie: boolean
}

/**
 * Finds the session token where Ory Kratos looks for it: in `X-Session-Token`, then in the session cookie, then in
 * `Authorization: Bearer`. The first one counts, even if its session is gone.
 */
export function kratosCredential (headers: IncomingHttpHeaders, readCookie: ReadSessionCookie): KratosCredential | undefined {
  const cookie = readCookie(headers.cookie)
  const header = String(headers['x-session-token'] ?? '')
  const token = header !== '' ? header : cookie ?? bearerToken(headers.authorization)
  return token === undefined ? undefined : { token, inCookie: token === cookie }
}
