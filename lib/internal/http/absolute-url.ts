import { assertOption } from '../plugin/options.ts'

/** An option that is a URL. */
export interface UrlOption {
  readonly caller: string
  readonly option: string
  /** Completes the hint for a missing one: "is missing: say where ...". */
  readonly meaning: string
}

/**
 * Returns the URL of an option.
 *
 * @throws {TypeError} if it is missing, or not an absolute http or https URL
 */
export function absoluteUrl (given: string, { caller, option, meaning }: UrlOption): URL {
  assertOption(given !== undefined, caller, option, `is missing: say ${meaning}`)
  const holds = typeof given === 'string' && /^https?:\/\/[^/?#@\\]+([/?#]|$)/i.test(given) && URL.canParse(given)
  assertOption(holds, caller, option, 'must be an absolute http or https URL without a user name')
  return new URL(given)
}
