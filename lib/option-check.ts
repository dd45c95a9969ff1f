/** Throws a `TypeError` that names the option and the mend, unless the condition holds. For use while registering. */
export function assertOption (holds: boolean, plugin: string, option: string, mend: string): asserts holds {
  if (!holds) throw new TypeError(`${plugin}: option "${option}" ${mend}`)
}

/** Checks that each of these options is a function where it is given. */
export function assertFunctions (options: object, plugin: string, names: readonly string[]): void {
  for (const name of names) {
    const value: unknown = (options as Record<string, unknown>)[name]
    assertOption(value === undefined || typeof value === 'function', plugin, name, 'must be a function when it is given')
  }
}

/** What a timer can hold, almost 25 days: a longer one would fire at once. */
const longest = 2_147_483_647

/** Checks a duration and answers with it, or with the default when it is not given. */
export function duration (value: number | undefined, standard: number, plugin: string, option: string): number {
  if (value === undefined) return standard
  assertOption(typeof value === 'number' && value > 0 && value <= longest, plugin, option, `must be a positive number of milliseconds, at most ${longest}`)
  return value
}
