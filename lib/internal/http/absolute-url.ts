import { assertOption } from '../plugin/options.ts'

/**
 * Returns the URL of an option. The meaning completes the hint for a missing one: "is missing: say where ...".
 * @throws {TypeError} if it is missing, or not an absolute http or https URL
 */
export function absoluteUrl (given: string, caller: string, option: string, meaning: string): URL {
  assertOption(given !== undefined, caller, option, `is missing: say ${meaning}`)
  const holds = typeof given === 'string' && /^https?:\/\/[^/?#@\\]+([/?#]|$)/i.test(given) && URL.canParse(given)
  assertOption(holds, caller, option, 'must be an absolute http or https URL without a user name')
  return new URL(given)
}
