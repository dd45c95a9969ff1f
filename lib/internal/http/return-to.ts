import { assertOption } from '../plugin/options.ts'

/** Where to send a browser after its logout: the target, or why it is refused. */
export type ReturnTo = { readonly location: string } | { readonly forbidden: string } | { readonly malformed: string }

/** Judges the `return_to` of a request. */
export type JudgeReturnTo = (given: string | null | undefined) => ReturnTo

interface AllowedUrl {
  readonly scheme: string
  readonly port: string
  readonly hostMatches: (hostname: string) => boolean
  readonly pathMatches: (pathname: string) => boolean
}

/** What {@link returnToWithin} allows. */
export interface AllowedTargets {
  readonly standard: URL
  readonly allowed: readonly string[]
  readonly caller: string
  readonly option: string
}

/**
 * Makes the check that sends browsers only to allowed URLs: those with the scheme, host, port and path of an entry. A path
 * allows itself and everything below it. `*.` in front of a host allows every subdomain, but not the host itself.
 *
 * A URL without scheme or host is completed with the default. The check uses the URL that a browser would go to, after it
 * has resolved dot segments. A text that browsers and other programs may read differently (backslashes, userinfo, control
 * characters, `https:path`) is refused. The default itself is not checked.
 *
 * @throws {TypeError} for a default that is not an absolute URL, and for an entry that can never match
 */
export function returnToWithin ({ standard, allowed, caller, option }: AllowedTargets): JudgeReturnTo {
  const entries = allowed.map(entry => allowedUrl(entry, problem => {
    assertOption(false, caller, option, `has the entry ${JSON.stringify(entry)}, which ${problem}`)
  }))

  return (given) => {
    if (given === undefined || given === null || given === '') return { location: standard.href }
    if (controls.test(given)) return { malformed: 'net/url: invalid control character in URL' }

    const completed = complete(given, standard)
    if (completed === 'refused') return { forbidden: given }
    if (completed === undefined) return { malformed: 'invalid URL' }
    const location = absolute.test(given) && printable.test(given) ? given : completed.href
    return entries.some(entry => matches(entry, completed)) ? { location } : { forbidden: location }
  }
}

/** What {@link returnToHost} allows. */
export interface HostTargets {
  /** Where browsers find the host. Without it, only paths are the host's own. */
  readonly publicUrl?: URL | undefined
  /** The target of a request that names none. */
  readonly standard: string
  /** Further URLs, as in {@link returnToWithin}. */
  readonly allowed: readonly string[]
  readonly caller: string
}

/**
 * Sends browsers back to the host: to a path of its own origin, or to an absolute URL with the public origin or within an
 * entry. Returns the value of the `Location` header, or `undefined` for a target that is not allowed.
 *
 * @throws {TypeError} for a default that is neither a path nor an absolute URL, and for an entry that can never match
 */
export function returnToHost ({ publicUrl, standard, allowed, caller }: HostTargets): (given: string | undefined) => string | undefined {
  const origin = publicUrl?.origin ?? ''
  const isTarget = typeof standard === 'string' && printable.test(standard) && (isPath(standard) || absolute.test(standard))
  assertOption(isTarget, caller, 'returnUrls.default', 'must be a path, such as "/", or an absolute http or https URL')
  assertOption(Array.isArray(allowed), caller, 'returnUrls.allowed', 'must be a list of absolute URLs')
  const judge = returnToWithin({
    standard: publicUrl ?? new URL('http://localhost'), // Never used: only absolute URLs are judged.
    allowed: origin === '' ? allowed : [...allowed, `${origin}/`],
    caller,
    option: 'returnUrls.allowed'
  })

  return (given = '') => {
    if (given === '') return standard
    if (given.trim() !== given) return undefined
    if (isPath(given)) return origin + encoded(given)
    const judged = absolute.test(given) ? judge(given) : undefined
    return judged !== undefined && 'location' in judged ? judged.location : undefined
  }
}

/** Whether every browser reads this as a path of the same origin. */
function isPath (given: string): boolean {
  return /^\/(?!\/)/.test(given) && !given.includes('\\') && !controls.test(given)
}

/** The same path, percent-encoded as browsers do it, so that a header can contain it. */
function encoded (path: string): string {
  return path.replace(/[^\u0021-\u007e]+/g, text => Buffer.from(text).toString('hex').replace(/../g, '%$&'))
}

// eslint-disable-next-line no-control-regex
const controls = /[\u0000-\u001f\u007f]/
const printable = /^[\u0021-\u007e]+$/
const scheme = /^[a-z][a-z\d+.-]*:/i
const absolute = /^https?:\/\/[^/?#]/i
const authority = /^(?:https?:)?\/\/([^/?#]*)/i
const labels = /^[^.]+(\.[^.]+)*$/
const encodedDotSegment = /(^|\/|\\|%2f|%5c)(\.|%2e){1,2}($|\/|\\|%2f|%5c)/i

/** The URL that a browser would go to, or `undefined` for a text that is not a URL. */
function complete (given: string, standard: URL): URL | 'refused' | undefined {
  if (given.includes('\\') || given.startsWith('///')) return 'refused'
  if (scheme.test(given) ? !absolute.test(given) : !/^[/?#]/.test(given)) return 'refused'
  if (/[@%]/.test(authority.exec(given)?.[1] ?? '')) return 'refused'
  const reference = /^[?#]/.test(given) ? `/${given}` : given
  return URL.canParse(reference, standard.origin) ? new URL(reference, standard.origin) : undefined
}

function matches (entry: AllowedUrl, url: URL): boolean {
  return entry.scheme === url.protocol && entry.port === url.port && entry.hostMatches(url.hostname) && entry.pathMatches(url.pathname)
}

function allowedUrl (entry: string, refuse: (problem: string) => void): AllowedUrl {
  if (!absolute.test(entry) || !URL.canParse(entry)) refuse('can never match: an entry is an absolute http or https URL')
  if (/[\\\s]/.test(entry)) refuse('can never match: it has a backslash or white space')
  const { protocol, port, hostname, pathname, search, hash, username, password } = new URL(entry)
  if (username !== '' || password !== '') refuse('can never match: leave the user name and password out')
  if (search !== '' || hash !== '' || /[?#]$/.test(entry)) refuse('has a query or a fragment, which is not compared: leave it out')
  if (pathname.includes('*')) refuse('has a star in its path, which means nothing: a path stands for everything below it')
  if (encodedDotSegment.test(pathname)) refuse('can never match: its path has encoded dot segments')

  const wildcard = hostname.startsWith('*.')
  const fixed = wildcard ? hostname.slice(1) : hostname
  if (fixed.includes('*')) refuse('has a star that is not the whole first label of its host: write "*." in front of the domain')
  if (wildcard && !/^(\.[^.]+){2,}$/.test(fixed)) refuse('has a wildcard for a whole top-level domain: name two labels after the star')

  const below = pathname.endsWith('/') ? pathname : `${pathname}/`
  return {
    scheme: protocol,
    port,
    hostMatches: wildcard ? name => name.endsWith(fixed) && labels.test(name) : name => name === fixed,
    pathMatches: path => (path === pathname || path.startsWith(below)) && (below === '/' || !encodedDotSegment.test(path))
  }
}
