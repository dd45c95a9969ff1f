/**
 * One promise of a contract. Any test runner can loop over a list of rules.
 *
 * ```js
 * for (const rule of sessionStoreRules) {
 *   test(rule.name, () => rule.check(makeStore))
 * }
 * ```
 */
export interface Rule<Make> {
  /** The promise, as a sentence. */
  readonly name: string
  /** Rejects with an `AssertionError` if what `make` returns breaks the promise. */
  readonly check: (make: Make) => Promise<void>
}
