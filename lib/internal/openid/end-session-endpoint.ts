import type { Awaitable } from '../../awaitable.ts'
import { requestJson, type RequestLimits } from '../http/json-request.ts'
import { isSecureUrl } from '../http/secure-url.ts'

/**
 * Returns the end session endpoint of a provider, or `undefined` if the provider has none. Rejects if it cannot be told,
 * because the discovery document cannot be read and never could.
 */
export type FindEndSessionEndpoint = () => Awaitable<string | undefined>

/** Where a provider publishes its discovery document. */
export interface DiscoveryDocument {
  readonly issuer: string
  readonly uri: string
}

/** When a document is read again. In milliseconds. */
export interface DiscoveryTimes {
  /** A document older than this is read again, in the background. */
  readonly refreshAfter: number
  /** After a failure the provider is asked again no sooner than this. */
  readonly pause: number
}

export const usualDiscoveryTimes: DiscoveryTimes = { refreshAfter: 600_000, pause: 1000 }

/** Whether a browser may be sent to this endpoint: https, or http on this machine, without a user name or a fragment. */
export function isEndSessionEndpoint (url: unknown): url is string {
  return isSecureUrl(url) && !url.includes('#')
}

/**
 * Discovers the end session endpoint of a provider when it is first needed. Concurrent callers share a request. Once it is
 * known it is used on, also while the provider does not answer.
 *
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html#OPMetadata
 */
export function discoveredEndSessionEndpoint (
  document: DiscoveryDocument, limits: RequestLimits, { refreshAfter, pause }: DiscoveryTimes = usualDiscoveryTimes
): FindEndSessionEndpoint {
  let known: { readonly endpoint: string | undefined, readonly readAt: number } | undefined
  let failure: { readonly error: unknown, readonly at: number } | undefined
  let pending: Promise<string | undefined> | undefined

  async function read (): Promise<string | undefined> {
    const readAt = performance.now()
    try {
      const endpoint = endpointOf((await requestJson(limits, document.uri)).json, document.issuer)
      known = { endpoint, readAt }
      failure = undefined
      return endpoint
    } catch (error) {
      failure = { error, at: performance.now() }
      throw error
    }
  }

  const discover = (): Promise<string | undefined> => {
    if (failure !== undefined && performance.now() - failure.at < pause) return Promise.reject(failure.error)
    pending ??= read().finally(() => { pending = undefined })
    return pending
  }

  return () => {
    if (known === undefined) return discover()
    if (performance.now() - known.readAt >= refreshAfter) discover().catch(() => {})
    return known.endpoint
  }
}

function endpointOf (document: unknown, issuer: string): string | undefined {
  const { issuer: named, end_session_endpoint: endpoint } = Object(document)
  if (named !== issuer) throw new Error('the discovery document is of another issuer')
  if (endpoint === undefined) return undefined
  if (!isEndSessionEndpoint(endpoint)) throw new Error('the discovery document has no secure end_session_endpoint')
  return endpoint
}
