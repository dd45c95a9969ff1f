import { assertOption } from '../plugin/options.ts'

/** Data that browsers can be told to delete. `cookies` deletes those of the whole registrable domain, with sibling hosts. */
export type SiteData = 'cache' | 'cookies' | 'storage' | 'executionContexts' | 'clientHints' | 'prefetchCache' | 'prerenderCache'

const known = [
  'cache', 'cookies', 'storage', 'executionContexts', 'clientHints', 'prefetchCache', 'prerenderCache'
] as const satisfies readonly SiteData[]

/**
 * Returns the value of a `Clear-Site-Data` header. It is empty if there are no directives.
 *
 * @throws {TypeError} for an unknown directive
 * @see https://www.w3.org/TR/clear-site-data/#header
 */
export function clearSiteDataHeader (directives: readonly SiteData[] = [], caller: string, option: string): string {
  const names: readonly string[] = known
  assertOption(Array.isArray(directives) && directives.every(directive => names.includes(directive)), caller, option,
    `must be a list of ${known.join(', ')}`)
  return directives.map(directive => `"${directive}"`).join(', ')
}
