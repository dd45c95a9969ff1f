const pages = ['text/html', 'application/xhtml+xml']

/**
 * Whether the caller wants a page: `Accept` names `text/html` or `application/xhtml+xml`, and does not name
 * `application/json` with the same or a higher quality. A wildcard names none of them: it is what `fetch()` sends.
 *
 * Media types are compared without regard to case. Parameters other than `q` are ignored.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
 */
export function wantsPage (accept: string | undefined): boolean {
  let page = 0
  let json = 0
  for (const element of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = element.split(';').map(part => part.trim().toLowerCase())
    if (pages.includes(type)) page = Math.max(page, qualityOf(parameters))
    if (type === 'application/json') json = Math.max(json, qualityOf(parameters))
  }
  return page > json
}

/** A quality that is not a number counts as if it were not there. */
function qualityOf (parameters: readonly string[]): number {
  const [, digits] = parameters.map(parameter => /^q=([01](?:\.\d*)?)$/.exec(parameter)).find(found => found !== null) ?? []
  return digits === undefined ? 1 : Math.min(Number(digits), 1)
}
