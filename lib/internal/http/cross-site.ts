import type { FastifyRequest } from 'fastify'
import { assertOption } from '../plugin/options.ts'

/** Which requests of other origins a cross-site check allows. */
export interface CrossSiteOptions {
  /** Origins of front ends on other hosts, such as `https://www.example`. Their requests pass. @default [] */
  readonly trustedOrigins?: readonly string[] | undefined
  /** Requests of sibling hosts pass too (`Sec-Fetch-Site: same-site`). @default false */
  readonly trustSameSite?: boolean | undefined
}

/** The verdict on a request: allowed, refused, or not sent by a current browser. */
export type CrossSiteVerdict = 'allowed' | 'refused' | 'not-a-browser'

/** Judges a request by its headers. */
export type JudgeCrossSite = (request: Pick<FastifyRequest, 'headers' | 'host'>) => CrossSiteVerdict

/** The plugin that checks, and the URL at which browsers reach the host. */
export interface CrossSiteContext {
  readonly caller: string
  /** The option that holds the {@link CrossSiteOptions}. */
  readonly option: string
  /** @default the host of each request */
  readonly publicUrl?: URL | undefined
}

/**
 * Makes a cross-site check by `Sec-Fetch-Site`, and by `Origin` for browsers that do not send it. A request without both
 * does not come from a current browser.
 *
 * @throws {TypeError} for a trusted origin that is not an origin
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
export function crossSiteCheck (options: CrossSiteOptions, context: CrossSiteContext): JudgeCrossSite {
  const { trustedOrigins = [], trustSameSite = false } = options
  const { caller, option, publicUrl } = context
  assertOption(Array.isArray(trustedOrigins), caller, `${option}.trustedOrigins`, 'must be a list of origins')
  assertOption(typeof trustSameSite === 'boolean', caller, `${option}.trustSameSite`, 'must be true or false')
  const trusted = new Set(trustedOrigins.map(origin => normalOrigin(origin, caller, `${option}.trustedOrigins`)))
  const isOwn = (origin: string, host: string) => publicUrl === undefined ? isOfHost(origin, host) : origin === publicUrl.origin

  return ({ headers, host }) => {
    const { origin } = headers
    const site = headers['sec-fetch-site']
    if (site === 'same-origin' || (origin !== undefined && trusted.has(origin))) return 'allowed'
    if (site !== undefined) return site === 'same-site' && trustSameSite ? 'allowed' : 'refused'
    if (origin === undefined) return 'not-a-browser'
    return isOwn(origin, host) ? 'allowed' : 'refused'
  }
}

/** The origin as browsers write it. */
function normalOrigin (given: string, caller: string, option: string): string {
  const isOrigin = typeof given === 'string' && /^[a-z][a-z\d+.-]*:\/\/[^/?#@\\\s*]+$/i.test(given) && URL.canParse(given)
  assertOption(isOrigin, caller, option,
    `has the entry ${JSON.stringify(given)}, which is not an origin: write "https://www.example", without a path`)
  const { origin } = new URL(given)
  // URL has no origin for other schemes than those of the web, such as that of a packaged app.
  return origin === 'null' ? given : origin
}

/** Whether the origin has the host and the port of the request. The scheme of the origin determines the default port. */
function isOfHost (origin: string, host: string): boolean {
  if (!/^https?:\/\/[^/?#@\\]+$/i.test(origin) || !URL.canParse(origin) || /[/?#@\\]/.test(host)) return false
  const { protocol, host: named } = new URL(origin)
  const asked = `${protocol}//${host}`
  return URL.canParse(asked) && new URL(asked).host === named
}
