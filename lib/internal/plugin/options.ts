/** Throws a `TypeError` that names the option and the hint, unless the condition holds. For use while registering. */
export function assertOption (holds: boolean, caller: string, option: string, hint: string): asserts holds {
  if (!holds) throw new TypeError(`${caller}: option "${option}" ${hint}`)
}

/** Checks an option that groups others. `example` is how it may be written. */
export function assertGroup (value: unknown, caller: string, option: string, example: string): void {
  const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value)
  assertOption(isGroup, caller, option, `must be an object, for example ${example}`)
}

/** Refuses options that belong into a group, by the names of their groups: beside it they would have no effect. */
export function assertGrouped (options: object, caller: string, groups: Readonly<Record<string, readonly string[]>>): void {
  for (const [group, members] of Object.entries(groups)) {
    const misplaced = members.find(member => Object.hasOwn(options, member))
    assertOption(misplaced === undefined, caller, String(misplaced), `must be a member of the option "${group}"`)
  }
}

/** Checks that each of these options is a function or `undefined`. `user.isActive` is the member `isActive` of `user`. */
export function assertFunctions (options: object, caller: string, names: readonly string[]): void {
  for (const name of names) {
    assertFunction(name.split('.').reduce<unknown>((group, member) => Object(group)[member], options), caller, name)
  }
}

/** Checks that an option is a function or `undefined`. */
export function assertFunction (value: unknown, caller: string, option: string): void {
  assertOption(value === undefined || typeof value === 'function', caller, option, 'must be a function if it is given')
}

/** The longest time that a timer can wait, almost 25 days. A longer one would fire at once. */
const longest = 2_147_483_647

/** Checks a duration for a timer, in milliseconds, and returns it, or the default for `undefined`. */
export function duration (value: number | undefined, standard: number, caller: string, option: string): number {
  if (value === undefined) return standard
  assertOption(typeof value === 'number' && value > 0 && value <= longest, caller, option,
    `must be a positive number of milliseconds, at most ${longest}`)
  return value
}

/** A hundred years. Anything longer is a mistake, and not every store could hold the instant. */
const longestLifetime = 100 * 365.25 * 24 * 3_600_000

/** Checks a duration that is not for a timer, in milliseconds, such as the lifetime of a session. Returns it, or the default. */
export function lifetimeOf (value: number | undefined, standard: number, caller: string, option: string): number {
  if (value === undefined) return standard
  assertOption(typeof value === 'number' && value > 0 && value <= longestLifetime, caller, option,
    `must be a positive number of milliseconds, at most ${longestLifetime}`)
  return value
}

/** Returns a non-empty string, or a non-empty list of them, as a list. Refuses the value of an unset environment variable. */
export function nonEmptyStrings (value: unknown, caller: string, option: string): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  assertOption(list.length > 0 && list.every(isNonEmptyString), caller, option,
    'must be a non-empty string or a list of them (is its environment variable set?)')
  return list.filter(isNonEmptyString)
}

/** What {@link wholeNumber} returns for `undefined`, and the least that it accepts. */
export interface NumberBounds {
  readonly standard: number
  readonly least: number
}

/** Checks a whole number and returns it, or the default for `undefined`. */
export function wholeNumber (value: unknown, caller: string, option: string, bounds: NumberBounds): number {
  const number = value ?? bounds.standard
  assertOption(typeof number === 'number' && Number.isSafeInteger(number) && number >= bounds.least, caller, option,
    `must be a whole number, at least ${bounds.least}`)
  return number
}

function isNonEmptyString (value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== ''
}
