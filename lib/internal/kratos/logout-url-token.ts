import { createHmac, timingSafeEqual } from 'node:crypto'

const purpose = 'fastify-logout/kratos/logout-token/1'

/**
 * Returns the logout token of a session. It is derived from the session token: it is the same on every node and after a
 * restart, works for this session only, is as hard to guess as the session token, and does not reveal it.
 * @see https://www.rfc-editor.org/rfc/rfc2104
 */
export function logoutUrlToken (sessionToken: string): string {
  return `ory_lo_${createHmac('sha256', sessionToken).update(purpose).digest('base64url')}`
}

/** Whether this is the logout token of that session. The comparison takes the same time for every wrong token. */
export function isLogoutUrlToken (given: string, sessionToken: string): boolean {
  const expected = createHmac('sha256', sessionToken).update(logoutUrlToken(sessionToken)).digest()
  return timingSafeEqual(createHmac('sha256', sessionToken).update(given).digest(), expected)
}
