import type { IncomingHttpHeaders } from 'node:http'

const token = "[!#$%&'*+.^_`|~\\w/-]+"
const acceptElement = new RegExp(`(${token})[ \\t]*(;[ \\t]*(?:q=([01](?:\\.\\d*)?))?)?[ \\t]*(,[ \\t]*)?`, 'y')

/**
 * Whether Ory Kratos would send JSON to this caller. It redirects all others. The `Content-Type` must be exactly
 * `application/json`, or the `Accept` header must prefer `application/json` to `text/html`. With equal preference it is HTML.
 *
 * Media types are case-sensitive. An element with a parameter other than `q` ends the header.
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/updateLogoutFlow
 */
export function wantsJson (headers: Pick<IncomingHttpHeaders, 'accept' | 'content-type'>): boolean {
  if (headers['content-type'] === 'application/json') return true
  let json = 0
  let html = 0
  for (const accepted of acceptedRanges(headers.accept ?? '')) {
    json = Math.max(json, rank(accepted, 'application', 'json'))
    html = Math.max(html, rank(accepted, 'text', 'html'))
  }
  return json > html
}

interface AcceptedRange {
  readonly range: string
  readonly quality: number
}

function acceptedRanges (accept: string): AcceptedRange[] {
  const ranges: AcceptedRange[] = []
  acceptElement.lastIndex = 0
  for (let found = acceptElement.exec(accept); found !== null; found = acceptElement.exec(accept)) {
    const [, range = '', parameter, quality, comma] = found
    if (parameter !== undefined && quality === undefined) break
    ranges.push({ range, quality: Number(quality ?? 1) })
    if (comma === undefined) break
  }
  return ranges
}

/** Ranks by quality, then by how exact the range is. A quality has at most three decimals, so the ranks do not overlap. 0: no match. */
function rank ({ range, quality }: AcceptedRange, type: string, subtype: string): number {
  const exactness = ['*/*', `${type}/*`, `${type}/${subtype}`].indexOf(range) + 1
  return exactness === 0 || quality === 0 ? 0 : quality * 10_000 + exactness
}
