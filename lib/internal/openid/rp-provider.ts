import { isSecureUrl } from '../http/secure-url.ts'
import { assertOption, nonEmptyStrings } from '../plugin/options.ts'
import { discoveredEndSessionEndpoint, isEndSessionEndpoint, type FindEndSessionEndpoint } from './end-session-endpoint.ts'

/** An OpenID Provider at which users log out. The issuers of the other OpenID flows serve here too. */
export interface EndSessionIssuer {
  /** Exactly the `iss` of its ID Tokens, down to the slash at the end. */
  readonly issuer: string
  /** Our names at this provider. Of several, the one in the `aud` of the ID Token is sent, otherwise the first. */
  readonly clientId: string | readonly string[]
  /** Where users log out. @default what the discovery document says */
  readonly endSessionEndpoint?: string | undefined
  /**
   * Where the discovery document is, if not at the usual place below the issuer.
   * @default `${issuer}/.well-known/openid-configuration`
   */
  readonly discoveryUri?: string | undefined
  /** For `ui_locales`: languages for its pages, separated by spaces. @default the provider decides */
  readonly uiLocales?: string | undefined
}

/** The provider of a session, and what a logout request says about the session. */
export interface SessionProvider {
  /** One of the option `issuers`. */
  readonly issuer: string
  /** The ID Token of the login, for `id_token_hint`. One of more than 16384 characters is left out. */
  readonly idToken?: string | undefined
  /** For `logout_hint`: what the provider knows the user by. */
  readonly logoutHint?: string | undefined
  /** For `ui_locales`: languages of the user, separated by spaces. @default those of the issuer */
  readonly uiLocales?: string | undefined
}

/** A provider with checked options. */
export interface ResolvedProvider {
  readonly issuer: string
  readonly clientIds: readonly [string, ...string[]]
  readonly endpoint: FindEndSessionEndpoint
  readonly uiLocales: string | undefined
}

const longestDiscoveryDocument = 256 * 1024

/**
 * Checks the option `issuers`.
 *
 * @param timeout for each request to a provider, in milliseconds
 * @throws {TypeError} for a member that is missing or unsafe
 */
export function resolveProviders (
  issuers: readonly EndSessionIssuer[], caller: string, timeout: number
): ReadonlyMap<unknown, ResolvedProvider> {
  assertOption(Array.isArray(issuers) && issuers.length > 0, caller, 'issuers', 'must be a list of at least one issuer')
  const resolved = issuers.map((issuer, index) => resolveProvider(issuer, { caller, at: `issuers[${index}]`, timeout }))
  const byName = new Map(resolved.map(provider => [provider.issuer, provider]))
  assertOption(byName.size === resolved.length, caller, 'issuers', 'must name each issuer once')
  return byName
}

interface Place {
  readonly caller: string
  readonly at: string
  readonly timeout: number
}

function resolveProvider (given: EndSessionIssuer, { caller, at, timeout }: Place): ResolvedProvider {
  assertOption(typeof given === 'object' && given !== null, caller, at, 'must be an object such as { issuer, clientId }')
  const { issuer, clientId, endSessionEndpoint, discoveryUri, uiLocales } = given
  assertOption(typeof issuer === 'string' && issuer !== '', caller, `${at}.issuer`, 'must be a non-empty string')
  const [first = '', ...others] = nonEmptyStrings(clientId, caller, `${at}.clientId`)
  assertOption(uiLocales === undefined || (typeof uiLocales === 'string' && uiLocales.trim() !== ''), caller, `${at}.uiLocales`,
    'must be a non-empty string, such as "de en"')
  const known = { issuer, clientIds: [first, ...others] as const, uiLocales }
  if (endSessionEndpoint !== undefined) {
    assertOption(isEndSessionEndpoint(endSessionEndpoint), caller, `${at}.endSessionEndpoint`,
      'must be an https URL without a user name and a fragment (http only for this machine)')
    return { ...known, endpoint: () => endSessionEndpoint }
  }
  const uri = discoveryUri ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  assertOption(isSecureUrl(uri), caller, `${at}.${discoveryUri === undefined ? 'issuer' : 'discoveryUri'}`,
    'must be an https URL without a user name (http only for this machine). Otherwise give its endSessionEndpoint')
  const limits = { fetch: globalThis.fetch, timeout, maxLength: longestDiscoveryDocument }
  return { ...known, endpoint: discoveredEndSessionEndpoint({ issuer, uri }, limits) }
}
