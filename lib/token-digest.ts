import { hash } from 'node:crypto'

/** The SHA-256 digest under which a bearer secret is stored and looked up: 43 characters, base64url. */
export function tokenDigest (token: string): string {
  return hash('sha256', token, 'base64url')
}
