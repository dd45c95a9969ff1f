import type { Claims } from './token-verifier.ts'

/** The user of a token, and who acts for that user. */
export interface Principal {
  /** The user. Missing for a token that an application got for itself. */
  readonly subject?: string | undefined
  /** Who acts: the subject, or somebody who acts for the subject. */
  readonly actor?: string | undefined
  readonly tenant?: string | undefined
  readonly sessionId?: string | undefined
  /** Epoch milliseconds. */
  readonly issuedAt?: number | undefined
}

/**
 * Reads a principal from verified claims.
 *
 * @example
 * ```ts
 * import { principalOf, type PrincipalOf } from 'fastify-logout'
 *
 * // Okta's permanent id of a user is `uid`, and this issuer writes the tenant into a claim of its own.
 * export const principal: PrincipalOf = claims => ({
 *   ...principalOf(claims),
 *   subject: String(claims['uid']),
 *   tenant: String(claims['https://api.example/tenant'])
 * })
 * ```
 */
export type PrincipalOf = (claims: Claims) => Principal

/**
 * The default: it fits access tokens of Keycloak, Auth0, Entra, Okta and Ory, and those that follow RFC 9068.
 *
 * - subject: `sub`. None for a token that an application got for itself, if that can be recognised
 * - actor: `act.sub` or `act.client_id`, otherwise the subject. With an `act` that has neither, the token has no user
 * - tenant: `tenant`, `tid` (Entra) or `org_id` (Auth0)
 * - sessionId: `sid` or `session_state` (Keycloak before 24)
 * - issuedAt: `iat`
 *
 * A whole number as an id is converted to text.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8693#section-4.1 for `act`
 * @example
 * ```ts
 * import { principalOf } from 'fastify-logout'
 *
 * const { subject, actor } = principalOf({ sub: 'alice', act: { sub: 'bob' }, iat: 1_700_000_000 })
 * console.log(`${actor} acts for ${subject}`)
 * ```
 */
export const principalOf: PrincipalOf = (claims) => {
  const actor = actorOf(claims['act'])
  const subject = actor.isUnknown || isOfApplication(claims) ? undefined : optionalId(claims['sub'])
  return {
    subject,
    actor: actor.name ?? subject,
    tenant: optionalId(claims['tenant']) ?? optionalId(claims['tid']) ?? optionalId(claims['org_id']),
    sessionId: optionalId(claims['sid']) ?? optionalId(claims['session_state']),
    issuedAt: typeof claims['iat'] === 'number' ? claims['iat'] * 1000 : undefined
  }
}

function actorOf (act: unknown): { readonly name: string | undefined, readonly isUnknown: boolean } {
  if (act === undefined || act === null) return { name: undefined, isUnknown: false }
  const { sub, client_id: client } = Object(act)
  const name = optionalId(sub) ?? optionalId(client)
  return { name, isUnknown: name === undefined }
}

/**
 * Whether an application got this token for itself, by client credentials.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2 on `sub`, and the documentation of Auth0, Entra and Keycloak
 */
function isOfApplication (claims: Claims): boolean {
  const { gty, idtyp, oid, scp, cid, appid, azp, client_id: client, clientId, preferred_username: name, username } = claims
  if (gty === 'client-credentials' || idtyp === 'app') return true
  const subject = optionalId(claims['sub'])
  if (subject?.endsWith('@clients') === true) return true
  if (subject !== undefined && optionalId(oid) === subject && scp === undefined) return true
  return [client, clientId, azp, cid, appid].some(claim => {
    const id = optionalId(claim)
    return id !== undefined && (id === subject || isServiceAccount(name, id) || isServiceAccount(username, id))
  })
}

/** Keycloak makes a user for a client, with a name in lower case. */
function isServiceAccount (user: unknown, application: string): boolean {
  return user === `service-account-${application.toLowerCase()}`
}

/**
 * An id as text. Whole numbers are converted: hosts in plain JavaScript often have numbers for ids. `undefined` for
 * anything that cannot be an id.
 */
export function optionalId (id: unknown): string | undefined {
  if (typeof id === 'string') return id === '' ? undefined : id
  return typeof id === 'bigint' || Number.isSafeInteger(id) ? String(id) : undefined
}
