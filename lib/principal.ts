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
 * The default reading, which fits access tokens of Keycloak, Auth0, Entra, Okta, Ory and whoever keeps to RFC 9068.
 *
 * - subject: `sub`, but nobody for a token that an application got for itself, as far as that can be told
 * - actor: `act.sub` (or `act.client_id`), otherwise the subject. An `act` that names nobody makes the token speak for nobody
 * - tenant: `tenant`, `tid` (Entra) or `org_id` (Auth0)
 * - sessionId: `sid` or `session_state` (Keycloak before 24)
 * - issuedAt: `iat`
 *
 * @see https://www.rfc-editor.org/rfc/rfc8693#section-4.1 for `act`
 */
export const principalOf: PrincipalOf = (claims) => {
  const actor = actorOf(claims['act'])
  const subject = actor.isUnknown || isOfApplication(claims) ? undefined : text(claims['sub'])
  return {
    subject,
    actor: actor.name ?? subject,
    tenant: text(claims['tenant']) ?? text(claims['tid']) ?? text(claims['org_id']),
    sessionId: text(claims['sid']) ?? text(claims['session_state']),
    issuedAt: typeof claims['iat'] === 'number' ? claims['iat'] * 1000 : undefined
  }
}

function actorOf (act: unknown): { readonly name: string | undefined, readonly isUnknown: boolean } {
  if (act === undefined || act === null) return { name: undefined, isUnknown: false }
  const { sub, client_id: client } = Object(act)
  const name = text(sub) ?? text(client)
  return { name, isUnknown: name === undefined }
}

/**
 * Whether an application got this token for itself, by client credentials.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2 on `sub`, then the words of Auth0, Entra and Keycloak
 */
function isOfApplication (claims: Claims): boolean {
  const { sub, gty, idtyp, oid, scp, cid, appid, azp, client_id: client, clientId, preferred_username: name, username } = claims
  return gty === 'client-credentials' || idtyp === 'app' ||
    (typeof sub === 'string' && sub.endsWith('@clients')) ||
    (typeof oid === 'string' && oid === sub && scp === undefined) ||
    [client, clientId, azp, cid, appid].some(id => isText(id) && (id === sub || isServiceAccount(name, id) || isServiceAccount(username, id)))
}

/** Keycloak gives a client a user of its own, in lower case. */
function isServiceAccount (user: unknown, application: string): boolean {
  return user === `service-account-${application.toLowerCase()}`
}

/** An id as text. A host in plain JavaScript may have numbers for ids. `undefined` for anything that cannot be an id. */
export function optionalId (id: unknown): string | undefined {
  return typeof id === 'bigint' || Number.isSafeInteger(id) ? String(id) : text(id)
}

function text (value: unknown): string | undefined {
  return isText(value) ? value : undefined
}

function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
