import { createHmac, timingSafeEqual } from 'node:crypto'

const purpose = 'fastify-logout/kratos/logout-token/1'

/**
 * The logout token of a session: derived from the session token, so that it is the same on every node and after every
 * restart, belongs to one session, and does not open that session. As hard to guess as the session token.
 * @see https://www.rfc-editor.org/rfc/rfc2104
 */
export function logoutUrlToken (sessionToken: string): string {
  return `ory_lo_${createHmac('sha256', sessionToken).update(purpose).digest('base64url')}`
}

/** Whether this is the logout token of that session. Takes the same time for every wrong token. */
export function isLogoutUrlToken (given: string, sessionToken: string): boolean {
  const expected = createHmac('sha256', sessionToken).update(logoutUrlToken(sessionToken)).digest()
  return timingSafeEqual(createHmac('sha256', sessionToken).update(given).digest(), expected)
}
