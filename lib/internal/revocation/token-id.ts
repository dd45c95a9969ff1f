import { tokenDigest } from '../../token-digest.ts'
import type { Claims } from '../../token-verifier.ts'

/**
 * The id of a token that has no `jti`: a digest of what the token says, and not of how it is spelled. Headers can be
 * spelled in many ways, and one signature can have several valid base64url encodings; an ECDSA signature even has a
 * second value that verifies. Of an opaque token, every character counts.
 */
export function tokenIdOf (token: string): string {
  const parts = token.split('.')
  const claims = parts.length === 3 && isJoseHeader(parts[0]) ? objectOf(parts[1]) : undefined
  if (claims !== undefined) return claimsIdOf(claims)
  return tokenDigest(parts.length === 5 && isJoseHeader(parts[0]) ? canonical(parts) : token)
}

/** The {@link tokenIdOf} of the JWT that these claims were parsed from. The claims must be as they were parsed. */
export function claimsIdOf (claims: Claims): string {
  return tokenDigest(JSON.stringify(claims))
}

/** An encrypted token, each part but the header in the one spelling of its bytes. The header is protected as it is spelled. */
function canonical ([header = '', ...parts]: readonly string[]): string {
  return [header, ...parts.map(part => Buffer.from(part, 'base64url').toString('base64url'))].join('.')
}

/** Most tokens of a host have the same header. */
let lastHeader: string | undefined

/** A JOSE header, and not the first part of an opaque token that has dots too. */
function isJoseHeader (part: string | undefined): boolean {
  if (part !== undefined && part === lastHeader) return true
  const header = objectOf(part)
  if (header === undefined || !('alg' in header)) return false
  lastHeader = part
  return true
}

function objectOf (part = ''): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Claims : undefined
  } catch {
    return undefined
  }
}
