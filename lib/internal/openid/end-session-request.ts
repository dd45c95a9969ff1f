/** The parameters of a logout request. Absent and empty ones are left out. */
export interface EndSessionParameters {
  readonly idTokenHint?: string | undefined
  readonly logoutHint?: string | undefined
  readonly clientId: string
  readonly returnUrl: string
  readonly state: string
  readonly uiLocales?: string | undefined
}

/** A logout request to a provider: by GET to `url`, or by POST of `fields` to `endpoint`. */
export interface EndSessionRequest {
  readonly url: string
  readonly endpoint: string
  readonly fields: Readonly<Record<string, string>>
}

/**
 * Makes the logout request. The query of the endpoint is kept as it is.
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
 */
export function endSessionRequest (endpoint: string, parameters: EndSessionParameters): EndSessionRequest {
  const ordered = {
    id_token_hint: parameters.idTokenHint,
    logout_hint: parameters.logoutHint,
    client_id: parameters.clientId,
    post_logout_redirect_uri: parameters.returnUrl,
    state: parameters.state,
    ui_locales: parameters.uiLocales
  }
  const fields = Object.fromEntries(Object.entries(ordered).filter((field): field is [string, string] => Boolean(field[1])))
  const separator = !endpoint.includes('?') ? '?' : /[?&]$/.test(endpoint) ? '' : '&'
  return { url: `${endpoint}${separator}${new URLSearchParams(fields)}`, endpoint, fields }
}

/**
 * Returns our name at the provider. Of several names it is the one that the ID Token was issued for, otherwise the first. The
 * token is not verified: only the provider judges it.
 */
export function clientIdFor (clientIds: readonly [string, ...string[]], idToken: string | undefined): string {
  const audience = audienceOf(idToken)
  return clientIds.find(clientId => audience.includes(clientId)) ?? clientIds[0]
}

function audienceOf (idToken = ''): readonly unknown[] {
  try {
    return [JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString()).aud].flat()
  } catch {
    return []
  }
}
