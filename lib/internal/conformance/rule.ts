/**
 * One promise of a contract, as data: any test runner can loop the rules.
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
  /** Rejects with an `AssertionError` if what `make` gives breaks the promise. */
  readonly check: (make: Make) => Promise<void>
}
