/** Names an error of a session logout. */
export type LogoutErrorCode =
  | 'LOGOUT_PREFETCH'
  | 'LOGOUT_CROSS_SITE'
  | 'LOGOUT_BODY'
  | 'LOGOUT_SCOPE'
  | 'LOGOUT_RETURN_TO'
  | 'LOGOUT_NOT_LOGGED_IN'
  | 'LOGOUT_FORBIDDEN'
  | 'LOGOUT_UNAVAILABLE'
  | 'LOGOUT_MISCONFIGURED'

/** The errors of a session logout: status and message, by code. */
const failures: Readonly<Record<LogoutErrorCode, readonly [status: number, message: string]>> = {
  LOGOUT_PREFETCH: [403, 'Prefetch requests cannot log out.'],
  LOGOUT_CROSS_SITE: [403, 'Cross-site logout requests are not allowed.'],
  LOGOUT_BODY: [400, 'The request body is malformed.'],
  LOGOUT_SCOPE: [400, 'The scope is not supported.'],
  LOGOUT_RETURN_TO: [400, 'The return_to URL is not allowed.'],
  LOGOUT_NOT_LOGGED_IN: [401, 'There is no live session.'],
  LOGOUT_FORBIDDEN: [403, 'Logging out other sessions is not allowed.'],
  LOGOUT_UNAVAILABLE: [503, 'The outcome of the logout is unknown. Retry.'],
  LOGOUT_MISCONFIGURED: [500, 'The logout is not set up correctly.']
}

/** An error of a session logout, for the host's error handler. The message is fixed: no cause, token or URL is in it. */
export interface LogoutError extends Error {
  readonly statusCode: number
  readonly code: LogoutErrorCode
  /** Headers of the response, which Fastify's own error handler sets: `Retry-After` for `LOGOUT_UNAVAILABLE`. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Makes the error of a code. The cause is for the log. */
export function logoutError (code: LogoutErrorCode, cause?: unknown): LogoutError {
  const [statusCode, message] = failures[code]
  const headers = code === 'LOGOUT_UNAVAILABLE' && { headers: { 'retry-after': '5' } }
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { statusCode, code, ...headers })
}

/** The error for a host whose set-up cannot log anybody out. Its cause names the fix. */
export function misconfigured (caller: string, hint: string): LogoutError {
  return logoutError('LOGOUT_MISCONFIGURED', new TypeError(`${caller}: ${hint}`))
}

/** Whether this is an error of a session logout. */
export function isLogoutError (error: unknown): error is LogoutError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && Object.hasOwn(failures, error.code)
}
