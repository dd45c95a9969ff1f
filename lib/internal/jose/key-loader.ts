import { requestJson, type RequestLimits } from '../http/json-request.ts'
import { isSecureUrl } from '../http/secure-url.ts'
import { jwkSet, type JwkSet } from './jwk-set.ts'

/** Where an issuer publishes its keys: at an address of its own, or where its discovery document says. */
export interface KeyLocation {
  readonly issuer: string
  readonly jwksUri: string | undefined
  /** The discovery document, which is read where there is no `jwksUri`. */
  readonly document: string
}

/**
 * Makes the function that fetches the keys of an issuer.
 *
 * @param refreshAfter a discovery document older than this is read again, in milliseconds
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation
 */
export function keyLoader (location: KeyLocation, limits: RequestLimits, refreshAfter: number): () => Promise<JwkSet> {
  const { jwksUri } = location
  return jwksUri === undefined
    ? discoveringLoader(location, limits, refreshAfter)
    : async () => jwkSet((await requestJson(limits, jwksUri)).json)
}

/** Asks again where the keys are when that is long known, or when they are no longer there. */
function discoveringLoader ({ issuer, document }: KeyLocation, limits: RequestLimits, refreshAfter: number): () => Promise<JwkSet> {
  let known: { readonly uri: string, readonly since: number } | undefined

  const discover = async () => ({ since: performance.now(), uri: jwksUriOf((await requestJson(limits, document)).json, issuer) })

  async function locate () {
    const last = known
    if (last === undefined) return discover()
    // While the document cannot be read, the keys may still be where they were.
    return performance.now() - last.since < refreshAfter ? last : discover().catch(() => last)
  }

  return async () => {
    const place = await locate()
    known = undefined
    const keys = jwkSet((await requestJson(limits, place.uri)).json)
    known = place
    return keys
  }
}

function jwksUriOf (document: unknown, issuer: string): string {
  const { issuer: named, jwks_uri: uri } = Object(document)
  if (named !== issuer) throw new Error('the discovery document is of another issuer')
  if (!isSecureUrl(uri)) throw new Error('the discovery document has no secure jwks_uri')
  return uri
}
