import type { IncomingHttpHeaders } from 'node:http'

const names = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz']
const ahead = /(^|[\s,])"?(prefetch|preview)\b/i

/**
 * Whether a browser fetches this page ahead of its user (prefetch, prerender, link preview), so that nothing must
 * happen.
 * @see https://fetch.spec.whatwg.org/#sec-purpose-header
 */
export function isPrefetch (headers: IncomingHttpHeaders): boolean {
  return names.some(name => headers[name] !== undefined && ahead.test(String(headers[name])))
}
