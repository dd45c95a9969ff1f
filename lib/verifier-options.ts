import { assertOption } from './option-check.ts'

/** One non-empty string or a non-empty list of them, as a list. An unset environment variable is neither. */
export function nonEmptyStrings (value: unknown, verifier: string, option: string): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  assertOption(list.length > 0 && list.every(isNonEmptyString), verifier, option,
    'must be a non-empty string or a list of them (is its environment variable set?)')
  return list.filter(isNonEmptyString)
}

/** A whole number of something, at least `least`, or the default where the host gave none. */
export function wholeNumber (value: unknown, verifier: string, option: string, bounds: { readonly standard: number, readonly least: number }): number {
  const number = value ?? bounds.standard
  assertOption(typeof number === 'number' && Number.isSafeInteger(number) && number >= bounds.least, verifier, option,
    `must be a whole number, at least ${bounds.least}`)
  return number
}

function isNonEmptyString (value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== ''
}
