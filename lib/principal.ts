import type { Claims } from './token-verifier.ts'

/** Whom a token speaks for. */
export interface Principal {
  /** The user. Missing for a token that an application got for itself. */
  readonly subject?: string | undefined
  /** Who acts: the subject, or somebody acting for the subject. */
  readonly actor?: string | undefined
  readonly tenant?: string | undefined
  readonly sessionId?: string | undefined
  /** Epoch milliseconds. */
  readonly issuedAt?: number | undefined
}

/** Reads a principal from claims. */
export type PrincipalOf = (claims: Claims) => Principal

/**
 * The default reading: `sub`, `act.sub` (or the subject itself), `tenant` or `tid`, `sid`, `iat`.
 * @see https://www.rfc-editor.org/rfc/rfc8693#section-4.1 for `act`
 */
export const principalOf: PrincipalOf = (claims) => {
  const subject = text(claims['sub'])
  const act = claims['act']
  return {
    subject,
    actor: (typeof act === 'object' && act !== null && 'sub' in act ? text(act.sub) : undefined) ?? subject,
    tenant: text(claims['tenant']) ?? text(claims['tid']),
    sessionId: text(claims['sid']),
    issuedAt: typeof claims['iat'] === 'number' ? claims['iat'] * 1000 : undefined
  }
}

function text (value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
