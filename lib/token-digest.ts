import { hash } from 'node:crypto'

/**
 * Returns the SHA-256 digest under which a bearer secret is stored and looked up: 43 characters, base64url.
 *
 * @example
 * ```ts
 * import { tokenDigest } from 'fastify-logout'
 *
 * const rows = new Map([[tokenDigest('the token of alice'), 'alice']])
 * console.log(rows.get(tokenDigest('the token of alice'))) // 'alice'
 * ```
 */
export function tokenDigest (token: string): string {
  return hash('sha256', token, 'base64url')
}
