import type { IncomingHttpHeaders } from 'node:http'

const ahead = /(^|[\s,])"?(prefetch|preview)\b/i

/**
 * Whether a browser fetches this page ahead of its user (prefetch, prerender, link preview), so that nothing must
 * happen.
 * @see https://fetch.spec.whatwg.org/#sec-purpose-header
 */
export function isPrefetch (headers: IncomingHttpHeaders): boolean {
  return ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'].some(name => ahead.test(String(headers[name] ?? '')))
}
