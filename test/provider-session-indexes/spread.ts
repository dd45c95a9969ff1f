import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'

/** Each call through the next client: the parallel calls of a rule come from several nodes. */
export function spread (indexes: readonly ProviderSessionIndex[]): ProviderSessionIndex {
  let calls = 0
  const next = () => indexes[calls++ % indexes.length] as ProviderSessionIndex
  return {
    bind: (...values) => next().bind(...values),
    logOut: logout => next().logOut(logout)
  }
}
