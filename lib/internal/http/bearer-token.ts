const credentials = /^bearer +([^\s,]+) *$/i

/**
 * Returns the token of an `Authorization: Bearer` header, or `undefined` for a missing or blank header, another scheme, or
 * more than one credential.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
export function bearerToken (authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : credentials.exec(authorization)?.[1]
}
